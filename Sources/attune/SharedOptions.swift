// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneData
import AttuneEngine
import AttuneFiles
import AttuneNative
import AttuneStudies
import AttuneTraining
import Foundation

/// The options that every command takes.
struct SharedOptions: ParsableArguments {
  @Flag(help: "Print exactly one JSON object on standard output, all else on standard error.")
  var json = false

  @Option(help: ArgumentHelp("What every random choice follows from.", valueName: "n"))
  var seed: UInt64?

  @Option(help: ArgumentHelp("Threads (default: all cores).", valueName: "n"))
  var threads: Int?

  @Option(
    help: ArgumentHelp(
      """
      Matrix products: float32; high, which is faster on processors with matrix tiles (Intel AMX) and \
      off by 4e-6; or bf16, mixed precision on processors with AVX512-BF16, twice as fast \
      (default: float32; quickstart: bf16 where it can be had, else high).
      """, valueName: "p"))
  var precision: Precision?

  @Option(
    help: ArgumentHelp(
      """
      How frozen matrices are kept: as-is, as their file has them; bf16, q8 or q4: bfloat16 or 8- or 4-bit \
      codes, made as the model is read (default: as-is).
      """, valueName: "p"))
  var basePrecision: BasePrecision?

  @Option(
    help: ArgumentHelp(
      "The day that chat templates write, 2024-07-26 (default: today; a run keeps its own).",
      valueName: "day"))
  var templateDate: String?

  @Option(
    help: ArgumentHelp(
      """
      A recipe: a JSON object of options and knobs, which flags override. A list of values is a grid: \
      Documentation/Knobs.md.
      """, valueName: "file"),
    completion: .file(extensions: ["json"]))
  var config: String?

  @Option(
    name: .customLong("set"), parsing: .unconditionalSingleValue,
    help: ArgumentHelp(
      "Any setting of the recipe by its name; repeatable.", valueName: "knob=value"))
  var settings: [String] = []

  @Flag(help: "Print every knob with its meaning, default and range, and end.")
  var knobs = false

  func validate() throws {
    if let threads, !(1...1024).contains(threads) {
      throw ValidationError("--threads \(threads): give 1 to 1024.")
    }
    if let templateDate, !TemplateClock.set(templateDate) {
      throw ValidationError(
        "--template-date \(templateDate): write 2024-07-26 or 2024-07-26T09:30:00.")
    }
    for setting in settings where !setting.contains("=") {
      throw ValidationError("--set \(setting): write knob=value.")
    }
  }

  /// The engine that everything is computed on, its threads started: the one place that chooses it.
  ///
  /// - Parameter standard: The precision of matrix products, unless the option says it.
  func engine(precision standard: Precision = .float32) throws -> any Engine {
    try NativeEngine(
      threads: threads ?? Ranks.threads, precision: precision ?? standard,
      basePrecision: basePrecision ?? .asIs)
  }

  /// Refuses `--set` where the command has no settings; of a recipe it takes its options.
  func refuseSettings() throws {
    guard settings.isEmpty else {
      throw ValidationError("This command has no knobs: leave out --set.")
    }
  }

  /// Settings from defaults, the recipe, `--set` and the command's own flags, in this order.
  ///
  /// - Parameters:
  ///   - defaults: What holds where nothing is said.
  ///   - flags: The command's flags.
  fileprivate func settings<S: Settings>(_ defaults: S, _ flags: [KnobFlags]) throws -> S {
    var options: [(option: String, knob: String, json: String)] = []
    for (flag, value) in flags.joined() {
      guard let value else { continue }
      guard let json = try? JSONText.line(value) else {
        throw ValidationError("\(flag.option): give a finite number.")
      }
      if let recipe = Recipe.knobs, recipe.listed.contains(flag.knob) {
        throw TrainingError(
          .badUsage,
          "\(flag.knob) is given twice: by \(flag.option) and by a list in \(recipe.place), whose runs "
            + "would all have the option's value; leave one of them out")
      }
      options.append((flag.option, flag.knob, json))
    }
    return try ConfigFile.settings(
      defaults, recipe: Recipe.knobs.map { ($0.place, $0.value) }, flags: settings.map(Self.knob),
      options: options)
  }

  /// `knob=value` in two, the value as JSON: as it stands if it is JSON already, else as a string.
  private static func knob(_ setting: String) throws -> (knob: String, json: String) {
    let parts = setting.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    let text = String(parts[1])
    let isJSON = (try? JSONValue(parsing: text)) != nil
    return (String(parts[0]), isJSON ? text : try JSONText.line(text))
  }
}

/// A command that takes knobs by `--set` and `--config`.
protocol TakesKnobs: ParsableCommand {
  associatedtype Knobs: Settings
  /// What holds where nothing is said.
  static var knobDefaults: Knobs { get }
  /// The options of every command.
  var shared: SharedOptions { get }
}

extension TakesKnobs {
  /// Settings from the command's defaults, the recipe, `--set` and flags, in this order.
  func settings(_ flags: KnobFlags...) throws -> Knobs {
    try shared.settings(Self.knobDefaults, flags)
  }

  /// The same over other defaults.
  func settings<S: Settings>(over defaults: S, _ flags: KnobFlags...) throws -> S {
    try shared.settings(defaults, flags)
  }
}

/// A command's flags by their names in a recipe; those that are nil were not given.
typealias KnobFlags = KeyValuePairs<KnobOption, (any Encodable)?>

/// A knob that a command has an option for.
struct KnobOption: ExpressibleByStringLiteral {
  /// The knob's name in a recipe.
  let knob: String
  /// The option as it is typed.
  let option: String

  /// A knob whose option has its name.
  init(_ knob: String) {
    self.knob = knob
    option = "--" + (knob.split(separator: ".").last ?? "").replacing("_", with: "-")
  }

  /// The same.
  init(stringLiteral knob: String) { self.init(knob) }

  /// A knob whose option has another name.
  init(_ knob: String, as option: String) {
    self.knob = knob
    self.option = option
  }
}

extension Precision: ExpressibleByArgument {}
extension BasePrecision: ExpressibleByArgument {}
