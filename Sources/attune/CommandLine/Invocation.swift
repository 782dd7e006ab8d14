// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneFiles
import AttuneRewards
import AttuneStudies
import AttuneTraining
import Foundation

/// The knobs of the recipe of the command that runs; its options were put on the line.
enum Recipe {
  /// What a recipe holds of knobs.
  struct Knobs: Sendable {
    /// The file, as errors name it.
    let place: String
    let value: JSONTree
    /// The knobs, by their paths, of which the recipe lists values: a grid's run has one of them.
    let listed: Set<String>
  }

  /// Those of the command that runs.
  @TaskLocal static var knobs: Knobs?
}

/// A command line on its way to a command: help gets its knobs, a recipe its options, a list of
/// values its runs.
struct Invocation {
  private let arguments: [String]

  /// Takes a line without the program's name.
  init(_ arguments: [String]) { self.arguments = arguments }

  /// Does what the line says.
  func run() throws {
    let words = arguments.prefix { $0 != "--" }
    guard let shape = CommandShape(arguments) else {
      if words.contains("--knobs") { return try Output.write(try KnobPage.document()) }
      return try Self.run(arguments)
    }
    let isHelp = arguments.first == "help" || words.contains { $0 == "--help" || $0 == "-h" }
    if isHelp { return try help(shape) }
    if words.contains("--knobs") { return try listKnobs(shape, asJSON: words.contains("--json")) }
    guard let line = try CommandLineValues(arguments, shape) else {
      return try Self.run(arguments)
    }
    if line.axes.isEmpty { return try line.run() }
    guard !line.has(flag: "dry-run") else {
      let axes = line.axes.map(\.name).joined(separator: ", ")
      throw TrainingError(
        .badUsage,
        "\(axes): a list of values is a grid of runs, and --dry-run (dry_run in a recipe) plans one run: "
          + "give one value, or leave it out")
    }
    try Grid(line, shape).run()
  }

  /// Runs the command of a line.
  static func run(_ arguments: [String]) throws {
    var command = try Attune.parseAsRoot(arguments)
    do {
      try command.run()
    } catch let end as DryRun {
      try end.show(json: (command as? any TakesKnobs)?.shared.json ?? false)
    }
  }

  private func help(_ shape: CommandShape) throws {
    do {
      try Self.run(arguments)
    } catch {
      guard Attune.exitCode(for: error) == .success else { throw error }
      try Output.line(
        Self.mendingExamples(
          in: Attune.fullMessage(for: error), of: shape.type.configuration.discussion))
      guard let defaults = shape.defaults else { return }
      try Output.line("")
      try Output.write(try KnobPage.text(defaults))
    }
  }

  /// The commands that a help text shows, whole.
  static func examples(in discussion: String) -> [String] {
    discussion.split(separator: "\n").compactMap { line in
      line.firstMatch(of: /(?:^|: )\s*(attune [a-z].*)$/).map { String($0.1) }
    }
  }

  /// Help is broken into lines of the terminal's width; commands in it are to work as they stand.
  private static func mendingExamples(in help: String, of discussion: String) -> String {
    var help = help
    for example in examples(in: discussion) {
      let words = example.split(separator: " ").map {
        NSRegularExpression.escapedPattern(for: String($0))
      }
      guard let pattern = try? Regex(words.joined(separator: "[ \n]+")),
        let match = help.firstMatch(of: pattern)
      else { continue }
      let lines = help[match.range].split(separator: "\n").map {
        $0.trimmingCharacters(in: .whitespaces)
      }
      help.replaceSubrange(match.range, with: lines.joined(separator: " \\\n    "))
    }
    return help
  }

  private func listKnobs(_ shape: CommandShape, asJSON: Bool) throws {
    guard let defaults = shape.defaults else {
      throw ValidationError("attune \(shape.name) has no knobs.")
    }
    guard asJSON else { return try Output.write(try KnobPage.text(defaults)) }
    struct List: Encodable {
      let command: String
      let knobs: [KnobPage.Entry]
    }
    try Output.json(List(command: shape.name, knobs: try KnobPage.entries(defaults)))
  }
}
