// SPDX-License-Identifier: Apache-2.0

import AttuneData
package import AttuneFiles
import Foundation

/// Settings before they are a struct: read from what a person wrote, by path, in one line.
extension JSONTree {
  /// Reads JSON as a person writes it.
  ///
  /// - Parameters:
  ///   - text: The JSON text.
  ///   - place: Where it stands, for the error.
  /// - Throws: `TrainingError` with line and column for what is no JSON, and with the path of the key
  ///   for a key that stands twice and for a number that is beyond every number.
  package init(parsing text: String, place: String) throws {
    do {
      self = try Self(JSONValue(parsing: text, place: place), at: "", place: place)
    } catch let error as DataError {
      throw TrainingError(.badSetting, error.message)
    }
  }

  private init(_ json: JSONValue, at path: String, place: String) throws {
    switch json {
    case .null: self = .null
    case .bool(let value): self = .bool(value)
    case .string(let value): self = .string(value)
    case .number(let text):
      if let value = Int(text) {
        self = .int(value)
      } else if let value = UInt64(text) {
        self = .unsigned(value)
      } else if let value = Double(text), value.isFinite {
        self = Int(exactly: value).map { .int($0) } ?? .double(value)
      } else {
        throw TrainingError(
          .badSetting, "\(place): \(path.isEmpty ? "" : path + ": ")\(text) is beyond every number")
      }
    case .array(let values):
      self = .array(try values.map { try Self($0, at: path, place: place) })
    case .object(let fields):
      var members: [String: JSONTree] = [:]
      for field in fields {
        let here = path.isEmpty ? field.key : path + "." + field.key
        guard members[field.key] == nil else {
          throw TrainingError(.badSetting, "\(place): \(here) stands twice")
        }
        members[field.key] = try Self(field.value, at: here, place: place)
      }
      self = .object(members)
    }
  }

  /// The value as one line of JSON with sorted keys.
  package var line: String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(self) else { return "?" }
    return String(decoding: data, as: UTF8.self)
  }

  /// The value's leaves by path (`ppo.learning_rate`), sorted.
  package func leaves(_ path: String = "") -> [(path: String, value: JSONTree)] {
    guard case .object(let members) = self else { return [(path, self)] }
    return members.sorted { $0.key < $1.key }.flatMap { key, value in
      value.leaves(path.isEmpty ? key : path + "." + key)
    }
  }

  /// The value's leaves by path.
  package var byPath: [String: JSONTree] {
    Dictionary(leaves().map { ($0.path, $0.value) }, uniquingKeysWith: { $1 })
  }

  /// The value without members of these names, at any depth.
  package func without(_ names: Set<String>) -> JSONTree {
    guard case .object(let members) = self else { return self }
    return .object(
      members.filter { !names.contains($0.key) }.mapValues { $0.without(names) })
  }

  /// The names of an object's members; none of anything else.
  var memberNames: [String] {
    guard case .object(let members) = self else { return [] }
    return Array(members.keys)
  }

  /// The value at a path with dots.
  package func value(at path: String) -> JSONTree? {
    var value = self
    for key in path.split(separator: ".") {
      guard case .object(let members) = value, let next = members[String(key)] else { return nil }
      value = next
    }
    return value
  }

  /// Puts a value at a path with dots, whose objects must be there.
  package mutating func set(_ value: JSONTree, at path: Substring) {
    guard case .object(var members) = self else { return }
    let parts = path.split(separator: ".", maxSplits: 1)
    guard let key = parts.first.map(String.init) else { return }
    if parts.count == 1 {
      members[key] = value
    } else {
      members[key]?.set(value, at: parts[1])
    }
    self = .object(members)
  }
}
