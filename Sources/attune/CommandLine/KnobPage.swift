// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
import AttuneRewards
import AttuneStudies
import AttuneTraining
import Foundation

/// The knobs of commands, printed from their tables: at the end of `--help`, by `--knobs`, and as
/// `Documentation/Knobs.md`.
enum KnobPage {
  /// One knob of a command, by its path.
  struct Entry: Encodable {
    let knob: String
    let value: JSONTree
    let type: String
    let takes: String
    let choices: [String]?
    let takesNull: Bool
    let meaning: String

    private enum CodingKeys: String, CodingKey {
      case knob, type, takes, choices, meaning
      case value = "default"
      case takesNull = "takes_null"
    }

    init(_ knob: Knob, at path: String, _ value: JSONTree) {
      self.knob = path
      self.value = value
      type = knob.kind.type
      takes = knob.kind.words
      takesNull = knob.takesNull
      meaning = knob.meaning
      choices =
        switch knob.kind {
        case .choice(let names), .choices(let names): names
        default: nil
        }
    }
  }

  /// Every knob of some settings, those of stages by their path, in the order of the tables.
  static func entries(_ settings: any Settings) throws -> [Entry] {
    let defaults = try ConfigFile.value(of: settings)
    func walk(_ knobs: [Knob], _ path: String) -> [Entry] {
      knobs.flatMap { knob -> [Entry] in
        let here = path + knob.name
        if case .knobs(let inner) = knob.kind { return walk(inner, here + ".") }
        return [Entry(knob, at: here, defaults.value(at: here) ?? .null)]
      }
    }
    return walk(type(of: settings).knobs, "")
  }

  /// The knobs as the terminal shows them, under the objects that they are in.
  static func text(_ settings: any Settings) throws -> String {
    let defaults = try ConfigFile.value(of: settings)
    var lines = [
      "KNOBS (--set NAME=VALUE, or in a recipe of --config; each with its default):"
    ]
    func walk(_ knobs: [Knob], _ path: String) {
      for knob in knobs {
        let here = path + knob.name
        if case .knobs(let inner) = knob.kind {
          lines += ["", "  \(here).…: \(plain(knob.meaning))"]
          walk(inner, here + ".")
          continue
        }
        let head = "  \(here)=\(defaults.value(at: here)?.line ?? "null")"
        let words =
          plain(knob.meaning) + " (\(knob.kind.words)\(knob.takesNull ? ", or null" : ""))"
        lines += wrapped(head, words)
      }
    }
    walk(type(of: settings).knobs, "")
    return lines.joined(separator: "\n") + "\n"
  }

  /// Marks of Markdown are for documents.
  private static func plain(_ text: String) -> String { text.replacing("`", with: "") }

  /// A name with its explanation beside it, or below where it is long.
  private static func wrapped(_ head: String, _ words: String, width: Int = 100) -> [String] {
    let indent = String(repeating: " ", count: 30)
    var lines = head.count < indent.count - 1 ? [] : [head]
    var line = lines.isEmpty ? head + indent.dropFirst(head.count) : indent
    for word in words.split(separator: " ") {
      if line.count + word.count > width, line.count > indent.count {
        lines.append(line.trimmedEnd)
        line = indent
      }
      line += word + " "
    }
    return lines + [line.trimmedEnd]
  }

  /// `Documentation/Knobs.md`: every command's knobs, those that are a command's own there alone.
  static func document() throws -> String {
    var text = """
      # Knobs

      Every setting of every command, printed from the program's own tables
      (`ATTUNE_WRITE_DOCUMENTATION=1 make test` prints them anew). `attune COMMAND --knobs` shows those
      of a command, with `--json` for programs; they stand at the end of `--help` too.

      A knob is given by `--set NAME=VALUE`, by an option of its own where there is one
      (`--learning-rate`), or in a recipe, a JSON object that `--config FILE` reads:

      ```json
      {"model": "smollm2", "data": "pairs.jsonl", "output": "runs/dpo", "loss": "ipo", "beta": 0.05}
      ```

      - Beside knobs a recipe holds the command's own options, by their names with `_` for `-`
        (`eval_data`), a flag as `true`. Paths are those of the folder that the command runs in.
      - What stands on the command line goes before the recipe.
      - Knobs of a stage have its name before: `ppo.clip` is `{"ppo": {"clip": 0.1}}` in a recipe.
      - A list where a knob takes one value is a **grid**: `{"beta": [0.05, 0.1], "seed": [1, 2, 3]}`
        runs six times, one after the other, into `OUTPUT/beta=0.05,seed=1` and so on, and ends with a
        table of what each came to and of means over seeds. The same command goes on where it stopped
        and leaves out what is finished, but for `attune evaluate`, which keeps no record and evaluates
        all anew; Ctrl-C stops the grid. `--set 'beta=[0.05,0.1]'` does the same.
      - `null` stands for a default that depends on another knob.


      """
    // Plans have the knobs of what they plan.
    let shapes = CommandShape.all.filter { !$0.name.hasPrefix("plan ") }
    let commands = shapes.compactMap { shape in
      shape.defaults.map { (name: shape.name, settings: $0) }
    }
    for command in commands {
      text += "## \(command.name)\n\n"
      text += try section(command.settings, of: command.name, among: commands)
    }
    return text.trimmedEnd + "\n"
  }

  private static func section(
    _ settings: any Settings, of command: String,
    among commands: [(name: String, settings: any Settings)]
  ) throws -> String {
    let defaults = try ConfigFile.value(of: settings)
    let knobs = type(of: settings).knobs
    // The first command of some knobs lists them.
    if let first = commands.first(where: { type(of: $0.settings) == type(of: settings) }),
      first.name != command
    {
      return "Those of [\(first.name)](#\(first.name))"
        + differences(knobs, defaults, from: try ConfigFile.value(of: first.settings), "") + "\n\n"
    }
    var rows = ["| Knob | Default | Takes | Meaning |", "| --- | --- | --- | --- |"]
    var others: [String] = []
    func walk(_ knobs: [Knob], _ path: String) throws {
      for knob in knobs {
        let here = path + knob.name
        guard case .knobs(let inner) = knob.kind else {
          rows.append(
            "| `\(here)` | `\(defaults.value(at: here)?.line ?? "null")` | "
              + "\(knob.kind.words)\(knob.takesNull ? ", or null" : "") | \(knob.meaning) |")
          continue
        }
        let same = commands.first {
          type(of: $0.settings).knobs.map(\.name) == inner.map(\.name) && $0.name != command
        }
        guard let same else {
          try walk(inner, here + ".")
          continue
        }
        others.append(
          "- `\(here).…`: \(knob.meaning) See [\(same.name)](#\(same.name))"
            + differences(
              inner, defaults.value(at: here) ?? .null,
              from: try ConfigFile.value(of: same.settings), here + "."))
      }
    }
    try walk(knobs, "")
    return rows.joined(separator: "\n") + "\n\n"
      + (others.isEmpty ? "" : others.joined(separator: "\n") + "\n\n")
  }

  /// `; here …` for the defaults that are not those of the command that lists the knobs.
  private static func differences(
    _ knobs: [Knob], _ defaults: JSONTree, from other: JSONTree, _ path: String
  ) -> String {
    let theirs = other.byPath
    let list = defaults.leaves().filter { theirs[$0.path] != $0.value }
      .map { "`\(path)\($0.path)=\($0.value.line)`" }
    return list.isEmpty ? "." : "; by default \(list.joined(separator: ", "))."
  }
}

extension String {
  /// The text without white space at its end.
  fileprivate var trimmedEnd: String {
    guard let last = lastIndex(where: { !$0.isWhitespace }) else { return "" }
    return String(self[...last])
  }
}
