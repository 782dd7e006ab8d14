// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneEngine
import AttuneTraining
import Foundation

extension GGUFWeights: ExpressibleByArgument {
  /// A type of weights by llama.cpp's name or by Hugging Face's.
  public init?(argument: String) {
    let others: [String: Self] = ["float32": .f32, "float16": .f16, "bfloat16": .bf16]
    guard let type = Self(rawValue: argument.lowercased()) ?? others[argument] else { return nil }
    self = type
  }
}

struct ExportCommand: ParsableCommand {
  /// What a model is written as.
  enum Target: String, ExpressibleByArgument, CaseIterable {
    case hf
    case gguf
    case adapterGGUF = "adapter-gguf"
    case ollama
  }

  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Writes a model for transformers, llama.cpp or Ollama, adapters merged in or alone.",
    discussion: """
      --to hf writes a Hugging Face folder with tokenizer and chat template: a .gguf file becomes one \
      too, an adapter a model that needs no base; a reward model stays one. --to gguf writes a file for \
      llama.cpp, --to ollama a folder with such a file and a Modelfile, --to adapter-gguf an adapter \
      alone, for llama.cpp's --lora. What was written is read again and compared before it gets its name.

      In the mixtures q4_k_s to q5_k_m matrices that suffer most have more bits, as llama.cpp mixes \
      them; rows that are no whole blocks of 256 get the next larger type.

      Example: attune export --model runs/dpo --output runs/dpo-whole
      Example: attune export --model runs/dpo --to gguf --type q4_k_m --output dpo.gguf
      Example: attune export --model runs/dpo --to ollama --type q8_0 --output runs/dpo-ollama
      Example: attune export --model runs/dpo --to adapter-gguf --output dpo-adapter.gguf
      """)

  @OptionGroup var model: ModelOption

  @Option(
    help: ArgumentHelp(
      "A folder of adapters to put on the model, where --model names their base.", valueName: "dir"),
    completion: .directory)
  var adapter: String?

  @Option(
    help: ArgumentHelp(
      "hf, gguf, ollama or adapter-gguf (default: hf).", valueName: "target"))
  var to: Target = .hf

  @Option(
    help: ArgumentHelp(
      "A new folder; of gguf and adapter-gguf a file that ends in .gguf.", valueName: "path"))
  var output: String

  @Option(
    help: ArgumentHelp(
      "What the numbers are stored as: f32, f16, bf16, and of gguf and ollama also q8_0, q4_0, q4_1, "
        + "q5_0, q5_1, q4_k_s, q4_k_m, q5_k_s, q5_k_m, q6_k (default: f16; of hf f32).",
      valueName: "type"))
  var type: GGUFWeights?

  @OptionGroup var shared: SharedOptions

  /// The object of `export --json`.
  struct Result: Encodable {
    var formatVersion = 1
    var model: String
    var to: String
    var type: String
    var remarks: [String]
  }

  /// What a Hugging Face folder can store.
  private static let numbers: [GGUFWeights: Safetensors.ElementType] = [
    .f32: .float32, .f16: .float16, .bf16: .bfloat16,
  ]

  func validate() throws {
    if let type, to == .hf || to == .adapterGGUF, Self.numbers[type] == nil {
      throw ValidationError(
        "--to \(to.rawValue) takes --type f32, f16 or bf16; \(type.rawValue) is of --to gguf and ollama."
      )
    }
  }

  func run() throws {
    try shared.refuseSettings()
    let url = URL(
      filePath: output, directoryHint: to == .hf || to == .ollama ? .isDirectory : .notDirectory)
    let type = type ?? (to == .hf ? .f32 : .f16)
    var remarks: [String] = []
    if to == .adapterGGUF {
      try LoadedModel.exportAdapter(
        adapter ?? model.model, base: adapter == nil ? nil : model.model, to: url, as: type)
    } else {
      var opened = try model.open(shared, rewardModels: true)
      if let adapter { opened = try opened.adapted(by: adapter) }
      switch to {
      case .gguf: remarks = try opened.exportGGUF(to: url, as: type)
      case .ollama: remarks = try opened.exportOllama(to: url, as: type)
      case .hf, .adapterGGUF: try opened.export(to: url, as: Self.numbers[type] ?? .float32)
      }
    }
    for remark in remarks { Output.note("note: \(remark)") }
    if shared.json {
      try Output.json(
        Result(model: url.path, to: to.rawValue, type: type.rawValue, remarks: remarks))
    } else {
      try Output.line(url.path)
    }
  }
}
