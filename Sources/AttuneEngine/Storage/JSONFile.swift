// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
import Foundation

/// A JSON file whose top is an object, read field by field with errors that name file and field.
struct JSONFile: Sendable {
  /// The file, for errors.
  let path: String
  /// What it holds.
  let fields: [String: JSONTree]
  /// Fields that enclose these, for errors: "rope_scaling.".
  private var prefix = ""

  init(path: String, fields: [String: JSONTree]) {
    self.path = path
    self.fields = fields
  }

  /// Reads a file.
  ///
  /// - Throws: `EngineError` if it cannot be read or is no JSON object.
  init(_ url: URL) throws {
    path = url.path
    let data = try StorageFile(url).readAll(limit: 1 << 26)
    do {
      fields = try JSONDecoder().decode([String: JSONTree].self, from: data)
    } catch {
      throw EngineError(.badModel, "\(url.path): is no JSON object")
    }
  }

  /// The enclosed object of that name; nil if absent or null.
  func object(_ key: String) throws -> JSONFile? {
    let inner = try field(key, "an object") { value -> [String: JSONTree]? in
      if case .object(let fields) = value { fields } else { nil }
    }
    guard let inner else { return nil }
    var file = JSONFile(path: path, fields: inner)
    file.prefix = prefix + key + "."
    return file
  }

  func integer(_ key: String) throws -> Int? {
    try field(key, "a whole number") { value in
      switch value {
      case .int(let value): value
      case .double(let value): Int(exactly: value)
      default: nil
      }
    }
  }

  func number(_ key: String) throws -> Double? { try field(key, "a number", \.number) }

  /// A list of numbers, which must be there.
  func numbers(_ key: String) throws -> [Double] {
    guard case .array(let list)? = fields[key] else { throw wrong(key, "a list of numbers") }
    return try list.map {
      guard let number = $0.number else { throw wrong(key, "a list of numbers") }
      return number
    }
  }

  func bool(_ key: String) throws -> Bool? {
    try field(key, "true or false") { if case .bool(let value) = $0 { value } else { nil } }
  }

  func string(_ key: String) throws -> String? {
    try field(key, "a string") { if case .string(let value) = $0 { value } else { nil } }
  }

  /// A field as `read` takes it; nil if absent or null, an error where it is something else.
  private func field<Value>(
    _ key: String, _ expected: String, _ read: (JSONTree) -> Value?
  ) throws -> Value? {
    guard let value = fields[key], value != .null else { return nil }
    guard let found = read(value) else { throw wrong(key, expected) }
    return found
  }

  /// One token id or a list of them.
  func ids(_ key: String) throws -> [Int32] {
    let values: [JSONTree]
    switch fields[key] {
    case nil, .null: return []
    case .array(let list): values = list
    case .some(let one): values = [one]
    }
    return try values.map {
      guard case .int(let value) = $0, let id = Int32(exactly: value) else {
        throw wrong(key, "a token id or a list of them")
      }
      return id
    }
  }

  func required<Value>(_ key: String, _ read: (String) throws -> Value?) throws -> Value {
    guard let value = try read(key) else {
      throw EngineError(.badModel, "\(path): \(prefix)\(key) is missing")
    }
    return value
  }

  func wrong(_ key: String, _ expected: String) -> EngineError {
    EngineError(.badModel, "\(path): \(prefix)\(key) is not \(expected)")
  }

  /// An error about a value that is understood but not supported.
  func refused(_ key: String, _ why: String) -> EngineError {
    EngineError(.badModel, "\(path): \(prefix)\(key): \(why)")
  }
}
