// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

extension Architecture {
  /// Phi-3, Phi-3.5 and Phi-4 with their mini models: Llama with fused tensors, some with a sliding window,
  /// LongRoPE, or a part of each head rotated. Adapters beside each projection do not fit the fused tensors.
  public static let phi3: Architecture = .init(
    name: "phi3", title: "Phi-3", className: "Phi3", hasAdapterFormat: false,
    leftovers: [".rotary_emb.inv_freq", "rope_factors_long.weight", "rope_factors_short.weight"],
    readConfiguration: { config in
      var spec = try config.llamaSpec(.phi3, turns: 1)
      (spec.queryKeyValueBias, spec.attentionOutputBias) = (false, false)
      try config.readWindow(into: &spec) { _ in true }
      return spec
    },
    writeConfiguration: { spec in
      var fields = spec.llamaFields(["embd_pdrop": .double(0), "resid_pdrop": .double(0)])
      fields["layer_types"] = nil
      if case .rotary(_, .longRope(_, _, _, let original)) = spec.positions {
        fields["original_max_position_embeddings"] = .int(original)
      }
      return fields.merging(["sliding_window": fields["sliding_window"] ?? .null]) { $1 }
    },
    readMetadata: { keys in
      var spec = try keys.llamaSpec(.phi3)
      guard let short = try keys.numbers("rope_factors_short.weight"),
        let long = try keys.numbers("rope_factors_long.weight"),
        case .rotary(let theta, _) = spec.positions
      else { return spec }
      let original =
        try keys.int("rope.scaling.original_context_length") ?? spec.maximumPositions
      let factor = Double(spec.maximumPositions) / Double(max(original, 1))
      spec.positions = .rotary(
        theta: theta,
        scaling: .longRope(
          factors: short, longer: long,
          attentionFactor: try keys.number("rope.scaling.attn_factor")
            ?? TransformerSpec.longRopeAttentionFactor(factor, original: original),
          originalMaximumPositions: original))
      return spec
    },
    writeMetadata: { try $0.ggufFieldsWithoutWindow("phi3", biases: false) },
    huggingFace: { tensor, spec in
      let fused: String
      switch tensor.role {
      case .query, .key, .value: fused = "self_attn.qkv_proj"
      case .gate, .up: fused = "mlp.gate_up_proj"
      default: return StoredTensor(tensor.name, tensor.shape)
      }
      return spec.fused(
        tensor, in: "model.layers.\(tensor.layer ?? 0).\(fused).\(tensor.kind)")
    },
    gguf: { tensor, spec in spec.fusedInGGUF(tensor) })
}
