// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

/// A family of models, with all that is special to it: how its `config.json` and its GGUF metadata
/// are read and written, and what its tensors are called there.
///
/// A family is one file of this folder and its name in `all`. What it does not say is as in Llama.
public struct Architecture: Sendable {
  /// The families that are read and written.
  public static let all: [Architecture] = [
    .llama, .mistral, .ministral, .qwen2, .qwen3, .gemma, .gemma2, .gemma3, .phi3, .smollm3, .olmo2,
    .olmo3,
    .granite, .graniteHybrid, .miniCPM, .exaone4, .hunyuan, .ernie, .helium, .gptNeoX, .stableLM,
    .gpt2,
  ]

  /// Families that people have and that are not read yet, with what they need.
  private static let notYet = [
    "lfm2": "short gated convolutions", "qwen3_5": "gated delta nets",
    "qwen3_5_text": "gated delta nets", "qwen35": "gated delta nets",
    "qwen3_next": "gated delta nets",
    "gemma3n": "embeddings of each layer, and shared keys and values",
    "gemma4": "embeddings of each layer, and shared keys and values", "nemotron_h": "Mamba 2",
    "falcon_h1": "Mamba 2",
    "phi": "one norm for both blocks of a layer",
  ]

  /// `model_type` of a config.json and `general.architecture` of a GGUF file.
  public let name: String
  /// Other such names that the family is read by.
  var otherNames: [String] = []
  /// Its name in sentences.
  package let title: String
  /// What the names of Hugging Face's classes begin with: `LlamaForCausalLM`.
  let className: String
  /// What the name of the class with a language head ends with.
  var languageClass = "ForCausalLM"
  /// Prefix of the trunk's tensors in a Hugging Face file of a whole model.
  var trunkPrefix = "model."
  /// Whether an adapter beside each projection is what PEFT makes for the family.
  package var hasAdapterFormat = true
  /// Fields of config.json that change the numbers and that this family reads; in others they are refused.
  var ownFields: Set<String> = []
  /// Ends of the names of tensors in a file that may be left aside: buffers that older versions
  /// saved, and what a GGUF file says of rotary frequencies, which the spec holds already.
  var leftovers = [".rotary_emb.inv_freq", "rope_freqs.weight"]

  /// The spec that a Hugging Face config.json describes, the family's own fields read.
  let readConfiguration: @Sendable (JSONFile) throws -> TransformerSpec
  /// The fields of config.json that describe the network.
  let writeConfiguration: @Sendable (TransformerSpec) -> [String: JSONTree]
  /// The spec that a GGUF file describes.
  let readMetadata: @Sendable (GGUFKeys) throws -> TransformerSpec
  /// What a GGUF file says of a spec; nil where llama.cpp has no such family.
  var writeMetadata: (@Sendable (TransformerSpec) throws -> GGUFFields)?
  /// Where a tensor lies in a Hugging Face safetensors file of a whole model.
  var huggingFace: @Sendable (TransformerSpec.Tensor, TransformerSpec) -> StoredTensor = {
    tensor, _ in StoredTensor(tensor.name, tensor.shape)
  }
  /// Where a tensor lies in a GGUF file.
  var gguf: @Sendable (TransformerSpec.Tensor, TransformerSpec) -> StoredTensor = { tensor, _ in
    StoredTensor(gguf: tensor)
  }
}

extension Architecture: Equatable, CustomStringConvertible, CustomDebugStringConvertible {
  /// Whether both are the same family.
  public static func == (one: Architecture, other: Architecture) -> Bool { one.name == other.name }

  /// The name.
  public var description: String { name }

  /// What a spec's own description says: fingerprints of random models are made from that.
  public var debugDescription: String { "AttuneEngine.Architecture.\(name)" }
}

extension Architecture {
  /// The family of a file.
  ///
  /// - Parameters:
  ///   - modelType: `model_type` of a config.json or `general.architecture` of a GGUF file.
  ///   - place: The file, for the error.
  /// - Throws: `EngineError` that names the model type if it is none of these.
  init(modelType: String, place: String) throws {
    guard
      let family = Self.all.first(where: { ([$0.name] + $0.otherNames).contains(modelType) })
    else {
      if let need = Self.notYet[modelType] {
        throw EngineError(
          .badModel, "\(place): models of type '\(modelType)' are not read yet: they have \(need)")
      }
      let known = Self.all.map(\.name).joined(separator: ", ")
      throw EngineError(
        .badModel,
        "\(place): models of type '\(modelType)' are not supported, only \(known)")
    }
    self = family
  }
}
