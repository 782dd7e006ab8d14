// SPDX-License-Identifier: Apache-2.0

/// Expressions, from the loosest binding to the tightest: inline if, or, and, not, comparison,
/// + −, ~, * / // %, **, sign, then calls, fields, filters and tests.
extension TemplateParser {
  private func node(
    _ kind: TemplateExpression.Kind, _ line: Int, _ children: [TemplateExpression?]
  ) throws -> TemplateExpression {
    let height = 1 + (children.map { $0?.height ?? 0 }.max() ?? 0)
    guard height <= Self.deepest else {
      throw fail("an expression has more than \(Self.deepest) levels", line: line)
    }
    return TemplateExpression(kind: kind, line: line, height: height)
  }

  /// One expression, or several with commas between, which make a list.
  mutating func tuple(conditional: Bool = true) throws -> TemplateExpression {
    let start = line
    var parts = [try conditional ? expression() : disjunction()]
    guard peek.kind == .symbol(",") else { return parts[0] }
    while accept(",") {
      switch peek.kind {
      case .blockEnd, .outputEnd: break
      default: parts.append(try conditional ? expression() : disjunction())
      }
    }
    return try node(.list(parts), start, parts)
  }

  mutating func expression() throws -> TemplateExpression {
    try nested { parser in
      var value = try parser.disjunction()
      while parser.accept(word: "if") {
        let line = parser.line
        let condition = try parser.disjunction()
        let otherwise = parser.accept(word: "else") ? try parser.expression() : nil
        value = try parser.node(
          .conditional(then: value, when: condition, otherwise: otherwise), line,
          [value, condition, otherwise])
      }
      return value
    }
  }

  private mutating func disjunction() throws -> TemplateExpression {
    var left = try conjunction()
    while peek.kind == .name("or") {
      let line = next().line
      let right = try conjunction()
      left = try node(.or(left, right), line, [left, right])
    }
    return left
  }

  private mutating func conjunction() throws -> TemplateExpression {
    var left = try negation()
    while peek.kind == .name("and") {
      let line = next().line
      let right = try negation()
      left = try node(.and(left, right), line, [left, right])
    }
    return left
  }

  private mutating func negation() throws -> TemplateExpression {
    guard peek.kind == .name("not") else { return try comparison() }
    let line = next().line
    let value = try nested { try $0.negation() }
    return try node(.not(value), line, [value])
  }

  private mutating func comparison() throws -> TemplateExpression {
    let start = line
    let first = try sum()
    var rest: [(String, TemplateExpression)] = []
    while true {
      switch peek.kind {
      case .symbol(let symbol) where ["==", "!=", "<", "<=", ">", ">="].contains(symbol):
        _ = next()
        rest.append((symbol, try sum()))
        continue
      case .name("in"):
        _ = next()
        rest.append(("in", try sum()))
        continue
      case .name("not") where ahead(1) == .name("in"):
        _ = next()
        _ = next()
        rest.append(("not in", try sum()))
        continue
      default: break
      }
      break
    }
    return rest.isEmpty
      ? first : try node(.compare(first, rest), start, [first] + rest.map { $0.1 })
  }

  private mutating func chain(
    _ symbols: [String], _ operand: (inout TemplateParser) throws -> TemplateExpression
  ) throws -> TemplateExpression {
    var left = try operand(&self)
    while case .symbol(let symbol) = peek.kind, symbols.contains(symbol) {
      let line = next().line
      let right = try operand(&self)
      left = try node(.binary(symbol, left, right), line, [left, right])
    }
    return left
  }

  private mutating func sum() throws -> TemplateExpression {
    try chain(["+", "-"]) { parser in
      try parser.chain(["~"]) { parser in
        try parser.chain(["*", "/", "//", "%"]) { parser in
          try parser.chain(["**"]) { try $0.signed(filtered: true) }
        }
      }
    }
  }

  private mutating func signed(filtered: Bool) throws -> TemplateExpression {
    var value: TemplateExpression
    if peek.kind == .symbol("-") || peek.kind == .symbol("+") {
      let token = next()
      value = try nested { try $0.signed(filtered: false) }
      if token.kind == .symbol("-") { value = try node(.negative(value), token.line, [value]) }
    } else {
      value = try postfix(try primary())
    }
    return filtered ? try filters(value) : value
  }

  private mutating func primary() throws -> TemplateExpression {
    let token = next()
    switch token.kind {
    case .name(let name):
      switch name {
      case "true", "True": return try node(.literal(.bool(true)), token.line, [])
      case "false", "False": return try node(.literal(.bool(false)), token.line, [])
      case "none", "None": return try node(.literal(.none), token.line, [])
      default: return try node(.name(name), token.line, [])
      }
    case .string(var text):
      // Strings side by side are one.
      while case .string(let more) = peek.kind {
        text += more
        _ = next()
      }
      return try node(.literal(.string(text)), token.line, [])
    case .integer(let value): return try node(.literal(.int(value)), token.line, [])
    case .float(let value): return try node(.literal(.double(value)), token.line, [])
    case .symbol("("):
      return try nested { parser in
        if parser.accept(")") { return try parser.node(.list([]), token.line, []) }
        var parts = [try parser.expression()]
        var isList = false
        while parser.accept(",") {
          isList = true
          if parser.peek.kind == .symbol(")") { break }
          parts.append(try parser.expression())
        }
        try parser.expect(")")
        return isList ? try parser.node(.list(parts), token.line, parts) : parts[0]
      }
    case .symbol("["):
      return try nested { parser in
        var parts: [TemplateExpression] = []
        while !parser.accept("]") {
          if !parts.isEmpty {
            try parser.expect(",")
            if parser.accept("]") { break }
          }
          parts.append(try parser.expression())
        }
        return try parser.node(.list(parts), token.line, parts)
      }
    case .symbol("{"):
      return try nested { parser in
        var entries: [(TemplateExpression, TemplateExpression)] = []
        while !parser.accept("}") {
          if !entries.isEmpty {
            try parser.expect(",")
            if parser.accept("}") { break }
          }
          let key = try parser.expression()
          try parser.expect(":")
          entries.append((key, try parser.expression()))
        }
        return try parser.node(
          .dictionary(entries), token.line, entries.flatMap { [$0.0, $0.1] })
      }
    default:
      throw DataError(
        .badTemplate, "chat template line \(token.line): expected a value in an expression")
    }
  }

  private mutating func postfix(_ start: TemplateExpression) throws -> TemplateExpression {
    var value = start
    while true {
      let line = line
      if accept(".") {
        if case .integer(let index) = peek.kind {
          _ = next()
          let item = try node(.literal(.int(index)), line, [])
          value = try node(.item(value, item), line, [value])
        } else {
          value = try node(.attribute(value, try name()), line, [value])
        }
      } else if accept("[") {
        value = try nested { try $0.subscripted(value, line) }
      } else if peek.kind == .symbol("(") {
        let arguments = try arguments()
        value = try node(.call(value, arguments), line, [value] + arguments.map(\.value))
      } else {
        return value
      }
    }
  }

  private mutating func subscripted(
    _ value: TemplateExpression, _ line: Int
  ) throws -> TemplateExpression {
    var parts: [TemplateExpression?] = [nil, nil, nil]
    var part = 0
    while !accept("]") {
      if accept(":") {
        part += 1
        if part > 2 { throw fail("a slice has three parts at most") }
      } else {
        guard parts[part] == nil else { throw fail("expected ], found \(found)") }
        parts[part] = try expression()
      }
    }
    if part == 0 {
      guard let index = parts[0] else { throw fail("empty brackets") }
      return try node(.item(value, index), line, [value, index])
    }
    return try node(
      .slice(value, from: parts[0], to: parts[1], by: parts[2]), line, [value] + parts)
  }

  mutating func arguments() throws -> [TemplateArgument] {
    try nested { parser in
      try parser.expect("(")
      var result: [TemplateArgument] = []
      while !parser.accept(")") {
        if !result.isEmpty {
          try parser.expect(",")
          if parser.accept(")") { break }
        }
        // In Jinja's order: without a name, then * and names, then **.
        let isClosed = result.contains { $0.spread == .dictionary }
        if case .name(let name) = parser.peek.kind, parser.ahead(1) == .symbol("=") {
          guard !isClosed else { throw parser.fail("an argument after **") }
          _ = parser.next()
          _ = parser.next()
          result.append(TemplateArgument(name: name, value: try parser.expression()))
        } else if parser.accept("*") {
          guard !isClosed, !result.contains(where: { $0.spread == .list }) else {
            throw parser.fail("a second * or one after **")
          }
          result.append(TemplateArgument(spread: .list, value: try parser.expression()))
        } else if parser.accept("**") {
          guard !isClosed else { throw parser.fail("a second **") }
          result.append(TemplateArgument(spread: .dictionary, value: try parser.expression()))
        } else {
          guard result.allSatisfy({ $0.name == nil && $0.spread == nil }) else {
            throw parser.fail("an argument without a name after one with a name, * or **")
          }
          result.append(TemplateArgument(value: try parser.expression()))
        }
      }
      return result
    }
  }

  /// Filters, tests and further calls behind a value.
  private mutating func filters(_ start: TemplateExpression) throws -> TemplateExpression {
    var value = start
    while true {
      let line = line
      if accept("|") {
        let filter = try name()
        let arguments = peek.kind == .symbol("(") ? try arguments() : []
        value = try node(.filter(value, filter, arguments), line, [value] + arguments.map(\.value))
      } else if accept(word: "is") {
        let isNegated = accept(word: "not")
        let test = try name()
        let operands = try testOperands()
        value = try node(.test(value, test, operands), line, [value] + operands)
        if isNegated { value = try node(.not(value), line, [value]) }
      } else if peek.kind == .symbol("(") {
        let arguments = try arguments()
        value = try node(.call(value, arguments), line, [value] + arguments.map(\.value))
      } else {
        return value
      }
    }
  }

  private mutating func testOperands() throws -> [TemplateExpression] {
    switch peek.kind {
    case .symbol("("):
      let given = try arguments()
      guard given.allSatisfy({ $0.spread == nil }) else {
        throw fail("* and ** are not interpreted behind is")
      }
      return given.map(\.value)
    case .string, .integer, .float, .symbol("["), .symbol("{"):
      return [try postfix(try primary())]
    case .name(let name)
    where !["else", "or", "and", "is", "if", "in", "not", "recursive"].contains(name):
      return [try postfix(try primary())]
    default: return []
    }
  }
}
