// SPDX-License-Identifier: Apache-2.0

/// Parses the statements of a template; expressions are in `TemplateParser+Expressions.swift`.
struct TemplateParser {
  /// How deep statements and brackets may be nested, and how high a tree of expressions may be.
  static let deepest = 100

  private let tokens: [TemplateToken]
  private var at = 0
  var depth = 0
  private var loops = 0

  private init(_ tokens: [TemplateToken]) { self.tokens = tokens }

  static func parse(_ source: String) throws -> [TemplateStatement] {
    guard source.utf8.count <= 1 << 20 else {
      throw DataError(.badTemplate, "chat template: longer than 1 MB")
    }
    var parser = TemplateParser(try TemplateLexer.tokens(of: source))
    let body = try parser.statements(until: [])
    guard case .end = parser.peek.kind else { throw parser.fail("unexpected tag") }
    return body
  }

  // MARK: Tokens

  var peek: TemplateToken { tokens[at] }
  var line: Int { tokens[at].line }

  func ahead(_ count: Int) -> TemplateToken.Kind {
    at + count < tokens.count ? tokens[at + count].kind : .end
  }

  mutating func next() -> TemplateToken {
    let token = tokens[at]
    if at + 1 < tokens.count { at += 1 }
    return token
  }

  mutating func accept(_ symbol: String) -> Bool {
    guard peek.kind == .symbol(symbol) else { return false }
    _ = next()
    return true
  }

  mutating func accept(word: String) -> Bool {
    guard peek.kind == .name(word) else { return false }
    _ = next()
    return true
  }

  mutating func expect(_ symbol: String) throws {
    guard accept(symbol) else { throw fail("expected \(symbol), found \(found)") }
  }

  mutating func name() throws -> String {
    guard case .name(let name) = peek.kind else { throw fail("expected a name, found \(found)") }
    _ = next()
    return name
  }

  var found: String {
    switch peek.kind {
    case .text, .outputStart, .blockStart: "text"
    case .outputEnd: "}}"
    case .blockEnd: "%}"
    case .name(let name): name
    case .string(let text): "the string '\(text.prefix(20))'"
    case .integer(let value): "\(value)"
    case .float(let value): "\(value)"
    case .symbol(let symbol): symbol
    case .end: "the end of the template"
    }
  }

  func fail(_ message: String, line: Int? = nil) -> DataError {
    DataError(.badTemplate, "chat template line \(line ?? self.line): \(message)")
  }

  mutating func nested<T>(_ body: (inout TemplateParser) throws -> T) throws -> T {
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.deepest else { throw fail("nested deeper than \(Self.deepest) levels") }
    return try body(&self)
  }

  // MARK: Statements

  /// Statements up to a block that begins with one of the words, which is left standing.
  private mutating func statements(until ends: [String]) throws -> [TemplateStatement] {
    try nested { parser in
      var result: [TemplateStatement] = []
      while true {
        switch parser.peek.kind {
        case .end:
          if let end = ends.last { throw parser.fail("\(end) is missing") }
          return result
        case .text(let text):
          _ = parser.next()
          result.append(.text(text))
        case .outputStart:
          _ = parser.next()
          result.append(.output(try parser.tuple()))
          guard case .outputEnd = parser.next().kind else {
            throw parser.fail("expected }}, found \(parser.found)")
          }
        case .blockStart:
          if case .name(let word) = parser.ahead(1), ends.contains(word) { return result }
          _ = parser.next()
          result.append(try parser.statement())
        default: throw parser.fail("unexpected \(parser.found)")
        }
      }
    }
  }

  private mutating func closeBlock() throws {
    guard case .blockEnd = peek.kind else { throw fail("expected %}, found \(found)") }
    _ = next()
  }

  /// The word of the block that ended a list of statements, its tag read up to the word.
  private mutating func endWord() throws -> String {
    _ = next()
    return try name()
  }

  private mutating func body(until end: String) throws -> [TemplateStatement] {
    try closeBlock()
    let result = try statements(until: [end])
    _ = try endWord()
    return result
  }

  private mutating func statement() throws -> TemplateStatement {
    let start = line
    guard case .name(let word) = peek.kind else {
      throw fail("expected a statement, found \(found)")
    }
    _ = next()
    let result: TemplateStatement
    switch word {
    case "for": result = try loop(start)
    case "if": result = try conditional()
    case "set": result = try assignment(start)
    case "macro": result = try macro()
    case "generation": result = .block(try body(until: "endgeneration"))
    case "filter":
      let filters = try filterChain()
      result = .filtered(filters, try body(until: "endfilter"), start)
    case "with": result = try scope()
    case "break", "continue":
      guard loops > 0 else { throw fail("\(word) outside a loop", line: start) }
      result = word == "break" ? .leaveLoop : .nextRound
    default:
      throw fail("{% \(word) %} is not interpreted", line: start)
    }
    try closeBlock()
    return result
  }

  private mutating func loop(_ start: Int) throws -> TemplateStatement {
    var targets: [String] = []
    let bracketed = accept("(")
    repeat { targets.append(try name()) } while accept(",") && peek.kind != .name("in")
    if bracketed { try expect(")") }
    guard accept(word: "in") else { throw fail("expected in, found \(found)") }
    let items = try tuple(conditional: false)
    let filter = accept(word: "if") ? try expression() : nil
    if accept(word: "recursive") { throw fail("recursive loops are not interpreted", line: start) }
    try closeBlock()
    loops += 1
    let body = try statements(until: ["else", "endfor"])
    loops -= 1
    var otherwise: [TemplateStatement] = []
    if try endWord() == "else" {
      try closeBlock()
      otherwise = try statements(until: ["endfor"])
      _ = try endWord()
    }
    return .loop(
      targets: targets, over: items, filter: filter, body: body, otherwise: otherwise, line: start)
  }

  private mutating func conditional() throws -> TemplateStatement {
    var branches: [(TemplateExpression, [TemplateStatement])] = []
    while true {
      let condition = try expression()
      try closeBlock()
      branches.append((condition, try statements(until: ["elif", "else", "endif"])))
      switch try endWord() {
      case "elif": continue
      case "else":
        try closeBlock()
        let otherwise = try statements(until: ["endif"])
        _ = try endWord()
        return .conditional(branches, otherwise: otherwise)
      default: return .conditional(branches, otherwise: [])
      }
    }
  }

  private mutating func assignment(_ start: Int) throws -> TemplateStatement {
    let first = try name()
    var target = TemplateTarget.names([first])
    if accept(".") {
      target = .attribute(of: first, try name())
    } else if accept(",") {
      var names = [first]
      repeat { names.append(try name()) } while accept(",")
      target = .names(names)
    }
    if accept("=") { return .assign(target, try tuple()) }
    let filters = peek.kind == .symbol("|") ? try filterChain(leading: true) : []
    return .capture(target, filters: filters, try body(until: "endset"), start)
  }

  private mutating func filterChain(
    leading: Bool = false
  ) throws -> [(String, [TemplateArgument])] {
    var filters: [(String, [TemplateArgument])] = []
    if leading { try expect("|") }
    repeat {
      let filter = try name()
      filters.append((filter, peek.kind == .symbol("(") ? try arguments() : []))
    } while accept("|")
    return filters
  }

  private mutating func macro() throws -> TemplateStatement {
    let title = try name()
    try expect("(")
    var parameters: [(name: String, fallback: TemplateExpression?)] = []
    while !accept(")") {
      if !parameters.isEmpty { try expect(",") }
      let parameter = try name()
      parameters.append((parameter, accept("=") ? try expression() : nil))
    }
    let outer = loops
    loops = 0
    let body = try body(until: "endmacro")
    loops = outer
    return .macro(title, TemplateMacro(name: title, parameters: parameters, body: body))
  }

  private mutating func scope() throws -> TemplateStatement {
    var values: [(String, TemplateExpression)] = []
    while peek.kind != .blockEnd {
      if !values.isEmpty { try expect(",") }
      let variable = try name()
      try expect("=")
      values.append((variable, try expression()))
    }
    return .scoped(values, try body(until: "endwith"))
  }
}
