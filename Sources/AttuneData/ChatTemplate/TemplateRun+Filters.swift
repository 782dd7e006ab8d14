// SPDX-License-Identifier: Apache-2.0

/// The filters after `|`.
extension TemplateRun {
  func filter(
    _ name: String, _ value: TemplateValue, _ arguments: Arguments
  ) throws -> TemplateValue {
    try spend()
    switch name {
    case "trim":
      var characters: String?
      if case .text(let given)? = arguments[0, "chars"] { characters = given.string }
      let text = value.asText
      try spend(text.size)
      return .text(text.stripped(characters))
    case "tojson":
      return .text(try checked(try JSONForm(self, arguments).text(of: value)))
    case "string":
      if case .undefined = value { return .string("") }
      return .text(value.asText)
    case "length", "count": return .int(try count(of: value))
    case "default", "d":
      let fallback = arguments[0, "default_value"] ?? .string("")
      if case .undefined = value { return fallback }
      return arguments[1, "boolean"]?.isTrue == true && !value.isTrue ? fallback : value
    case "upper": return .text(value.asText.mapped { $0.uppercased() })
    case "lower": return .text(value.asText.mapped { $0.lowercased() })
    case "capitalize", "title": return .text(cased(value.asText, everyWord: name == "title"))
    case "replace":
      guard case .text(let old)? = arguments[0, "old"], case .text(let new)? = arguments[1, "new"]
      else { throw fail("replace needs two strings") }
      return .text(try replaced(value.asText, old, new, arguments[2, "count"]?.integer))
    case "join":
      let parts = try chosen(value, arguments[1, "attribute"]).map(\.asText)
      return .text(try joined(parts, by: arguments[0, "d"]?.asText ?? TemplateText()))
    case "list": return try checked(try items(of: value))
    case "items":
      if case .undefined = value { return .list([]) }
      guard case .dictionary(let fields) = value else { throw fail("items of \(value.typeName)") }
      return .list(fields.map { .list([.text($0.key), $0.value]) })
    case "dictsort":
      guard case .dictionary(let fields) = value else {
        throw fail("dictsort of \(value.typeName)")
      }
      let sorted = fields.sorted { $0.key.string.lowercased() < $1.key.string.lowercased() }
      return .list(sorted.map { .list([.text($0.key), $0.value]) })
    case "first": return try items(of: value).first ?? .undefined("first item")
    case "last": return try items(of: value).last ?? .undefined("last item")
    case "reverse":
      if case .text(let text) = value { return .text(TemplateText(text.scalars.reversed())) }
      return .list(try items(of: value).reversed())
    case "select", "reject", "selectattr", "rejectattr", "map", "sort", "unique", "sum", "min",
      "max":
      return try sequence(name, value, arguments)
    case "int":
      if case .text(let text) = value { return .int(Int(text.stripped().string) ?? 0) }
      return .int(value.number.flatMap { Int(exactly: $0.rounded(.towardZero)) } ?? 0)
    case "float":
      if case .text(let text) = value { return .double(Double(text.stripped().string) ?? 0) }
      return .double(value.number ?? 0)
    case "abs":
      guard let number = value.number else { throw fail("abs of \(value.typeName)") }
      return number < 0 ? try negated(value) : value
    case "indent": return .text(try indented(value.asText, arguments))
    case "safe": return value
    default: throw fail("the filter \(name) is not interpreted")
    }
  }

  private func count(of value: TemplateValue) throws -> Int {
    switch value {
    case .undefined: return 0
    case .list(let values): return values.count
    case .dictionary(let fields): return fields.count
    case .text(let text):
      try spend(text.size)
      return text.pieces.reduce(0) { $0 + $1.text.unicodeScalars.count }
    default: throw fail("length of \(value.typeName)")
    }
  }

  private func cased(_ text: TemplateText, everyWord: Bool) -> TemplateText {
    var isStart = true
    return text.mapped { part in
      var result = ""
      for character in part {
        result += isStart ? character.uppercased() : character.lowercased()
        isStart = everyWord && (character.isWhitespace || "-({[<".contains(character))
      }
      return result
    }
  }

  private func indented(_ text: TemplateText, _ arguments: Arguments) throws -> TemplateText {
    let width = arguments[0, "width"]?.integer ?? 4
    guard (0...1000).contains(width) else { throw fail("indent by \(width)") }
    let space = TemplateText(String(repeating: " ", count: width))
    let first = arguments[1, "first"]?.isTrue ?? false
    let blank = arguments[2, "blank"]?.isTrue ?? false
    var parts = text.split(at: TemplateText("\n"), limit: .max)
    for i in parts.indices where i == 0 ? first : blank || !parts[i].isEmpty {
      parts[i] = space + parts[i]
    }
    return try joined(parts, by: TemplateText("\n"))
  }

  /// The items of a value, or the named field of each.
  private func chosen(
    _ value: TemplateValue, _ attribute: TemplateValue?
  ) throws -> [TemplateValue] {
    let items = try items(of: value)
    guard let attribute else { return items }
    return try items.map { try field(attribute, of: $0) }
  }

  /// A field by a path such as `function.name`.
  private func field(_ path: TemplateValue, of item: TemplateValue) throws -> TemplateValue {
    guard case .text(let text) = path else { return try self.item(path, of: item, line) }
    return try text.split(at: TemplateText("."), limit: .max).reduce(item) { value, name in
      try self.item(Int(name.string).map { .int($0) } ?? .text(name), of: value, line)
    }
  }

  private func sequence(
    _ name: String, _ value: TemplateValue, _ arguments: Arguments
  ) throws -> TemplateValue {
    // Jinja goes through the value of these only where it is true: of none they make an empty list.
    let isLazy = ["select", "reject", "selectattr", "rejectattr", "map"].contains(name)
    if isLazy, !value.isTrue { return .list([]) }
    let items = try items(of: value)
    try spend(items.count * 64)
    switch name {
    case "select", "reject", "selectattr", "rejectattr":
      let byField = name.hasSuffix("attr")
      let wanted = name.hasPrefix("select")
      var rest = arguments.positional
      guard !byField || !rest.isEmpty else { throw fail("\(name) needs a field's name") }
      let path = byField ? rest.removeFirst() : nil
      let test = rest.isEmpty ? nil : rest.removeFirst().asText.string
      return .list(
        try items.filter { item in
          let value = try path.map { try field($0, of: item) } ?? item
          let holds = try test.map { try self.test($0, value, rest) } ?? value.isTrue
          return holds == wanted
        })
    case "map":
      if let attribute = arguments.named.last(where: { $0.name == "attribute" })?.value {
        let fallback = arguments.named.last { $0.name == "default" }?.value
        return .list(
          try items.map { item in
            let value = try field(attribute, of: item)
            if case .undefined = value { return fallback ?? value }
            return value
          })
      }
      guard let first = arguments.positional.first else { throw fail("map needs a filter") }
      var inner = Arguments(positional: Array(arguments.positional.dropFirst()))
      inner.named = arguments.named
      return .list(try items.map { try filter(first.asText.string, $0, inner) })
    case "unique":
      guard items.count <= 10_000 else { throw fail("unique of over 10,000 items") }
      try spend(items.count * items.count * 16)
      return .list(
        items.reduce(into: []) { kept, item in
          if !kept.contains(where: { $0.equals(item) }) { kept.append(item) }
        })
    case "sum":
      return try chosen(value, arguments[0, "attribute"]).reduce(
        arguments[1, "start"] ?? .int(0)
      ) { try arithmetic("+", $0, $1) }
    default:
      return try ordered(name, items, arguments)
    }
  }

  /// `sort`, `min` and `max`, of strings without regard to case unless told otherwise.
  private func ordered(
    _ name: String, _ items: [TemplateValue], _ arguments: Arguments
  ) throws -> TemplateValue {
    guard items.count <= 100_000 else { throw fail("\(name) of over 100,000 items") }
    func argument(_ index: Int, _ key: String) -> TemplateValue? {
      arguments[name == "sort" ? index : .max, key]
    }
    let keepsCase = argument(1, "case_sensitive")?.isTrue ?? false
    let attribute = argument(2, "attribute")
    let keyed = try items.map { item -> (key: TemplateValue, item: TemplateValue) in
      let key = try attribute.map { try field($0, of: item) } ?? item
      guard case .text(let text) = key, !keepsCase else { return (key, item) }
      return (.text(text.mapped { $0.lowercased() }), item)
    }
    let sorted = try keyed.enumerated().sorted { a, b in
      guard let before = a.element.key.precedes(b.element.key),
        let after = b.element.key.precedes(a.element.key)
      else {
        throw fail("\(a.element.key.typeName) and \(b.element.key.typeName) have no order")
      }
      // Equal keys keep their places.
      return before || (!after && a.offset < b.offset)
    }.map(\.element.item)
    switch name {
    case "min": return sorted.first ?? .undefined("least item")
    case "max": return sorted.last ?? .undefined("greatest item")
    default: return .list(argument(0, "reverse")?.isTrue == true ? sorted.reversed() : sorted)
    }
  }
}
