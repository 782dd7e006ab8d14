// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

extension Architecture {
  /// Qwen 2 and 2.5: Llama with biases on queries, keys and values, whatever its fields say.
  public static let qwen2: Architecture = .init(
    name: "qwen2", title: "Qwen2", className: "Qwen2",
    readConfiguration: { config in
      var spec = try config.llamaSpec(.qwen2)
      (spec.queryKeyValueBias, spec.attentionOutputBias) = (true, false)
      try config.readWindow(into: &spec, isOn: try config.qwenWindowIsOn(layers: spec.layers))
      return spec
    },
    writeConfiguration: { $0.llamaFields(["use_sliding_window": .bool(false)]) },
    readMetadata: { try $0.llamaSpec(.qwen2) })
}

extension JSONFile {
  /// Whether a layer of a Qwen has its sliding window, which is off unless said.
  func qwenWindowIsOn(layers: Int) throws -> Bool {
    try bool("use_sliding_window") == true && layers > integer("max_window_layers") ?? 28
  }
}
