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
    if let experts = try keys.int("expert_count"), experts > 0 {
      throw EngineError(.badModel, "\(gguf.path): mixtures of experts are not supported")
    }
    self = try architecture.readMetadata(keys)
    maximumPositions = Self.longestText(maximumPositions, positions)
    // Where the family says nothing of layers, all have it.
    if layerAttention.isEmpty, let window = try keys.window(below: maximumPositions) {
      setWindow(window) { _ in true }
    }
    try validated(gguf.path)
    if gguf.shape(of: "rope_freqs.weight") != nil { try recoverLlama3(gguf) }
  }

  /// GGUF files of Llama 3.1 and later hold what each frequency is divided by in place of the rule;
  /// the rule is found again and held against them.
  private mutating func recoverLlama3(_ gguf: GGUF) throws {
    guard case .rotary(let theta, .none) = positions else { return }
    let divisors = try gguf.read("rope_freqs.weight")
    let pairs = (rotaryWidth ?? headWidth) / 2
    guard divisors.count == pairs, let factor = divisors.max() else {
      throw EngineError(.badModel, "\(gguf.path): rope_freqs.weight has not \(pairs) elements")
    }
    let plain = rotaryFrequencies
    if divisors.allSatisfy({ $0 == 1 }) { return }
    // Attune's own files say it.
    let stated = try GGUFKeys(gguf).int("rope.scaling.original_context_length")
    for original in (stated.map { [$0] } ?? []) + [8192, 4096, 16_384, 2048, 32_768] {
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

/// A file's metadata under its architecture, with errors that name file and key.
struct GGUFKeys {
  private let gguf: GGUF
  private let prefix: String
  private var path: String { gguf.path }

  init(_ gguf: GGUF) {
    self.gguf = gguf
    prefix = (gguf.metadata["general.architecture"]?.string ?? "") + "."
  }

  /// An error about the file.
  func refused(_ why: String) -> EngineError { EngineError(.badModel, "\(path): \(why)") }

  func missing(_ key: String) -> EngineError {
    EngineError(.badModel, "\(path): the metadata \(key) is missing")
  }

  private func value<Value>(
    _ key: String, _ kind: String, _ read: (GGUFValue) -> Value?
  ) throws -> Value? {
    guard let found = gguf.metadata[prefix + key] else { return nil }
    guard let value = read(found) else {
      throw EngineError(.badModel, "\(path): the metadata \(prefix)\(key) is not \(kind)")
    }
    return value
  }

  func int(_ key: String) throws -> Int? { try value(key, "a whole number", \.int) }
  func string(_ key: String) throws -> String? { try value(key, "a string", \.string) }
  func bool(_ key: String) throws -> Bool? { try value(key, "true or false", \.bool) }

  /// The shortest decimal that is the same float32: 1e-05 where the file says 9.99999974e-06.
  func number(_ key: String) throws -> Double? {
    try value(key, "a number", \.double).map { Double("\(Float($0))") ?? $0 }
  }

  func required(_ key: String) throws -> Int {
    guard let value = try int(key) else { throw missing(prefix + key) }
    return value
  }
}

extension GGUFKeys {
  /// Whether the file has a tensor.
  func has(_ tensor: String) -> Bool { gguf.shape(of: tensor) != nil }

  /// The numbers of a vector, if the file has it.
  func numbers(_ tensor: String) throws -> [Double]? {
    try has(tensor) ? gguf.read(tensor).map { Double("\($0)") ?? Double($0) } : nil
  }

  /// Which layers have the sliding window: as the file's array says, or all but the last of each period.
  func windowedLayers(of count: Int, period: Int) throws -> [Bool] {
    let key = "attention.sliding_window_pattern"
    if case .array(let values)? = gguf.metadata[prefix + key] {
      let layers = values.compactMap(\.bool)
      guard layers.count == values.count, layers.count >= count else {
        throw refused("the metadata \(prefix)\(key) is not true or false for \(count) layers")
      }
      return Array(layers.prefix(max(count, 0)))
    }
    let period = max(1, try int(key) ?? period)
    return TransformerSpec.layers(count).map { $0 % period < period - 1 }
  }

  /// The sliding window, if it hides anything in texts of that length.
  func window(below positions: Int) throws -> Int? {
    guard let window = try int("attention.sliding_window"), window > 0, window < positions else {
      return nil
    }
    return window
  }

  /// What every family says with the same keys, without rotary positions; biases and an untied head
  /// are seen from the tensors.
  func spec(
    _ architecture: Architecture, norm: TransformerSpec.Norm = .rms,
    epsilon: String = "attention.layer_norm_rms_epsilon"
  ) throws -> TransformerSpec {
    guard let embedding = gguf.shape(of: "token_embd.weight"), embedding.count == 2 else {
      throw EngineError(.badModel, "\(path): has no tensor token_embd.weight of rows")
    }
    func special(_ key: String) -> Int32? {
      let id = gguf.metadata["tokenizer.ggml." + key]?.int.flatMap { Int32(exactly: $0) }
      return id.flatMap { $0 >= 0 && Int($0) < embedding[0] ? $0 : nil }
    }
    var ends: [Int32] = []
    for id in ["eos_token_id", "eot_token_id", "eom_token_id"].compactMap(special)
    where !ends.contains(id) { ends.append(id) }
    return TransformerSpec(
      architecture: architecture, vocabularySize: embedding[0],
      width: try required("embedding_length"), layers: try required("block_count"),
      heads: try required("attention.head_count"),
      keyValueHeads: try int("attention.head_count_kv"),
      headWidth: try int("attention.key_length"), mlpWidth: try required("feed_forward_length"),
      maximumPositions: try required("context_length"), norm: norm,
      normEpsilon: try number(epsilon) ?? 1e-5, positions: .learned,
      queryKeyValueBias: has("blk.0.attn_q.bias"),
      attentionOutputBias: has("blk.0.attn_output.bias"), mlpBias: has("blk.0.ffn_down.bias"),
      tiedHead: !has("output.weight"), beginOfSequence: special("bos_token_id"),
      endOfSequence: ends)
  }

  /// The spec of a Llama with these metadata; a family that differs changes what comes back.
  func llamaSpec(_ architecture: Architecture) throws -> TransformerSpec {
    var spec = try spec(architecture)
    if let turned = try int("rope.dimension_count"), turned != spec.headWidth {
      spec.rotaryWidth = turned
    }
    spec.positions = .rotary(
      theta: try number("rope.freq_base") ?? 10_000, scaling: try rotaryScaling())
    return spec
  }

  private func rotaryScaling() throws -> TransformerSpec.RotaryScaling {
    let kind = try string("rope.scaling.type") ?? "none"
    switch kind {
    case "none":
      guard let factor = try number("rope.scale_linear"), factor != 1 else { return .none }
      return .linear(factor: factor)
    case "linear":
      return .linear(factor: try number("rope.scaling.factor") ?? 1)
    // Its factors lie in tensors, which the family that has them reads.
    case "longrope": return .none
    case "yarn":
      let factor = try number("rope.scaling.factor") ?? 1
      let amplitude = try number("rope.scaling.attn_factor") ?? 1
      return .yarn(
        factor: factor, attentionFactor: amplitude * TransformerSpec.yarnAttentionFactor(factor),
        betaFast: try number("rope.scaling.yarn_beta_fast") ?? 32,
        betaSlow: try number("rope.scaling.yarn_beta_slow") ?? 1,
        originalMaximumPositions: try required("rope.scaling.original_context_length"))
    default:
      throw EngineError(
        .badModel, "\(path): rope.scaling.type '\(kind)' is not supported")
    }
  }
}
