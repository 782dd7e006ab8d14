// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

extension Architecture {
  /// StableLM 2 (1.6B): Llama with LayerNorm and a quarter of each head rotated.
  public static let stableLM: Architecture = .init(
    name: "stablelm", title: "StableLM", className: "StableLm",
    readConfiguration: { config in
      var spec = try config.llamaSpec(.stableLM, turns: 0.25)
      spec.norm = .layer
      spec.normEpsilon = try config.number("layer_norm_eps") ?? 1e-5
      spec.queryKeyValueBias = try config.bool("use_qkv_bias") ?? false
      spec.attentionOutputBias = false
      return spec
    },
    writeConfiguration: { spec in
      spec.llamaFields([
        "layer_norm_eps": .double(spec.normEpsilon),
        "use_qkv_bias": .bool(spec.queryKeyValueBias), "qk_layernorm": .bool(false),
        "use_parallel_residual": .bool(false), "hidden_dropout": .double(0),
      ])
      // transformers' own default is a quarter.
      .merging(spec.positions.configurationFields(turned: spec.rotaryShare ?? 1)) { $1 }
    },
    readMetadata: { keys in
      var spec = try keys.llamaSpec(.stableLM)
      if try keys.bool("use_parallel_residual") == true {
        throw keys.refused("use_parallel_residual: one norm for both blocks is not supported")
      }
      spec.norm = .layer
      spec.normEpsilon = try keys.number("attention.layer_norm_epsilon") ?? 1e-5
      return spec
    },
    writeMetadata: { spec in
      try spec.requireOwnHead()
      return try spec.ggufFields("stablelm", ["use_parallel_residual": .bool(false)])
    })
}
