// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

extension Architecture {
  /// Llama 1 to 3, SmolLM 2, Falcon 3.
  public static let llama: Architecture = .init(
    name: "llama", title: "Llama", className: "Llama",
    readConfiguration: { config in
      var spec = try config.llamaSpec(.llama)
      spec.mlpBias = try config.bool("mlp_bias") ?? false
      // transformers passes over it; whoever wrote it meant it.
      let isOn = try config.bool("use_sliding_window") == true
      try config.readWindow(into: &spec) { _ in isOn }
      guard spec.layerAttention.isEmpty else {
        throw config.refused("sliding_window", "Llama has none; Mistral (model_type) does")
      }
      return spec
    },
    writeConfiguration: { spec in
      spec.llamaFields([
        "attention_bias": .bool(spec.queryKeyValueBias), "mlp_bias": .bool(spec.mlpBias),
      ])
    },
    readMetadata: { keys in
      var spec = try keys.llamaSpec(.llama)
      // llama.cpp has one name for both.
      if try keys.window(below: spec.maximumPositions) != nil { spec.architecture = .mistral }
      return spec
    },
    writeMetadata: { try $0.ggufFieldsWithoutWindow("llama", biases: true) },
    gguf: rotaryPairsInGGUF)

  /// llama.cpp rotates neighbours in Llama and its descendants, so its converter interleaves the two halves
  /// of each head.
  static let rotaryPairsInGGUF:
    @Sendable (TransformerSpec.Tensor, TransformerSpec) -> StoredTensor = { tensor, spec in
      var place = StoredTensor(gguf: tensor)
      place.layout = spec.rotaryPairs(of: tensor)
      return place
    }
}

extension TransformerSpec {
  /// The layout of a tensor in a file whose queries and keys turn neighbouring dimensions.
  func rotaryPairs(of tensor: Tensor) -> StoredTensor.Layout {
    switch tensor.role {
    case .query: .rotaryPairs(heads: heads)
    case .key: .rotaryPairs(heads: keyValueHeads)
    default: .plain
    }
  }
}

// MARK: - Llama and its likes

extension JSONFile {
  /// The spec of a Llama with these fields; a family that differs changes what comes back.
  ///
  /// - Parameters:
  ///   - architecture: The family.
  ///   - mlp: What its feed-forward layer is; SwiGLU, if the file's field says so, unless given.
  ///   - turns: What share of a head is rotated; all, or an error, unless given.
  ///   - theta: The rotary base of a file that says none.
  func llamaSpec(
    _ architecture: Architecture, mlp: TransformerSpec.MLP? = nil, turns: Double? = nil,
    theta: Double = 10_000
  ) throws -> TransformerSpec {
    if mlp == nil {
      let activation = try string("hidden_act") ?? "silu"
      guard activation == "silu" || activation == "swish" else {
        throw refused("hidden_act", "'\(activation)' is not supported, only silu")
      }
    }
    let width = try required("hidden_size", integer)
    let heads = try required("num_attention_heads", integer)
    let layers = try required("num_hidden_layers", integer)
    let bias = try bool("attention_bias") ?? false
    let positions = try rotary(isPartial: turns != nil, theta: theta)
    var spec = TransformerSpec(
      architecture: architecture,
      vocabularySize: try required("vocab_size", integer),
      width: width, layers: layers, heads: heads,
      keyValueHeads: try integer("num_key_value_heads"), headWidth: try integer("head_dim"),
      mlpWidth: try required("intermediate_size", integer),
      maximumPositions: TransformerSpec.longestText(
        try required("max_position_embeddings", integer), positions),
      normEpsilon: try number("rms_norm_eps") ?? 1e-6,
      positions: positions, mlp: mlp ?? .swiglu,
      queryKeyValueBias: bias, attentionOutputBias: bias,
      tiedHead: try bool("tie_word_embeddings") ?? false,
      beginOfSequence: try ids("bos_token_id").first, endOfSequence: try ids("eos_token_id"))
    if let turns {
      let share = try partialRotaryFactor() ?? turns
      guard share.isFinite, share > 0, share <= 1 else {
        throw refused("partial_rotary_factor", "\(share) is not above 0 and at most 1")
      }
      let width = Int(Double(max(0, min(spec.headWidth, 1 << 20))) * share)
      if width != spec.headWidth { spec.rotaryWidth = width }
    }
    return spec
  }

  /// Whether each layer is windowed, as `layer_types` says; nil where it does not.
  func windowedLayers(of count: Int) throws -> [Bool]? {
    guard case .array(let types)? = fields["layer_types"] else { return nil }
    guard types.count == count else {
      throw refused("layer_types", "has \(types.count) names for \(count) layers")
    }
    return try types.map { type in
      switch type {
      case .string("full_attention"), .string("attention"): return false
      case .string("sliding_attention"): return true
      default:
        let name = if case .string(let name) = type { name } else { "\(type)" }
        throw refused(
          "layer_types",
          "'\(name)' is not supported, only full_attention and sliding_attention")
      }
    }
  }

  /// Gives layers their sliding window, if there is one that hides anything.
  ///
  /// - Parameters:
  ///   - spec: The model so far.
  ///   - other: The width where the file says none.
  ///   - isWindowed: Whether a layer has it where `layer_types` does not say.
  func readWindow(
    into spec: inout TransformerSpec, otherwise other: Int? = nil,
    where isWindowed: (_ layer: Int) -> Bool
  ) throws {
    let layers =
      try windowedLayers(of: spec.layers)
      ?? TransformerSpec.layers(spec.layers).map { isWindowed($0) }
    guard layers.contains(true) else { return }
    guard let window = try integer("sliding_window") ?? other else {
      if fields["layer_types"] == nil { return }
      throw refused("layer_types", "sliding_attention without a sliding_window")
    }
    guard window > 0 else { throw refused("sliding_window", "\(window) is no width") }
    if window < spec.maximumPositions { spec.setWindow(window) { layers[$0] } }
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
    let windows = (0..<layers).map { attention(ofLayer: $0).window }
    if let window = windows.compactMap({ $0 }).first {
      fields["sliding_window"] = .int(window)
      fields["layer_types"] = .array(
        windows.map { .string($0 == nil ? "full_attention" : "sliding_attention") })
    }
    fields.merge(positions.configurationFields(turned: rotaryShare)) { $1 }
    return fields.merging(own) { $1 }
  }

  /// What share of a head is rotated; nil for all of it.
  var rotaryShare: Double? {
    rotaryWidth.map { Double($0) / Double(headWidth) }
  }
}
