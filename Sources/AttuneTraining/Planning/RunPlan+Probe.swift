// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
import AttuneObjectives
import Foundation

/// Seconds of work that is so much by the call and so much by the token.
private struct Pace {
  var perPass: Double
  var perToken: Double

  /// From two sizes.
  init(_ small: (tokens: Int, seconds: Double), _ large: (tokens: Int, seconds: Double)?) {
    guard let large, large.tokens > small.tokens, large.seconds > small.seconds else {
      (perPass, perToken) = (0, small.seconds / Double(max(1, small.tokens)))
      return
    }
    perToken = (large.seconds - small.seconds) / Double(large.tokens - small.tokens)
    perPass = max(0, small.seconds - perToken * Double(small.tokens))
  }

  func seconds(_ load: PassLoad) -> Double { perPass * load.passes + perToken * load.tokens }
}

extension RunPlan {
  /// Seconds that a pass of the probe may take.
  private static let passSeconds = 3.0

  /// Tries the work on a few tokens, and says how long the run takes.
  ///
  /// - Parameters:
  ///   - settings: The trainer's knobs.
  ///   - rows: What is trained on.
  ///   - start: The model that it starts from; stays as it is.
  ///   - other: The model that its settings name; nil: there is none.
  /// - Throws: `EngineError` if the model can't compute them.
  package mutating func measure<S: PlansRuns>(
    _ settings: S, _ rows: PlannedRows, _ start: LoadedModel,
    beside other: TransformerSpec? = nil
  ) throws {
    let began = ContinuousClock.now
    let spec = start.model.spec
    let work = settings.work(on: rows, spec, beside: other, asks: false)
    let memory = work.memory
    let model = try start.model.copy(
      training: memory.trainable, scalarHead: memory.scalarHead ? .zero : nil)
    model.recomputesActivations = memory.recomputes
    defer { model.releaseMemory() }
    guard let largest = work.largestPass else { return }

    let gradients = try Self.pace(largest, rowTokens: work.rowTokens, model) { segments, trunk in
      model.zeroGradients()
      try Self.train(model, segments, trunk, as: largest)
    }
    let scores = try Self.pace(largest, rowTokens: work.rowTokens, model) { segments, _ in
      _ = try model.score(segments)
    }
    let optimiser = AdamW(memory.optimizer, epsilon: settings.adamEpsilon)
    // The second time, once its moments are there; at the rate 0 nothing moves.
    let step = try (0..<2).map { _ in
      try Self.seconds { try model.step(optimiser, learningRate: 0, maximumNorm: 1) }
    }[1]

    var unit = gradients.seconds(work.gradients) + scores.seconds(work.scores)
    unit += step * work.optimiserSteps
    var sampling: Double?
    if work.answers > 0, let shape = memory.sampling {
      let (token, merging) = try Self.decoding(model, shape)
      let batch = SamplingSettings().batch
      let rounds = Double((work.answers + batch - 1) / batch)
      sampling =
        rounds * Double(shape.maxTokens) * token + merging
        + scores.seconds(PassLoad(passes: 1, tokens: work.promptTokens))
      unit += sampling ?? 0
    }
    let once = scores.seconds(work.once)
    time = Time(
      perUnit: unit, sampling: sampling, once: once,
      run: work.units.map { Double($0) * unit + once },
      probe: AttuneTraining.seconds(ContinuousClock.now - began))
  }

  private static func seconds(_ body: () throws -> Void) rethrows -> Double {
    let began = ContinuousClock.now
    try body()
    return AttuneTraining.seconds(ContinuousClock.now - began)
  }

  /// Two sizes of a pass, the larger one as large as the run's if that takes no more than some seconds.
  private static func pace(
    _ largest: PassShape, rowTokens: Double, _ model: any LanguageModel,
    _ run: ([Segment], (any Trunk)?) throws -> Void
  ) throws -> Pace {
    func time(_ tokens: Int) throws -> (tokens: Int, seconds: Double) {
      let segments = segments(tokens, rowTokens: rowTokens, model.spec, as: largest)
      let trunk =
        largest.fromTrunk ? try model.trunk(segments, layers: model.sharedLayers) : nil
      // The first time takes its memory from the system.
      let times = try (0..<2).map { _ in try seconds { try run(segments, trunk) } }
      return (segments.reduce(0) { $0 + $1.ids.count }, times.min() ?? 0)
    }
    let small = try time(min(32, largest.rows))
    let affordable = passSeconds / max(1e-6, small.seconds) * Double(small.tokens) / 2
    let size = min(largest.rows, max(2 * small.tokens, Int(min(affordable, 1e6))))
    return Pace(small, size > small.tokens ? try time(size) : nil)
  }

  /// Rows of random tokens, as long as those of the run are on the average.
  private static func segments(
    _ tokens: Int, rowTokens: Double, _ spec: TransformerSpec, as pass: PassShape
  ) -> [Segment] {
    let length = min(max(2, Int(rowTokens)), max(2, tokens), spec.maximumPositions)
    return (0..<max(1, tokens / length)).map { row in
      let ids = (0..<length).map { place in
        Int32(
          CounterRandom(seed: 1, UInt64(row)).uniform(UInt64(place)) * Double(spec.vocabularySize))
      }
      return Segment(
        ids, scored: pass.scored > 0 ? [1..<length] : [],
        scalarsAfter: pass.scalars > 0 ? [length - 1] : [])
    }
  }

  /// A pass and its way back.
  private static func train(
    _ model: any LanguageModel, _ segments: [Segment], _ trunk: (any Trunk)?, as shape: PassShape
  ) throws {
    let ones = segments.map { [Double](repeating: 1, count: $0.scored.reduce(0) { $0 + $1.count }) }
    if shape.kind == .supervised {
      _ = try model.supervise(segments, weights: ones, trunk: trunk)
      return
    }
    let pass = try model.pass(
      segments, HeadRequest(entropy: shape.entropies), trunk: trunk)
    try pass.backward(
      HeadGradients(
        logProbabilities: ones, scalars: segments.map { $0.scalarsAfter.map { _ in 1 } }))
  }

  /// Seconds of a token of answers side by side, and of what comes before a first one.
  private static func decoding(
    _ model: any LanguageModel, _ shape: SamplingShape
  ) throws -> (token: Double, merging: Double) {
    var settings = SamplingSettings()
    settings.stopIds = []
    settings.sampler = shape.sampler
    settings.samplesPerPrompt = min(settings.batch, shape.prompts * shape.samplesPerPrompt)
    func time(_ tokens: Int) throws -> Double {
      settings.maxTokens = tokens
      return try seconds { _ = try model.sample([[0]], settings) }
    }
    let first = try time(2)
    let short = try time(2)
    let long = try time(10)
    return (max(0, long - short) / 8, max(0, first - short))
  }
}
