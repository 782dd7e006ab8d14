// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

extension Architecture {
  /// EXAONE 4: norms behind the blocks alone, normalised queries and keys; the larger ones have a sliding
  /// window in three layers of four and rotate only those.
  public static let exaone4: Architecture = .init(
    name: "exaone4", title: "EXAONE 4", className: "Exaone4",
    readConfiguration: { config in
      var spec = try config.llamaSpec(.exaone4)
      spec.normEpsilon = try config.number("rms_norm_eps") ?? 1e-5
      (spec.queryKeyValueBias, spec.attentionOutputBias) = (false, false)
      spec.setEXAONE()
      guard let window = try config.exaoneWindow() else { return spec }
      let layers = try config.exaoneLayers(spec.layers)
      spec.layerAttention = layers.map {
        $0
          ? .init(
            window: window < spec.maximumPositions ? window : nil, positions: spec.positions)
          : .init(positions: nil)
      }
      return spec
    },
    writeConfiguration: { spec in
      let kinds = (0..<spec.layers).map { spec.attention(ofLayer: $0) }
      let isMixed = kinds.contains { $0.positions == nil }
      var fields = spec.llamaFields([:])
      fields["layer_types"] = .array(
        kinds.map {
          .string(isMixed && $0.positions != nil ? "sliding_attention" : "full_attention")
        })
      fields["sliding_window"] =
        isMixed ? .int(kinds.compactMap(\.window).first ?? spec.maximumPositions) : .null
      fields["sliding_window_pattern"] = .null
      return fields
    },
    readMetadata: { keys in
      var spec = try keys.llamaSpec(.exaone4)
      spec.setEXAONE()
      if let window = try keys.int("attention.sliding_window"), window > 0 {
        spec.layerAttention = try keys.windowedLayers(of: spec.layers, period: 4).map {
          $0
            ? .init(
              window: window < spec.maximumPositions ? window : nil, positions: spec.positions)
            : .init(positions: nil)
        }
      }
      return spec
    },
    writeMetadata: { spec in
      guard spec.layerAttention.contains(where: { $0.positions == nil }) else {
        return try spec.ggufFields("exaone4")
      }
      // It takes the layers' number for the model's kind.
      guard spec.layers == 64 else {
        throw EngineError(
          .badRequest, "llama.cpp applies EXAONE 4's sliding window in models of 64 layers alone")
      }
      let window = spec.layerAttention.compactMap(\.window).first ?? spec.maximumPositions
      return try spec.ggufFields("exaone4", spec.windowFields(window) { $0.positions != nil })
    })
}

extension JSONFile {
  /// An absent field is transformers' 4,096, null none.
  fileprivate func exaoneWindow() throws -> Int? {
    guard let value = fields["sliding_window"] else { return 4096 }
    guard value != .null, let window = try integer("sliding_window") else { return nil }
    guard window > 0 else { throw refused("sliding_window", "\(window) is no width") }
    return window
  }

  /// Which layers have the window: `layer_types`, or a pattern of L and G, or every so many not.
  fileprivate func exaoneLayers(_ count: Int) throws -> [Bool] {
    if let layers = try windowedLayers(of: count) { return layers }
    let key = "sliding_window_pattern"
    switch fields[key] {
    case .string(let pattern)? where !pattern.isEmpty && pattern.allSatisfy({ "LG".contains($0) }):
      let letters = Array(pattern)
      return TransformerSpec.layers(count).map { letters[$0 % letters.count] == "L" }
    case .int(let interval)? where interval > 0:
      return TransformerSpec.layers(count).map { ($0 + 1) % interval != 0 }
    case nil: return TransformerSpec.layers(count).map { ($0 + 1) % 4 != 0 }
    default: throw refused(key, "is neither a number above 0 nor a text of L and G")
    }
  }
}

extension TransformerSpec {
  fileprivate mutating func setEXAONE() {
    normPlacement = .after
    queryKeyNorm = .head
  }
}
