// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

extension Architecture {
  /// Llama 1 to 3, SmolLM, and Mistral, whose texts end at its sliding window.
  public static let llama: Architecture = .init(
    name: "llama", otherNames: ["mistral"], title: "Llama", className: "Llama",
    readConfiguration: { config in
      var spec = try config.llamaSpec(.llama)
      // Mistral has no biases, and no switch for its window.
      let isMistral = try config.string("model_type") == "mistral"
      if isMistral {
        (spec.queryKeyValueBias, spec.attentionOutputBias) = (false, false)
      } else {
        spec.mlpBias = try config.bool("mlp_bias") ?? false
      }
      try config.readWindow(
        into: &spec, isOn: try isMistral || config.bool("use_sliding_window") == true)
      return spec
    },
    writeConfiguration: { spec in
      spec.llamaFields([
        "attention_bias": .bool(spec.queryKeyValueBias), "mlp_bias": .bool(spec.mlpBias),
      ])
    },
    readMetadata: { try $0.llamaSpec(.llama) },
    gguf: { tensor, spec in
      var place = StoredTensor(gguf: tensor)
      switch tensor.role {
      case .query: place.layout = .rotaryPairs(heads: spec.heads)
      case .key: place.layout = .rotaryPairs(heads: spec.keyValueHeads)
      default: break
      }
      return place
    })
}

// MARK: - Llama and its likes

extension JSONFile {
  /// The spec of a Llama with these fields; a family that differs changes what comes back.
  func llamaSpec(_ architecture: Architecture) throws -> TransformerSpec {
    let activation = try string("hidden_act") ?? "silu"
    guard activation == "silu" || activation == "swish" else {
      throw refused("hidden_act", "'\(activation)' is not supported, only silu")
    }
    let width = try required("hidden_size", integer)
    let heads = try required("num_attention_heads", integer)
    let layers = try required("num_hidden_layers", integer)
    let bias = try bool("attention_bias") ?? false
    let positions = try rotary()
    return TransformerSpec(
      architecture: architecture,
      vocabularySize: try required("vocab_size", integer),
      width: width, layers: layers, heads: heads,
      keyValueHeads: try integer("num_key_value_heads"), headWidth: try integer("head_dim"),
      mlpWidth: try required("intermediate_size", integer),
      maximumPositions: TransformerSpec.longestText(
        try required("max_position_embeddings", integer), positions),
      normEpsilon: try number("rms_norm_eps") ?? 1e-6,
      positions: positions,
      queryKeyValueBias: bias, attentionOutputBias: bias,
      tiedHead: try bool("tie_word_embeddings") ?? false,
      beginOfSequence: try ids("bos_token_id").first, endOfSequence: try ids("eos_token_id"))
  }

  /// Ends texts at the sliding window, if any layer has one: within it attention is whole.
  ///
  /// - Parameter isOn: Whether a layer has it where `layer_types` does not say.
  func readWindow(
    into spec: inout TransformerSpec, isOn: Bool
  ) throws {
    var window = try integer("sliding_window")
    if case .array(let types)? = fields["layer_types"] {
      let known: [JSONTree] = [.string("full_attention"), .string("sliding_attention")]
      if let other = types.first(where: { !known.contains($0) }) {
        let name = if case .string(let name) = other { name } else { "\(other)" }
        throw refused(
          "layer_types",
          "'\(name)' is not supported, only full_attention and sliding_attention")
      }
      if !types.contains(known[1]) {
        window = nil
      } else if window == nil {
        throw refused("layer_types", "sliding_attention without a sliding_window")
      }
    } else if !isOn {
      window = nil
    }
    guard let window else { return }
    guard window > 0 else { throw refused("sliding_window", "\(window) is no width") }
    if window <= spec.maximumPositions { (spec.maximumPositions, spec.isWindowed) = (window, true) }
  }
}

extension TransformerSpec {
  /// The fields of config.json that describe a Llama.
  ///
  /// - Parameter own: The family's own fields.
  func llamaFields(_ own: [String: JSONTree]) -> [String: JSONTree] {
    var fields: [String: JSONTree] = [
      "vocab_size": .int(vocabularySize), "hidden_size": .int(width),
      "num_hidden_layers": .int(layers), "num_attention_heads": .int(heads),
      "num_key_value_heads": .int(keyValueHeads), "head_dim": .int(headWidth),
      "intermediate_size": .int(mlpWidth),
      "max_position_embeddings": .int(maximumPositions),
      "rms_norm_eps": .double(normEpsilon), "hidden_act": .string("silu"),
      "attention_dropout": .double(0),
    ]
    fields.merge(own) { $1 }
    if isWindowed {
      // All layers: to a text that is no longer than the window it hides nothing.
      fields["use_sliding_window"] = .bool(true)
      fields["sliding_window"] = .int(maximumPositions)
      fields["max_window_layers"] = .int(0)
    }
    return fields.merging(positions.configurationFields) { $1 }
  }
}
