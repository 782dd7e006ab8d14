// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

extension Architecture {
  /// Granite 3: Llama with scales on embeddings, attention, blocks and logits.
  public static let granite: Architecture = .init(
    name: "granite", title: "Granite", className: "Granite",
    ownFields: graniteFields,
    readConfiguration: { config in
      var spec = try config.llamaSpec(.granite)
      spec.mlpBias = try config.bool("mlp_bias") ?? false
      try config.readGraniteScales(into: &spec)
      return spec
    },
    writeConfiguration: { spec in
      spec.llamaFields(
        spec.graniteFields.merging([
          "attention_bias": .bool(spec.queryKeyValueBias), "mlp_bias": .bool(spec.mlpBias),
        ]) { $1 })
    },
    readMetadata: { keys in
      var spec = try keys.llamaSpec(.granite)
      spec.embeddingScale = try keys.number("embedding_scale") ?? 1
      spec.residualScale = try keys.number("residual_scale") ?? 1
      spec.logitsDivisor = try keys.number("logit_scale") ?? 1
      spec.setPlainAttentionScale()
      if let scale = try keys.number("attention.scale"), scale != 0 { spec.attentionScale = scale }
      return spec
    },
    writeMetadata: { try $0.graniteMetadata() },
    gguf: rotaryPairsInGGUF)

  /// Granite 4 without experts and state-space layers (350M, 1B): Granite 3 with gate and up in one tensor,
  /// which adapters beside each do not fit.
  public static let graniteHybrid: Architecture = .init(
    name: "granitemoehybrid", title: "Granite 4", className: "GraniteMoeHybrid",
    hasAdapterFormat: false, ownFields: graniteFields,
    readConfiguration: { config in
      // transformers 4 and 5 have a name each for attention.
      let known: [JSONTree] = [.string("attention"), .string("full_attention")]
      guard case .array(let types)? = config.fields["layer_types"],
        types.allSatisfy({ known.contains($0) })
      else { throw config.refused("layer_types", "state-space layers are not supported") }
      var spec = try config.llamaSpec(.graniteHybrid)
      spec.mlpWidth = try config.required("shared_intermediate_size", config.integer)
      try config.readGraniteScales(into: &spec)
      switch try config.string("position_embedding_type") {
      case "rope"?: break
      case "nope"?, nil:
        spec.layerAttention = Array(
          repeating: .init(positions: nil), count: TransformerSpec.layers(spec.layers).count)
      case let other?:
        throw config.refused("position_embedding_type", "'\(other)' is not supported")
      }
      return spec
    },
    writeConfiguration: { spec in
      let isRotated = spec.attention(ofLayer: 0).positions != nil
      var own = spec.graniteFields
      own["shared_intermediate_size"] = .int(spec.mlpWidth)
      own["num_local_experts"] = .int(0)
      own["num_experts_per_tok"] = .int(0)
      // No layer has such heads; transformers checks that they would fit.
      own["mamba_n_heads"] = .int(1)
      own["mamba_d_head"] = .int(2 * spec.width)
      own["attention_bias"] = .bool(spec.queryKeyValueBias)
      own["layer_types"] = .array(Array(repeating: .string("attention"), count: spec.layers))
      own["position_embedding_type"] = .string(isRotated ? "rope" : "nope")
      return spec.llamaFields(own)
    },
    readMetadata: { throw $0.refused("GGUF files of hybrid Granite are not supported") },
    // Without state-space layers it is what llama.cpp calls Granite, and read again as that.
    writeMetadata: { spec in
      guard spec.attention(ofLayer: 0).positions != nil else {
        throw EngineError(
          .badRequest, "Granite 4 without rotary positions is not written as a GGUF file")
      }
      return try spec.graniteMetadata()
    },
    huggingFace: { tensor, spec in
      let layer = "model.layers.\(tensor.layer ?? 0).shared_mlp."
      switch tensor.role {
      case .gate, .up: return spec.fused(tensor, in: layer + "input_linear.weight")
      case .down: return StoredTensor(layer + "output_linear.weight", tensor.shape)
      default: return StoredTensor(tensor.name, tensor.shape)
      }
    },
    gguf: rotaryPairsInGGUF)

  private static let graniteFields: Set<String> = [
    "residual_multiplier", "embedding_multiplier", "logits_scaling", "attention_multiplier",
  ]
}

extension JSONFile {
  /// transformers' defaults are 1, of attention too.
  fileprivate func readGraniteScales(into spec: inout TransformerSpec) throws {
    spec.embeddingScale = try number("embedding_multiplier") ?? 1
    spec.residualScale = try number("residual_multiplier") ?? 1
    spec.logitsDivisor = try number("logits_scaling") ?? 1
    spec.attentionScale = try number("attention_multiplier") ?? 1
  }
}

extension TransformerSpec {
  fileprivate func graniteMetadata() throws -> GGUFFields {
    try ggufFields(
      "granite",
      [
        "embedding_scale": GGUFFields.number(embeddingScale),
        "residual_scale": GGUFFields.number(residualScale),
        "logit_scale": GGUFFields.number(logitsDivisor),
        "attention.scale": GGUFFields.number(attentionScale ?? 1 / Double(headWidth).squareRoot()),
      ], outputBias: true, mlpBias: true)
  }

  fileprivate var graniteFields: [String: JSONTree] {
    [
      "embedding_multiplier": .double(embeddingScale),
      "residual_multiplier": .double(residualScale), "logits_scaling": .double(logitsDivisor),
      "attention_multiplier": .double(
        attentionScale ?? 1 / Double(headWidth).squareRoot()),
    ]
  }
}
