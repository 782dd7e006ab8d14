// SPDX-License-Identifier: Apache-2.0

/// A JSON value as it stood in its file: keys keep their order and numbers their digits, so that a
/// row can be written again with one field more and nothing else changed.
public enum JSONValue: Sendable, Hashable {
  /// `null`.
  case null
  /// `true` or `false`.
  case bool(Bool)
  /// A number, by its text.
  case number(String)
  /// A string.
  case string(String)
  /// An array.
  case array([JSONValue])
  /// An object; of two fields of one name the later one counts.
  case object([Field])

  /// One field of an object.
  public struct Field: Sendable, Hashable {
    /// The name.
    public var key: String
    /// What it holds.
    public var value: JSONValue

    /// Makes a field.
    public init(_ key: String, _ value: JSONValue) {
      self.key = key
      self.value = value
    }
  }

  /// A whole number.
  public static func int(_ value: Int) -> JSONValue { .number(String(value)) }

  /// A number in the fewest digits that read back as the same number; `null` where it is not
  /// finite, since JSON has no such numbers.
  public static func double(_ value: Double) -> JSONValue {
    guard value.isFinite else { return .null }
    if value == value.rounded(), abs(value) < 1e15 { return .number(String(Int(value))) }
    return .number("\(value)")
  }

  /// The value of a field of an object, nil where there is none.
  public subscript(key: String) -> JSONValue? {
    guard case .object(let fields) = self else { return nil }
    return fields.last { $0.key == key }?.value
  }

  /// The fields of an object, empty for anything else.
  public var fields: [Field] { asFields ?? [] }

  package var asString: String? { if case .string(let value) = self { value } else { nil } }
  package var asBool: Bool? { if case .bool(let value) = self { value } else { nil } }
  package var asInt: Int? { if case .number(let text) = self { Int(text) } else { nil } }
  package var asDouble: Double? { if case .number(let text) = self { Double(text) } else { nil } }
  package var asArray: [JSONValue]? { if case .array(let values) = self { values } else { nil } }
  package var asFields: [Field]? { if case .object(let fields) = self { fields } else { nil } }

  /// This object with a field set: in its place where it was, else at the end.
  public func setting(_ key: String, _ value: JSONValue) -> JSONValue {
    var fields = fields
    if let at = fields.lastIndex(where: { $0.key == key }) {
      fields[at].value = value
    } else {
      fields.append(Field(key, value))
    }
    return .object(fields)
  }

  /// What kind of value this is, as an error message says it.
  public var kindName: String {
    switch self {
    case .null: "null"
    case .bool: "true or false"
    case .number: "a number"
    case .string: "a string"
    case .array: "a list"
    case .object: "an object"
    }
  }
}

extension JSONValue {
  /// The value as one line of JSON, UTF-8, with no spaces.
  public var text: String {
    var bytes: [UInt8] = []
    write(into: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Appends the value as JSON.
  func write(into bytes: inout [UInt8]) {
    switch self {
    case .null: bytes += Array("null".utf8)
    case .bool(let value): bytes += Array((value ? "true" : "false").utf8)
    case .number(let text): bytes += Array(text.utf8)
    case .string(let text): Self.write(text, into: &bytes)
    case .array(let values):
      bytes.append(UInt8(ascii: "["))
      for (i, value) in values.enumerated() {
        if i > 0 { bytes.append(UInt8(ascii: ",")) }
        value.write(into: &bytes)
      }
      bytes.append(UInt8(ascii: "]"))
    case .object(let fields):
      bytes.append(UInt8(ascii: "{"))
      for (i, field) in fields.enumerated() {
        if i > 0 { bytes.append(UInt8(ascii: ",")) }
        Self.write(field.key, into: &bytes)
        bytes.append(UInt8(ascii: ":"))
        field.value.write(into: &bytes)
      }
      bytes.append(UInt8(ascii: "}"))
    }
  }

  /// The value on lines of its own, two spaces deeper at each level.
  package var indented: String {
    var bytes: [UInt8] = []
    write(into: &bytes, level: 0)
    return String(decoding: bytes, as: UTF8.self)
  }

  private func write(into bytes: inout [UInt8], level: Int) {
    func line(_ level: Int) {
      bytes.append(0x0A)
      bytes += repeatElement(0x20, count: 2 * level)
    }
    switch self {
    case .array(let values) where !values.isEmpty:
      bytes.append(UInt8(ascii: "["))
      for (i, value) in values.enumerated() {
        if i > 0 { bytes.append(UInt8(ascii: ",")) }
        line(level + 1)
        value.write(into: &bytes, level: level + 1)
      }
      line(level)
      bytes.append(UInt8(ascii: "]"))
    case .object(let fields) where !fields.isEmpty:
      bytes.append(UInt8(ascii: "{"))
      for (i, field) in fields.enumerated() {
        if i > 0 { bytes.append(UInt8(ascii: ",")) }
        line(level + 1)
        Self.write(field.key, into: &bytes)
        bytes += ": ".utf8
        field.value.write(into: &bytes, level: level + 1)
      }
      line(level)
      bytes.append(UInt8(ascii: "}"))
    default: write(into: &bytes)
    }
  }

  private static func write(_ text: String, into bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "\""))
    escape(text, into: &bytes)
    bytes.append(UInt8(ascii: "\""))
  }

  /// Appends a string's text as it stands between the quotes: Python's `json.dumps` with
  /// `ensure_ascii` off escapes the same characters in the same way.
  static func escape(_ text: String, into bytes: inout [UInt8]) {
    let hex = Array("0123456789abcdef".utf8)
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""): bytes += [92, 34]
      case UInt8(ascii: "\\"): bytes += [92, 92]
      case 0x08: bytes += [92, UInt8(ascii: "b")]
      case 0x0C: bytes += [92, UInt8(ascii: "f")]
      case 0x0A: bytes += [92, UInt8(ascii: "n")]
      case 0x0D: bytes += [92, UInt8(ascii: "r")]
      case 0x09: bytes += [92, UInt8(ascii: "t")]
      case 0..<0x20:
        bytes += [92, UInt8(ascii: "u"), 48, 48, hex[Int(byte >> 4)], hex[Int(byte & 15)]]
      default: bytes.append(byte)
      }
    }
  }
}
