// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

extension Architecture {
  /// Ernie 4.5 without experts: Llama that rotates neighbouring dimensions. An adapter's rows would lie in
  /// another order than its file's.
  public static let ernie: Architecture = .init(
    name: "ernie4_5", title: "Ernie 4.5", className: "Ernie4_5", hasAdapterFormat: false,
    readConfiguration: { config in
      var spec = try config.llamaSpec(.ernie, theta: 500_000)
      spec.normEpsilon = try config.number("rms_norm_eps") ?? 1e-5
      spec.headWidth = try config.integer("head_dim") ?? 128
      spec.tiedHead = try config.bool("tie_word_embeddings") ?? true
      let bias = try config.bool("use_bias") ?? false
      (spec.queryKeyValueBias, spec.attentionOutputBias, spec.mlpBias) = (bias, bias, bias)
      return spec
    },
    writeConfiguration: { $0.llamaFields(["use_bias": .bool($0.mlpBias)]) },
    readMetadata: { try $0.llamaSpec(.ernie) },
    writeMetadata: { try $0.ggufFields("ernie4_5", outputBias: true) },
    huggingFace: neighbouringDimensions, gguf: rotaryPairsInGGUF)

  /// Helium: the same with other names for biases.
  public static let helium: Architecture = .init(
    name: "helium", title: "Helium", className: "Helium", hasAdapterFormat: false,
    readConfiguration: { config in
      var spec = try config.llamaSpec(.helium)
      spec.normEpsilon = try config.number("rms_norm_eps") ?? 1e-8
      spec.headWidth = try config.integer("head_dim") ?? 128
      spec.attentionOutputBias = false
      spec.mlpBias = try config.bool("mlp_bias") ?? false
      return spec
    },
    writeConfiguration: { spec in
      spec.llamaFields([
        "attention_bias": .bool(spec.queryKeyValueBias), "mlp_bias": .bool(spec.mlpBias),
      ])
    },
    readMetadata: { throw $0.refused("GGUF files of Helium are not known") },
    huggingFace: neighbouringDimensions)

  private static let neighbouringDimensions:
    @Sendable (TransformerSpec.Tensor, TransformerSpec) -> StoredTensor = { tensor, spec in
      StoredTensor(tensor.name, tensor.shape, spec.rotaryPairs(of: tensor))
    }
}
