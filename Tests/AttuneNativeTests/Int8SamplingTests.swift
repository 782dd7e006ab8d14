// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import CAttuneKernels
import Foundation
import Testing

/// Samples drawn with 8-bit codes.
@Suite(.serialized)
struct Int8SamplingTests {
  private static func settings(_ sampler: Sampler, batch: Int = 32) -> SamplingSettings {
    SamplingTests.settings {
      $0.samplesPerPrompt = 6
      $0.sampler = sampler
      $0.batch = batch
    }
  }

  @Test(arguments: TinyModel.native)
  func `they depend on neither batch nor company, and are near the model's own`(
    _ tiny: TinyModel
  ) throws {
    let model = try tiny.native()
    let whole = try model.sample(SamplingTests.prompts, Self.settings(.int8))
    for batch in [1, 5] {
      #expect(
        try model.sample(SamplingTests.prompts, Self.settings(.int8, batch: batch)) == whole)
    }
    var gaps: [Double] = []
    for (prompt, answers) in zip(SamplingTests.prompts, whole) {
      for answer in answers {
        let scores = try model.score(
          [Segment(prompt + answer.ids, scored: [prompt.count..<prompt.count + answer.ids.count])])
        gaps += zip(answer.logProbability, scores.logProbabilities[0]).map { $0 - $1 }
      }
    }
    // Off by more than rounding in float32, by less than a twentieth of a nat.
    let deviation = (gaps.reduce(0) { $0 + $1 * $1 } / Double(gaps.count)).squareRoot()
    #expect(deviation > 1e-4 && deviation < 0.05, "\(deviation)")
    #expect(try model.sample(SamplingTests.prompts, Self.settings(.same)) != whole)
  }

  @Test(arguments: [
    Trainable.full, .lastLayers(2), .lora(LoRASettings(rank: 3, alpha: 5, lastLayers: 2)),
  ])
  func `codes of what is trained are made anew when it has changed`(_ trainable: Trainable) throws {
    for tiny in [TinyModel.llama, .untied] {
      try Self.changes(tiny.native(), trainable, .int8)
      if atk_has_bf16() { try Self.changes(tiny.native(.bf16), trainable, .same) }
    }
  }

  private static func changes(
    _ start: NativeModel, _ trainable: Trainable, _ sampler: Sampler
  ) throws {
    let settings = settings(sampler)
    let model = try start.copy(training: trainable)
    let before = try model.sample(SamplingTests.prompts, settings)
    #expect(try start.sample(SamplingTests.prompts, settings) == before)
    for _ in 0..<2 {
      model.zeroGradients()
      _ = try model.supervise(
        [Segment([3, 1, 4, 1, 5, 9, 2, 6], scored: [1..<8])],
        weights: [[Double](repeating: 1, count: 7)])
      try model.step(AdamW(), learningRate: 0.03)
      let samples = try model.sample(SamplingTests.prompts, settings)
      // A model that never held other weights.
      let fresh: NativeModel
      if case .lora = trainable {
        fresh = try start.copy(training: trainable)
        try fresh.setTrainedParameters(model.trainedParameters())
      } else {
        fresh = try start.frozenCopy(of: model.weight)
      }
      #expect(samples != before)
      #expect(try fresh.sample(SamplingTests.prompts, settings) == samples)
    }
    #expect(try start.sample(SamplingTests.prompts, settings) == before)
    model.releaseMemory()
    #expect(try start.sample(SamplingTests.prompts, settings) == before)
  }

  @Test func `frozen weights have one copy in codes, which goes with the memory`() throws {
    let start = try TinyModel.llama.native()
    let copy = try start.copy(training: .lora(LoRASettings(lastLayers: 1)))
    func codes(_ model: NativeModel) throws -> [UnsafeRawPointer?] {
      try model.withWeights(positions: 4) { weights in
        weights.layers.map { $0.matrix(.up)?.int8 } + [weights.head?.int8]
      }
    }
    #expect(try codes(start) == [nil, nil, nil, nil])
    _ = try copy.sample(SamplingTests.prompts, Self.settings(.int8))
    let made = try codes(copy)
    #expect(made.allSatisfy { $0 != nil })
    // Adapters lie beside them.
    #expect(try codes(start) == made)
    start.releaseMemory()
    #expect(try codes(start) == [nil, nil, nil, nil])
  }
}
