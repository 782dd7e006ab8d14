// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import Testing

/// Every axis of the architecture, tiny.
enum TinyModel: String, CaseIterable, Sendable {
  case llama, untied, qwen2, qwen3, gpt2

  var spec: TransformerSpec {
    switch self {
    case .llama:
      TransformerSpec(
        architecture: .llama, vocabularySize: 41, width: 24, layers: 3, heads: 6, keyValueHeads: 2,
        mlpWidth: 40, maximumPositions: 64, tiedHead: true)
    case .untied:
      TransformerSpec(
        architecture: .llama, vocabularySize: 41, width: 24, layers: 3, heads: 3, mlpWidth: 40,
        maximumPositions: 64, attentionOutputBias: true, mlpBias: true)
    case .qwen2:
      TransformerSpec(
        architecture: .qwen2, vocabularySize: 41, width: 24, layers: 3, heads: 6, keyValueHeads: 3,
        mlpWidth: 40, maximumPositions: 64, queryKeyValueBias: true, tiedHead: true)
    case .qwen3:
      TransformerSpec(
        architecture: .qwen3, vocabularySize: 41, width: 24, layers: 3, heads: 4, keyValueHeads: 2,
        headWidth: 8, mlpWidth: 40, maximumPositions: 64, queryKeyNorm: true, tiedHead: true)
    case .gpt2:
      TransformerSpec(
        architecture: .gpt2, vocabularySize: 41, width: 24, layers: 3, heads: 3, mlpWidth: 96,
        maximumPositions: 64, norm: .layer, positions: .learned, mlp: .gelu,
        queryKeyValueBias: true, attentionOutputBias: true, mlpBias: true, tiedHead: true)
    }
  }

  /// Random weights, norms and biases too, large enough that every path matters.
  func frozen() throws -> NativeModel {
    let start = try NativeModel.random(spec, seed: 7, on: NativeEngine())
    let trained = try start.copy(training: .full)
    var random = SplitMix(seed: 11)
    try trained.setTrainedParameters(
      trained.trainedParameters().map { tensor in
        var tensor = tensor
        let isNormWeight = tensor.name.contains("norm") && !tensor.name.hasSuffix("bias")
        for i in tensor.values.indices {
          tensor.values[i] = random.float() * 0.3 + (isNormWeight ? 1 : 0)
        }
        return tensor
      })
    return trained
  }
}

@Suite(.serialized)
struct LanguageModelTests {
  /// A prompt with three answers, one of which is continued twice, and a text of its own.
  static let tree = [
    Segment([3, 1, 4, 1, 5], scored: [1..<3]),
    Segment([9, 2, 6], parent: 0, scored: [0..<3], scalarsAfter: [-1, 0, 2]),
    Segment([5, 3, 5, 8, 9], parent: 0, scored: [0..<2, 3..<5], scalarsAfter: [4]),
    Segment([7], parent: 1, scored: [0..<1]),
    Segment([7, 9, 3, 2], parent: 1, scored: [1..<4], scalarsAfter: [3]),
    Segment([11, 40, 0, 12], scored: [1..<4], scalarsAfter: [0, 3]),
  ]

  /// The same positions with every prefix written out.
  static let flat: [Segment] = {
    var ids: [[Int32]] = []
    return tree.map { segment in
      let before = segment.parent.map { ids[$0] } ?? []
      ids.append(before + segment.ids)
      return Segment(
        before + segment.ids,
        scored: segment.scored.map { $0.lowerBound + before.count..<$0.upperBound + before.count },
        scalarsAfter: segment.scalarsAfter.map { $0 + before.count })
    }
  }()

  static func weights(_ scores: HeadScores, seed: UInt64) -> HeadGradients {
    var random = SplitMix(seed: seed)
    func like(_ lists: [[Double]]) -> [[Double]] {
      lists.map { $0.map { _ in Double(random.float()) } }
    }
    return HeadGradients(
      logProbabilities: like(scores.logProbabilities), entropies: like(scores.entropies),
      scalars: like(scores.scalars))
  }

  static func loss(_ scores: HeadScores, _ weights: HeadGradients) -> Double {
    func dot(_ a: [[Double]], _ b: [[Double]]) -> Double {
      zip(a.joined(), b.joined()).reduce(0) { $0 + $1.0 * $1.1 }
    }
    return dot(scores.logProbabilities, weights.logProbabilities)
      + dot(scores.entropies, weights.entropies) + dot(scores.scalars, weights.scalars)
  }

  /// The gradient along a random direction of every tensor against central differences.
  static func checkGradients(_ model: NativeModel, _ segments: [Segment]) throws {
    let request = HeadRequest(temperature: 0.7, entropy: true)
    let pass = try model.pass(segments, request)
    let weights = weights(pass.scores, seed: 3)
    model.zeroGradients()
    try pass.backward(weights)
    let gradients = model.trainedGradients()
    let start = model.trainedParameters()
    var random = SplitMix(seed: 5)
    for (t, gradient) in gradients.enumerated() {
      let direction = gradient.values.map { _ in random.float() }
      let predicted = zip(gradient.values, direction).reduce(0.0) {
        $0 + Double($1.0) * Double($1.1)
      }
      func value(_ step: Float) throws -> Double {
        var moved = start
        for i in direction.indices { moved[t].values[i] += step * direction[i] }
        try model.setTrainedParameters(moved)
        return loss(try model.score(segments, request), weights)
      }
      let step: Float = 2e-3
      let measured = (try value(step) - value(-step)) / Double(2 * step)
      let scale = max(abs(predicted), abs(measured), 0.05)
      #expect(
        abs(predicted - measured) / scale < 2e-2,
        "\(gradient.name): \(predicted) by backward, \(measured) by differences")
    }
    try model.setTrainedParameters(start)
  }

  @Test(arguments: TinyModel.allCases)
  func `every gradient agrees with central differences`(tiny: TinyModel) throws {
    let model = try tiny.frozen()
    let path = try Self.reload(model)
    try Self.checkGradients(path.copy(training: .full, scalarHead: .normal(seed: 1)), Self.tree)
  }

  /// A frozen model with the numbers of a trained one.
  static func reload(_ model: NativeModel) throws -> NativeModel {
    let start = try NativeModel.random(model.spec, seed: 0, on: NativeEngine())
    return try start.frozenCopy(with: model.trainedParameters())
  }

  @Test(arguments: TinyModel.allCases)
  func `adapters' gradients agree with central differences`(tiny: TinyModel) throws {
    let frozen = try Self.reload(try tiny.frozen())
    let model = try frozen.copy(
      training: .lora(LoRASettings(rank: 3, alpha: 5, lastLayers: 2)),
      scalarHead: .normal(seed: 1))
    var random = SplitMix(seed: 2)
    try model.setTrainedParameters(
      model.trainedParameters().map { tensor in
        var tensor = tensor
        for i in tensor.values.indices { tensor.values[i] = random.float() * 0.3 }
        return tensor
      })
    try Self.checkGradients(model, Self.tree)
  }

  @Test(arguments: TinyModel.allCases)
  func `shared prefixes change no number`(tiny: TinyModel) throws {
    let frozen = try Self.reload(try tiny.frozen())
    let model = try frozen.copy(training: .full, scalarHead: .normal(seed: 1))
    let request = HeadRequest(entropy: true, candidates: [4, 39])
    func run(_ segments: [Segment]) throws -> (HeadScores, [Float]) {
      let pass = try model.pass(segments, request)
      model.zeroGradients()
      try pass.backward(Self.weights(pass.scores, seed: 3))
      return (pass.scores, model.trainedGradients().flatMap(\.values))
    }
    let (shared, sharedGradient) = try run(Self.tree)
    let (whole, wholeGradient) = try run(Self.flat)
    for (a, b) in zip(shared.logProbabilities.joined(), whole.logProbabilities.joined()) {
      #expect(abs(a - b) < 1e-5)
    }
    for (a, b) in zip(shared.scalars.joined(), whole.scalars.joined()) {
      #expect(abs(a - b) < 1e-5)
    }
    for (a, b) in zip(
      shared.candidates.joined().joined(), whole.candidates.joined().joined())
    {
      #expect(abs(a - b) < 1e-5)
    }
    let distance = zip(sharedGradient, wholeGradient).reduce(0.0) {
      $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1))
    }.squareRoot()
    let length = sharedGradient.reduce(0.0) { $0 + Double($1 * $1) }.squareRoot()
    #expect(distance < 1e-5 * length)
  }

  @Test(arguments: TinyModel.allCases)
  func `recomputed activations give the same gradients`(tiny: TinyModel) throws {
    let model = try Self.reload(try tiny.frozen()).copy(
      training: .lastLayers(2), scalarHead: .normal(seed: 1))
    func gradients() throws -> [Float] {
      let pass = try model.pass(Self.tree)
      model.zeroGradients()
      try pass.backward(Self.weights(pass.scores, seed: 3))
      return model.trainedGradients().flatMap(\.values)
    }
    let keptGradients = try gradients()
    model.recomputesActivations = true
    #expect(try gradients() == keptGradients)
  }

  @Test func `supervision in one pass equals score and backward`() throws {
    let frozen = try Self.reload(try TinyModel.llama.frozen())
    let model = try frozen.copy(training: .full)
    let segments = Self.tree.map { Segment($0.ids, parent: $0.parent, scored: $0.scored) }
    let pass = try model.pass(segments)
    let scores = pass.scores
    let weights = Self.weights(scores, seed: 9).logProbabilities
    model.zeroGradients()
    try pass.backward(HeadGradients(logProbabilities: weights.map { $0.map { -$0 } }))
    let two = model.trainedGradients().flatMap(\.values)
    model.zeroGradients()
    let fused = try model.supervise(segments, weights: weights)
    let one = model.trainedGradients().flatMap(\.values)
    for (a, b) in zip(scores.logProbabilities.joined(), fused.logProbabilities.joined()) {
      #expect(abs(a - b) < 1e-6)
    }
    for (a, b) in zip(one, two) { #expect(abs(a - b) < 1e-5 * max(1, abs(b))) }
  }

  @Test func `a trunk serves policy, reference and reward model`() throws {
    let frozen = try Self.reload(try TinyModel.llama.frozen())
    let policy = try frozen.copy(
      training: .lora(LoRASettings(rank: 4, lastLayers: 1)), scalarHead: .zero)
    let reward = try frozen.copy(training: .lastLayers(2), scalarHead: .normal(seed: 4))
    let segments = Self.tree.map { Segment($0.ids, parent: $0.parent, scored: $0.scored) }
    let withScalars = Self.tree
    let trunk = try frozen.trunk(segments, layers: 1)
    let direct = try policy.score(withScalars)
    #expect(try policy.score(withScalars, trunk: trunk) == direct)
    #expect(
      try reward.score(withScalars, trunk: trunk).scalars == reward.score(withScalars).scalars)
    // Untouched adapters: the policy is the reference, exactly.
    #expect(
      try policy.score(segments, trunk: trunk).logProbabilities
        == frozen.score(segments, trunk: trunk).logProbabilities)
    let kl = try policy.klDivergence(segments, to: frozen, temperature: 1, trunk: trunk)
    #expect(kl.joined().allSatisfy { abs($0) < 1e-6 })
    let part = try #require(trunk).selecting([0, 2, 5])
    let scores = try policy.score(part.segments, trunk: part)
    for (mine, theirs) in zip([0, 1, 2], [0, 2, 5]) {
      for (a, b) in zip(scores.logProbabilities[mine], direct.logProbabilities[theirs]) {
        #expect(abs(a - b) < 1e-5)
      }
    }
    #expect(throws: EngineError.self) { try policy.trunk(segments, layers: 3) }
    #expect(throws: EngineError.self) {
      try policy.score(Array(segments.dropLast()), trunk: trunk)
    }
  }

  @Test func `merged adapters score as the adapters do`() throws {
    let frozen = try Self.reload(try TinyModel.qwen3.frozen())
    let model = try frozen.copy(training: .lora(LoRASettings(rank: 4)))
    var random = SplitMix(seed: 2)
    try model.setTrainedParameters(
      model.trainedParameters().map { tensor in
        var tensor = tensor
        for i in tensor.values.indices { tensor.values[i] = random.float() * 0.2 }
        return tensor
      })
    let segments = Self.tree.map { Segment($0.ids, parent: $0.parent, scored: $0.scored) }
    let names = try frozen.copy(training: .full).trainedParameters().map(\.name)
    let merged = try frozen.frozenCopy(
      with: names.compactMap { try model.weight($0) })
    let expected = try model.score(segments).logProbabilities.joined()
    for (a, b) in zip(try merged.score(segments).logProbabilities.joined(), expected) {
      #expect(abs(a - b) < 1e-4)
    }
  }

  @Test func `training lowers the loss and stops at numbers that are not finite`() throws {
    let frozen = try NativeModel.random(TinyModel.llama.spec, seed: 1, on: NativeEngine())
    let model = try frozen.copy(training: .full)
    let segments = [Segment([1, 2, 3, 4, 5, 6, 7], scored: [1..<7])]
    let weights = [[Double](repeating: 1.0 / 6, count: 6)]
    func loss() throws -> Double {
      -(try model.score(segments).logProbabilities[0].reduce(0, +)) / 6
    }
    let before = try loss()
    for _ in 0..<60 {
      model.zeroGradients()
      _ = try model.supervise(segments, weights: weights)
      try model.step(AdamW(), learningRate: 1e-2, maximumNorm: 1)
    }
    let after = try loss()
    #expect(before > 3 && after < 0.1, "\(before) → \(after)")
    var state: [NamedTensor] = []
    model.withTrainingState { state.append($0) }
    #expect(model.trainingTensors.map(\.name) == state.map(\.name))
    let again = try frozen.copy(training: .full)
    try again.restoreTrainingState(state, step: model.optimizerSteps)
    #expect(try again.score(segments) == model.score(segments))
    let wild = try frozen.copy(training: .full)
    for _ in 0..<100 {
      _ = try wild.supervise(segments, weights: weights.map { $0.map { _ in 1e38 } })
    }
    #expect(throws: EngineError.self) { try wild.step(AdamW(), learningRate: 1e-2) }
    #expect(try wild.trainedParameters() == frozen.copy(training: .full).trainedParameters())
  }

  @Test func `requests that do not fit are refused`() throws {
    let model = try NativeModel.random(TinyModel.llama.spec, seed: 1, on: NativeEngine())
    for segments in [
      [Segment([])], [Segment([41])], [Segment([-1])], [Segment([1], parent: 0)],
      [Segment([1], scored: [0..<1])], [Segment([1, 2], scored: [1..<3])],
      [Segment([Int32](repeating: 1, count: 65))], [Segment([1], scalarsAfter: [0])],
      [Segment([1], scalarsAfter: [1])],
    ] {
      #expect(throws: EngineError.self) { try model.score(segments) }
    }
    #expect(throws: EngineError.self) { try model.copy(training: .lastLayers(4)) }
    #expect(throws: EngineError.self) {
      try model.copy(training: .lora(LoRASettings(rank: 0)))
    }
  }
}
