// SPDX-License-Identifier: Apache-2.0

import AttuneData
import Foundation

/// Any JSON value: what settings are before they are a struct.
package enum SettingValue: Codable, Sendable, Equatable {
  case null
  case bool(Bool)
  case int(Int64)
  /// A whole number above those of `int`.
  case unsigned(UInt64)
  case double(Double)
  case string(String)
  case array([SettingValue])
  case object([String: SettingValue])

  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Int64.self) {
      self = .int(value)
    } else if let value = try? container.decode(UInt64.self) {
      self = .unsigned(value)
    } else if let value = try? container.decode(Double.self) {
      self = .double(value)
    } else if let value = try? container.decode(String.self) {
      self = .string(value)
    } else if let value = try? container.decode([SettingValue].self) {
      self = .array(value)
    } else {
      self = .object(try container.decode([String: SettingValue].self))
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .null: try container.encodeNil()
    case .bool(let value): try container.encode(value)
    case .int(let value): try container.encode(value)
    case .unsigned(let value): try container.encode(value)
    case .double(let value): try container.encode(value)
    case .string(let value): try container.encode(value)
    case .array(let value): try container.encode(value)
    case .object(let value): try container.encode(value)
    }
  }

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
      if let value = Int64(text) {
        self = .int(value)
      } else if let value = UInt64(text) {
        self = .unsigned(value)
      } else if let value = Double(text), value.isFinite {
        self = Int64(exactly: value).map { .int($0) } ?? .double(value)
      } else {
        throw TrainingError(
          .badSetting, "\(place): \(path.isEmpty ? "" : path + ": ")\(text) is beyond every number")
      }
    case .array(let values):
      self = .array(try values.map { try Self($0, at: path, place: place) })
    case .object(let fields):
      var members: [String: SettingValue] = [:]
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

  /// The value as a number; nil for anything else.
  package var number: Double? {
    switch self {
    case .int(let value): Double(value)
    case .unsigned(let value): Double(value)
    case .double(let value): value
    default: nil
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
  package func leaves(_ path: String = "") -> [(path: String, value: SettingValue)] {
    guard case .object(let members) = self else { return [(path, self)] }
    return members.sorted { $0.key < $1.key }.flatMap { key, value in
      value.leaves(path.isEmpty ? key : path + "." + key)
    }
  }

  /// The value's leaves by path.
  package var byPath: [String: SettingValue] {
    Dictionary(leaves().map { ($0.path, $0.value) }, uniquingKeysWith: { $1 })
  }

  /// The value without members of these names, at any depth.
  package func without(_ names: Set<String>) -> SettingValue {
    guard case .object(let members) = self else { return self }
    return .object(
      members.filter { !names.contains($0.key) }.mapValues { $0.without(names) })
  }

  /// The names of an object's members; none of anything else.
  package var memberNames: [String] {
    guard case .object(let members) = self else { return [] }
    return Array(members.keys)
  }

  /// The value at a path with dots.
  package func value(at path: String) -> SettingValue? {
    var value = self
    for key in path.split(separator: ".") {
      guard case .object(let members) = value, let next = members[String(key)] else { return nil }
      value = next
    }
    return value
  }

  /// Puts a value at a path with dots, whose objects must be there.
  package mutating func set(_ value: SettingValue, at path: Substring) {
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
