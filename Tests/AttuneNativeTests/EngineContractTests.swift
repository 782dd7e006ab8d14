// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneTestSupport
import Foundation
import Testing

/// What every engine guarantees.
@Suite(.serialized)
struct EngineContractTests {
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
  static func checkGradients(_ model: any LanguageModel, _ segments: [Segment]) throws {
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
    let frozen = try tiny.frozen()
    for training in [Trainable.full, .lastLayers(2)] {
      try Self.checkGradients(
        frozen.copy(training: training, scalarHead: .normal(seed: 1)), Self.tree)
    }
  }

  @Test(arguments: TinyModel.allCases)
  func `adapters' gradients agree with central differences`(tiny: TinyModel) throws {
    let frozen = try tiny.frozen()
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
    let frozen = try tiny.frozen()
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
    let model = try tiny.frozen().copy(
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

  @Test(arguments: [TinyModel.llama, .table])
  func `supervision in one pass equals score and backward`(tiny: TinyModel) throws {
    let frozen = try tiny.frozen()
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

  /// The divergence by the log-probabilities of all tokens, and its gradient by small steps of them.
  @Test(arguments: [TinyModel.llama, .table], [0, 0.3, 1])
  func `a divergence from a teacher is that of all tokens' scores`(tiny: TinyModel, mix: Double)
    throws
  {
    let teacher = try tiny.frozen()
    let model = try teacher.copy(training: .full)
    var random = SplitMix(seed: 5)
    try model.setTrainedParameters(
      model.trainedParameters().map { tensor in
        var tensor = tensor
        for i in tensor.values.indices { tensor.values[i] += random.float() * 0.1 }
        return tensor
      })
    let segments = Self.tree.map { Segment($0.ids, parent: $0.parent, scored: $0.scored) }
    // The teacher's texts begin with a token more.
    let theirs = segments.map { segment in
      segment.parent == nil
        ? Segment(
          [3] + segment.ids, scored: segment.scored.map { $0.lowerBound + 1..<$0.upperBound + 1 })
        : segment
    }
    var request = HeadRequest(temperature: 0.7)
    request.candidates = Array(0..<Int32(model.spec.vocabularySize))
    let q = try teacher.score(theirs, request).candidates
    func expected() throws -> [[Double]] {
      try zip(model.score(segments, request).candidates, q).map {
        zip($0, $1).map { p, q in
          func kl(_ a: [Double], _ b: [Double]) -> Double {
            zip(a, b).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) }
          }
          let m = zip(p, q).map { log(mix * exp($1) + (1 - mix) * exp($0)) }
          return mix == 0 ? kl(q, p) : mix == 1 ? kl(p, q) : mix * kl(q, m) + (1 - mix) * kl(p, m)
        }
      }
    }
    let side = TeacherRequest(teacher, theirs, mix: mix, temperature: 0.7)
    let found = try model.divergence(segments, from: side, weights: nil, trunk: nil)
    for (a, b) in zip(found.joined(), try expected().joined()) { #expect(abs(a - b) < 1e-5) }

    let weights = Self.weights(HeadScores(logProbabilities: found), seed: 9).logProbabilities
    model.zeroGradients()
    #expect(try model.divergence(segments, from: side, weights: weights, trunk: nil) == found)
    let gradients = model.trainedGradients()
    let start = model.trainedParameters()
    for tensor in [0, start.count / 2, start.count - 1] {
      // Along the gradient of a tensor, where the slope is its norm.
      let slope = gradients[tensor].values
      let norm = slope.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
      guard norm > 1e-3 else { continue }
      let values = try [1.0, -1].map { sign in
        var moved = start
        for i in slope.indices {
          moved[tensor].values[i] += Float(sign * 2e-3 / norm) * slope[i]
        }
        try model.setTrainedParameters(moved)
        return zip(try expected().joined(), weights.joined()).reduce(0) { $0 + $1.0 * $1.1 }
      }
      #expect(abs((values[0] - values[1]) / 4e-3 / norm - 1) < 0.02)
    }
    #expect(throws: EngineError.self) {
      try model.divergence(
        segments, from: TeacherRequest(teacher, [Segment([1, 2], scored: [1..<2])], mix: mix),
        weights: nil, trunk: nil)
    }
  }

  @Test(arguments: [TinyModel.llama, .table])
  func `a trunk serves policy, reference and reward model`(tiny: TinyModel) throws {
    let frozen = try tiny.frozen()
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

  @Test(arguments: [TinyModel.qwen3, .table])
  func `merged adapters score as the adapters do`(tiny: TinyModel) throws {
    let frozen = try tiny.frozen()
    let model = try frozen.copy(training: .lora(LoRASettings(rank: 4)))
    var random = SplitMix(seed: 2)
    try model.setTrainedParameters(
      model.trainedParameters().map { tensor in
        var tensor = tensor
        for i in tensor.values.indices { tensor.values[i] = random.float() * 0.2 }
        return tensor
      })
    let segments = Self.tree.map { Segment($0.ids, parent: $0.parent, scored: $0.scored) }
    let merged = try frozen.frozenCopy(of: model.weight)
    let expected = try model.score(segments).logProbabilities.joined()
    for (a, b) in zip(try merged.score(segments).logProbabilities.joined(), expected) {
      #expect(abs(a - b) < 1e-4)
    }
  }

  @Test(arguments: [TinyModel.llama, .table])
  func `training lowers the loss and stops at numbers that are not finite`(
    tiny: TinyModel
  ) throws {
    let frozen = try tiny.engine.random(tiny.spec, seed: 1)
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
      try model.step(AdamW(), learningRate: tiny == .table ? 0.1 : 1e-2, maximumNorm: 1)
    }
    let after = try loss()
    #expect(before > 3 && after < 0.1, "\(before) → \(after)")
    let wild = try frozen.copy(training: .full)
    for _ in 0..<100 {
      _ = try wild.supervise(segments, weights: weights.map { $0.map { _ in 1e38 } })
    }
    #expect(throws: EngineError.self) { try wild.step(AdamW(), learningRate: 1e-2) }
    #expect(try wild.trainedParameters() == frozen.copy(training: .full).trainedParameters())
  }

  @Test(arguments: [TinyModel.llama, .table])
  func `requests that do not fit are refused`(tiny: TinyModel) throws {
    let model = try tiny.engine.random(tiny.spec, seed: 1)
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

  @Test(arguments: TinyModel.allCases)
  func `scores are those of the whole distribution`(tiny: TinyModel) throws {
    let model = try tiny.frozen()
    let segments = Self.tree.map { Segment($0.ids, parent: $0.parent, scored: $0.scored) }
    let ids = Array(0..<Int32(tiny.spec.vocabularySize))
    let plain = try model.score(segments, HeadRequest(candidates: ids))
    let cooled = try model.score(
      segments, HeadRequest(temperature: 0.7, entropy: true, candidates: ids))
    for (s, segment) in segments.enumerated() {
      for (place, token) in segment.scored.joined().enumerated() {
        let all = plain.candidates[s][place]
        #expect(abs(all.reduce(0) { $0 + exp($1) } - 1) < 1e-5)
        #expect(abs(plain.logProbabilities[s][place] - all[Int(segment.ids[token])]) < 1e-5)
        // At a temperature τ each logit is divided by it.
        let sum = log(all.reduce(0) { $0 + exp($1 / 0.7) })
        let expected = all.map { $0 / 0.7 - sum }
        for (a, b) in zip(cooled.candidates[s][place], expected) { #expect(abs(a - b) < 1e-4) }
        let entropy = expected.reduce(0) { $0 - exp($1) * $1 }
        #expect(abs(cooled.entropies[s][place] - entropy) < 1e-4)
      }
    }
    // The texts of two tokens after a prompt are one distribution.
    let few = ids.prefix(3)
    let pairs = [Segment([3, 1])] + few.map { Segment([$0], parent: 0, scored: [0..<1]) }
    let first = try model.score(pairs, HeadRequest(candidates: ids))
    let second = try model.score(
      pairs + few.indices.map { Segment([0], parent: $0 + 1, scored: [0..<1]) },
      HeadRequest(candidates: ids))
    for (i, id) in few.enumerated() {
      let total = second.candidates[pairs.count + i][0].reduce(0) {
        $0 + exp($1 + first.logProbabilities[i + 1][0])
      }
      #expect(abs(total - exp(first.candidates[1][0][Int(id)])) < 1e-5)
    }
  }

  @Test(arguments: [TinyModel.llama, .table])
  func `copies begin as their original and train alone`(tiny: TinyModel) throws {
    let frozen = try tiny.frozen()
    let segments = Self.tree.map { Segment($0.ids, parent: $0.parent, scored: $0.scored) }
    let start = try frozen.score(segments)
    for training in [Trainable.full, .lastLayers(1), .lora(LoRASettings(rank: 2))] {
      let (model, other) = (
        try frozen.copy(training: training), try frozen.copy(training: training)
      )
      #expect(try model.score(segments) == start)
      let weights = start.logProbabilities.map { $0.map { _ in 1.0 } }
      model.zeroGradients()
      _ = try model.supervise(segments, weights: weights)
      try model.step(AdamW(), learningRate: 0.01)
      #expect(try model.score(segments) != start)
      #expect(try frozen.score(segments) == start && other.score(segments) == start)
      #expect(throws: EngineError.self) { try model.copy(training: .full) }
    }
  }

  @Test(arguments: [TinyModel.llama, .table])
  func `a saved state goes on bit for bit`(tiny: TinyModel) throws {
    let frozen = try tiny.frozen()
    let segments = Self.tree.map { Segment($0.ids, parent: $0.parent, scored: $0.scored) }
    let weights = try frozen.score(segments).logProbabilities.map { $0.map { _ in 0.1 } }
    func steps(_ model: any LanguageModel, _ count: Int) throws {
      for _ in 0..<count {
        model.zeroGradients()
        _ = try model.supervise(segments, weights: weights)
        try model.step(AdamW(weightDecay: 0.1), learningRate: 0.01, maximumNorm: 1)
      }
    }
    for training in [Trainable.full, .lora(LoRASettings(rank: 2, lastLayers: 2))] {
      let (whole, parts) = (
        try frozen.copy(training: training), try frozen.copy(training: training)
      )
      try steps(whole, 4)
      try steps(parts, 2)
      var state: [NamedTensor] = []
      try parts.withTrainingState { state.append($0) }
      #expect(parts.trainingTensors.map(\.name) == state.map(\.name))
      #expect(parts.trainingTensors.map(\.shape) == state.map(\.shape))
      let again = try frozen.copy(training: training)
      try again.restoreTrainingState(state, step: parts.optimizerSteps)
      try steps(again, 2)
      #expect(again.trainedParameters() == whole.trainedParameters())
      #expect(again.optimizerSteps == 4)
      #expect(throws: EngineError.self) {
        try again.restoreTrainingState(Array(state.dropLast()), step: 1)
      }
    }
  }

  @Test(arguments: [TinyModel.llama, .table])
  func `the mean over steps is kept, exchanged and saved`(tiny: TinyModel) throws {
    let frozen = try tiny.frozen()
    let segments = [Segment([1, 2, 3], scored: [1..<3])]
    func step(_ model: any LanguageModel) throws {
      model.zeroGradients()
      _ = try model.supervise(segments, weights: [[1, 1]])
      try model.step(AdamW(), learningRate: 0.01, maximumNorm: 1)
    }
    func numbers(_ model: any LanguageModel) -> [Float] {
      model.trainedParameters().flatMap(\.values)
    }
    for training in [Trainable.full, .lora(LoRASettings(rank: 2))] {
      let (model, plain) = (
        try frozen.copy(training: training), try frozen.copy(training: training)
      )
      model.averageDecay = 0.75
      var seen: [[Float]] = []
      for _ in 0..<4 {
        try step(model)
        try step(plain)
        seen.append(numbers(model))
      }
      // Training itself is what it is without a mean.
      #expect(seen[3] == numbers(plain))
      var state: [NamedTensor] = []
      try model.withTrainingState { state.append($0) }
      #expect(model.trainingTensors.map(\.name) == state.map(\.name))

      let last = try model.score(segments)
      model.exchangeAverage()
      let weights = [0.75 * 0.75 * 0.75, 0.75 * 0.75, 0.75, 1]
      let sum = weights.reduce(0, +)
      for (i, value) in numbers(model).enumerated() {
        let mean = zip(weights, seen).reduce(0) { $0 + $1.0 * Double($1.1[i]) } / sum
        #expect(abs(Double(value) - mean) < 1e-6)
      }
      #expect(try model.score(segments) != last)
      model.exchangeAverage()
      #expect(numbers(model) == seen[3])
      #expect(try model.score(segments) == last)

      let again = try frozen.copy(training: training)
      again.averageDecay = 0.75
      try again.restoreTrainingState(state, step: 4)
      try step(again)
      try step(model)
      again.exchangeAverage()
      model.exchangeAverage()
      #expect(numbers(again) == numbers(model))
      plain.exchangeAverage()
      #expect(numbers(plain) == seen[3])
    }
  }

  @Test(arguments: [TinyModel.llama, .table])
  func `a model whose training has ended scores and is written, and is trained no more`(
    tiny: TinyModel
  ) throws {
    let segments = [Segment([1, 2, 3], scored: [1..<3])]
    for training in [Trainable.full, .lora(LoRASettings(rank: 2))] {
      let model = try tiny.frozen().copy(training: training)
      _ = try model.supervise(segments, weights: [[1, 1]])
      try model.step(AdamW(), learningRate: 0.01, maximumNorm: 1)
      let (scores, numbers) = (try model.score(segments), model.trainedParameters())
      model.endTraining()
      #expect(try model.score(segments) == scores)
      #expect(model.trainedParameters() == numbers)
      // Moments are gone, and with them the names of their tensors.
      #expect(model.trainingTensors.map(\.name) == numbers.map(\.name))
      #expect(throws: EngineError.self) { try model.supervise(segments, weights: [[1, 1]]) }
      let pass = try model.pass(segments)
      #expect(throws: EngineError.self) {
        try pass.backward(HeadGradients(logProbabilities: [[1, 1]]))
      }
      #expect(throws: EngineError.self) {
        try model.step(AdamW(), learningRate: 0.01, maximumNorm: 1)
      }
    }
  }

  @Test(arguments: [TinyModel.llama, .table])
  func `a pass goes back once, and before the next`(tiny: TinyModel) throws {
    let frozen = try tiny.frozen()
    let model = try frozen.copy(training: .full)
    let segments = [Segment([1, 2, 3], scored: [1..<3])]
    let gradients = HeadGradients(logProbabilities: [[1, 1]])
    let pass = try model.pass(segments)
    #expect(try pass.scores == model.score(segments))
    #expect(throws: EngineError.self) { try pass.backward(gradients) }
    let next = try model.pass(segments)
    #expect(throws: EngineError.self) {
      try next.backward(HeadGradients(logProbabilities: [[1]]))
    }
    try next.backward(gradients)
    #expect(throws: EngineError.self) { try next.backward(gradients) }
    let last = try model.pass(segments)
    _ = try frozen.score(segments)
    #expect(throws: EngineError.self) { try last.backward(gradients) }
  }

  @Test(arguments: [TinyModel.llama, .table])
  func `in a cancelled task nothing is begun any more`(tiny: TinyModel) async throws {
    let task = Task {
      let frozen = try tiny.frozen()
      let model = try frozen.copy(training: .full)
      let segments = [Segment([1, 2, 3], scored: [1..<3])]
      _ = try model.score(segments)
      withUnsafeCurrentTask { $0?.cancel() }
      #expect(throws: CancellationError.self) { try model.score(segments) }
      #expect(throws: CancellationError.self) { try model.pass(segments) }
      #expect(throws: CancellationError.self) {
        try model.supervise(segments, weights: [[1, 1]])
      }
      #expect(throws: CancellationError.self) {
        try model.klDivergence(segments, to: frozen, temperature: 1, trunk: nil)
      }
      #expect(throws: CancellationError.self) { try model.sample([[1, 2]], SamplingSettings()) }
    }
    try await task.value
  }

  @Test func `an engine need not keep trunks`() throws {
    let model = try TabularEngine(hasTrunks: false).random(TinyModel.table.spec, seed: 1)
    #expect(try model.trunk([Segment([1])], layers: 1) == nil)
  }
}
