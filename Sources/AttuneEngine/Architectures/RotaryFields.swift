// SPDX-License-Identifier: Apache-2.0

import AttuneFiles

extension JSONFile {
  /// `rope_parameters` of transformers 5, `rope_theta` and `rope_scaling` of those before.
  ///
  /// - Parameters:
  ///   - isPartial: Whether the family rotates a part of each head, if the file says so.
  ///   - theta: The base of a file that says none.
  func rotary(isPartial: Bool = false, theta other: Double = 10_000) throws
    -> TransformerSpec.Positions
  {
    let newer = try object("rope_parameters")
    let older = try object("rope_scaling")
    if !isPartial, let part = try partialRotaryFactor(), part != 1 {
      throw refused("partial_rotary_factor", "\(part) is not supported, only 1")
    }
    return try rotary(
      newer: newer, older: older,
      theta: newer?.number("rope_theta") ?? number("rope_theta") ?? other)
  }

  /// What share of a head is rotated, wherever the file says it.
  func partialRotaryFactor() throws -> Double? {
    let places = [try object("rope_parameters"), try object("rope_scaling"), self]
    return try places.compactMap { try $0?.number("partial_rotary_factor") }.first
      ?? number("rotary_pct")
  }

  /// The same of one rule among several.
  func rotary(
    newer: JSONFile?, older: JSONFile?, theta: Double
  ) throws -> TransformerSpec.Positions {
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
    case "longrope", "su":
      read.formUnion([
        "factor", "short_factor", "long_factor", "attention_factor",
        "original_max_position_embeddings",
      ])
      rule = try longRope(scaling, original: try original())
    default:
      throw scaling.refused(
        "rope_type",
        "'\(kind)' is not supported, only default, linear, dynamic, llama3, yarn and longrope")
    }
    if let other = scaling.fields.keys.sorted().first(where: {
      !read.contains($0) && scaling.fields[$0] != .null
    }) {
      throw scaling.refused(other, "is not supported with the rope_type '\(kind)'")
    }
    return .rotary(theta: theta, scaling: rule)
  }

  private func longRope(
    _ scaling: JSONFile, original: Int
  ) throws -> TransformerSpec.RotaryScaling {
    let stated = try required("max_position_embeddings", integer)
    let factor = try scaling.number("factor") ?? Double(stated) / Double(max(original, 1))
    return .longRope(
      factors: try scaling.numbers("short_factor"), longer: try scaling.numbers("long_factor"),
      attentionFactor: try scaling.number("attention_factor")
        ?? TransformerSpec.longRopeAttentionFactor(factor, original: original),
      originalMaximumPositions: original)
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
  ///
  /// - Parameter turned: What share of a head is rotated; nil for all of it.
  func configurationFields(turned share: Double? = nil) -> [String: JSONTree] {
    guard case .rotary(let theta, let scaling) = self else { return [:] }
    let rule = scaling.configurationFields
    var newer = parameters
    var fields: [String: JSONTree] = [
      "rope_theta": .double(theta), "rope_scaling": scaling == .none ? .null : .object(rule),
    ]
    if let share {
      newer["partial_rotary_factor"] = .double(share)
      fields["partial_rotary_factor"] = .double(share)
    }
    fields["rope_parameters"] = .object(newer)
    return fields
  }

  /// What transformers 5 has in `rope_parameters`.
  var parameters: [String: JSONTree] {
    guard case .rotary(let theta, let scaling) = self else { return [:] }
    return scaling.configurationFields.merging(["rope_theta": .double(theta)]) { $1 }
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
    case .longRope(let factors, let longer, let attention, let original):
      func list(_ numbers: [Double]) -> JSONTree { .array(numbers.map { .double($0) }) }
      return [
        "rope_type": .string("longrope"), "short_factor": list(factors),
        "long_factor": list(longer),
        "attention_factor": .double(attention), "original_max_position_embeddings": .int(original),
      ]
    }
  }
}
