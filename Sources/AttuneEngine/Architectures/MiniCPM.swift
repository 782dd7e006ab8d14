// SPDX-License-Identifier: Apache-2.0

extension Architecture {
  /// MiniCPM 1 and 2, which transformers has not: Granite by other names, and from then on Granite.
  static let miniCPM: Architecture = .init(
    name: "minicpm", title: "MiniCPM", className: "Granite",
    ownFields: ["scale_emb", "scale_depth", "dim_model_base"],
    readConfiguration: { config in
      var spec = try config.llamaSpec(.granite)
      func positive(_ key: String, otherwise: Double) throws -> Double {
        let value = try config.number(key) ?? otherwise
        guard value.isFinite, value > 0 else {
          throw config.refused(key, "\(value) must be a number above 0")
        }
        return value
      }
      spec.embeddingScale = try positive("scale_emb", otherwise: 1)
      let layers = Double(max(spec.layers, 1)).squareRoot()
      spec.residualScale = try positive("scale_depth", otherwise: layers) / layers
      let width = Double(max(spec.width, 1))
      spec.logitsDivisor = width / (try positive("dim_model_base", otherwise: width))
      spec.setPlainAttentionScale()
      return spec
    },
    writeConfiguration: granite.writeConfiguration, readMetadata: granite.readMetadata)
}

extension TransformerSpec {
  /// Says the scale that attention has anyway: Granite's configuration always has one.
  mutating func setPlainAttentionScale() {
    attentionScale = headWidth > 0 ? 1 / Double(headWidth).squareRoot() : nil
  }
}
