// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

extension JSONFile {
  /// `rope_parameters` of transformers 5, `rope_theta` and `rope_scaling` of those before.
  func rotary() throws -> TransformerSpec.Positions {
    let newer = try object("rope_parameters")
    let older = try object("rope_scaling")
    let theta = try newer?.number("rope_theta") ?? number("rope_theta") ?? 10_000
    for place in [newer, older, self].compactMap({ $0 }) {
      if let part = try place.number("partial_rotary_factor"), part != 1 {
        throw place.refused("partial_rotary_factor", "\(part) is not supported, only 1")
      }
    }
    guard let scaling = older ?? newer else { return .rotary(theta: theta, scaling: .none) }
    let kind = try scaling.string("rope_type") ?? scaling.string("type") ?? "default"
    var read: Set = ["rope_type", "type", "rope_theta", "partial_rotary_factor"]
    func factor() throws -> Double {
      let factor = try scaling.required("factor", scaling.number)
      guard factor.isFinite, factor > 0 else {
        throw scaling.refused("factor", "\(factor) must be a number above 0")
      }
      return factor
    }
    func original() throws -> Int {
      try scaling.integer("original_max_position_embeddings")
        ?? integer("original_max_position_embeddings")
        ?? required("max_position_embeddings", integer)
    }
    let rule: TransformerSpec.RotaryScaling
    switch kind {
    case "default":
      rule = .none
      // Left over where a model was given back its own positions.
      read.formUnion(["factor", "original_max_position_embeddings"])
    case "linear":
      read.formUnion(["factor", "original_max_position_embeddings"])
      rule = .linear(factor: try factor())
    case "dynamic":
      read.formUnion(["factor", "original_max_position_embeddings"])
      rule = .dynamic(factor: try factor())
    case "llama3":
      read.formUnion([
        "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings",
      ])
      rule = .llama3(
        factor: try factor(),
        lowFrequencyFactor: try scaling.required("low_freq_factor", scaling.number),
        highFrequencyFactor: try scaling.required("high_freq_factor", scaling.number),
        originalMaximumPositions: try original())
    case "yarn":
      read.formUnion([
        "factor", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim",
        "original_max_position_embeddings", "truncate", "finetuned",
      ])
      rule = try yarn(scaling, factor: try factor(), original: try original())
    default:
      throw scaling.refused(
        "rope_type",
        "'\(kind)' is not supported, only default, linear, dynamic, llama3 and yarn")
    }
    if let other = scaling.fields.keys.sorted().first(where: {
      !read.contains($0) && scaling.fields[$0] != .null
    }) {
      throw scaling.refused(other, "is not supported with the rope_type '\(kind)'")
    }
    return .rotary(theta: theta, scaling: rule)
  }

  private func yarn(
    _ scaling: JSONFile, factor: Double, original: Int
  ) throws -> TransformerSpec.RotaryScaling {
    let scale = try scaling.number("mscale") ?? 0
    let allScale = try scaling.number("mscale_all_dim") ?? 0
    // As transformers: DeepSeek's two scales count only together.
    let plain =
      scale != 0 && allScale != 0
      ? TransformerSpec.yarnAttentionFactor(factor, scale: scale)
        / TransformerSpec.yarnAttentionFactor(factor, scale: allScale)
      : TransformerSpec.yarnAttentionFactor(factor)
    return .yarn(
      factor: factor, attentionFactor: try scaling.number("attention_factor") ?? plain,
      betaFast: try scaling.number("beta_fast") ?? 32,
      betaSlow: try scaling.number("beta_slow") ?? 1, originalMaximumPositions: original,
      truncates: try scaling.bool("truncate") ?? true)
  }
}

extension TransformerSpec.Positions {
  /// The fields of config.json that say them, for transformers 4, which reads rope_theta and
  /// rope_scaling, and 5, which reads rope_parameters.
  var configurationFields: [String: JSONTree] {
    guard case .rotary(let theta, let scaling) = self else { return [:] }
    let rule = scaling.configurationFields
    return [
      "rope_theta": .double(theta), "rope_scaling": scaling == .none ? .null : .object(rule),
      "rope_parameters": .object(rule.merging(["rope_theta": .double(theta)]) { $1 }),
    ]
  }
}

extension TransformerSpec.RotaryScaling {
  fileprivate var configurationFields: [String: JSONTree] {
    switch self {
    case .none:
      return ["rope_type": .string("default")]
    case .linear(let factor):
      return ["rope_type": .string("linear"), "factor": .double(factor)]
    case .llama3(let factor, let low, let high, let original):
      return [
        "rope_type": .string("llama3"), "factor": .double(factor), "low_freq_factor": .double(low),
        "high_freq_factor": .double(high), "original_max_position_embeddings": .int(original),
      ]
    case .dynamic(let factor):
      return ["rope_type": .string("dynamic"), "factor": .double(factor)]
    case .yarn(let factor, let attention, let fast, let slow, let original, let truncates):
      return [
        "rope_type": .string("yarn"), "factor": .double(factor),
        "attention_factor": .double(attention), "beta_fast": .double(fast),
        "beta_slow": .double(slow), "original_max_position_embeddings": .int(original),
        "truncate": .bool(truncates),
      ]
    }
  }
}
