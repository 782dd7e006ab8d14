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
    return self == .gpt2 ? try gpt2Spec(config) : try llamaLikeSpec(config)
  }

  private func llamaLikeSpec(_ config: JSONFile) throws -> TransformerSpec {
    let activation = try config.string("hidden_act") ?? "silu"
    guard activation == "silu" || activation == "swish" else {
      throw config.refused("hidden_act", "'\(activation)' is not supported, only silu")
    }
    try refuseSlidingWindow(config)
    let width = try config.required("hidden_size", config.integer)
    let heads = try config.required("num_attention_heads", config.integer)
    let attentionBias = try config.bool("attention_bias") ?? false
    let plainHeadWidth = heads > 0 ? width / heads : 0
    return TransformerSpec(
      architecture: self,
      vocabularySize: try config.required("vocab_size", config.integer),
      width: width,
      layers: try config.required("num_hidden_layers", config.integer),
      heads: heads,
      keyValueHeads: try config.integer("num_key_value_heads"),
      headWidth: try config.integer("head_dim") ?? (self == .qwen3 ? 128 : plainHeadWidth),
      mlpWidth: try config.required("intermediate_size", config.integer),
      maximumPositions: try config.required("max_position_embeddings", config.integer),
      normEpsilon: try config.number("rms_norm_eps") ?? 1e-6,
      positions: try rotary(config),
      queryKeyValueBias: self == .qwen2 ? true : attentionBias,
      attentionOutputBias: self == .qwen2 ? false : attentionBias,
      mlpBias: self == .llama ? try config.bool("mlp_bias") ?? false : false,
      queryKeyNorm: self == .qwen3,
      tiedHead: try config.bool("tie_word_embeddings") ?? false,
      beginOfSequence: try config.ids("bos_token_id").first,
      endOfSequence: try config.ids("eos_token_id"))
  }

  private func refuseSlidingWindow(_ config: JSONFile) throws {
    let window = try config.integer("sliding_window")
    // Mistral has no switch for its window; Qwen's is off unless said.
    let switchedOn = try config.bool("use_sliding_window")
    let mistral = try config.string("model_type") == "mistral"
    if window != nil, switchedOn ?? mistral {
      throw config.refused("sliding_window", "sliding-window attention is not supported")
    }
    if case .array(let types)? = config.fields["layer_types"],
      let other = types.first(where: { $0 != .string("full_attention") })
    {
      let name = if case .string(let name) = other { name } else { "\(other)" }
      throw config.refused("layer_types", "'\(name)' is not supported, only full_attention")
    }
  }

  /// `rope_parameters` of transformers 5, `rope_theta` and `rope_scaling` of those before.
  private func rotary(_ config: JSONFile) throws -> TransformerSpec.Positions {
    let newer = try config.object("rope_parameters")
    let older = try config.object("rope_scaling")
    let theta = try newer?.number("rope_theta") ?? config.number("rope_theta") ?? 10_000
    for place in [newer, config].compactMap({ $0 }) {
      if let part = try place.number("partial_rotary_factor"), part != 1 {
        throw place.refused("partial_rotary_factor", "\(part) is not supported, only 1")
      }
    }
    guard let scaling = older ?? newer else { return .rotary(theta: theta, scaling: .none) }
    let kind = try scaling.string("rope_type") ?? scaling.string("type") ?? "default"
    func original() throws -> Int {
      try scaling.integer("original_max_position_embeddings")
        ?? config.integer("original_max_position_embeddings")
        ?? config.required("max_position_embeddings", config.integer)
    }
    switch kind {
    case "default":
      return .rotary(theta: theta, scaling: .none)
    case "linear":
      let factor = try scaling.required("factor", scaling.number)
      return .rotary(theta: theta, scaling: .linear(factor: factor))
    case "llama3":
      return .rotary(
        theta: theta,
        scaling: .llama3(
          factor: try scaling.required("factor", scaling.number),
          lowFrequencyFactor: try scaling.required("low_freq_factor", scaling.number),
          highFrequencyFactor: try scaling.required("high_freq_factor", scaling.number),
          originalMaximumPositions: try original()))
    case "yarn":
      for key in ["mscale", "mscale_all_dim"] where scaling.fields[key] ?? .null != .null {
        throw scaling.refused(key, "is not supported")
      }
      if try scaling.bool("truncate") == false {
        throw scaling.refused("truncate", "false is not supported")
      }
      let factor = try scaling.required("factor", scaling.number)
      return .rotary(
        theta: theta,
        scaling: .yarn(
          factor: factor,
          attentionFactor: try scaling.number("attention_factor")
            ?? TransformerSpec.yarnAttentionFactor(factor),
          betaFast: try scaling.number("beta_fast") ?? 32,
          betaSlow: try scaling.number("beta_slow") ?? 1,
          originalMaximumPositions: try original()))
    default:
      throw scaling.refused(
        "rope_type", "'\(kind)' is not supported, only default, linear, llama3 and yarn")
    }
  }

  private func gpt2Spec(_ config: JSONFile) throws -> TransformerSpec {
    let activation = try config.string("activation_function") ?? "gelu_new"
    guard ["gelu_new", "gelu_pytorch_tanh", "gelu_fast"].contains(activation) else {
      throw config.refused(
        "activation_function", "'\(activation)' is not supported, only gelu_new (the tanh form)")
    }
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
      mlp: .gelu,
      queryKeyValueBias: true, attentionOutputBias: true, mlpBias: true,
      tiedHead: try config.bool("tie_word_embeddings") ?? true,
      beginOfSequence: try config.ids("bos_token_id").first,
      endOfSequence: try config.ids("eos_token_id"))
  }
}
