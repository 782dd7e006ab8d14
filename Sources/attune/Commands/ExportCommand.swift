// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneEngine
import AttuneTraining
import Foundation

extension Safetensors.ElementType: ExpressibleByArgument {
  /// A type of weights by its name.
  public init?(argument: String) {
    guard let type = Self.allCases.first(where: { $0.rawValue == argument }) else { return nil }
    self = type
  }
}

struct ExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Writes a model whole, adapters merged in, as a folder that transformers loads.",
    discussion: """
      A .gguf file becomes a Hugging Face folder with its tokenizer and chat template, an adapter \
      a model that needs no base; a reward model stays one.

      Example: attune export --model runs/dpo --output runs/dpo-whole
      """)

  @OptionGroup var model: ModelOption

  @Option(
    help: ArgumentHelp("A new folder for the model.", valueName: "dir"), completion: .directory)
  var output: String

  @Option(
    help: ArgumentHelp("What the numbers are stored as (default: float32).", valueName: "type"))
  var type: Safetensors.ElementType?

  @OptionGroup var shared: SharedOptions

  /// The object of `export --json`.
  struct Result: Encodable {
    var formatVersion = 1
    var model: String
  }

  func run() throws {
    try shared.refuseSettings()
    let folder = URL(filePath: output, directoryHint: .isDirectory)
    try model.open(shared, rewardModels: true).export(to: folder, as: type ?? .float32)
    if shared.json {
      try Output.json(Result(model: folder.path))
    } else {
      try Output.line(folder.path)
    }
  }
}
