// SPDX-License-Identifier: Apache-2.0

/// The families of models that are read and written.
///
/// A family is added by a case here: its `config.json` as a spec, the names of its tensors in
/// Hugging Face and GGUF files, and what must be done to them (see `StoredTensor.Layout`).
public enum Architecture: String, Codable, Sendable, CaseIterable {
  /// Llama 1 to 3, SmolLM, and Mistral without sliding window.
  case llama
  /// Qwen 2 and 2.5: Llama with biases on queries, keys and values.
  case qwen2
  /// Qwen 3: Llama with normalised queries and keys.
  case qwen3
  /// GPT-2: LayerNorm, learned positions, GELU.
  case gpt2

  /// The family of a file.
  ///
  /// - Parameters:
  ///   - modelType: `model_type` of a config.json or `general.architecture` of a GGUF file.
  ///   - place: The file, for the error.
  /// - Throws: `EngineError` that names the model type if it is none of these.
  package init(modelType: String, place: String) throws {
    if modelType == "mistral" {
      self = .llama
    } else if let known = Architecture(rawValue: modelType) {
      self = known
    } else {
      let known = Architecture.allCases.map(\.rawValue).joined(separator: ", ")
      throw EngineError(
        .badModel,
        "\(place): models of type '\(modelType)' are not supported, only \(known)")
    }
  }

  /// What the names of Hugging Face's classes of this family begin with: `LlamaForCausalLM`.
  package var className: String {
    switch self {
    case .llama: "Llama"
    case .qwen2: "Qwen2"
    case .qwen3: "Qwen3"
    case .gpt2: "GPT2"
    }
  }

  /// Prefix of the trunk's tensors in a Hugging Face file of a whole model.
  package var trunkPrefix: String { self == .gpt2 ? "transformer." : "model." }
}

// MARK: - config.json

extension Architecture {
  /// The spec that a Hugging Face config.json describes.
  ///
  /// - Parameter config: The file.
  /// - Throws: `EngineError` that names a field that is missing, wrong or not supported.
  package func spec(_ config: JSONFile) throws -> TransformerSpec {
    if config.fields["quantization_config"] ?? .null != .null {
      throw config.refused(
        "quantization_config", "weights quantised this way are not read; take the plain model")
    }
    try config.refuseOtherNetworks()
    return self == .gpt2 ? try gpt2Spec(config) : try llamaLikeSpec(config)
  }

  private func llamaLikeSpec(_ config: JSONFile) throws -> TransformerSpec {
    let activation = try config.string("hidden_act") ?? "silu"
    guard activation == "silu" || activation == "swish" else {
      throw config.refused("hidden_act", "'\(activation)' is not supported, only silu")
    }
    let width = try config.required("hidden_size", config.integer)
    let heads = try config.required("num_attention_heads", config.integer)
    let layers = try config.required("num_hidden_layers", config.integer)
    // Qwen2's biases are part of its code, Mistral has none: there the field says nothing.
    let mistral = try config.string("model_type") == "mistral"
    let attentionBias = try config.bool("attention_bias") ?? false
    let plainHeadWidth = heads > 0 ? width / heads : 0
    let positions = try rotary(config)
    let (longest, isWindowed) = try longestText(config, positions, layers: layers)
    return TransformerSpec(
      architecture: self,
      vocabularySize: try config.required("vocab_size", config.integer),
      width: width,
      layers: layers,
      heads: heads,
      keyValueHeads: try config.integer("num_key_value_heads"),
      headWidth: try config.integer("head_dim") ?? (self == .qwen3 ? 128 : plainHeadWidth),
      mlpWidth: try config.required("intermediate_size", config.integer),
      maximumPositions: longest, isWindowed: isWindowed,
      normEpsilon: try config.number("rms_norm_eps") ?? 1e-6,
      positions: positions,
      queryKeyValueBias: self == .qwen2 ? true : attentionBias && !mistral,
      attentionOutputBias: self == .qwen2 ? false : attentionBias && !mistral,
      mlpBias: self == .llama && !mistral ? try config.bool("mlp_bias") ?? false : false,
      queryKeyNorm: self == .qwen3,
      tiedHead: try config.bool("tie_word_embeddings") ?? false,
      beginOfSequence: try config.ids("bos_token_id").first,
      endOfSequence: try config.ids("eos_token_id"))
  }

  /// The longest text: what the positions reach, or a sliding window, within which attention is
  /// whole.
  private func longestText(
    _ config: JSONFile, _ positions: TransformerSpec.Positions, layers: Int
  ) throws -> (Int, isWindowed: Bool) {
    let longest = TransformerSpec.longestText(
      try config.required("max_position_embeddings", config.integer), positions)
    guard let window = try slidingWindow(config, layers: layers) else { return (longest, false) }
    guard window > 0 else { throw config.refused("sliding_window", "\(window) is no width") }
    return window <= longest ? (window, true) : (longest, false)
  }

  /// The sliding window, if any layer has one.
  private func slidingWindow(_ config: JSONFile, layers: Int) throws -> Int? {
    let window = try config.integer("sliding_window")
    if case .array(let types)? = config.fields["layer_types"] {
      let known: [JSONValue] = [.string("full_attention"), .string("sliding_attention")]
      if let other = types.first(where: { !known.contains($0) }) {
        let name = if case .string(let name) = other { name } else { "\(other)" }
        throw config.refused(
          "layer_types",
          "'\(name)' is not supported, only full_attention and sliding_attention")
      }
      guard types.contains(known[1]) else { return nil }
      guard let window else {
        throw config.refused("layer_types", "sliding_attention without a sliding_window")
      }
      return window
    }
    // Mistral has no switch for its window; Qwen's is off unless said, and llama has none.
    guard self != .llama else {
      return try config.string("model_type") == "mistral"
        || config.bool("use_sliding_window") == true ? window : nil
    }
    guard try config.bool("use_sliding_window") == true else { return nil }
    return layers > (try config.integer("max_window_layers") ?? 28) ? window : nil
  }

  /// `rope_parameters` of transformers 5, `rope_theta` and `rope_scaling` of those before.
  private func rotary(_ config: JSONFile) throws -> TransformerSpec.Positions {
    let newer = try config.object("rope_parameters")
    let older = try config.object("rope_scaling")
    let theta = try newer?.number("rope_theta") ?? config.number("rope_theta") ?? 10_000
    for place in [newer, older, config].compactMap({ $0 }) {
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
        ?? config.integer("original_max_position_embeddings")
        ?? config.required("max_position_embeddings", config.integer)
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

  private func gpt2Spec(_ config: JSONFile) throws -> TransformerSpec {
    let activation = try config.string("activation_function") ?? "gelu_new"
    guard let mlp = Self.activations.first(where: { $0.name == activation })?.mlp else {
      let known = Self.activations.map(\.name).joined(separator: ", ")
      throw config.refused(
        "activation_function", "'\(activation)' is not supported, only \(known)")
    }
    // `reorder_and_upcast_attn` changes only how half-precision numbers are computed.
    for (key, wanted) in [
      ("scale_attn_weights", true), ("scale_attn_by_inverse_layer_idx", false),
      ("add_cross_attention", false),
    ] where try config.bool(key) ?? wanted != wanted {
      throw config.refused(key, "\(!wanted) is not supported")
    }
    let width = try config.required("n_embd", config.integer)
    return TransformerSpec(
      architecture: self,
      vocabularySize: try config.required("vocab_size", config.integer),
      width: width,
      layers: try config.required("n_layer", config.integer),
      heads: try config.required("n_head", config.integer),
      mlpWidth: try config.integer("n_inner") ?? width.multipliedReportingOverflow(by: 4).0,
      maximumPositions: try config.required("n_positions", config.integer),
      norm: .layer,
      normEpsilon: try config.number("layer_norm_epsilon") ?? 1e-5,
      positions: .learned,
      mlp: mlp,
      queryKeyValueBias: true, attentionOutputBias: true, mlpBias: true,
      tiedHead: try config.bool("tie_word_embeddings") ?? true,
      beginOfSequence: try config.ids("bos_token_id").first,
      endOfSequence: try config.ids("eos_token_id"))
  }

  /// The names of GPT-2's activations, those that are written first.
  private static let activations: [(name: String, mlp: TransformerSpec.MLP)] = [
    ("gelu_new", .gelu), ("gelu", .exactGELU), ("relu", .relu), ("gelu_pytorch_tanh", .gelu),
    ("gelu_fast", .gelu), ("gelu_python", .exactGELU),
  ]

  /// The name of an activation of GPT-2.
  static func activation(of mlp: TransformerSpec.MLP) -> String {
    activations.first { $0.mlp == mlp }?.name ?? "gelu_new"
  }
}

extension JSONFile {
  /// Refuses the fields that other networks have and that change the numbers. transformers passes
  /// over them in these families; whoever wrote one meant it.
  fileprivate func refuseOtherNetworks() throws {
    for (key, neutral) in Self.neutralNumbers {
      if case .bool(let value)? = fields[key] {
        guard value else { continue }
        throw refused(key, "true is not supported")
      }
      if let value = try number(key), value != neutral {
        throw refused(key, "\(value) is not supported")
      }
    }
    for key in Self.switches {
      switch fields[key] {
      case nil, .null, .bool(false), .integer(0), .array([]): continue
      default: throw refused(key, "is not supported")
      }
    }
  }

  /// Factors and caps, with the value that leaves the numbers alone.
  private static let neutralNumbers: [(String, Double)] = [
    ("attn_logit_softcapping", 0), ("final_logit_softcapping", 0), ("logits_soft_cap", 0),
    ("attention_logit_cap", 0), ("clip_qkv", 0), ("residual_multiplier", 1),
    ("embedding_multiplier", 1), ("logits_scaling", 1), ("logit_scale", 1), ("scale_emb", 1),
    ("attention_multiplier", 0), ("query_pre_attn_scalar", 0), ("scale_depth", 0),
    ("dim_model_base", 0), ("attention_chunk_size", 0), ("rotary_pct", 1),
  ]

  /// Parts that the networks read here do not have.
  private static let switches = [
    "num_local_experts", "num_experts", "n_routed_experts", "moe_intermediate_size", "alibi",
    "use_parallel_residual", "parallel_attn", "use_mrope", "mrope_section", "no_rope_layers",
    "is_encoder_decoder", "use_cross_attention", "cross_attention_layers", "kv_lora_rank",
    "q_lora_rank", "qk_layernorm",
  ]
}
