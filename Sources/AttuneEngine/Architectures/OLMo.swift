// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

extension Architecture {
  /// OLMo 2: norms behind the blocks alone, queries and keys normalised over all heads.
  public static let olmo2: Architecture = .init(
    name: "olmo2", title: "OLMo 2", className: "Olmo2",
    readConfiguration: { try $0.olmoSpec(.olmo2) },
    writeConfiguration: { $0.llamaFields(["attention_bias": .bool($0.queryKeyValueBias)]) },
    readMetadata: { keys in
      var spec = try keys.llamaSpec(.olmo2)
      spec.setOLMo()
      // llama.cpp has one name for OLMo 2 and 3.
      if let window = try keys.window(below: spec.maximumPositions) {
        spec.architecture = .olmo3
        let layers = try keys.windowedLayers(of: spec.layers, period: 4)
        spec.setOLMo3Layers(window: window) { layers[$0] }
      }
      return spec
    },
    writeMetadata: { spec in
      try spec.requireOwnHead()
      guard let window = spec.layerAttention.compactMap(\.window).first else {
        return try spec.ggufFields("olmo2")
      }
      return try spec.ggufFields("olmo2", spec.windowFields(window) { $0.window != nil })
    })

  /// OLMo 3: OLMo 2 with a sliding window in three layers of four, which are rotated as first trained.
  public static let olmo3: Architecture = .init(
    name: "olmo3", title: "OLMo 3", className: "Olmo3",
    readConfiguration: { config in
      let rules = try config.object("rope_parameters")
      let whole = try rules?.object("full_attention")
      var plain = config.fields
      plain["rope_parameters"] = nil
      plain["rope_scaling"] = nil
      var spec = try JSONFile(path: config.path, fields: plain).olmoSpec(.olmo3)
      spec.positions = try config.rotary(
        newer: whole, older: whole == nil ? config.object("rope_scaling") : nil,
        theta: whole?.number("rope_theta") ?? config.number("rope_theta") ?? 500_000)
      spec.maximumPositions = TransformerSpec.longestText(spec.maximumPositions, spec.positions)
      let local = try rules?.object("sliding_attention")
      let localPositions = try config.rotary(
        newer: local, older: nil,
        theta: local?.number("rope_theta") ?? config.number("rope_theta") ?? 500_000)
      let layers =
        try config.windowedLayers(of: spec.layers)
        ?? TransformerSpec.layers(spec.layers).map { ($0 + 1) % 4 != 0 }
      let window = try config.integer("sliding_window") ?? 4096
      guard window > 0 else { throw config.refused("sliding_window", "\(window) is no width") }
      spec.layerAttention = layers.map {
        $0
          ? .init(
            window: window < spec.maximumPositions ? window : nil, positions: localPositions)
          : .init(positions: spec.positions)
      }
      return spec
    },
    writeConfiguration: { spec in
      let kinds = (0..<spec.layers).map { spec.attention(ofLayer: $0) }
      let local = kinds.first { $0.window != nil || $0.positions != spec.positions }
      var fields = spec.llamaFields(["attention_bias": .bool(spec.queryKeyValueBias)])
      fields["rope_parameters"] = .object([
        "full_attention": .object(spec.positions.parameters),
        "sliding_attention": .object((local?.positions ?? spec.positions).parameters),
      ])
      fields["layer_types"] = .array(
        kinds.map { .string($0 == local ? "sliding_attention" : "full_attention") })
      fields["sliding_window"] = .int(local?.window ?? spec.maximumPositions)
      return fields
    },
    readMetadata: Architecture.olmo2.readMetadata, writeMetadata: Architecture.olmo2.writeMetadata)
}

extension JSONFile {
  fileprivate func olmoSpec(_ architecture: Architecture) throws -> TransformerSpec {
    var spec = try llamaSpec(architecture)
    spec.normEpsilon = try number("rms_norm_eps") ?? 1e-5
    spec.setOLMo()
    return spec
  }
}

extension TransformerSpec {
  fileprivate mutating func setOLMo() {
    normPlacement = .after
    queryKeyNorm = .all
  }

  fileprivate mutating func setOLMo3Layers(window: Int, _ isLocal: (Int) -> Bool) {
    var local = positions
    if case .rotary(let theta, _) = positions { local = .rotary(theta: theta, scaling: .none) }
    layerAttention = TransformerSpec.layers(layers).map {
      isLocal($0) ? .init(window: window, positions: local) : .init(positions: positions)
    }
  }
}
