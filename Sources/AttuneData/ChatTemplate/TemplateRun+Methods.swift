// SPDX-License-Identifier: Apache-2.0

/// Methods of strings and mappings, and the tests after `is`.
extension TemplateRun {
  static let textMethods: Set<String> = [
    "strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "startswith", "endswith",
    "replace", "upper", "lower", "title", "capitalize", "find", "rfind", "count", "join", "isdigit",
    "removeprefix", "removesuffix",
  ]

  func method(
    _ name: String, of receiver: TemplateValue, _ arguments: Arguments
  ) throws -> TemplateValue {
    switch receiver {
    case .text(let text):
      try spend(text.size)
      return try method(name, of: text, arguments)
    case .dictionary(let fields):
      switch name {
      case "items": return .list(fields.map { .list([.text($0.key), $0.value]) })
      case "keys": return .list(fields.map { .text($0.key) })
      case "values": return .list(fields.map(\.value))
      default:
        guard case .text(let key)? = arguments[0, "key"] else { return .none }
        return receiver.field(key.string) ?? arguments[1, "default"] ?? .none
      }
    case .loop(let loop) where name == "cycle":
      guard !arguments.positional.isEmpty else { throw fail("loop.cycle needs values") }
      return arguments.positional[loop.index % arguments.positional.count]
    default: throw fail("\(receiver.typeName) has no method \(name)")
    }
  }

  private func text(_ value: TemplateValue?, _ method: String) throws -> TemplateText {
    guard case .text(let text)? = value else { throw fail("\(method) needs a string") }
    return text
  }

  private func method(
    _ name: String, of text: TemplateText, _ arguments: Arguments
  ) throws -> TemplateValue {
    switch name {
    case "strip", "lstrip", "rstrip":
      var characters: String?
      if case .text(let given)? = arguments[0, "chars"] { characters = given.string }
      return .text(
        text.stripped(characters, left: name != "rstrip", right: name != "lstrip"))
    case "split": return try split(text, arguments)
    case "rsplit":
      let separator = try self.text(arguments[0, "sep"], name)
      guard !separator.isEmpty else { throw fail("rsplit at an empty string") }
      let limit = arguments[1, "maxsplit"]?.integer ?? -1
      let parts = text.split(at: separator, limit: .max)
      guard limit >= 0, parts.count > limit + 1 else { return try checked(parts.map { .text($0) }) }
      let tail = parts.suffix(limit)
      let head = tail.reduce(text.size) { $0 - $1.size - separator.size }
      return try checked([.text(text.slice(0..<head))] + tail.map { .text($0) })
    case "splitlines":
      var lines = text.split(at: TemplateText("\n"), limit: .max)
      if lines.last?.isEmpty == true { lines.removeLast() }
      return try checked(lines.map { .text($0.stripped("\r", left: false)) })
    case "startswith", "endswith":
      let candidates: [TemplateValue]
      if case .list(let many)? = arguments.positional.first {
        candidates = many
      } else {
        candidates = Array(arguments.positional.prefix(1))
      }
      for candidate in candidates {
        let part = try self.text(candidate, name)
        if name == "startswith" ? text.hasPrefix(part) : text.hasSuffix(part) {
          return .bool(true)
        }
      }
      return .bool(false)
    case "replace":
      return .text(
        try replaced(
          text, try self.text(arguments[0, "old"], name), try self.text(arguments[1, "new"], name),
          arguments[2, "count"]?.integer))
    case "upper": return .text(text.mapped { $0.uppercased() })
    case "lower": return .text(text.mapped { $0.lowercased() })
    case "title", "capitalize": return try filter(name, .text(text), Arguments(positional: []))
    case "find", "rfind", "count":
      let part = try self.text(arguments[0, "sub"], name)
      let places = TemplateText.matches(of: part.utf8, in: text.utf8)
      if name == "count" { return .int(places.count) }
      guard let place = name == "find" ? places.first : places.last else { return .int(-1) }
      return .int(text.slice(0..<place).string.unicodeScalars.count)
    case "join":
      let parts = try items(of: arguments[0, "iterable"] ?? .undefined("join")).map(\.asText)
      return .text(try joined(parts, by: text))
    case "isdigit":
      return .bool(
        !text.isEmpty
          && text.string.unicodeScalars.allSatisfy { $0.properties.numericType == .decimal })
    case "removeprefix":
      let part = try self.text(arguments[0, "prefix"], name)
      return .text(text.hasPrefix(part) ? text.slice(part.size..<text.size) : text)
    case "removesuffix":
      let part = try self.text(arguments[0, "suffix"], name)
      return .text(text.hasSuffix(part) ? text.slice(0..<(text.size - part.size)) : text)
    default: throw fail("the string method \(name) is not interpreted")
    }
  }

  private func split(_ text: TemplateText, _ arguments: Arguments) throws -> TemplateValue {
    let most = arguments[1, "maxsplit"]?.integer ?? -1
    let limit = most < 0 ? Int.max : most
    guard case .text(let separator)? = arguments[0, "sep"] else {
      return try checked(text.splitAtSpace(limit: limit).map { .text($0) })
    }
    guard !separator.isEmpty else { throw fail("split at an empty string") }
    return try checked(text.split(at: separator, limit: limit).map { .text($0) })
  }

  func replaced(
    _ text: TemplateText, _ old: TemplateText, _ new: TemplateText, _ count: Int?
  ) throws -> TemplateText {
    guard !old.isEmpty else { throw fail("replace of an empty string") }
    let limit = count.map { $0 < 0 ? .max : $0 } ?? .max
    // What it will come to is checked before it is made.
    let places = TemplateText.matches(of: old.utf8, in: text.utf8, limit: limit).count
    guard new.size == 0 || places <= Self.mostBytes / new.size else {
      throw fail("a text grows beyond 64 MB")
    }
    return try checked(text.replacing(old, with: new, limit: limit))
  }

  func joined(_ parts: [TemplateText], by separator: TemplateText) throws -> TemplateText {
    let size = parts.reduce(0) { $0 + $1.size }
    guard size <= Self.mostBytes,
      separator.size == 0 || parts.count <= Self.mostBytes / separator.size
    else { throw fail("a text grows beyond 64 MB") }
    var result = TemplateText()
    for (i, part) in parts.enumerated() {
      if i > 0 { result.append(separator) }
      result.append(part)
    }
    return try checked(result)
  }

  func test(_ name: String, _ value: TemplateValue, _ operands: [TemplateValue]) throws -> Bool {
    func operand() throws -> TemplateValue {
      guard let first = operands.first else { throw fail("the test \(name) needs a value") }
      return first
    }
    switch name {
    case "defined", "undefined":
      if case .undefined = value { return name == "undefined" }
      return name == "defined"
    case "none":
      if case .none = value { return true }
      return false
    case "string":
      if case .text = value { return true }
      return false
    case "mapping":
      if case .dictionary = value { return true }
      return false
    case "iterable", "sequence":
      switch value {
      case .text, .list, .dictionary, .undefined: return true
      default: return false
      }
    case "boolean", "true", "false":
      guard case .bool(let flag) = value else { return false }
      return name == "boolean" || flag == (name == "true")
    case "integer":
      if case .int = value { return true }
      return false
    case "float":
      if case .double = value { return true }
      return false
    case "number": return value.number != nil
    case "callable":
      switch value {
      case .macro, .function, .method: return true
      default: return false
      }
    case "eq", "equalto", "==", "sameas": return value.equals(try operand())
    case "ne", "!=": return !value.equals(try operand())
    case "in": return try contains(try operand(), value)
    case "lt", "lessthan": return try holds("<", value, try operand())
    case "le": return try holds("<=", value, try operand())
    case "gt", "greaterthan": return try holds(">", value, try operand())
    case "ge": return try holds(">=", value, try operand())
    case "odd", "even", "divisibleby":
      guard let number = value.integer,
        let divisor = name == "divisibleby" ? try operand().integer : 2, divisor != 0
      else { throw fail("the test \(name) needs a whole number") }
      return (number % divisor == 0) == (name != "odd")
    case "lower", "upper":
      let text = value.asText.string
      return text == (name == "lower" ? text.lowercased() : text.uppercased())
    default: throw fail("the test \(name) is not interpreted")
    }
  }
}
