// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneTraining
import Foundation

/// Which command a line is for, and which options that has.
struct CommandShape {
  /// An option as the line has it.
  struct Option {
    /// Its name without dashes: `eval-data`.
    let name: String
    /// Whether it stands alone, without a value.
    let isFlag: Bool
    /// Whether it may be given several times.
    let isRepeating: Bool
    /// Whether the command can't do without.
    let isRequired: Bool
    /// What its value is called: `dir` where it is a folder.
    let valueName: String
  }

  /// The command.
  let type: any ParsableCommand.Type
  /// The words that name it: `feedback import`.
  let name: String
  /// Its options.
  let options: [Option]

  /// The command of a line; nil where it names none that there is.
  init?(_ arguments: [String]) {
    var type: any ParsableCommand.Type = Attune.self
    var names: [String] = []
    for argument in arguments.first == "help" ? arguments.dropFirst() : arguments[...] {
      let next = type.configuration.subcommands.first {
        $0._commandName == argument
      }
      guard let next else { break }
      type = next
      names.append(argument)
    }
    guard !names.isEmpty, let options = try? Self.options(of: type) else { return nil }
    self.type = type
    name = names.joined(separator: " ")
    self.options = options
  }

  /// The option of a name as recipes write it, with underscores.
  func option(_ name: String) -> Option? {
    options.first { $0.name == name.replacing("_", with: "-") }
  }

  /// The defaults of the command's knobs; nil where it has none.
  var defaults: (any Settings)? { (type as? any TakesKnobs.Type)?.knobDefaults }

  private struct Dump: Decodable {
    struct Command: Decodable { var arguments: [Argument]? }
    struct Name: Decodable { var kind, name: String }
    struct Argument: Decodable {
      var kind: String
      var names: [Name]?
      var isRepeating: Bool
      var isOptional: Bool
      var valueName: String?
    }
    var command: Command
  }

  private static func options(of type: any ParsableCommand.Type) throws -> [Option] {
    let dump = try JSONDecoder().decode(Dump.self, from: Data(type._dumpHelp().utf8))
    return (dump.command.arguments ?? []).flatMap { argument in
      (argument.names ?? []).filter { $0.kind == "long" }.map {
        Option(
          name: $0.name, isFlag: argument.kind == "flag", isRepeating: argument.isRepeating,
          isRequired: !argument.isOptional,
          valueName: argument.valueName ?? "")
      }
    }
  }

  /// Every command, those of a group with its name before.
  static var all: [CommandShape] {
    func names(_ type: any ParsableCommand.Type) -> [[String]] {
      type.configuration.subcommands.flatMap { command -> [[String]] in
        let name = command.configuration.commandName ?? ""
        let inner = names(command)
        return inner.isEmpty ? [[name]] : inner.map { [name] + $0 }
      }
    }
    return names(Attune.self).compactMap { CommandShape($0) }
  }
}
