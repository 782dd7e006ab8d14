// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneTestSupport
import AttuneTraining
import Testing

struct EngineKnobTests {
  @Test func `a knob that the engine does not read is refused`() throws {
    let model = try TabularEngine().random(TabularEngine.spec(vocabulary: 16), seed: 1)
    var settings = SFTSettings()
    settings.pieceTokens = 64
    try settings.check(against: model)
    settings.recompute = true
    let error = #expect(throws: TrainingError.self) { try settings.check(against: model) }
    #expect(error?.message == "recompute is set but not read: a table has no activations")
    settings.recompute = false
    settings.optimizer = .adamw8bit
    let other = #expect(throws: TrainingError.self) { try settings.check(against: model) }
    #expect(
      other?.message == "optimizer is set but not read: a table keeps its moments in float32")
  }
}
