// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

extension Architecture {
  /// SmolLM 3: Llama with every fourth layer's queries and keys not rotated.
  public static let smollm3: Architecture = .init(
    name: "smollm3", title: "SmolLM3", className: "SmolLM3",
    ownFields: ["no_rope_layers"],
    readConfiguration: { config in
      var spec = try config.llamaSpec(.smollm3, theta: 2_000_000)
      spec.mlpBias = try config.bool("mlp_bias") ?? false
      spec.tiedHead = try config.bool("tie_word_embeddings") ?? true
      try config.leaveUnrotated(in: &spec)
      let isOn = try config.bool("use_sliding_window") == true
      let layers = spec.layerAttention
      try config.readWindow(into: &spec) { isOn && layers[$0].positions == nil }
      return spec
    },
    writeConfiguration: { spec in
      let layers = (0..<spec.layers).map { spec.attention(ofLayer: $0) }
      return spec.llamaFields([
        "attention_bias": .bool(spec.queryKeyValueBias), "mlp_bias": .bool(spec.mlpBias),
        "no_rope_layers": .array(layers.map { .int($0.positions == nil ? 0 : 1) }),
        "use_sliding_window": .bool(layers.contains { $0.window != nil }),
      ])
    },
    readMetadata: { keys in
      var spec = try keys.llamaSpec(.smollm3)
      spec.layerAttention = TransformerSpec.layers(spec.layers).map {
        .init(positions: ($0 + 1) % 4 == 0 ? nil : spec.positions)
      }
      return spec
    },
    writeMetadata: { try $0.ggufFields("smollm3") },
    gguf: rotaryPairsInGGUF)
}

extension JSONFile {
  /// Takes the rotation from the layers that the file names: `no_rope_layers` has 1 for a rotated one.
  fileprivate func leaveUnrotated(in spec: inout TransformerSpec) throws {
    let interval = max(1, try integer("no_rope_layer_interval") ?? 4)
    var isRotated = TransformerSpec.layers(spec.layers).map { ($0 + 1) % interval != 0 }
    if let list = fields["no_rope_layers"], list != .null {
      let numbers = try numbers("no_rope_layers")
      guard numbers.count >= isRotated.count, numbers.allSatisfy({ $0 == 0 || $0 == 1 }) else {
        throw wrong("no_rope_layers", "a list of 0 or 1 for each of \(spec.layers) layers")
      }
      isRotated = numbers.prefix(isRotated.count).map { $0 == 1 }
    }
    spec.layerAttention = isRotated.map { .init(positions: $0 ? spec.positions : nil) }
  }
}
