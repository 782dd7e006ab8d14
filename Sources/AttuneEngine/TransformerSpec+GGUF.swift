// SPDX-License-Identifier: Apache-2.0

extension TransformerSpec {
  /// Reads the metadata of a GGUF file; what it does not say (biases, a tied head) is seen from its
  /// tensors.
  ///
  /// - Parameter gguf: The file.
  /// - Throws: `EngineError` that names the file and the key at fault.
  public init(gguf: GGUF) throws {
    let keys = GGUFKeys(gguf)
    guard let name = gguf.metadata["general.architecture"]?.string else {
      throw keys.missing("general.architecture")
    }
    let architecture = try Architecture(modelType: name, place: gguf.path)
    let isGPT2 = architecture == .gpt2
    if let experts = try keys.int("expert_count"), experts > 0 {
      throw EngineError(.badModel, "\(gguf.path): mixtures of experts are not supported")
    }
    guard let embedding = gguf.shape(of: "token_embd.weight"), embedding.count == 2 else {
      throw EngineError(.badModel, "\(gguf.path): has no tensor token_embd.weight of rows")
    }
    let width = try keys.required("embedding_length")
    let heads = try keys.required("attention.head_count")
    let epsilonKey = isGPT2 ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon"
    func special(_ key: String) -> Int32? {
      let id = gguf.metadata["tokenizer.ggml." + key]?.int.flatMap { Int32(exactly: $0) }
      return id.flatMap { $0 >= 0 && Int($0) < embedding[0] ? $0 : nil }
    }
    var ends: [Int32] = []
    for id in ["eos_token_id", "eot_token_id", "eom_token_id"].compactMap(special)
    where !ends.contains(id) { ends.append(id) }

    self.init(
      architecture: architecture, vocabularySize: embedding[0], width: width,
      layers: try keys.required("block_count"), heads: heads,
      keyValueHeads: try keys.int("attention.head_count_kv"),
      headWidth: try keys.int("attention.key_length"),
      mlpWidth: try keys.required("feed_forward_length"),
      maximumPositions: try keys.required("context_length"),
      norm: isGPT2 ? .layer : .rms,
      normEpsilon: (try keys.number(epsilonKey)).map(Self.decimal) ?? 1e-5,
      positions: .learned, mlp: isGPT2 ? .gelu : .swiglu,
      queryKeyValueBias: isGPT2 || gguf.shape(of: "blk.0.attn_q.bias") != nil,
      attentionOutputBias: isGPT2 || gguf.shape(of: "blk.0.attn_output.bias") != nil,
      mlpBias: isGPT2 || gguf.shape(of: "blk.0.ffn_down.bias") != nil,
      queryKeyNorm: architecture == .qwen3,
      tiedHead: gguf.shape(of: "output.weight") == nil,
      beginOfSequence: special("bos_token_id"), endOfSequence: ends)
    if !isGPT2 {
      if let turned = try keys.int("rope.dimension_count"), turned != headWidth {
        throw EngineError(
          .badModel,
          "\(gguf.path): rotary positions on \(turned) of \(headWidth) dimensions of a head are "
            + "not supported")
      }
      let theta = try keys.number("rope.freq_base").map(Self.decimal) ?? 10_000
      positions = .rotary(theta: theta, scaling: try Self.scaling(keys))
    }
    maximumPositions = Self.longestText(maximumPositions, positions)
    if let window = try keys.int("attention.sliding_window"), window > 0,
      window < maximumPositions
    {
      (maximumPositions, isWindowed) = (window, true)
    }
    try validated(gguf.path)
    if gguf.shape(of: "rope_freqs.weight") != nil { try recoverLlama3(gguf) }
  }

  /// The shortest decimal that is the same float32: 1e-05 where the file says 9.99999974e-06.
  private static func decimal(_ value: Double) -> Double {
    Double("\(Float(value))") ?? value
  }

  private static func scaling(_ keys: GGUFKeys) throws -> RotaryScaling {
    let kind = try keys.string("rope.scaling.type") ?? "none"
    switch kind {
    case "none":
      guard let factor = try keys.number("rope.scale_linear"), factor != 1 else { return .none }
      return .linear(factor: decimal(factor))
    case "linear":
      return .linear(factor: decimal(try keys.number("rope.scaling.factor") ?? 1))
    case "yarn":
      let factor = decimal(try keys.number("rope.scaling.factor") ?? 1)
      let amplitude = try keys.number("rope.scaling.attn_factor").map(decimal) ?? 1
      return .yarn(
        factor: factor, attentionFactor: amplitude * yarnAttentionFactor(factor),
        betaFast: try keys.number("rope.scaling.yarn_beta_fast").map(decimal) ?? 32,
        betaSlow: try keys.number("rope.scaling.yarn_beta_slow").map(decimal) ?? 1,
        originalMaximumPositions: try keys.required("rope.scaling.original_context_length"))
    default:
      throw EngineError(
        .badModel, "\(keys.path): rope.scaling.type '\(kind)' is not supported")
    }
  }

  /// GGUF files of Llama 3.1 and later hold what each frequency is divided by in place of the rule;
  /// the rule is found again and held against them.
  private mutating func recoverLlama3(_ gguf: GGUF) throws {
    guard case .rotary(let theta, .none) = positions else { return }
    let divisors = try gguf.read("rope_freqs.weight")
    guard divisors.count == headWidth / 2, let factor = divisors.max() else {
      throw EngineError(
        .badModel, "\(gguf.path): rope_freqs.weight has not \(headWidth / 2) elements")
    }
    let plain = rotaryFrequencies
    if divisors.allSatisfy({ $0 == 1 }) { return }
    for original in [8192, 4096, 16_384, 2048, 32_768] {
      positions = .rotary(
        theta: theta,
        scaling: .llama3(
          factor: Double(factor), lowFrequencyFactor: 1, highFrequencyFactor: 4,
          originalMaximumPositions: original))
      let fits = zip(zip(plain, rotaryFrequencies), divisors).allSatisfy { pair, divisor in
        abs(pair.0 / pair.1 - Double(divisor)) <= 1e-4 * Double(divisor)
      }
      if fits { return }
    }
    throw EngineError(
      .badModel, "\(gguf.path): rope_freqs.weight follows no rule that is known (Llama 3's)")
  }
}

/// Metadata under a file's architecture, with errors that name file and key.
private struct GGUFKeys {
  let path: String
  let metadata: [String: GGUFValue]
  let prefix: String

  init(_ gguf: GGUF) {
    path = gguf.path
    metadata = gguf.metadata
    prefix = (gguf.metadata["general.architecture"]?.string ?? "") + "."
  }

  func missing(_ key: String) -> EngineError {
    EngineError(.badModel, "\(path): the metadata \(key) is missing")
  }

  private func value<Value>(
    _ key: String, _ kind: String, _ read: (GGUFValue) -> Value?
  ) throws -> Value? {
    guard let found = metadata[prefix + key] else { return nil }
    guard let value = read(found) else {
      throw EngineError(.badModel, "\(path): the metadata \(prefix)\(key) is not \(kind)")
    }
    return value
  }

  func int(_ key: String) throws -> Int? { try value(key, "a whole number", \.int) }
  func number(_ key: String) throws -> Double? { try value(key, "a number", \.double) }
  func string(_ key: String) throws -> String? { try value(key, "a string", \.string) }

  func required(_ key: String) throws -> Int {
    guard let value = try int(key) else { throw missing(prefix + key) }
    return value
  }
}
