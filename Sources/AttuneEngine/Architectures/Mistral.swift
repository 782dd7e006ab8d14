// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

extension Architecture {
  /// Mistral 7B and Nemo: Llama without biases, with a sliding window in all layers of the first 7B.
  public static let mistral: Architecture = .init(
    name: "mistral", title: "Mistral", className: "Mistral",
    readConfiguration: { try $0.mistralSpec(.mistral) },
    writeConfiguration: { spec in
      // transformers' Mistral knows no layers: the window is that of all.
      var fields = spec.llamaFields([:])
      fields["layer_types"] = nil
      return fields.merging(["sliding_window": fields["sliding_window"] ?? .null]) { $1 }
    },
    readMetadata: Architecture.llama.readMetadata, writeMetadata: Architecture.llama.writeMetadata,
    gguf: rotaryPairsInGGUF)

  /// Ministral 8B: Mistral with a sliding window in some layers.
  public static let ministral: Architecture = .init(
    name: "ministral", title: "Ministral", className: "Ministral",
    readConfiguration: { try $0.mistralSpec(.ministral) },
    writeConfiguration: { spec in
      let fields = spec.llamaFields([:])
      return fields.merging(["sliding_window": fields["sliding_window"] ?? .null]) { $1 }
    },
    readMetadata: Architecture.llama.readMetadata, writeMetadata: Architecture.llama.writeMetadata,
    gguf: rotaryPairsInGGUF)
}

extension JSONFile {
  fileprivate func mistralSpec(_ architecture: Architecture) throws -> TransformerSpec {
    var spec = try llamaSpec(architecture)
    (spec.queryKeyValueBias, spec.attentionOutputBias) = (false, false)
    // transformers' default, where the field is absent and not null.
    let window = fields["sliding_window"] == nil ? 4096 : nil
    try readWindow(into: &spec, otherwise: window) { _ in true }
    return spec
  }
}
