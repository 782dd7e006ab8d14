// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// The settings of one trainer or stage: a flat struct whose defaults are its initialiser's.
///
/// In a recipe a knob is written in snake case: `learningRate` is `learning_rate`.
public protocol Settings: Codable, Sendable, Equatable {
  /// The defaults.
  init()

  /// Knobs that these settings make without effect, by their names in a recipe, each with why.
  /// Setting one of them is an error.
  var unreadKnobs: [(knob: String, why: String)] { get }

  /// Checks that every knob is in its range.
  ///
  /// - Throws: `TrainingError` that names the knob.
  func validate() throws
}

/// Recipes: settings as a person writes them, in JSON.
public enum ConfigFile {
  /// The settings that a recipe and then the command line's flags lay over the defaults.
  ///
  /// - Parameters:
  ///   - defaults: What holds where nothing is said.
  ///   - url: A JSON file with an object, or none.
  ///   - flags: Knobs given on the command line: the name in a recipe (a path with dots) and its
  ///     value as JSON.
  /// - Throws: `TrainingError` for a file that is no JSON object, for a knob that does not exist
  ///   (with the nearest one that does), for a value of another type or out of range, and for a
  ///   knob that is set but not read.
  public static func settings<S: Settings>(
    _ defaults: S = S(), recipe url: URL? = nil, flags: [(knob: String, json: String)] = []
  ) throws -> S {
    var merged = try value(of: defaults)
    var written: [String] = []
    var source = "the command line"
    if let url {
      source = url.lastPathComponent
      try overlay(try read(url), on: &merged, at: "", source: source, written: &written)
    }
    for flag in flags {
      let name = "--" + flag.knob.replacing("_", with: "-")
      let parsed = try parse(Data(flag.json.utf8), name: name)
      var nested = parsed
      for key in flag.knob.split(separator: ".").reversed() {
        nested = .object([String(key): nested])
      }
      try overlay(nested, on: &merged, at: "", source: name, written: &written)
    }
    let result: S
    do {
      result = try decode(merged, source: source)
    } catch let error {
      // Some decoding errors don't say where: then each knob alone is tried.
      for path in written {
        var alone = try value(of: defaults)
        if let value = merged.value(at: path) { alone.set(value, at: path[...]) }
        guard let _: S = try? decode(alone, source: source) else {
          guard error.message.contains(path) else {
            throw TrainingError(
              .badSetting,
              "\(source): \(path): \(merged.value(at: path)?.line ?? "") does not fit")
          }
          break
        }
      }
      throw error
    }
    for (knob, why) in result.unreadKnobs where written.contains(knob) {
      throw TrainingError(.badSetting, "\(source): \(knob) is set but not read: \(why)")
    }
    try result.validate()
    return result
  }

  /// Settings as a recipe's JSON text, knob by knob.
  ///
  /// - Throws: `TrainingError` if a number is not finite.
  public static func text(_ settings: some Settings) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(try value(of: settings)) else {
      throw TrainingError(.badSetting, "a setting is not a finite number")
    }
    return String(decoding: data, as: UTF8.self) + "\n"
  }

  /// Settings as a JSON value with names in snake case.
  package static func value(of settings: some Encodable) throws -> SettingValue {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    do {
      return try JSONDecoder().decode(SettingValue.self, from: try encoder.encode(settings))
    } catch {
      throw TrainingError(.badSetting, "a setting is not a finite number")
    }
  }

  private static func read(_ url: URL) throws -> SettingValue {
    let data: Data
    do {
      data = try Data(contentsOf: url)
    } catch {
      throw TrainingError(.file, "\(url.path): can't be read: \(reason(error))")
    }
    let value = try parse(data, name: url.path)
    guard case .object = value else {
      throw TrainingError(.badSetting, "\(url.path): a recipe is a JSON object, as {\"seed\": 1}")
    }
    return value
  }

  private static func parse(_ data: Data, name: String) throws -> SettingValue {
    do {
      return try JSONDecoder().decode(SettingValue.self, from: data)
    } catch let DecodingError.dataCorrupted(context) {
      let inner = (context.underlyingError as NSError?)?.userInfo[NSDebugDescriptionErrorKey]
      throw TrainingError(
        .badSetting, "\(name): no JSON: \(inner as? String ?? context.debugDescription)")
    } catch {
      throw TrainingError(.badSetting, "\(name): no JSON: \(error)")
    }
  }

  private static func overlay(
    _ user: SettingValue, on base: inout SettingValue, at path: String, source: String,
    written: inout [String]
  ) throws {
    guard case .object(let theirs) = user, case .object(var ours) = base else {
      base = user
      written.append(path)
      return
    }
    for (key, value) in theirs.sorted(by: { $0.key < $1.key }) {
      let here = path.isEmpty ? key : path + "." + key
      guard var slot = ours[key] else {
        throw TrainingError(
          .badSetting, "\(source): there is no knob \(here)\(hint(for: key, among: ours.keys))")
      }
      if case .object = slot, case .object = value {
      } else if case .object = slot {
        throw TrainingError(.badSetting, "\(source): \(here) takes an object of knobs")
      }
      try overlay(value, on: &slot, at: here, source: source, written: &written)
      ours[key] = slot
    }
    base = .object(ours)
  }

  private static func decode<S: Decodable>(
    _ value: SettingValue, source: String
  ) throws(TrainingError) -> S {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    do {
      return try decoder.decode(S.self, from: try JSONEncoder().encode(value))
    } catch let error as DecodingError {
      let (path, what) = explain(error)
      throw TrainingError(.badSetting, "\(source): \(path): \(what)")
    } catch {
      throw TrainingError(.badSetting, "\(source): \(error)")
    }
  }

  private static func explain(_ error: DecodingError) -> (path: String, what: String) {
    func name(_ context: DecodingError.Context) -> String {
      context.codingPath.map { snakeCase($0.stringValue) }.joined(separator: ".")
    }
    switch error {
    case .typeMismatch(let type, let context):
      return (name(context), "has the wrong type, a value of type \(plain(type)) is wanted")
    case .valueNotFound(let type, let context):
      return (name(context), "is null, a value of type \(plain(type)) is wanted")
    case .keyNotFound(let key, let context):
      return (name(context), "lacks \(snakeCase(key.stringValue))")
    case .dataCorrupted(let context):
      return (name(context), context.debugDescription)
    @unknown default: return ("", "\(error)")
    }
  }

  private static func plain(_ type: any Any.Type) -> String {
    switch "\(type)" {
    case "Double", "Float": "number"
    case "Int", "Int32", "Int64", "UInt64": "whole number"
    case "Bool": "true or false"
    case "String": "text"
    case let other: other.hasPrefix("Array") ? "list" : other
    }
  }

  private static func snakeCase(_ name: String) -> String {
    var text = ""
    for character in name {
      if character.isUppercase { text += "_" }
      text += character.lowercased()
    }
    return text
  }
}

/// `; did you mean X?` for the nearest of the names, or the whole list if it is short.
package func hint(for name: String, among names: some Sequence<String>) -> String {
  let names = names.sorted()
  let near = names.map { ($0, editDistance(name, $0)) }.min { $0.1 < $1.1 }
  if let near, near.1 <= max(2, name.count / 3) { return "; did you mean \(near.0)?" }
  return names.count <= 40 ? "; there are \(names.joined(separator: ", "))" : ""
}

/// How many letters must be put in, left out or replaced to make one text the other.
package func editDistance(_ a: String, _ b: String) -> Int {
  let a = Array(a)
  let b = Array(b)
  var row = Array(0...b.count)
  for i in 0..<a.count {
    var diagonal = row[0]
    row[0] = i + 1
    for j in 0..<b.count {
      let cost = a[i] == b[j] ? diagonal : 1 + min(diagonal, row[j], row[j + 1])
      diagonal = row[j + 1]
      row[j + 1] = cost
    }
  }
  return row[b.count]
}
