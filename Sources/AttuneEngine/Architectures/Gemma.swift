// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

extension Architecture {
  /// Gemma 1: embeddings scaled by √width, norms with 1 + weight, GeGLU.
  public static let gemma: Architecture = .init(
    name: "gemma", title: "Gemma", className: "Gemma",
    readConfiguration: { try $0.gemmaSpec(.gemma) },
    writeConfiguration: { $0.gemmaFields([:]) },
    readMetadata: { try $0.gemmaSpec(.gemma) }, writeMetadata: { try $0.ggufFields("gemma") },
    gguf: gemmaInGGUF)

  /// Gemma 2: norms before and after each block, caps on scores and logits, a sliding window in every other
  /// layer.
  public static let gemma2: Architecture = .init(
    name: "gemma2", title: "Gemma 2", className: "Gemma2",
    ownFields: gemmaFields,
    readConfiguration: { config in
      var spec = try config.gemmaSpec(.gemma2)
      spec.normPlacement = .around
      try config.readGemmaScales(into: &spec, attentionCap: 50, logitsCap: 30)
      try config.readWindow(
        into: &spec, otherwise: config.fields["sliding_window"] == nil ? 4096 : nil
      ) { $0 % 2 == 0 }
      return spec
    },
    writeConfiguration: { $0.gemmaFields($0.gemmaScaleFields) },
    readMetadata: { keys in
      var spec = try keys.gemmaSpec(.gemma2)
      spec.normPlacement = .around
      spec.attentionCap = try keys.number("attn_logit_softcapping") ?? 50
      spec.logitsCap = try keys.number("final_logit_softcapping") ?? 30
      // Of 27B, which has 46 layers.
      if spec.layers == 46 { spec.setGemmaScale(Double(spec.width / max(spec.heads, 1))) }
      if let window = try keys.window(below: spec.maximumPositions) {
        let layers = try keys.windowedLayers(of: spec.layers, period: 2)
        spec.setWindow(window) { layers[$0] }
      }
      return spec
    },
    writeMetadata: { spec in
      var own: [String: GGUFValue] = [
        "attn_logit_softcapping": GGUFFields.number(spec.attentionCap ?? 0),
        "final_logit_softcapping": GGUFFields.number(spec.logitsCap ?? 0),
      ]
      if let window = spec.layerAttention.compactMap(\.window).first {
        try own.merge(spec.windowFields(window) { $0.window != nil }) { $1 }
      }
      return try spec.ggufFields("gemma2", own)
    },
    gguf: gemmaInGGUF)

  /// Gemma 3's text model: as Gemma 2 with normalised queries and keys in place of caps, five layers of six
  /// with a window and a rotary base of their own.
  public static let gemma3: Architecture = .init(
    name: "gemma3_text", otherNames: ["gemma3"], title: "Gemma 3", className: "Gemma3",
    ownFields: gemmaFields,
    readConfiguration: { try $0.gemma3Spec() },
    writeConfiguration: { spec in
      let kinds = (0..<spec.layers).map { spec.attention(ofLayer: $0) }
      let local = kinds.first { $0.positions != spec.positions }?.positions
      var own = spec.gemmaScaleFields
      own["rope_parameters"] = .object([
        "full_attention": .object(spec.positions.parameters),
        "sliding_attention": .object((local ?? spec.positions).parameters),
      ])
      if case .rotary(let theta, _) = local ?? spec.positions {
        own["rope_local_base_freq"] = .double(theta)
      }
      own["use_bidirectional_attention"] = .bool(false)
      // Layers by their rotation: a window may hide nothing.
      own["layer_types"] = .array(
        kinds.map {
          .string($0.positions == local ? "sliding_attention" : "full_attention")
        })
      own["sliding_window"] = .int(kinds.compactMap(\.window).first ?? spec.maximumPositions)
      return spec.gemmaFields(own)
    },
    readMetadata: { keys in
      var spec = try keys.gemmaSpec(.gemma3)
      spec.normPlacement = .around
      spec.queryKeyNorm = .head
      spec.logitsCap = try keys.number("final_logit_softcapping")
      // Of 27B, which has 62 layers.
      if spec.layers == 62 { spec.setGemmaScale(Double(spec.width / max(spec.heads, 1))) }
      let local = TransformerSpec.Positions.rotary(
        theta: try keys.number("rope.freq_base_swa") ?? 10_000, scaling: .none)
      let layers = try keys.windowedLayers(of: spec.layers, period: 6)
      spec.setGemmaLayers(
        window: try keys.window(below: spec.maximumPositions), local: local
      ) { layers[$0] }
      return spec
    },
    writeMetadata: { spec in
      let local = spec.layerAttention.first { $0.positions != spec.positions }
      var own = try spec.windowFields(local?.window ?? spec.maximumPositions) {
        $0.positions != spec.positions
      }
      if case .rotary(let theta, _)? = local?.positions {
        own["rope.freq_base_swa"] = GGUFFields.number(theta)
      }
      if let cap = spec.logitsCap { own["final_logit_softcapping"] = GGUFFields.number(cap) }
      return try spec.ggufFields("gemma3", own)
    },
    gguf: gemmaInGGUF)

  private static let gemmaFields: Set<String> = [
    "attn_logit_softcapping", "final_logit_softcapping", "query_pre_attn_scalar",
  ]

  /// llama.cpp's files hold 1 + weight.
  private static let gemmaInGGUF:
    @Sendable (TransformerSpec.Tensor, TransformerSpec) -> StoredTensor = { tensor, _ in
      var place = StoredTensor(gguf: tensor)
      if tensor.shape.count == 1 { place.shift = -1 }
      return place
    }
}

extension JSONFile {
  fileprivate func gemmaSpec(_ architecture: Architecture) throws -> TransformerSpec {
    for key in ["hidden_activation", "hidden_act"] {
      // The first Gemma's files say gelu and mean its tanh form.
      guard let name = try string(key) else { continue }
      guard name == "gelu_pytorch_tanh" || name == "gelu" && architecture == .gemma else {
        throw refused(key, "'\(name)' is not supported, only gelu_pytorch_tanh")
      }
    }
    if try bool("use_bidirectional_attention") == true {
      throw refused("use_bidirectional_attention", "true is not supported")
    }
    var spec = try llamaSpec(architecture, mlp: .geglu)
    spec.headWidth = try integer("head_dim") ?? 256
    spec.tiedHead = try bool("tie_word_embeddings") ?? true
    spec.setGemma()
    return spec
  }

  fileprivate func readGemmaScales(
    into spec: inout TransformerSpec, attentionCap: Double?, logitsCap: Double?
  ) throws {
    // Null says that there is none, and an absent field the family's own.
    spec.attentionCap =
      fields["attn_logit_softcapping"] == nil ? attentionCap : try number("attn_logit_softcapping")
    spec.logitsCap =
      fields["final_logit_softcapping"] == nil ? logitsCap : try number("final_logit_softcapping")
    spec.setGemmaScale(try number("query_pre_attn_scalar") ?? 256)
  }

  fileprivate func gemma3Spec() throws -> TransformerSpec {
    if case .object? = fields["text_config"] {
      throw refused(
        "text_config", "models that see images are not read; a text model (gemma3_text) is")
    }
    // Two rules of rotation, by the layers' names; of older files a base for each.
    let rules = try object("rope_parameters")
    let newer = try rules?.object("full_attention")
    var plain = fields
    plain["rope_parameters"] = nil
    plain["rope_scaling"] = nil
    var spec = try JSONFile(path: path, fields: plain).gemmaSpec(.gemma3)
    spec.positions = try rotary(
      newer: newer, older: newer == nil ? object("rope_scaling") : nil,
      theta: newer?.number("rope_theta") ?? number("rope_theta") ?? 1_000_000)
    let localRule = try rules?.object("sliding_attention")
    let local = try rotary(
      newer: localRule, older: nil,
      theta: localRule?.number("rope_theta") ?? number("rope_local_base_freq") ?? 10_000)
    spec.normPlacement = .around
    spec.queryKeyNorm = .head
    try readGemmaScales(into: &spec, attentionCap: nil, logitsCap: nil)
    let pattern = max(1, try integer("sliding_window_pattern") ?? 6)
    let layers =
      try windowedLayers(of: spec.layers)
      ?? TransformerSpec.layers(spec.layers).map { ($0 + 1) % pattern != 0 }
    let window = try integer("sliding_window") ?? 4096
    guard window > 0 else { throw refused("sliding_window", "\(window) is no width") }
    spec.setGemmaLayers(
      window: window < spec.maximumPositions ? window : nil, local: local
    ) { layers[$0] }
    return spec
  }
}

extension GGUFKeys {
  fileprivate func gemmaSpec(_ architecture: Architecture) throws -> TransformerSpec {
    var spec = try llamaSpec(architecture)
    spec.mlp = .geglu
    spec.setGemma()
    return spec
  }
}

extension TransformerSpec {
  fileprivate mutating func setGemma() {
    normOffset = 1
    embeddingScale = Double(max(width, 0)).squareRoot()
  }

  /// Scores are divided by the root of this number, which is mostly the head's width.
  fileprivate mutating func setGemmaScale(_ scalar: Double) {
    attentionScale = scalar == Double(headWidth) ? nil : 1 / scalar.squareRoot()
  }

  fileprivate mutating func setGemmaLayers(
    window: Int?, local: Positions, _ isLocal: (Int) -> Bool
  ) {
    layerAttention = TransformerSpec.layers(layers).map { layer in
      isLocal(layer)
        ? LayerAttention(window: window, positions: local) : LayerAttention(positions: positions)
    }
  }

  fileprivate func gemmaFields(_ own: [String: JSONTree]) -> [String: JSONTree] {
    llamaFields([
      "hidden_act": .string("gelu_pytorch_tanh"), "hidden_activation": .string("gelu_pytorch_tanh"),
      "attention_bias": .bool(queryKeyValueBias),
    ]).merging(own) { $1 }
  }

  fileprivate var gemmaScaleFields: [String: JSONTree] {
    let scalar = attentionScale.map { 1 / ($0 * $0) } ?? Double(headWidth)
    return [
      "attn_logit_softcapping": attentionCap.map { .double($0) } ?? .null,
      "final_logit_softcapping": logitsCap.map { .double($0) } ?? .null,
      "query_pre_attn_scalar": .int(Int(scalar.rounded())),
    ]
  }
}
