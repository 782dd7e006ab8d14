// SPDX-License-Identifier: Apache-2.0

/// What a GGUF file says of a network: the reverse of `GGUFKeys`.
struct GGUFFields: Sendable {
  /// `general.architecture`, which begins the other keys' names.
  var architecture: String
  /// Values by key, without that beginning.
  var values: [String: GGUFValue] = [:]
  /// Vectors beside the weights, float32: what rotary frequencies are divided by.
  var vectors: [(name: String, values: [Float])] = []
  /// What llama.cpp does otherwise than the model says.
  var remarks: [String] = []

  /// A whole number of either sign.
  static func whole(_ value: Int) -> GGUFValue { .unsigned(UInt64(max(0, value))) }

  /// A number as a file keeps it.
  static func number(_ value: Double) -> GGUFValue { .float(Double(Float(value))) }
}

extension TransformerSpec {
  /// What a file says of a model in every family: the reverse of `GGUFKeys.spec`.
  ///
  /// - Parameters:
  ///   - name: llama.cpp's name of the family.
  ///   - own: The family's own keys.
  ///   - outputBias: Whether attention's output may have a bias there.
  ///   - mlpBias: Whether the feed-forward layer may.
  /// - Throws: `EngineError` that says what llama.cpp has no place for.
  func ggufFields(
    _ name: String, _ own: [String: GGUFValue] = [:], outputBias: Bool = false,
    mlpBias: Bool = false
  ) throws -> GGUFFields {
    for (has, isRead, what) in [
      (attentionOutputBias, outputBias, "attention's output"),
      (self.mlpBias, mlpBias, "the feed-forward layer"),
    ] where has && !isRead {
      throw EngineError(
        .badRequest, "llama.cpp has no biases of \(what) in \(architecture.title), this model does")
    }
    var fields = GGUFFields(architecture: name)
    let epsilon = norm == .rms ? "rms_epsilon" : "epsilon"
    fields.values = [
      "vocab_size": GGUFFields.whole(vocabularySize),
      "context_length": GGUFFields.whole(maximumPositions),
      "embedding_length": GGUFFields.whole(width), "block_count": GGUFFields.whole(layers),
      "feed_forward_length": GGUFFields.whole(mlpWidth),
      "attention.head_count": GGUFFields.whole(heads),
      "attention.head_count_kv": GGUFFields.whole(keyValueHeads),
      "attention.layer_norm_\(epsilon)": GGUFFields.number(normEpsilon),
    ]
    guard case .rotary(let theta, let scaling) = positions else {
      fields.values.merge(own) { $1 }
      return fields
    }
    fields.values.merge([
      "attention.key_length": GGUFFields.whole(headWidth),
      "attention.value_length": GGUFFields.whole(headWidth),
      "rope.dimension_count": GGUFFields.whole(rotaryWidth ?? headWidth),
      "rope.freq_base": GGUFFields.number(theta),
    ]) { $1 }
    try fields.setScaling(scaling, of: self)
    fields.values.merge(own) { $1 }
    return fields
  }

  /// The keys of a sliding window in all layers but the last of each period; none without a window.
  ///
  /// - Parameter isLocal: Whether a layer is such a one.
  /// - Throws: `EngineError` if the layers have no period.
  func windowFields(
    _ window: Int, where isLocal: (LayerAttention) -> Bool
  ) throws -> [String: GGUFValue] {
    let local = (0..<layers).map { isLocal(attention(ofLayer: $0)) }
    // No layer that sees everything among the first ones: any longer period says the same.
    let period = (local.firstIndex(of: false) ?? layers) + 1
    guard local == (0..<layers).map({ $0 % period < period - 1 }) else {
      throw EngineError(
        .badRequest, "the layers with a sliding window have no period, which a GGUF file needs")
    }
    return [
      "attention.sliding_window": GGUFFields.whole(window),
      "attention.sliding_window_pattern": GGUFFields.whole(period),
    ]
  }

  /// What a file says of a family whose window llama.cpp reads and does not apply.
  func ggufFieldsWithoutWindow(_ name: String, biases: Bool) throws -> GGUFFields {
    let window = (0..<layers).compactMap { attention(ofLayer: $0).window }.first
    var fields = try ggufFields(
      name, window.map { ["attention.sliding_window": GGUFFields.whole($0)] } ?? [:],
      outputBias: biases, mlpBias: biases)
    guard let window else { return fields }
    fields.remarks.append(
      "llama.cpp does not apply \(architecture.title)'s sliding window: texts of more than \(window) "
        + "tokens are computed without it")
    return fields
  }
}

extension GGUFFields {
  fileprivate mutating func setScaling(
    _ scaling: TransformerSpec.RotaryScaling, of spec: TransformerSpec
  ) throws {
    switch scaling {
    // Within the texts that are read the dynamic rule changes nothing.
    case .none, .dynamic: break
    case .linear(let factor):
      values["rope.scaling.type"] = .string("linear")
      values["rope.scaling.factor"] = Self.number(factor)
    case .llama3(_, _, _, let original):
      // A file has the rule's result.
      var plain = spec
      plain.positions = .rotary(theta: spec.theta, scaling: .none)
      let divisors = zip(plain.rotaryFrequencies, spec.rotaryFrequencies).map { $0 / $1 }
      vectors.append(("rope_freqs.weight", divisors.map { Float($0) }))
      values["rope.scaling.original_context_length"] = Self.whole(original)
    case .yarn(let factor, let attention, let fast, let slow, let original, let truncates):
      guard truncates else {
        throw EngineError(
          .badRequest, "llama.cpp rounds the ends of YaRN's ramp, this model (truncate) does not")
      }
      values["rope.scaling.type"] = .string("yarn")
      values["rope.scaling.factor"] = Self.number(factor)
      values["rope.scaling.original_context_length"] = Self.whole(original)
      values["rope.scaling.attn_factor"] = Self.number(
        attention / TransformerSpec.yarnAttentionFactor(factor))
      values["rope.scaling.yarn_beta_fast"] = Self.number(fast)
      values["rope.scaling.yarn_beta_slow"] = Self.number(slow)
    case .longRope(let factors, let longer, let attention, let original):
      values["rope.scaling.type"] = .string("longrope")
      values["rope.scaling.original_context_length"] = Self.whole(original)
      values["rope.scaling.attn_factor"] = Self.number(attention)
      vectors.append(("rope_factors_short.weight", factors.map { Float($0) }))
      vectors.append(("rope_factors_long.weight", longer.map { Float($0) }))
    }
  }
}

extension TransformerSpec {
  /// The rotary base; 0 without rotation.
  fileprivate var theta: Double {
    if case .rotary(let theta, _) = positions { return theta }
    return 0
  }

  /// The first field in which a model that was read from a file differs from this one by more than a
  /// file's float32 numbers round; nil where they are the same network. The family is not compared,
  /// nor the ids that begin and end texts.
  func difference(from other: TransformerSpec) -> String? {
    func close(_ one: Double?, _ two: Double?) -> Bool {
      guard let one, let two else { return one == nil && two == nil }
      return abs(one - two) <= 1e-6 * max(abs(one), abs(two))
    }
    var same = other
    same.architecture = architecture
    (same.beginOfSequence, same.endOfSequence) = (beginOfSequence, endOfSequence)
    let scale = 1 / Double(headWidth).squareRoot()
    if close(attentionScale ?? scale, same.attentionScale ?? scale) {
      same.attentionScale = attentionScale
    }
    for field in [
      \TransformerSpec.normEpsilon, \.normOffset, \.embeddingScale, \.residualScale,
      \.logitsDivisor,
    ] where close(self[keyPath: field], same[keyPath: field]) {
      same[keyPath: field] = self[keyPath: field]
    }
    for field in [\TransformerSpec.attentionCap, \.logitsCap]
    where close(self[keyPath: field], same[keyPath: field]) {
      same[keyPath: field] = self[keyPath: field]
    }
    func turn(_ spec: TransformerSpec, _ positions: Positions?) -> [Double] {
      positions.map { spec.rotaryFrequencies($0) + [$0.amplitude] } ?? []
    }
    func equal(_ one: [Double], _ two: [Double]) -> Bool {
      one.count == two.count && zip(one, two).allSatisfy { close($0, $1) }
    }
    if equal(turn(self, positions), turn(same, same.positions)) { same.positions = positions }
    let attentions = (0..<min(layers, same.layers)).allSatisfy { layer in
      let (one, two) = (attention(ofLayer: layer), other.attention(ofLayer: layer))
      return one.window == two.window
        && equal(turn(self, one.positions), turn(other, two.positions))
    }
    if attentions { same.layerAttention = layerAttention }
    if same == self { return nil }
    let fields = zip(Mirror(reflecting: self).children, Mirror(reflecting: same).children)
    return fields.first { "\($0.value)" != "\($1.value)" }?.0.label ?? "a field"
  }
}

extension TransformerSpec {
  /// Refuses a head that is the embedding where llama.cpp's family has one of its own.
  func requireOwnHead() throws {
    if tiedHead {
      throw EngineError(
        .badRequest,
        "llama.cpp has no \(architecture.title) whose head is its embedding (tie_word_embeddings)")
    }
  }
}
