// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

extension Architecture {
  /// Qwen 2 and 2.5: Llama with biases on queries, keys and values, whatever its fields say.
  public static let qwen2: Architecture = .init(
    name: "qwen2", title: "Qwen2", className: "Qwen2",
    readConfiguration: { config in
      var spec = try config.llamaSpec(.qwen2)
      (spec.queryKeyValueBias, spec.attentionOutputBias) = (true, false)
      try config.readQwenWindow(into: &spec)
      return spec
    },
    writeConfiguration: { $0.llamaFields($0.qwenWindowFields) },
    readMetadata: { try $0.llamaSpec(.qwen2) },
    writeMetadata: { try $0.ggufFields("qwen2") })
}

extension JSONFile {
  /// The sliding window of a Qwen's upper layers, which is off unless said.
  func readQwenWindow(into spec: inout TransformerSpec) throws {
    let first = try integer("max_window_layers") ?? 28
    let isOn = try bool("use_sliding_window") == true
    try readWindow(into: &spec) { isOn && $0 >= first }
  }
}

extension TransformerSpec {
  /// The fields that say it.
  var qwenWindowFields: [String: JSONTree] {
    guard let first = (0..<layers).first(where: { attention(ofLayer: $0).window != nil }) else {
      return ["use_sliding_window": .bool(false)]
    }
    return ["use_sliding_window": .bool(true), "max_window_layers": .int(first)]
  }
}
