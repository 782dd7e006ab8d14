// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneFiles
import AttuneStudies
import AttuneTraining
import Foundation

/// What a line and its recipe give a command: options by name and knobs by path.
struct CommandLineValues {
  /// A knob or option that is given several values.
  struct Axis {
    /// The knob's path, or the option's name in a recipe.
    let name: String
    let values: [JSONTree]
    /// Whether it stands in the recipe, not on the line.
    let isInRecipe: Bool
  }

  /// The line as it was typed, without the knobs and options that are axes.
  private let arguments: [String]
  private let shape: CommandShape
  /// The recipe's file, the name that errors call it by.
  private let place: String?
  /// What the recipe holds of knobs, without axes.
  private var knobs: JSONTree
  /// What it holds of options that are not on the line.
  private var options: [(option: CommandShape.Option, values: [String])] = []
  /// What is given several values, in the order of names, seeds last.
  private(set) var axes: [Axis] = []

  /// Reads a line's recipe and looks for lists of values.
  ///
  /// - Returns: Nil where there is neither: the line stands as it is.
  init?(_ arguments: [String], _ shape: CommandShape) throws {
    self.shape = shape
    let scanned = try Self.scan(arguments, shape)
    self.arguments = scanned.rest
    place = scanned.recipe
    knobs = .object([:])
    axes = scanned.axes
    if let file = scanned.recipe {
      let url = URL(filePath: file)
      guard case .object(let members) = try ConfigFile.read(url) else { return nil }
      for (key, value) in members.sorted(by: { $0.key < $1.key }) {
        try take(key, value, isOnLine: { scanned.given.contains($0) }, file: file)
      }
    }
    guard place != nil || !axes.isEmpty else { return nil }
    for axis in axes where !axis.isInRecipe {
      // The run is given the value by the option, of which the last one counts.
      guard let option = shape.option(axis.name), scanned.given.contains(option.name) else {
        continue
      }
      throw TrainingError(
        .badUsage, "\(axis.name) is given twice: by --set \(axis.name) and by --\(option.name)")
    }
    // Seeds last, so that the runs of one group follow one another.
    axes =
      axes.filter { !$0.name.hasSuffix("seed") } + axes.filter { $0.name.hasSuffix("seed") }
  }

  private var table: [Knob] { shape.defaults.map { type(of: $0).knobs } ?? [] }

  /// Sorts a member of the recipe: a knob stays, an option goes on the line.
  private mutating func take(
    _ key: String, _ value: JSONTree, isOnLine: (String) -> Bool, file: String
  ) throws {
    let knob = table.knob(at: key)
    var isObject = false
    if case .object = value { isObject = true }
    if let knob {
      let takesObject = if case .knobs = knob.kind { true } else { false }
      if let option = shape.option(key), goesOnLine(knob, option) {
        // Falls through: the command has to know it before it reads its knobs.
        guard !isOnLine("set " + key) else { return }
      } else if isObject || !takesObject || shape.option(key) == nil {
        guard let rest = try withoutAxes(value, knob, at: key, isOnLine: isOnLine) else { return }
        set(rest, at: key)
        return
      }
    }
    guard let option = shape.option(key), !["config", "set", "knobs", "help"].contains(option.name)
    else {
      let names = table.map(\.name) + shape.options.map { $0.name.replacing("-", with: "_") }
      throw TrainingError(
        .badSetting,
        "\(file): attune \(shape.name) has no knob or option \(key)"
          + hint(for: key, among: Set(names), orAll: false)
          + " (attune \(shape.name) --knobs lists the knobs, --help the options)")
    }
    guard !isOnLine(option.name) else { return }
    if option.isFlag {
      guard case .bool(let isSet) = value else {
        throw TrainingError(
          .badSetting, "\(file): \(key) must be true or false (it is \(value.line))")
      }
      if isSet { options.append((option, [])) }
      return
    }
    guard case .array(let list) = value else {
      options.append((option, [try Self.text(value, key, file)]))
      return
    }
    if option.isRepeating {
      options.append((option, try list.map { try Self.text($0, key, file) }))
    } else {
      _ = try list.map { try Self.text($0, key, file) }
      axes.append(try Self.axis(key, list, of: knob, file, isInRecipe: true))
    }
  }

  /// Whether a command looks at an option before it reads its knobs: one that it can't do without,
  /// the seed that names a run's folder, the method whose defaults the others are.
  private func goesOnLine(_ knob: Knob, _ option: CommandShape.Option) -> Bool {
    if case .seed = knob.kind { return true }
    return option.isRequired || option.name == "method"
  }

  /// A knob's value without the lists that are axes; nil where it is one itself.
  private mutating func withoutAxes(
    _ value: JSONTree, _ knob: Knob, at path: String, isOnLine: (String) -> Bool
  ) throws -> JSONTree? {
    if case .knobs(let inner) = knob.kind, case .object(let members) = value {
      var rest: [String: JSONTree] = [:]
      for (key, value) in members.sorted(by: { $0.key < $1.key }) {
        guard let knob = inner.knob(at: key) else {
          rest[key] = value
          continue
        }
        rest[key] = try withoutAxes(value, knob, at: path + "." + key, isOnLine: isOnLine)
      }
      return .object(rest)
    }
    guard case .array(let list) = value, !knob.kind.isList else { return value }
    // What the line says goes before the recipe's list.
    let option = path.replacing("_", with: "-")
    if isOnLine(option) || isOnLine("set " + path) { return nil }
    axes.append(try Self.axis(path, list, of: knob, place ?? "", isInRecipe: true))
    return nil
  }

  private mutating func set(_ value: JSONTree, at key: String) {
    guard case .object(var members) = knobs else { return }
    members[key] = value
    knobs = .object(members)
  }

  private static func axis(
    _ name: String, _ list: [JSONTree], of knob: Knob?, _ place: String, isInRecipe: Bool
  ) throws -> Axis {
    let code: TrainingError.Code = isInRecipe ? .badSetting : .badUsage
    guard !list.isEmpty else {
      throw TrainingError(code, "\(place): \(name) is an empty list: there is nothing to run")
    }
    for (index, value) in list.enumerated() {
      if list[..<index].contains(value) {
        throw TrainingError(code, "\(place): \(name) has \(value.line) twice")
      }
      if let wanted = knob?.complaint(about: value) {
        throw TrainingError(code, "\(place): \(name) must be \(wanted) (it is \(value.line))")
      }
    }
    return Axis(name: name, values: list, isInRecipe: isInRecipe)
  }

  /// A value as the line has it.
  private static func text(_ value: JSONTree, _ key: String, _ file: String) throws -> String {
    switch value {
    case .string(let text): return text
    case .int, .unsigned, .double, .bool: return value.line
    case .null, .array, .object:
      throw TrainingError(
        .badSetting, "\(file): \(key) must be a text or a number (it is \(value.line))")
    }
  }

  /// Looks through a line: its recipe, the names of its options, and values of `--set` that are
  /// lists.
  private static func scan(
    _ arguments: [String], _ shape: CommandShape
  ) throws -> (recipe: String?, given: Set<String>, axes: [Axis], rest: [String]) {
    let knobs = shape.defaults.map { type(of: $0).knobs } ?? []
    var recipe: String?
    var given: Set<String> = []
    var axes: [Axis] = []
    var rest: [String] = []
    var index = 0
    while index < arguments.count {
      let argument = arguments[index]
      index += 1
      guard argument != "--" else {
        rest += arguments[(index - 1)...]
        break
      }
      rest.append(argument)
      guard argument.hasPrefix("--") else { continue }
      let parts = argument.dropFirst(2).split(
        separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = String(parts[0])
      given.insert(name)
      guard name == "config" || name == "set" else { continue }
      var value = parts.count == 2 ? String(parts[1]) : nil
      if value == nil, index < arguments.count {
        value = arguments[index]
        rest.append(arguments[index])
        index += 1
      }
      guard let value else { continue }
      if name == "config" {
        recipe = value
        continue
      }
      let setting = value.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      given.insert("set " + setting[0])
      guard setting.count == 2, setting[1].hasPrefix("["),
        let knob = knobs.knob(at: String(setting[0])), !knob.kind.isList
      else { continue }
      let typed = "--set \(setting[0])"
      guard case .array(let list) = try JSONTree(parsing: String(setting[1]), place: typed)
      else { continue }
      axes.append(try axis(String(setting[0]), list, of: knob, typed, isInRecipe: false))
      rest.removeLast(parts.count == 2 ? 1 : 2)
    }
    return (recipe, given, axes, rest)
  }

  /// The value of an option on the line or in the recipe.
  func value(of name: String) -> String? {
    for (index, argument) in arguments.enumerated() {
      if argument == "--" + name { return arguments.dropFirst(index + 1).first }
      if argument.hasPrefix("--\(name)=") { return String(argument.dropFirst(name.count + 3)) }
    }
    return options.first { $0.option.name == name }?.values.first
  }

  /// Whether a flag is on the line or in the recipe.
  func has(flag name: String) -> Bool {
    arguments.contains("--" + name) || options.contains { $0.option.name == name }
  }

  /// Runs the command.
  ///
  /// - Parameters:
  ///   - point: A value for each axis.
  ///   - replacing: Options with other values than line and recipe give them.
  func run(_ point: [JSONTree] = [], replacing: [(name: String, value: String?)] = []) throws {
    var line: [String] = []
    var skips = false
    // What stands behind is no option, whatever it looks like.
    let end = arguments.firstIndex(of: "--") ?? arguments.endIndex
    for argument in arguments[..<end] {
      if skips {
        skips = false
        continue
      }
      if replacing.contains(where: { argument == "--" + $0.name }) {
        skips = shape.options.first { "--" + $0.name == argument }?.isFlag == false
        continue
      }
      if replacing.contains(where: { argument.hasPrefix("--\($0.name)=") }) { continue }
      line.append(argument)
    }
    func add(_ name: String, _ values: [String]) {
      line += values.isEmpty ? ["--\(name)"] : values.map { "--\(name)=\($0)" }
    }
    for (option, values) in options where !replacing.contains(where: { $0.name == option.name }) {
      add(option.name, values)
    }
    for (name, value) in replacing { add(name, value.map { [$0] } ?? []) }
    var knobs = self.knobs
    var listed: Set<String> = []
    var fromRecipe = options.map(\.option.name)
    for (axis, value) in zip(axes, point) {
      if let option = shape.option(axis.name), !option.isFlag, value != .null {
        add(option.name, [try Self.text(value, axis.name, place ?? "")])
        if axis.isInRecipe { fromRecipe.append(option.name) }
      } else if axis.isInRecipe {
        knobs.set(value, at: axis.name[...])
        listed.insert(axis.name)
      } else {
        line += ["--set", "\(axis.name)=\(value.line)"]
      }
    }
    line += arguments[end...]
    let recipe = place.map { Recipe.Knobs(place: $0, value: knobs, listed: listed) }
    try Recipe.$knobs.withValue(recipe) {
      do {
        try Invocation.run(line)
      } catch let error where recipe != nil && Attune.exitCode(for: error) == .validationFailure {
        // A value that does not fit its option stands in the recipe, not on the line.
        let message = Attune.message(for: error)
        guard let name = fromRecipe.first(where: { message.contains("'--\($0) ") })
        else { throw error }
        throw TrainingError(
          .badSetting,
          "\(place ?? ""): \(name.replacing("-", with: "_")): \(message)")
      }
    }
  }
}
