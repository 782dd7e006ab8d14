// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
import CAttuneKernels

extension TransformerSpec {
  /// What the head's kernels divide by: the temperature, and what the model itself divides logits by.
  func headTemperature(_ temperature: Double) -> Float { Float(temperature * logitsDivisor) }

  /// The cap of logits as kernels take it, 0 for none.
  var headCap: Float { Float(logitsCap ?? 0) }

  /// A layer's attention as kernels take it.
  func attentionRule(ofLayer layer: Int) -> atk_attention_rule {
    atk_attention_rule(
      scale: Float(attentionScale ?? 0), cap: Float(attentionCap ?? 0),
      window: attention(ofLayer: layer).window ?? 0)
  }
}

extension NativeModel {
  package func score(
    _ segments: [Segment], _ request: HeadRequest, trunk: (any Trunk)?
  ) throws -> HeadScores {
    try forward(segments, request, trunk: trunk, keeping: false).scores
  }

  package func pass(
    _ segments: [Segment], _ request: HeadRequest, trunk: (any Trunk)?
  ) throws -> Pass {
    let (scores, kept) = try forward(segments, request, trunk: trunk, keeping: true)
    return Pass(scores: scores) { try self.backward(kept, $0) }
  }

  private func forward(
    _ segments: [Segment], _ request: HeadRequest, trunk: (any Trunk)?, keeping: Bool
  ) throws -> (scores: HeadScores, kept: KeptPass) {
    guard request.temperature > 0, request.temperature.isFinite else {
      throw EngineError(.badRequest, "a temperature of \(request.temperature) is not above 0")
    }
    for id in request.candidates where id < 0 || Int(id) >= spec.vocabularySize {
      throw EngineError(.badRequest, "candidate id \(id) is outside the model's vocabulary")
    }
    let plan = try BatchPlan(segments, for: self)
    let stream = try run(segments, plan, trunk: trunk, keeping: keeping)
    let hidden = try headStates(plan, stream)
    let n = plan.scoredRow.count
    let m = request.candidates.count
    let logProbability = try workspace.take(.headLogProbability, n)
    let logSumExp = try workspace.take(.headLogSumExp, n)
    let entropy = try workspace.take(.headEntropy, request.entropy ? n : 0)
    let untempered = try workspace.take(.headUntempered, request.untempered ? n : 0)
    let candidates = try workspace.take(.headCandidates, n * m)
    let logits = try keeping ? roomForLogits(n) : nil
    if n > 0 {
      atk_head_forward(
        logProbability, logSumExp, request.entropy ? entropy : nil,
        request.untempered ? untempered : nil, Float(request.temperature),
        m > 0 ? candidates : nil, logits, hidden, headMatrix.start, headMatrix.form.kernelFormat,
        plan.scoredTarget,
        request.candidates, spec.headTemperature(request.temperature), spec.headCap, n, m,
        spec.width, spec.vocabularySize,
        precision)
    }
    let kept = KeptPass(
      plan: plan, firstLayer: max(trunk?.layers ?? 0, min(sharedLayers, spec.layers)),
      recomputes: recomputesActivations, request: request, number: workspace.pass,
      hasLogits: logits != nil)
    return (try scores(plan, request, hidden: hidden), kept)
  }

  package func supervise(
    _ segments: [Segment], weights: [[Double]], trunk: (any Trunk)?
  ) throws -> HeadScores {
    let plan = try BatchPlan(segments, for: self)
    guard
      let dLogProbability = try BatchPlan.join(
        weights.map { $0.map { -$0 } }, plan.scoredPerSegment, "log-probabilities")
    else { throw EngineError(.badRequest, "supervision needs a weight for each scored token") }
    try beginGradients()
    let stream = try run(segments, plan, trunk: trunk, keeping: true)
    let hidden = try headStates(plan, stream)
    let n = plan.scoredRow.count
    let count = n + plan.scalarRow.count
    let logProbability = try workspace.take(.headLogProbability, n)
    let dHidden = try workspace.take(.headNormedGradient, count * spec.width)
    if n > 0 {
      atk_head_forward_backward(
        logProbability, dHidden, headGradient, dLogProbability, hidden, headMatrix.start,
        headMatrix.form.kernelFormat, plan.scoredTarget, spec.headTemperature(1), spec.headCap, n,
        spec.width, spec.vocabularySize, precision)
    }
    (dHidden + n * spec.width).update(repeating: 0, count: plan.scalarRow.count * spec.width)
    let result = try scores(plan, .init(), hidden: hidden)
    let pass = KeptPass(
      plan: plan, firstLayer: max(trunk?.layers ?? 0, min(sharedLayers, spec.layers)),
      recomputes: recomputesActivations, request: .init(), number: workspace.pass)
    try backward(pass, dHidden: dHidden)
    return result
  }

  package func divergence(
    _ segments: [Segment], from teacher: TeacherRequest, weights: [[Double]]?, trunk: (any Trunk)?
  ) throws -> [[Double]] {
    guard let other = teacher.model as? NativeModel else {
      throw EngineError(.badRequest, "a teacher is of the same engine")
    }
    guard (0...1).contains(teacher.mix), teacher.temperature > 0, teacher.temperature.isFinite
    else {
      throw EngineError(
        .badRequest,
        "a divergence of mix \(teacher.mix) at temperature \(teacher.temperature): the mix is from 0 to 1, "
          + "the temperature above 0")
    }
    let plan = try BatchPlan(segments, for: self)
    let theirPlan = try BatchPlan(teacher.segments, for: other)
    let n = plan.scoredRow.count
    guard theirPlan.scoredRow.count == n else {
      throw EngineError(
        .badRequest,
        "\(n) positions are held against \(theirPlan.scoredRow.count) of the teacher's")
    }
    let weight = try weights.flatMap {
      try BatchPlan.join($0, plan.scoredPerSegment, "positions")
    }
    if weight != nil { try beginGradients() }
    let theirs = try other.headStates(
      theirPlan,
      other.run(teacher.segments, theirPlan, trunk: teacher.trunk, keeping: false))
    let copy = try workspace.take(.otherHeadNormed, n * other.spec.width)
    copy.update(from: theirs, count: n * other.spec.width)
    let ours = try headStates(
      plan, run(segments, plan, trunk: trunk, keeping: weight != nil))
    let dHidden = try weight.map { _ in
      try workspace.take(.headNormedGradient, (n + plan.scalarRow.count) * spec.width)
    }
    var divergences = [Float](repeating: 0, count: n)
    if n > 0 {
      (weight ?? []).withUnsafeBufferPointer { weight in
        atk_head_divergence(
          &divergences, dHidden, headGradient, weight.baseAddress, ours, headMatrix.start,
          headMatrix.form.kernelFormat, spec.headTemperature(teacher.temperature), spec.headCap,
          spec.width, copy, other.headMatrix.start, other.headMatrix.form.kernelFormat,
          other.spec.headTemperature(teacher.temperature), other.spec.headCap, other.spec.width,
          Float(teacher.mix), n, min(spec.vocabularySize, other.spec.vocabularySize), precision)
      }
    }
    guard let bad = divergences.firstIndex(where: { !$0.isFinite }) else {
      if let dHidden {
        (dHidden + n * spec.width).update(repeating: 0, count: plan.scalarRow.count * spec.width)
        let pass = KeptPass(
          plan: plan, firstLayer: max(trunk?.layers ?? 0, min(sharedLayers, spec.layers)),
          recomputes: recomputesActivations, request: .init(), number: workspace.pass)
        try backward(pass, dHidden: dHidden)
      }
      return BatchPlan.cut(divergences.map { Double($0) }, plan.scoredPerSegment)
    }
    throw EngineError(
      .notFinite, "the divergence at scored position \(bad) of the batch is not finite")
  }

  /// Room for the logits of a pass, [n, V], so that its backward need not compute them again; nil
  /// where they would take more than 256 MiB.
  private func roomForLogits(_ n: Int) throws -> UnsafeMutablePointer<Float>? {
    guard !recomputesActivations, let count = Self.logits(n, spec) else { return nil }
    return try workspace.take(.headLogits, count)
  }

  /// The logits of so many scored tokens, where they are few enough to be kept.
  static func logits(_ scored: Int, _ spec: TransformerSpec) -> Int? {
    let count = scored * spec.vocabularySize
    return count <= 1 << 26 ? count : nil
  }

  /// Final-norm states of the scored rows, then of the scalars' rows: [n + scalars, D].
  func headStates(
    _ plan: BatchPlan, _ stream: UnsafeMutablePointer<Float>
  ) throws -> UnsafeMutablePointer<Float> {
    let rows = plan.scoredRow + plan.scalarRow
    let count = rows.count
    let gathered = try workspace.take(.headRows, count * spec.width)
    let normed = try workspace.take(.headNormed, count * spec.width)
    if count > 0 {
      atk_gather_rows(gathered, stream, rows, count, spec.width)
      try spec.normForward(
        normed, gathered, finalBlock, .finalNorm,
        mean: workspace.take(.headMean, count), rstd: workspace.take(.headRstd, count),
        rows: count)
    }
    return normed
  }

  /// Reads the workspace's scores out as lists.
  private func scores(
    _ plan: BatchPlan, _ request: HeadRequest, hidden: UnsafePointer<Float>
  ) throws -> HeadScores {
    let n = plan.scoredRow.count
    let m = request.candidates.count
    let d = spec.width
    let logProbabilities = try UnsafeBufferPointer(
      start: workspace.take(.headLogProbability, n), count: n
    ).map { Double($0) }
    if let bad = logProbabilities.firstIndex(where: { !$0.isFinite }) {
      throw EngineError(
        .notFinite, "the log-probability of scored token \(bad) of the batch is not finite")
    }
    var scalars: [Double] = []
    if !plan.scalarRow.isEmpty {
      guard let head = scalarHead else {
        throw EngineError(.badRequest, "the model has no scalar head: it is no reward model")
      }
      scalars = plan.scalarRow.indices.map { i in
        let row = hidden + (n + i) * d
        var sum = 0.0
        for j in 0..<d { sum += Double(row[j]) * Double(head[j]) }
        return sum
      }
      guard scalars.allSatisfy(\.isFinite) else {
        throw EngineError(.notFinite, "a score of the scalar head is not finite")
      }
    }
    let entropies =
      try request.entropy
      ? UnsafeBufferPointer(start: workspace.take(.headEntropy, n), count: n).map { Double($0) }
      : []
    let untempered =
      try request.untempered
      ? UnsafeBufferPointer(start: workspace.take(.headUntempered, n), count: n).map { Double($0) }
      : []
    let flat = try UnsafeBufferPointer(start: workspace.take(.headCandidates, n * m), count: n * m)
    let candidates = (0..<(m > 0 ? n : 0)).map { i in (0..<m).map { Double(flat[i * m + $0]) } }
    let empty = [Int](repeating: 0, count: plan.scoredPerSegment.count)
    return HeadScores(
      logProbabilities: BatchPlan.cut(logProbabilities, plan.scoredPerSegment),
      entropies: BatchPlan.cut(entropies, request.entropy ? plan.scoredPerSegment : empty),
      untempered: BatchPlan.cut(untempered, request.untempered ? plan.scoredPerSegment : empty),
      scalars: BatchPlan.cut(scalars, plan.scalarsPerSegment),
      candidates: BatchPlan.cut(candidates, m > 0 ? plan.scoredPerSegment : empty))
  }
}
