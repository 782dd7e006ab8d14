// SPDX-License-Identifier: Apache-2.0

import Foundation

/// One rendering of a template. Its work is bounded: a template that would run for ever, nest for
/// ever or grow without end fails with an error instead.
final class TemplateRun {
  /// How many steps a rendering may take; a step is an expression or about 64 bytes of text.
  static let mostSteps = 5_000_000
  /// How long a text or a list may grow.
  static let mostBytes = 1 << 26, mostItems = 1 << 20
  /// How deep calls of macros, statements and expressions may nest.
  static let deepest = 240

  /// Variables of one block; those of the blocks around it are seen but not changed.
  final class Scope {
    var values: [String: TemplateValue] = [:]
    let parent: Scope?

    init(parent: Scope?) { self.parent = parent }

    func value(_ name: String) -> TemplateValue? {
      var scope: Scope? = self
      while let here = scope {
        if let value = here.values[name] { return value }
        scope = here.parent
      }
      return nil
    }
  }

  private enum Flow { case on, leaveLoop, nextRound }

  var scope = Scope(parent: nil)
  private var output = TemplateText()
  var namespaces: [[(key: TemplateText, value: TemplateValue)]] = []
  private var macros: [(macro: TemplateMacro, scope: Scope)] = []
  private(set) var line = 1
  private var steps = 0
  private var depth = 0
  let now: Date

  init(variables: [String: TemplateValue], now: Date) {
    scope.values = variables
    self.now = now
    for name in ["namespace", "raise_exception", "strftime_now", "range", "dict"] {
      scope.values[name] = .function(name)
    }
    scope = Scope(parent: scope)
  }

  func render(_ body: [TemplateStatement]) throws -> TemplateText {
    _ = try run(body)
    return output
  }

  func fail(_ message: String) -> DataError {
    DataError(.badTemplate, "chat template line \(line): \(message)")
  }

  func spend(_ bytes: Int = 0) throws {
    steps += 1 + bytes / 64
    guard steps <= Self.mostSteps else {
      throw fail("it takes too many steps; is there a loop without end?")
    }
  }

  func checked(_ text: TemplateText) throws -> TemplateText {
    try spend(text.size)
    if text.size > Self.mostBytes { throw fail("a text grows beyond 64 MB") }
    return text
  }

  func checked(_ list: [TemplateValue]) throws -> TemplateValue {
    try spend(list.count * 16)
    if list.count > Self.mostItems { throw fail("a list grows beyond a million items") }
    return .list(list)
  }

  private func nested<T>(_ body: () throws -> T) throws -> T {
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.deepest else {
      throw fail("calls or blocks nest deeper than \(Self.deepest) levels")
    }
    return try body()
  }

  // MARK: Statements

  private func run(_ body: [TemplateStatement]) throws -> Flow {
    try nested {
      for statement in body {
        try spend()
        let flow = try run(statement)
        if flow != .on { return flow }
      }
      return .on
    }
  }

  private func put(_ text: TemplateText) throws {
    try spend(text.size)
    output.append(text)
    if output.size > Self.mostBytes { throw fail("the text grows beyond 64 MB") }
  }

  /// What a body puts out, caught instead.
  private func captured(_ body: [TemplateStatement]) throws -> (TemplateText, Flow) {
    let outer = output
    output = TemplateText()
    defer { output = outer }
    let flow = try run(body)
    return (output, flow)
  }

  private func run(_ statement: TemplateStatement) throws -> Flow {
    switch statement {
    case .text(let text): try put(TemplateText(text))
    case .output(let expression): try put(try evaluate(expression).asText)
    case .loop(let targets, let over, let filter, let body, let otherwise, let start):
      return try loop(targets, over, filter, body, otherwise, start)
    case .conditional(let branches, let otherwise):
      for (condition, body) in branches where try evaluate(condition).isTrue {
        return try run(body)
      }
      return try run(otherwise)
    case .assign(let target, let expression): try assign(try evaluate(expression), to: target)
    case .capture(let target, let filters, let body, let start):
      let (text, flow) = try captured(body)
      line = start
      try assign(try apply(filters, to: .text(text)), to: target)
      return flow
    case .filtered(let filters, let body, let start):
      let (text, flow) = try captured(body)
      line = start
      try put(try apply(filters, to: .text(text)).asText)
      return flow
    case .macro(let name, let macro):
      scope.values[name] = .macro(macros.count)
      macros.append((macro, scope))
      if macros.count > 10_000 { throw fail("too many macros") }
    case .scoped(let values, let body):
      let inner = Scope(parent: scope)
      for (name, expression) in values { inner.values[name] = try evaluate(expression) }
      return try within(inner) { try run(body) }
    case .block(let body): return try run(body)
    case .leaveLoop: return .leaveLoop
    case .nextRound: return .nextRound
    }
    return .on
  }

  private func within<T>(_ inner: Scope, _ body: () throws -> T) throws -> T {
    let outer = scope
    scope = inner
    defer { scope = outer }
    return try body()
  }

  private func apply(
    _ filters: [(String, [TemplateArgument])], to value: TemplateValue
  ) throws -> TemplateValue {
    try filters.reduce(value) { try filter($1.0, $0, try Arguments($1.1, self)) }
  }

  private func assign(_ value: TemplateValue, to target: TemplateTarget) throws {
    switch target {
    case .names(let names): try bind(names, value, in: scope)
    case .attribute(let name, let field):
      guard case .namespace(let index)? = scope.value(name) else {
        throw fail("\(name).\(field) is set, but \(name) is not a namespace")
      }
      set(field, value, inNamespace: index)
    }
  }

  func set(_ field: String, _ value: TemplateValue, inNamespace index: Int) {
    if let at = namespaces[index].firstIndex(where: { $0.key.string == field }) {
      namespaces[index][at].value = value
    } else {
      namespaces[index].append((TemplateText(field), value))
    }
  }

  private func bind(_ names: [String], _ value: TemplateValue, in scope: Scope) throws {
    if names.count == 1 {
      scope.values[names[0]] = value
      return
    }
    let parts = try items(of: value)
    guard parts.count == names.count else {
      throw fail("\(parts.count) values for the names \(names.joined(separator: ", "))")
    }
    for (name, part) in zip(names, parts) { scope.values[name] = part }
  }

  private func loop(
    _ targets: [String], _ over: TemplateExpression, _ filter: TemplateExpression?,
    _ body: [TemplateStatement], _ otherwise: [TemplateStatement], _ start: Int
  ) throws -> Flow {
    var items = try items(of: try evaluate(over))
    line = start
    if let filter {
      items = try items.filter { item in
        let inner = Scope(parent: scope)
        try bind(targets, item, in: inner)
        return try within(inner) { try evaluate(filter).isTrue }
      }
    }
    if items.isEmpty { return try run(otherwise) }
    for index in items.indices {
      try spend()
      let inner = Scope(parent: scope)
      inner.values["loop"] = .loop(TemplateValue.Loop(index: index, items: items))
      try bind(targets, items[index], in: inner)
      if try within(inner, { try run(body) }) == .leaveLoop { break }
    }
    return .on
  }

  /// What a loop over a value goes through.
  func items(of value: TemplateValue) throws -> [TemplateValue] {
    switch value {
    case .list(let values): return values
    case .undefined: return []
    case .dictionary(let fields): return fields.map { .text($0.key) }
    case .text(let text):
      guard text.size <= Self.mostItems else { throw fail("a loop over a text of over 1 MB") }
      try spend(text.size * 64)
      return text.scalars.map { .text(TemplateText([$0])) }
    default: throw fail("\(value.typeName) cannot be looped over")
    }
  }

  // MARK: Expressions

  func evaluate(_ expression: TemplateExpression) throws -> TemplateValue {
    try spend()
    line = expression.line
    return try nested {
      switch expression.kind {
      case .literal(let value): return value
      case .name(let name): return scope.value(name) ?? .undefined(name)
      case .list(let parts): return try checked(try parts.map { try evaluate($0) })
      case .dictionary(let entries): return try dictionary(entries)
      case .attribute(let base, let name):
        return try attribute(name, of: try evaluate(base), expression.line)
      case .item(let base, let index):
        return try item(try evaluate(index), of: try evaluate(base), expression.line)
      case .slice(let base, let from, let to, let by):
        return try slice(
          try evaluate(base), try from.map { try evaluate($0) }, try to.map { try evaluate($0) },
          try by.map { try evaluate($0) })
      case .call(let callee, let arguments):
        let function = try evaluate(callee)
        let values = try Arguments(arguments, self)
        line = expression.line
        return try call(function, values)
      case .filter(let base, let name, let arguments):
        let value = try evaluate(base)
        let values = try Arguments(arguments, self)
        line = expression.line
        return try filter(name, value, values)
      case .test(let base, let name, let operands):
        let value = try evaluate(base)
        return .bool(try test(name, value, try operands.map { try evaluate($0) }))
      case .negative(let base): return try negated(try evaluate(base))
      case .binary(let symbol, let left, let right):
        let a = try evaluate(left)
        let b = try evaluate(right)
        line = expression.line
        return try arithmetic(symbol, a, b)
      case .compare(let first, let rest): return try compare(first, rest)
      case .and(let left, let right):
        let value = try evaluate(left)
        return value.isTrue ? try evaluate(right) : value
      case .or(let left, let right):
        let value = try evaluate(left)
        return value.isTrue ? value : try evaluate(right)
      case .not(let base): return .bool(try !evaluate(base).isTrue)
      case .conditional(let then, let when, let otherwise):
        if try evaluate(when).isTrue { return try evaluate(then) }
        return try otherwise.map { try evaluate($0) } ?? .undefined("else")
      }
    }
  }

  private func dictionary(
    _ entries: [(TemplateExpression, TemplateExpression)]
  ) throws -> TemplateValue {
    var fields: [(key: TemplateText, value: TemplateValue)] = []
    for (key, value) in entries {
      let name = try evaluate(key).asText
      let value = try evaluate(value)
      if let at = fields.firstIndex(where: { $0.key.equals(name) }) {
        fields[at].value = value
      } else {
        fields.append((name, value))
      }
    }
    return .dictionary(fields)
  }

  private func compare(
    _ first: TemplateExpression, _ rest: [(String, TemplateExpression)]
  ) throws -> TemplateValue {
    var left = try evaluate(first)
    for (symbol, expression) in rest {
      let right = try evaluate(expression)
      line = expression.line
      guard try holds(symbol, left, right) else { return .bool(false) }
      left = right
    }
    return .bool(true)
  }

  func call(_ function: TemplateValue, _ arguments: Arguments) throws -> TemplateValue {
    switch function {
    case .macro(let index): return try call(macros[index].macro, macros[index].scope, arguments)
    case .function(let name): return try call(name, arguments)
    case .method(let receiver, let name): return try method(name, of: receiver, arguments)
    default: throw fail("\(function.typeName) is called, but it is not a function")
    }
  }

  private func call(
    _ macro: TemplateMacro, _ home: Scope, _ arguments: Arguments
  ) throws -> TemplateValue {
    let inner = Scope(parent: home)
    guard arguments.positional.count <= macro.parameters.count else {
      throw fail("macro \(macro.name) takes \(macro.parameters.count) arguments at most")
    }
    for (name, _) in arguments.named
    where !macro.parameters.contains(where: { $0.name == name }) {
      throw fail("macro \(macro.name) has no parameter \(name)")
    }
    return try within(inner) {
      for (i, parameter) in macro.parameters.enumerated() {
        inner.values[parameter.name] =
          try arguments[i, parameter.name]
          ?? parameter.fallback.map { try evaluate($0) } ?? .undefined(parameter.name)
      }
      return .text(try captured(macro.body).0)
    }
  }
}

/// Evaluated arguments.
struct Arguments {
  var positional: [TemplateValue] = []
  var named: [(name: String, value: TemplateValue)] = []

  init(positional: [TemplateValue]) { self.positional = positional }

  init(_ arguments: [TemplateArgument], _ run: TemplateRun) throws {
    for argument in arguments {
      let value = try run.evaluate(argument.value)
      switch argument.spread {
      case .list: positional += try run.items(of: value)
      case .dictionary:
        guard case .dictionary(let fields) = value else {
          throw run.fail("** before \(value.typeName), which has no names")
        }
        for (key, value) in fields {
          guard !named.contains(where: { $0.name == key.string }) else {
            throw run.fail("two arguments are named \(key.string)")
          }
          named.append((key.string, value))
        }
      case nil:
        if let name = argument.name {
          named.append((name, value))
        } else {
          positional.append(value)
        }
      }
    }
    try run.spend(64 * (positional.count + named.count))
  }

  /// The argument at a place or of a name.
  subscript(index: Int, name: String) -> TemplateValue? {
    index < positional.count ? positional[index] : named.last { $0.name == name }?.value
  }
}
