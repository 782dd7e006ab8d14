// SPDX-License-Identifier: Apache-2.0

package import AttuneFiles
public import Foundation

/// The settings of one trainer or stage: a struct whose defaults are its initialiser's.
///
/// In a recipe a knob is written in snake case: `learningRate` is `learning_rate`. Those of a
/// `Flattened` group stand among the others.
public protocol Settings: Codable, Sendable, Equatable {
  /// The defaults.
  init()

  /// Every knob, in the order in which a person should meet them: what it means and what it takes.
  static var knobs: [Knob] { get }

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
  /// The settings that a recipe and then the command line lay over the defaults.
  ///
  /// - Parameters:
  ///   - defaults: What holds where nothing is said.
  ///   - url: A JSON file with an object, or none.
  ///   - flags: Knobs given by `--set`: the name in a recipe (a path with dots) and its value as JSON.
  ///   - options: Knobs given by an option of their own: `--learning-rate`, the knob's name in a
  ///     recipe, and its value as JSON.
  /// - Throws: `TrainingError` for a file that is no JSON object, for a knob that does not exist
  ///   (with the nearest one that does) or is given twice, for a value of another type or out of
  ///   range, and for a knob that is set but not read.
  public static func settings<S: Settings>(
    _ defaults: S = S(), recipe url: URL? = nil, flags: [(knob: String, json: String)] = [],
    options: [(option: String, knob: String, json: String)] = []
  ) throws -> S {
    var recipe: (place: String, value: JSONTree)?
    if let url { recipe = (url.relativePath, try read(url)) }
    return try settings(defaults, recipe: recipe, flags: flags, options: options)
  }

  /// The settings that a recipe, read already, and then the command line lay over the defaults.
  package static func settings<S: Settings>(
    _ defaults: S, recipe: (place: String, value: JSONTree)?,
    flags: [(knob: String, json: String)], options: [(option: String, knob: String, json: String)]
  ) throws -> S {
    var layers = Layers(base: try value(of: defaults), knobs: S.knobs)
    if let recipe { try layers.lay(recipe.value, at: "", source: recipe.place) }
    for flag in flags {
      let name = "--set \(flag.knob)"
      try layers.lay(
        try JSONTree(parsing: flag.json, place: name), under: flag.knob, source: name)
    }
    for option in options {
      try layers.lay(
        try JSONTree(parsing: option.json, place: option.option), under: option.knob,
        source: option.option)
    }
    layers.base.followTrainedPart(
      try value(of: defaults), written: Set(layers.sources.keys))
    let result: S = try decode(layers.base)
    for (knob, why) in result.unreadKnobs {
      guard let source = layers.sources[knob] else { continue }
      throw TrainingError(.badSetting, "\(source): \(knob) is set but not read: \(why)")
    }
    do {
      try result.validate()
    } catch let error as TrainingError {
      // Several knobs may be at odds: the one that the message begins with names its source.
      let path = String(error.message.prefix { !$0.isWhitespace && $0 != ":" })
      guard let source = layers.sources[path] else { throw error }
      throw TrainingError(error.code, "\(source): \(error.message)")
    }
    return result
  }

  /// Settings on their way from defaults to what was asked for.
  private struct Layers {
    /// The settings so far.
    var base: JSONTree
    let knobs: [Knob]
    /// Where each knob that was given stands, by its path: a file, `--set beta`, `--beta`.
    var sources: [String: String] = [:]

    /// Lays a value over the knob of a path with dots.
    mutating func lay(_ value: JSONTree, under path: String, source: String) throws {
      var nested = value
      for key in path.split(separator: ".", omittingEmptySubsequences: false).reversed() {
        nested = .object([String(key): nested])
      }
      try lay(nested, at: "", source: source)
    }

    /// Lays an object of knobs over those of a path.
    mutating func lay(_ value: JSONTree, at path: String, source: String) throws {
      guard case .object(let members) = value else { return }
      for (key, value) in members.sorted(by: { $0.key < $1.key }) {
        let here = path.isEmpty ? key : path + "." + key
        guard let knob = knobs.knob(at: here) else {
          throw TrainingError(
            code(source), "\(source): there is no knob \(here)\(nearest(key, beside: path))")
        }
        if let wanted = knob.complaint(about: value) {
          throw TrainingError(
            code(source), "\(source): \(here) must be \(wanted) (it is \(value.line))")
        }
        if case .knobs = knob.kind {
          try lay(value, at: here, source: source)
          continue
        }
        // What the command line says goes before the recipe; twice on one of them is a slip.
        if let other = sources[here], other.hasPrefix("--") {
          throw TrainingError(
            .badUsage, "\(here) is given twice: by \(other) and by \(source)")
        }
        base.set(value, at: here[...])
        sources[here] = source
      }
    }

    /// A slip on the command line is wrong usage, one in a file is bad input.
    private func code(_ source: String) -> TrainingError.Code {
      source.hasPrefix("--") ? .badUsage : .badSetting
    }

    /// `; did you mean X?`: the nearest knob of the same object, else the ones of that name in others.
    private func nearest(_ key: String, beside path: String) -> String {
      let siblings = (path.isEmpty ? base : base.value(at: path) ?? base).memberNames
      let elsewhere = base.leaves().map(\.path).filter { $0.hasSuffix("." + key) }
      guard elsewhere.isEmpty || elsewhere.count > 12 else {
        return "; did you mean \(elsewhere.joined(separator: " or "))?"
      }
      return hint(for: key, among: siblings, prefix: path.isEmpty ? "" : path + ".")
    }
  }

  /// Settings as a JSON value with names in snake case, the knobs of groups among the others.
  ///
  /// - Parameter namingInfinity: Whether numbers that are not finite become texts.
  /// - Throws: `TrainingError` if there are such numbers otherwise.
  package static func value(
    of settings: some Encodable, namingInfinity: Bool = false
  ) throws -> JSONTree { try encoded(settings, namingInfinity: namingInfinity).flattened }

  /// Settings as they are encoded, in groups.
  private static func encoded(
    _ settings: some Encodable, namingInfinity: Bool = false
  ) throws -> JSONTree {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    if namingInfinity {
      encoder.nonConformingFloatEncodingStrategy = .convertToString(
        positiveInfinity: "infinite", negativeInfinity: "infinite", nan: "not a number")
    }
    do {
      return try JSONDecoder().decode(JSONTree.self, from: try encoder.encode(settings))
    } catch {
      throw TrainingError(.badSetting, "a setting is not a finite number")
    }
  }

  /// Reads a recipe's file.
  ///
  /// - Throws: `TrainingError` that names the file, for one that holds no JSON object.
  package static func read(_ url: URL) throws -> JSONTree {
    let data: Data
    do {
      data = try Data(contentsOf: url)
    } catch {
      throw TrainingError(.file, "\(url.relativePath): can't be read: \(reason(error))")
    }
    let value = try JSONTree(
      parsing: String(decoding: data, as: UTF8.self), place: url.relativePath)
    guard case .object = value else {
      throw TrainingError(
        .badSetting, "\(url.relativePath): a recipe is a JSON object, as {\"seed\": 1}")
    }
    return value
  }

  /// The settings that a JSON value holds all knobs of.
  ///
  /// Where every value was held against its knob before, what fails here has a table that is wrong.
  package static func decode<S: Settings>(_ value: JSONTree) throws -> S {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    do {
      let grouped = value.grouped(as: try encoded(S()))
      return try decoder.decode(S.self, from: try JSONEncoder().encode(grouped))
    } catch {
      throw TrainingError(.badSetting, "the settings can't be read: \(error)")
    }
  }
}

/// `; did you mean X?` for the nearest of the names, or the whole list if it is short.
///
/// - Parameters:
///   - prefix: What the name that was meant is shown with: `dpo.`.
///   - orAll: Whether the list is given where none is near.
package func hint(
  for name: String, among names: some Sequence<String>, prefix: String = "", orAll: Bool = true
) -> String {
  let names = names.sorted()
  let near = names.map { ($0, editDistance(name, $0)) }.min { $0.1 < $1.1 }
  if let near, near.1 <= max(2, name.count / 3) { return "; did you mean \(prefix)\(near.0)?" }
  return orAll && names.count <= 40 ? "; there are \(names.joined(separator: ", "))" : ""
}

/// How many letters must be put in, left out or replaced to make one text the other.
func editDistance(_ a: String, _ b: String) -> Int {
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
