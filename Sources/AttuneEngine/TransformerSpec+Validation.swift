// SPDX-License-Identifier: Apache-2.0

extension TransformerSpec {
  /// The spec if its sizes fit one another and can be computed with.
  ///
  /// - Parameter place: Where it comes from, for the error.
  /// - Throws: `EngineError` that names the field.
  func validated(_ place: String) throws {
    func check(_ value: Int, _ name: String, atMost limit: Int) throws {
      guard (1...limit).contains(value) else {
        throw EngineError(
          .badModel, "\(place): \(name) is \(value), it must lie between 1 and \(limit)")
      }
    }
    // The limits keep every product below 2⁶³ and the list of names within memory.
    try check(vocabularySize, "the vocabulary size", atMost: 1 << 24)
    try check(width, "the hidden width", atMost: 1 << 20)
    try check(layers, "the number of layers", atMost: 4096)
    try check(heads, "the number of heads", atMost: 1 << 14)
    try check(keyValueHeads, "the number of key-value heads", atMost: 1 << 14)
    try check(headWidth, "the head width", atMost: 1 << 14)
    try check(mlpWidth, "the feed-forward width", atMost: 1 << 22)
    try check(maximumPositions, "the longest text", atMost: 1 << 30)
    guard heads % keyValueHeads == 0 else {
      throw EngineError(
        .badModel,
        "\(place): \(heads) heads cannot be shared among \(keyValueHeads) key-value heads evenly")
    }
    guard normEpsilon.isFinite, normEpsilon >= 0 else {
      throw EngineError(.badModel, "\(place): the norm's epsilon is \(normEpsilon)")
    }
    try validateScales(place)
    guard layerAttention.isEmpty || layerAttention.count == layers else {
      throw EngineError(
        .badModel, "\(place): \(layerAttention.count) layers' attention for \(layers) layers")
    }
    var seen: [Positions] = []
    for layer in [LayerAttention(positions: positions)] + layerAttention {
      if let window = layer.window, window < 1 {
        throw EngineError(.badModel, "\(place): a sliding window of \(window) is no width")
      }
      guard let rule = layer.positions, !seen.contains(rule) else { continue }
      seen.append(rule)
      try validate(rule, place)
    }
    for id in endOfSequence + (beginOfSequence.map { [$0] } ?? [])
    where id < 0 || Int(id) >= vocabularySize {
      throw EngineError(
        .badModel,
        "\(place): the special token id \(id) is outside the vocabulary of \(vocabularySize)")
    }
  }

  /// Checks the scales and caps, and what only some networks have.
  private func validateScales(_ place: String) throws {
    let scales: [(String, Double?)] = [
      ("embeddings' scale", embeddingScale), ("attention's scale", attentionScale),
      ("residual scale", residualScale), ("logits' divisor", logitsDivisor),
      ("cap of attention's scores", attentionCap), ("cap of logits", logitsCap),
    ]
    for (name, scale) in scales {
      if let scale, !(scale.isFinite && scale > 0) {
        throw EngineError(.badModel, "\(place): the \(name) is \(scale), it must be above 0")
      }
    }
    guard logitsCap == nil || logitsDivisor == 1 else {
      throw EngineError(.badModel, "\(place): logits with a cap and a divisor are not supported")
    }
    if norm == .layer, normPlacement != .before || normOffset != 0 {
      throw EngineError(
        .badModel, "\(place): LayerNorm behind a block or with an offset is not supported")
    }
    if isParallel, normPlacement != .before {
      throw EngineError(
        .badModel, "\(place): blocks side by side with norms behind them are not supported")
    }
    if case .learned = positions, embeddingScale != 1 {
      throw EngineError(
        .badModel, "\(place): learned positions beside scaled embeddings are not supported")
    }
  }

  private func validate(_ rule: Positions, _ place: String) throws {
    guard case .rotary(let theta, let scaling) = rule else { return }
    let width = rotaryWidth ?? headWidth
    guard width % 2 == 0, width > 0, width <= headWidth else {
      throw EngineError(
        .badModel,
        rotaryWidth == nil
          ? "\(place): rotary positions need an even head width, not \(width)"
          : "\(place): rotary positions need an even number of a head's \(headWidth) dimensions, not "
            + "\(width)")
    }
    guard theta.isFinite, theta > 0 else {
      throw EngineError(.badModel, "\(place): the rotary base is \(theta)")
    }
    try validate(scaling, place)
    guard rotaryFrequencies(rule).allSatisfy(\.isFinite), rule.amplitude.isFinite else {
      throw EngineError(.badModel, "\(place): the rotary scaling gives frequencies not finite")
    }
  }

  /// Checks the numbers of a rotary scaling.
  private func validate(_ scaling: RotaryScaling, _ place: String) throws {
    func check(_ holds: Bool, _ field: String, _ value: Double, _ range: String) throws {
      guard holds else {
        throw EngineError(
          .badModel, "\(place): the rotary scaling's \(field) is \(value), it must be \(range)")
      }
    }
    func positive(_ value: Double, _ field: String) throws {
      try check(value.isFinite && value > 0, field, value, "a number above 0")
    }
    func original(_ positions: Int) throws {
      try check(
        (1...1 << 30).contains(positions), "original_max_position_embeddings", Double(positions),
        "between 1 and \(1 << 30)")
    }
    switch scaling {
    case .none: return
    case .linear(let factor), .dynamic(let factor): try positive(factor, "factor")
    case .llama3(let factor, let low, let high, let positions):
      try positive(factor, "factor")
      try positive(low, "low_freq_factor")
      try check(high.isFinite && high > low, "high_freq_factor", high, "above low_freq_factor")
      try original(positions)
    case .yarn(let factor, let attention, let fast, let slow, let positions, _):
      try positive(factor, "factor")
      try positive(attention, "attention_factor")
      try positive(slow, "beta_slow")
      try check(fast.isFinite && fast > slow, "beta_fast", fast, "above beta_slow")
      try original(positions)
    case .longRope(let factors, let longer, let attention, let positions):
      for factor in factors + longer { try positive(factor, "short_factor or long_factor") }
      let pairs = (rotaryWidth ?? headWidth) / 2
      guard factors.count == pairs, longer.count == pairs else {
        throw EngineError(
          .badModel, "\(place): short_factor and long_factor must have \(pairs) numbers each")
      }
      try positive(attention, "attention_factor")
      try original(positions)
    }
  }
}
