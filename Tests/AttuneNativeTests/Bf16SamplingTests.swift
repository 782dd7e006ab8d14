// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import CAttuneKernels
import Testing

/// Samples drawn with the bfloat16 products of a model's passes.
@Suite(.serialized, .enabled(if: atk_has_bf16()))
struct Bf16SamplingTests {
  private static func settings(batch: Int = 32) -> SamplingSettings {
    SamplingTests.settings {
      $0.samplesPerPrompt = 6
      $0.batch = batch
    }
  }

  /// How far samples' log-probabilities are from those that a model scores them with.
  private static func gaps(_ samples: [[Sample]], _ model: NativeModel) throws -> [Double] {
    try zip(SamplingTests.prompts, samples).flatMap { prompt, answers in
      try answers.flatMap { answer in
        let scores = try model.score(
          [Segment(prompt + answer.ids, scored: [prompt.count..<prompt.count + answer.ids.count])])
        return zip(answer.logProbability, scores.logProbabilities[0]).map { abs($0 - $1) }
      }
    }
  }

  /// Attention alone sums in another order, so that now and then a number is rounded to its neighbour.
  @Test(arguments: TinyModel.native)
  func `they depend on neither batch nor company, and are drawn as a pass scores them`(
    _ tiny: TinyModel
  ) throws {
    let model = try tiny.native(.bf16)
    let whole = try model.sample(SamplingTests.prompts, Self.settings())
    for batch in [1, 5] {
      #expect(try model.sample(SamplingTests.prompts, Self.settings(batch: batch)) == whole)
    }
    let gaps = try Self.gaps(whole, model)
    let worst = try #require(gaps.max())
    let mean = gaps.reduce(0, +) / Double(gaps.count)
    #expect(worst < 5e-3 && mean < 5e-5, "worst \(worst), mean \(mean)")
    // In float32 products they would be off by the rounding of all of them.
    let unrounded = try Self.gaps(whole, tiny.native())
    #expect(unrounded.reduce(0, +) / Double(gaps.count) > 20 * mean)
  }

  /// Of any rank: a product of few columns has a row's bits whatever is beside it, too.
  @Test(arguments: [1, 3, 16])
  func `adapters beside them are rounded as in a pass`(rank: Int) throws {
    let start = try TinyModel.qwen2.native(.bf16)
    let model = try start.copy(training: .lora(LoRASettings(rank: rank, alpha: 32)))
    for _ in 0..<3 {
      model.zeroGradients()
      _ = try model.supervise(
        [Segment([3, 1, 4, 1, 5, 9, 2, 6], scored: [1..<8])],
        weights: [[Double](repeating: 1, count: 7)])
      try model.step(AdamW(), learningRate: 0.03)
    }
    let whole = try model.sample(SamplingTests.prompts, Self.settings())
    for batch in [1, 5] {
      #expect(try model.sample(SamplingTests.prompts, Self.settings(batch: batch)) == whole)
    }
    let gaps = try Self.gaps(whole, model)
    let mean = gaps.reduce(0, +) / Double(gaps.count)
    #expect(mean < 1e-4, "mean \(mean)")
    let base = try Self.gaps(whole, start)
    #expect(base.reduce(0, +) / Double(gaps.count) > 0.1)
  }
}
