// SPDX-License-Identifier: Apache-2.0

/// A value of the template language, with Python's meaning of truth, equality and order.
indirect enum TemplateValue: Sendable {
  /// A name or field that is not there, by its name.
  case undefined(String)
  case none
  case bool(Bool)
  case int(Int)
  case double(Double)
  case text(TemplateText)
  case list([TemplateValue])
  case dictionary([(key: TemplateText, value: TemplateValue)])
  case namespace(Int)
  case loop(Loop)
  case macro(Int)
  /// A function of the language, such as `raise_exception`.
  case function(String)
  /// A method of a value, such as `message.content.strip`.
  case method(TemplateValue, String)

  /// What `loop` says inside a loop.
  struct Loop: Sendable {
    var index: Int
    var items: [TemplateValue]
  }

  static func string(_ text: String) -> TemplateValue { .text(TemplateText(text)) }

  /// JSON from a row: its strings are data.
  init(_ json: JSONValue, isData: Bool) {
    switch json {
    case .null: self = .none
    case .bool(let value): self = .bool(value)
    case .number(let text): self = Int(text).map { .int($0) } ?? .double(Double(text) ?? 0)
    case .string(let text): self = .text(TemplateText(text, isData: isData))
    case .array(let values): self = .list(values.map { TemplateValue($0, isData: isData) })
    case .object(let fields):
      self = .dictionary(
        fields.map {
          (TemplateText($0.key, isData: isData), TemplateValue($0.value, isData: isData))
        })
    }
  }

  var isTrue: Bool {
    switch self {
    case .undefined, .none: false
    case .bool(let value): value
    case .int(let value): value != 0
    case .double(let value): value != 0
    case .text(let value): !value.isEmpty
    case .list(let values): !values.isEmpty
    case .dictionary(let fields): !fields.isEmpty
    case .namespace, .loop, .macro, .function, .method: true
    }
  }

  var typeName: String {
    switch self {
    case .undefined(let name): "undefined (\(name))"
    case .none: "none"
    case .bool: "a boolean"
    case .int, .double: "a number"
    case .text: "a string"
    case .list: "a list"
    case .dictionary: "a mapping"
    case .namespace: "a namespace"
    case .loop: "the loop"
    case .macro, .function, .method: "a function"
    }
  }

  /// The number, for arithmetic and comparison; a boolean counts as 0 or 1.
  var number: Double? {
    switch self {
    case .bool(let value): value ? 1 : 0
    case .int(let value): Double(value)
    case .double(let value): value
    default: nil
    }
  }

  /// The whole number, where it is one.
  var integer: Int? {
    switch self {
    case .bool(let value): value ? 1 : 0
    case .int(let value): value
    default: nil
    }
  }

  func field(_ name: String) -> TemplateValue? {
    guard case .dictionary(let fields) = self else { return nil }
    return fields.last { $0.key.string.utf8.elementsEqual(name.utf8) }?.value
  }

  func equals(_ other: TemplateValue) -> Bool {
    switch (self, other) {
    case (.undefined, .undefined), (.none, .none): return true
    case (.text(let a), .text(let b)): return a.equals(b)
    case (.list(let a), .list(let b)):
      return a.count == b.count && zip(a, b).allSatisfy { $0.equals($1) }
    case (.dictionary(let a), .dictionary(let b)):
      return a.count == b.count
        && a.allSatisfy { entry in
          other.field(entry.key.string).map { $0.equals(entry.value) } ?? false
        }
    case (.namespace(let a), .namespace(let b)): return a == b
    default:
      if let a = integer, let b = other.integer { return a == b }
      if let a = number, let b = other.number { return a == b }
      return false
    }
  }

  /// Whether this comes before another; nil where the two have no order.
  func precedes(_ other: TemplateValue) -> Bool? {
    switch (self, other) {
    case (.text(let a), .text(let b)): return a.utf8.lexicographicallyPrecedes(b.utf8)
    case (.list(let a), .list(let b)):
      for (x, y) in zip(a, b) where !x.equals(y) { return x.precedes(y) }
      return a.count < b.count
    default:
      guard let a = number, let b = other.number else { return nil }
      return a < b
    }
  }

  /// The value as Python's `str` writes it.
  var asText: TemplateText {
    switch self {
    case .undefined: TemplateText()
    case .text(let value): value
    default: represented
    }
  }

  /// The value as Python's `repr` writes it.
  private var represented: TemplateText {
    switch self {
    case .undefined: return TemplateText("Undefined")
    case .none: return TemplateText("None")
    case .bool(let value): return TemplateText(value ? "True" : "False")
    case .int(let value): return TemplateText(String(value))
    case .double(let value): return TemplateText("\(value)")
    case .text(let value): return Self.quoted(value)
    case .list(let values):
      return Self.joined(values.map(\.represented), "[", "]")
    case .dictionary(let fields):
      return Self.joined(
        fields.map { Self.quoted($0.key) + TemplateText(": ") + $0.value.represented }, "{", "}")
    case .namespace: return TemplateText("<Namespace>")
    case .loop: return TemplateText("<LoopContext>")
    case .macro, .function, .method: return TemplateText("<function>")
    }
  }

  private static func joined(
    _ parts: [TemplateText], _ open: String, _ close: String
  ) -> TemplateText {
    var result = TemplateText(open)
    for (i, part) in parts.enumerated() {
      if i > 0 { result.append(", ", isData: false) }
      result.append(part)
    }
    result.append(close, isData: false)
    return result
  }

  private static func quoted(_ text: TemplateText) -> TemplateText {
    let all = text.string
    let quote = all.contains("'") && !all.contains("\"") ? "\"" : "'"
    let inner = text.mapped { part in
      var result = ""
      for scalar in part.unicodeScalars {
        switch scalar {
        case "\\": result += "\\\\"
        case "\n": result += "\\n"
        case "\r": result += "\\r"
        case "\t": result += "\\t"
        case "'" where quote == "'": result += "\\'"
        default: result.unicodeScalars.append(scalar)
        }
      }
      return result
    }
    return TemplateText(quote) + inner + TemplateText(quote)
  }
}
