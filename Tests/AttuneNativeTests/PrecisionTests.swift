// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import CAttuneKernels
import Testing

struct PrecisionRefusalTests {
  @Test(.enabled(if: !atk_has_bf16()))
  func `bf16 is refused where the processor does not multiply it`() {
    let error = #expect(throws: EngineError.self) { try NativeEngine(precision: .bf16) }
    #expect(error?.description.contains("--precision bf16") == true)
  }
}

/// Mixed precision: what it keeps of float32's numbers, and what must be exact in it too.
@Suite(.serialized, .enabled(if: atk_has_bf16()))
struct PrecisionTests {
  /// The numbers of a tiny model, computed in bfloat16 products.
  private static func models(
    _ tiny: TinyModel
  ) throws -> (float32: NativeModel, bf16: NativeModel) {
    (try tiny.native(), try tiny.native(.bf16))
  }

  /// The tree without the places of scalars, for models without a scalar head.
  private static func plain(_ segments: [Segment]) -> [Segment] {
    segments.map { Segment($0.ids, parent: $0.parent, scored: $0.scored) }
  }

  private static func gradients(
    _ model: NativeModel, recompute: Bool = false
  ) throws -> (scores: HeadScores, gradient: [Float]) {
    let policy = try model.copy(training: .full, scalarHead: .normal(seed: 1))
    policy.recomputesActivations = recompute
    let pass = try policy.pass(EngineContractTests.tree, HeadRequest(entropy: true))
    policy.zeroGradients()
    try pass.backward(EngineContractTests.weights(pass.scores, seed: 3))
    return (pass.scores, policy.trainedGradients().flatMap(\.values))
  }

  private static func distance(_ a: [Float], _ b: [Float]) -> Double {
    var (difference, size) = (0.0, 0.0)
    for (a, b) in zip(a, b) {
      difference += Double(a - b) * Double(a - b)
      size += Double(b) * Double(b)
    }
    return (difference / size).squareRoot()
  }

  /// Rounding is to 8 bits: 2^-9 of each operand at most.
  @Test(arguments: TinyModel.native)
  func `scores and gradients are those of float32, rounded`(tiny: TinyModel) throws {
    let (exact, rounded) = try Self.models(tiny)
    let (expected, gradient) = try Self.gradients(exact)
    let (found, roundedGradient) = try Self.gradients(rounded)
    let gaps = zip(found.logProbabilities.joined(), expected.logProbabilities.joined())
      .map { abs($0 - $1) }
    let worst = try #require(gaps.max())
    #expect(worst > 1e-5 && worst < 0.1)
    let distance = Self.distance(roundedGradient, gradient)
    #expect(distance > 1e-4 && distance < 0.03)
    // What is kept is rounded, what is computed again is not.
    let again = try Self.gradients(rounded, recompute: true)
    #expect(again.scores == found)
    let apart = Self.distance(again.gradient, roundedGradient)
    #expect(apart > 0 && apart < 0.02)
  }

  @Test(arguments: TinyModel.native)
  func `a policy is its reference until it is trained`(tiny: TinyModel) throws {
    let (_, frozen) = try Self.models(tiny)
    let tree = Self.plain(EngineContractTests.tree)
    let reference = try frozen.score(tree).logProbabilities
    for training in [Trainable.full, .lastLayers(1), .lora(LoRASettings(rank: 16))] {
      let policy = try frozen.copy(training: training)
      #expect(try policy.score(tree).logProbabilities == reference)
      // With its activations kept too: the ratio of the first minibatch is 1.
      let pass = try policy.pass(tree, HeadRequest())
      #expect(pass.scores.logProbabilities == reference)
      let trunk = try policy.trunk(tree, layers: policy.sharedLayers)
      let above = try policy.score(tree, trunk: trunk)
      #expect(above.logProbabilities == reference)
    }
  }

  @Test(arguments: TinyModel.native)
  func `a text scores the same beside any others`(tiny: TinyModel) throws {
    let (_, model) = try Self.models(tiny)
    let texts = Self.plain(EngineContractTests.flat)
    let together = try model.score(texts).logProbabilities
    for (i, segment) in texts.enumerated() {
      #expect(try model.score([segment]).logProbabilities == [together[i]])
    }
  }

  /// A ratio of new to old probabilities is 1 before the first step: an adapter's products may not depend on
  /// how rows are cut into passes either, and 37 rows are another cut than any of these texts.
  @Test(arguments: [1, 2, 3, 8, 16])
  func `a text scores the same beside any others with adapters of any rank`(rank: Int) throws {
    let (_, start) = try Self.models(.qwen2)
    let model = try start.copy(training: .lora(LoRASettings(rank: rank, alpha: 32)))
    var random = SplitMix(seed: UInt64(rank))
    try model.setTrainedParameters(
      model.trainedParameters().map {
        NamedTensor(name: $0.name, shape: $0.shape, values: random.floats($0.values.count))
      })
    let texts = (0..<37).map { i in
      Segment((0..<(5 + i % 9)).map { Int32($0 * 7 + i) % 41 }, scored: [1..<(5 + i % 9)])
    }
    let together = try model.score(texts).logProbabilities
    for (i, segment) in texts.enumerated() {
      #expect(try model.score([segment]).logProbabilities == [together[i]])
    }
  }

  @Test func `what is kept for the backward pass is half as large`() throws {
    let spec = TransformerSpec(
      architecture: .llama, vocabularySize: 41, width: 64, layers: 8, heads: 4, mlpWidth: 256,
      maximumPositions: 1024, tiedHead: true)
    func bytes(_ precision: Precision) throws -> Int {
      let model = try NativeModel.random(spec, seed: 1, on: NativeEngine(precision: precision))
      let policy = try model.copy(training: .full)
      _ = try policy.pass(
        [Segment([Int32](repeating: 3, count: 512), scored: [1..<512])], HeadRequest())
      return policy.workspaceBytes
    }
    let (whole, half) = (try bytes(.float32), try bytes(.bf16))
    let layer = 512 * 4 * (64 + 192 + 64 + 64 + 512)
    // All eight layers, against one in float32 and eight halves.
    #expect(whole - half > 5 * layer / 2 && whole - half < 4 * layer)
  }

  @Test func `training goes down as in float32`() throws {
    let (exact, rounded) = try Self.models(.llama)
    func losses(_ frozen: NativeModel) throws -> [Double] {
      let policy = try frozen.copy(training: .full)
      let text = EngineContractTests.flat[2].ids
      let segments = [Segment(text, scored: [1..<text.count])]
      return try (0..<30).map { _ in
        policy.zeroGradients()
        let scores = try policy.supervise(
          segments, weights: [[Double](repeating: 1, count: text.count - 1)])
        try policy.step(AdamW(), learningRate: 1e-3, maximumNorm: 1)
        return -scores.logProbabilities.joined().reduce(0, +)
      }
    }
    let (expected, found) = (try losses(exact), try losses(rounded))
    let last = try #require(expected.last)
    #expect(last < 0.7 * expected[0])
    for (a, b) in zip(found, expected) { #expect(abs(a - b) < 0.02 * expected[0]) }
  }
}
