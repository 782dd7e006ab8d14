// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// A value with one written form as a JSON object: a row of one of Attune's own files. Its `Codable`
/// conformance is the same form, so that it can stand inside other coded values.
public protocol JSONRow: Codable, Sendable {
  /// Reads the object.
  ///
  /// - Throws: ``DataError`` that names place and key.
  init(json: JSONValue, at place: DataPlace) throws
  /// The object, its keys in the order of the format's description.
  var json: JSONValue { get }
}

extension JSONRow {
  /// Reads the object that a decoder holds.
  public init(from decoder: any Decoder) throws {
    try self.init(json: JSONValue(from: decoder), at: DataPlace(file: "value", line: 1))
  }

  /// Writes the object.
  public func encode(to encoder: any Encoder) throws { try json.encode(to: encoder) }

  /// Reads every row of a file.
  public static func read(_ url: URL) throws -> [Self] {
    var rows: [Self] = []
    try JSONLines.forEach(in: url) { rows.append(try Self(json: $0, at: $1)) }
    return rows
  }
}

extension Message: JSONRow {
  /// Reads `{"role", "content"}` or `{"from", "value"}`.
  public init(json: JSONValue, at place: DataPlace) throws {
    try self.init(json, name: "message", at: place)
  }
}

extension Content: Codable {
  /// Reads a string or a list of messages.
  public init(from decoder: any Decoder) throws {
    try self.init(
      JSONValue(from: decoder), name: "content", at: DataPlace(file: "value", line: 1))
  }

  /// Writes the string or the list of messages.
  public func encode(to encoder: any Encoder) throws { try json.encode(to: encoder) }
}

extension JSONValue: Codable {
  private struct Key: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  /// Reads any JSON value; the order of keys is the decoder's, sorted.
  public init(from decoder: any Decoder) throws {
    if let fields = try? decoder.container(keyedBy: Key.self) {
      self = .object(
        try fields.allKeys.sorted { $0.stringValue < $1.stringValue }.map {
          Field($0.stringValue, try fields.decode(JSONValue.self, forKey: $0))
        })
    } else if var list = try? decoder.unkeyedContainer() {
      var values: [JSONValue] = []
      while !list.isAtEnd { values.append(try list.decode(JSONValue.self)) }
      self = .array(values)
    } else {
      let single = try decoder.singleValueContainer()
      if single.decodeNil() {
        self = .null
      } else if let value = try? single.decode(Bool.self) {
        self = .bool(value)
      } else if let value = try? single.decode(Int.self) {
        self = .int(value)
      } else if let value = try? single.decode(Double.self) {
        self = .double(value)
      } else {
        self = .string(try single.decode(String.self))
      }
    }
  }

  /// Writes the value.
  public func encode(to encoder: any Encoder) throws {
    switch self {
    case .object(let fields):
      var container = encoder.container(keyedBy: Key.self)
      for field in fields {
        try container.encode(field.value, forKey: Key(stringValue: field.key))
      }
    case .array(let values):
      var container = encoder.unkeyedContainer()
      for value in values { try container.encode(value) }
    default:
      var container = encoder.singleValueContainer()
      switch self {
      case .bool(let value): try container.encode(value)
      case .string(let value): try container.encode(value)
      case .number(let text):
        if let value = Int(text) {
          try container.encode(value)
        } else {
          try container.encode(Double(text) ?? 0)
        }
      default: try container.encodeNil()
      }
    }
  }
}
