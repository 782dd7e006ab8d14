// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import Testing

/// What engines guarantee of texts that begin alike.
extension EngineContractTests {
  /// Two prompts behind one opening, one behind another, and one that has none; 7, 9 begins a turn.
  static let turns: [Segment] = {
    let one: [Int32] = [3, 1, 4, 1, 5, 7, 9, 2, 7, 9]
    let other: [Int32] = [2, 7, 9, 1, 8, 2, 8, 1, 7, 9]
    let prompts = [one + [6, 5, 3], one + [5, 8], other + [9, 7], [9, 3, 2, 3, 8, 4, 6]]
    return prompts.enumerated().flatMap { i, ids in
      [
        Segment(
          ids, scored: [2..<5, ids.count - 2..<ids.count], scalarsAfter: [1, ids.count - 1]),
        Segment([2, 6, 4, 3], parent: 3 * i, scored: [0..<4], scalarsAfter: [-1, 3]),
        Segment([3, 8], parent: 3 * i, scored: [0..<2]),
      ]
    }
  }()

  @Test(arguments: TinyModel.allCases)
  func `what prompts begin with is run once, and changes no number`(tiny: TinyModel) throws {
    let frozen = try tiny.frozen()
    #expect(Self.turns.map { Segment.opening(of: $0.ids, turn: [7, 9]) }[0] == 10)
    #expect(Segment.opening(of: Self.turns[9].ids, turn: [7, 9]) == 0)
    let training = Trainable.lora(LoRASettings(rank: 2, lastLayers: 2))
    func run(
      _ turn: [Int32], _ segments: [Segment]
    ) throws -> (HeadScores, [Float], any LanguageModel) {
      let model = try tiny.frozen().copy(training: training, scalarHead: .normal(seed: 1))
      model.turnOpening = turn
      let numbers = model.trainedParameters().map { tensor in
        var random = SplitMix(seed: UInt64(tensor.name.count))
        return NamedTensor(
          name: tensor.name, shape: tensor.shape,
          values: random.floats(tensor.values.count, scale: 0.3))
      }
      try model.setTrainedParameters(numbers)
      let pass = try model.pass(segments, HeadRequest(entropy: true))
      model.zeroGradients()
      try pass.backward(Self.weights(pass.scores, seed: 3))
      return (pass.scores, model.trainedGradients().flatMap(\.values), model)
    }
    let (shared, sharedGradient, model) = try run([7, 9], Self.turns)
    let (whole, wholeGradient, other) = try run([], Self.turns)
    let pairs = zip(shared.logProbabilities.joined(), whole.logProbabilities.joined())
    #expect(pairs.allSatisfy { abs($0 - $1) < 1e-5 })
    #expect(
      zip(shared.scalars.joined(), whole.scalars.joined()).allSatisfy { abs($0 - $1) < 1e-5 })
    let distance = zip(sharedGradient, wholeGradient).reduce(0.0) {
      $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1))
    }.squareRoot()
    let length = sharedGradient.reduce(0.0) { $0 + Double($1 * $1) }.squareRoot()
    // Where weights' gradients are cut into pieces is another, and so their last bits.
    #expect(distance < 1e-4 * length)
    if let native = model as? NativeModel, let other = other as? NativeModel {
      #expect(native.workspaceBytes < other.workspaceBytes)
    }

    // Kept hidden states are each segment's own, whatever it has in common with others.
    let trunk = try model.trunk(Self.turns, layers: 1)
    #expect(try model.score(Self.turns, HeadRequest(entropy: true), trunk: trunk) == shared)
    if let part = try trunk?.selecting([3, 4, 5, 9, 10]) {
      var asked = part.segments
      for (place, index) in [3, 4, 5, 9, 10].enumerated() {
        asked[place].scored = Self.turns[index].scored
      }
      let scores = try model.score(asked, trunk: part).logProbabilities
      for (mine, theirs) in zip(scores, [3, 4, 5, 9, 10].map { shared.logProbabilities[$0] }) {
        #expect(zip(mine, theirs).allSatisfy { abs($0 - $1) < 1e-5 })
      }
      let joined = try part.joining([part])
      #expect(try model.score(joined.segments, trunk: joined).scalars.count == 10)
    }
    // A copy has them too, and what does not fit is refused as ever.
    #expect(try frozen.copy(training: .full).turnOpening.isEmpty)
    #expect(model.turnOpening == [7, 9])
    #expect(throws: EngineError.self) { try model.score([Segment(Self.turns[0].ids + [99])]) }
  }
}
