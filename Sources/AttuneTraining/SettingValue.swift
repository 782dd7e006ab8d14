// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Any JSON value: what settings are before they are a struct.
package enum SettingValue: Codable, Sendable, Equatable {
  case null
  case bool(Bool)
  case int(Int64)
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
    case .double(let value): try container.encode(value)
    case .string(let value): try container.encode(value)
    case .array(let value): try container.encode(value)
    case .object(let value): try container.encode(value)
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
