// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

extension Architecture {
  /// GPT-NeoX and Pythia: LayerNorm, both blocks beside each other, a part of each head rotated, and each
  /// head's queries, keys and values together in one tensor.
  public static let gptNeoX: Architecture = .init(
    name: "gpt_neox", otherNames: ["gptneox"], title: "GPT-NeoX", className: "GPTNeoX",
    trunkPrefix: "gpt_neox.", hasAdapterFormat: false,
    ownFields: ["use_parallel_residual", "rotary_pct"],
    leftovers: [
      ".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq",
    ],
    readConfiguration: { config in
      let activation = try config.string("hidden_act") ?? "gelu"
      guard let mlp = neoXActivations[activation] else {
        throw config.refused(
          "hidden_act",
          "'\(activation)' is not supported, only \(neoXActivations.keys.sorted().joined(separator: ", "))"
        )
      }
      var spec = try config.llamaSpec(
        .gptNeoX, mlp: mlp, turns: 0.25,
        theta: config.number("rotary_emb_base") ?? 10_000)
      spec.norm = .layer
      spec.normEpsilon = try config.number("layer_norm_eps") ?? 1e-5
      spec.isParallel = try config.bool("use_parallel_residual") ?? true
      let bias = try config.bool("attention_bias") ?? true
      (spec.queryKeyValueBias, spec.attentionOutputBias, spec.mlpBias) = (bias, bias, true)
      return spec
    },
    writeConfiguration: { spec in
      var fields = spec.llamaFields([
        "layer_norm_eps": .double(spec.normEpsilon),
        "hidden_act": .string(spec.mlp == .gelu ? "gelu_new" : spec.mlp == .relu ? "relu" : "gelu"),
        "use_parallel_residual": .bool(spec.isParallel),
        "attention_bias": .bool(spec.queryKeyValueBias), "hidden_dropout": .double(0),
        "rotary_pct": .double(spec.rotaryShare ?? 1),
      ])
      if case .rotary(let theta, _) = spec.positions { fields["rotary_emb_base"] = .double(theta) }
      // transformers' own default is a quarter.
      fields.merge(spec.positions.configurationFields(turned: spec.rotaryShare ?? 1)) { $1 }
      for key in ["rms_norm_eps", "num_key_value_heads", "head_dim"] { fields[key] = nil }
      return fields
    },
    readMetadata: { keys in
      var spec = try keys.llamaSpec(.gptNeoX)
      spec.norm = .layer
      spec.normEpsilon = try keys.number("attention.layer_norm_epsilon") ?? 1e-5
      spec.mlp = .exactGELU
      spec.isParallel = try keys.bool("use_parallel_residual") ?? true
      let bias = keys.has("blk.0.attn_qkv.bias")
      (spec.queryKeyValueBias, spec.attentionOutputBias, spec.mlpBias) = (bias, bias, true)
      return spec
    },
    writeMetadata: { spec in
      try spec.requireOwnHead()
      return try spec.ggufFields(
        "gptneox", ["use_parallel_residual": .bool(spec.isParallel)], outputBias: true,
        mlpBias: true)
    },
    huggingFace: { tensor, spec in
      let module: String
      switch tensor.role {
      case .embedding: module = "gpt_neox.embed_in"
      case .head: module = "embed_out"
      case .finalNorm: module = "gpt_neox.final_layer_norm"
      case .inputNorm: module = "input_layernorm"
      case .query, .key, .value: module = "attention.query_key_value"
      case .output: module = "attention.dense"
      case .middleNorm: module = "post_attention_layernorm"
      case .up: module = "mlp.dense_h_to_4h"
      case .down: module = "mlp.dense_4h_to_h"
      default: return StoredTensor(tensor.name, tensor.shape)
      }
      let layer = tensor.layer.map { "gpt_neox.layers.\($0)." } ?? ""
      let name = "\(layer)\(module).\(tensor.kind)"
      let parts: [ModuleRole] = [.query, .key, .value]
      guard let part = parts.firstIndex(of: tensor.role) else {
        return StoredTensor(name, tensor.shape)
      }
      return StoredTensor(
        name, [3 * spec.heads * spec.headWidth] + tensor.shape.dropFirst(),
        .headParts(part: part, of: 3, width: spec.headWidth))
    },
    gguf: { tensor, spec in spec.fusedInGGUF(tensor) })
}

/// The names of activations.
private let neoXActivations: [String: TransformerSpec.MLP] = [
  "gelu": .exactGELU, "gelu_new": .gelu, "gelu_fast": .gelu, "gelu_pytorch_tanh": .gelu,
  "relu": .relu,
]
