// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

extension Architecture {
  /// Qwen 3: Llama with normalised queries and keys.
  public static let qwen3: Architecture = .init(
    name: "qwen3", title: "Qwen3", className: "Qwen3",
    readConfiguration: { config in
      var spec = try config.llamaSpec(.qwen3)
      spec.headWidth = try config.integer("head_dim") ?? 128
      spec.queryKeyNorm = .head
      try config.readQwenWindow(into: &spec)
      return spec
    },
    writeConfiguration: { spec in
      spec.llamaFields(
        spec.qwenWindowFields.merging(["attention_bias": .bool(spec.queryKeyValueBias)]) { $1 })
    },
    readMetadata: { keys in
      var spec = try keys.llamaSpec(.qwen3)
      spec.queryKeyNorm = .head
      return spec
    },
    writeMetadata: { try $0.ggufFields("qwen3") })
}
