// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

extension Architecture {
  /// Qwen 3: Llama with normalised queries and keys.
  public static let qwen3: Architecture = .init(
    name: "qwen3", title: "Qwen3", className: "Qwen3",
    readConfiguration: { config in
      var spec = try config.llamaSpec(.qwen3)
      spec.headWidth = try config.integer("head_dim") ?? 128
      spec.queryKeyNorm = true
      try config.readWindow(into: &spec, isOn: try config.qwenWindowIsOn(layers: spec.layers))
      return spec
    },
    writeConfiguration: { spec in
      spec.llamaFields([
        "attention_bias": .bool(spec.queryKeyValueBias), "use_sliding_window": .bool(false),
      ])
    },
    readMetadata: { keys in
      var spec = try keys.llamaSpec(.qwen3)
      spec.queryKeyNorm = true
      return spec
    })
}
