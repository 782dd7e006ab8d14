// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// Where a row stands, for the message of an error about it.
public struct DataPlace: Sendable, Hashable {
  /// The file, as it was named.
  public var file: String
  /// The line, from 1.
  public var line: Int

  /// Names a line of a file.
  public init(_ url: URL, line: Int) {
    self.init(file: url.relativePath, line: line)
  }

  /// Names a line of a file.
  public init(file: String, line: Int) {
    self.file = file
    self.line = line
  }

  /// An error at this place, in one line: `FILE:LINE: what`.
  public func error(_ what: String) -> DataError {
    DataError(.badData, "\(file):\(line): \(what.replacing("\n", with: "\\n"))")
  }

  /// What an error says is wrong, without this place in front of it.
  package func reason(of error: DataError) -> String {
    let prefix = self.error("").message
    return error.message.hasPrefix(prefix)
      ? String(error.message.dropFirst(prefix.count)) : error.message
  }
}

extension JSONValue {
  /// The field of that name, nil where it is missing or null.
  package func present(_ key: String) -> JSONValue? {
    guard let value = self[key], value != .null else { return nil }
    return value
  }

  /// The string under a key.
  func string(_ key: String, at place: DataPlace) throws -> String {
    try required(key, "a string", \.asString, at: place)
  }

  /// The string under a key, nil where it is missing or null.
  package func optionalString(_ key: String, at place: DataPlace) throws -> String? {
    present(key) == nil ? nil : try string(key, at: place)
  }

  /// The list under a key.
  func array(_ key: String, at place: DataPlace) throws -> [JSONValue] {
    try required(key, "a list", \.asArray, at: place)
  }

  private func required<Value>(
    _ key: String, _ kind: String, _ read: (JSONValue) -> Value?, at place: DataPlace
  ) throws -> Value {
    guard let value = self[key] else { throw place.error("key \"\(key)\" is missing") }
    guard let found = read(value) else {
      throw place.error("key \"\(key)\" must be \(kind), not \(value.kindName)")
    }
    return found
  }

  /// The finite number under a key, nil where it is missing or null.
  package func optionalDouble(_ key: String, at place: DataPlace) throws -> Double? {
    try present(key)?.finite("key \"\(key)\"", at: place)
  }

  /// The whole number under a key, nil where it is missing or null.
  package func optionalInt(_ key: String, at place: DataPlace) throws -> Int? {
    guard let value = present(key) else { return nil }
    guard let number = value.asInt else {
      throw place.error("key \"\(key)\" must be a whole number")
    }
    return number
  }

  /// `true`/`false` under a key, 1 and 0 too.
  package func bool(_ key: String, at place: DataPlace) throws -> Bool {
    switch self[key] {
    case .bool(let value): return value
    case .number("1"): return true
    case .number("0"): return false
    case nil: throw place.error("key \"\(key)\" is missing")
    case let value?:
      throw place.error("key \"\(key)\" must be true or false, not \(value.kindName)")
    }
  }

  /// This value as a finite number.
  func finite(_ name: String, at place: DataPlace) throws -> Double {
    guard case .number(let text) = self else {
      throw place.error("\(name) must be a number, not \(kindName)")
    }
    guard let number = Double(text), number.isFinite else {
      throw place.error("\(name) is too large a number: \(text.prefix(40))")
    }
    return number
  }
}
