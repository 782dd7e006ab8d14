// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import Testing

/// What an estimate says against the bytes that real passes took.
struct MemoryEstimateTests {
  private static let trainables: [Trainable] = [
    .full, .lastLayers(1), .lora(LoRASettings(rank: 3)),
    .lora(LoRASettings(rank: 2, lastLayers: 2, projections: [.q, .down])),
  ]

  /// Two texts of which some tokens are scored.
  private let segments = [
    Segment([1, 2, 3, 4, 5], scored: [2..<5]), Segment([6, 7, 8], parent: 0, scored: [0..<3]),
  ]
  private var shape: (rows: Int, scored: Int) { (8, 6) }

  private func run(
    _ model: NativeModel, _ kind: PassShape.Kind, entropies: Bool = false, trunk: (any Trunk)? = nil
  ) throws {
    let ones = [[1.0, 1, 1], [1, 1, 1]]
    switch kind {
    case .scores: _ = try model.score(segments, HeadRequest(entropy: entropies), trunk: trunk)
    case .gradients:
      let pass = try model.pass(segments, HeadRequest(entropy: entropies), trunk: trunk)
      try pass.backward(HeadGradients(logProbabilities: ones))
    case .supervised: _ = try model.supervise(segments, weights: ones, trunk: trunk)
    }
  }

  @Test(arguments: TinyModel.native, [PassShape.Kind.scores, .gradients, .supervised])
  func `the workspace is as large as the estimate says, to the byte`(
    tiny: TinyModel, kind: PassShape.Kind
  ) throws {
    for trainable in Self.trainables {
      for recomputes in [false, true] {
        for entropies in [false, true] where !entropies || kind != .supervised {
          let start = try tiny.native()
          let model = try start.copy(training: trainable)
          model.recomputesActivations = recomputes
          try run(model, kind, entropies: entropies)
          var work = ModelWork(trainable)
          work.recomputes = recomputes
          work.passes = [
            PassShape(
              kind, rows: shape.rows, scored: shape.scored, entropies: entropies)
          ]
          let engine = try NativeEngine()
          let said = try engine.workspaceBytes(for: work, of: tiny.spec)
          #expect(
            said.logits + said.activations == model.workspaceBytes,
            "\(tiny) \(kind) \(trainable) \(recomputes)")
        }
      }
    }
  }

  @Test(.enabled(if: (try? NativeEngine(precision: .bf16)) != nil), arguments: TinyModel.native)
  func `activations that are kept in bfloat16 are counted so`(tiny: TinyModel) throws {
    let engine = try NativeEngine(precision: .bf16)
    for trainable in Self.trainables {
      let start = try engine.random(tiny.spec, seed: 1)
      let model = try #require(start.copy(training: trainable) as? NativeModel)
      try run(model, .gradients)
      var work = ModelWork(trainable)
      work.passes = [PassShape(.gradients, rows: shape.rows, scored: shape.scored)]
      let said = try engine.workspaceBytes(for: work, of: tiny.spec)
      #expect(said.logits + said.activations == model.workspaceBytes, "\(tiny) \(trainable)")
    }
  }

  @Test func `several passes take what the largest of each kind asks`() throws {
    let trainable = Trainable.lora(LoRASettings(rank: 3, lastLayers: 1))
    let model = try TinyModel.qwen3.native().copy(training: trainable)
    try run(model, .scores, entropies: true)
    let trunk = try model.trunk(segments, layers: model.sharedLayers)
    try run(model, .gradients, trunk: trunk)
    let long = [Segment(Array(1...12), scored: [11..<12])]
    _ = try model.supervise(long, weights: [[1]])
    var work = ModelWork(trainable)
    work.passes = [
      PassShape(.scores, rows: 8, scored: 6, entropies: true),
      PassShape(.gradients, rows: 8, scored: 6, fromTrunk: true),
      PassShape(.supervised, rows: 12, scored: 1),
    ]
    let said = try NativeEngine().workspaceBytes(for: work, of: TinyModel.qwen3.spec)
    #expect(said.logits + said.activations == model.workspaceBytes)
    #expect(said.logits == 4 * 6 * 41)
  }

  @Test func `a scalar head's passes`() throws {
    let start = try TinyModel.llama.native()
    let model = try start.copy(training: .full, scalarHead: .zero)
    let pass = try model.pass([Segment([1, 2, 3], scalarsAfter: [2])])
    try pass.backward(HeadGradients(scalars: [[1]]))
    var work = ModelWork(.full)
    work.scalarHead = true
    work.passes = [PassShape(.gradients, rows: 3, scored: 0, scalars: 1)]
    let engine = try NativeEngine()
    let said = try engine.workspaceBytes(for: work, of: start.spec)
    #expect(said.logits + said.activations == model.workspaceBytes)
    let estimate = try engine.memory(for: work, of: start.spec)
    #expect(estimate[.weights] == 4 * model.trainedCount)
    #expect(estimate[.gradients] == estimate[.weights])
    #expect(estimate[.moments] == 2 * estimate[.weights])
  }

  @Test(arguments: [OptimizerName.adamw, .adamw8bit])
  func `moments take the bytes that the estimate says`(optimizer: OptimizerName) throws {
    // Its embeddings are codes, its norms are too short to be.
    var spec = TinyModel.llama.spec
    spec.vocabularySize = 1000
    let engine = try NativeEngine()
    let start = try engine.random(spec, seed: 1)
    for trainable in Self.trainables {
      let model = try #require(start.copy(training: trainable) as? NativeModel)
      try run(model, .gradients)
      #expect(model.momentBytes == 0)
      try model.step(AdamW(optimizer), learningRate: 0.01, maximumNorm: 1)
      var work = ModelWork(trainable)
      work.optimizer = optimizer
      let said = try engine.memory(for: work, of: spec)[.moments]
      #expect(said == model.momentBytes, "\(trainable)")
      #expect(said >= (optimizer == .adamw ? 8 : 2) * model.trainedCount)
    }
  }

  @Test func `what is copied at the end is counted beyond what is gone by then`() throws {
    let (engine, spec) = (try NativeEngine(), TinyModel.llama.spec)
    // Nothing is kept of passes: read again is less than the gradients that are gone by then, and the
    // largest tensor of a checkpoint's is copied beside them.
    let full = try engine.memory(for: ModelWork(.full), of: spec)
    let largest = spec.tensors.map(\.count).max() ?? 0
    #expect(full[.check] == 4 * largest)
    // Merged weights are as many as the model has, its gradients as few as the adapters'.
    var work = ModelWork(.lora(LoRASettings(rank: 1)))
    work.merges = true
    let merged = try engine.memory(for: work, of: spec)
    #expect(merged[.check] == full[.weights] - merged[.gradients] - merged[.moments])
  }

  @Test(arguments: TinyModel.native)
  func `weights are counted where they lie`(tiny: TinyModel) throws {
    let start = try tiny.native()
    let engine = try NativeEngine()
    for trainable in Self.trainables {
      let model = try start.copy(training: trainable)
      var work = ModelWork(trainable)
      work.passesPerStep = 5
      work.keepsStart = true
      let estimate = try engine.memory(for: work, of: tiny.spec)
      #expect(estimate[.weights] == 4 * model.trainedCount)
      // The start is there whole, whatever is copied of it.
      #expect(estimate[.base] + estimate[.reference] == 4 * start.parameterCount)
      work.keepsStart = false
      let alone = try engine.memory(for: work, of: tiny.spec)
      let isFull = trainable == .full
      #expect(alone[.reference] == (isFull ? 0 : estimate[.reference]))
      if case .lora = trainable {
        // Three sums wait beside the pass that is added: 1, 2 and 4 passes make the tree's levels.
        #expect(estimate[.gradients] == 3 * estimate[.weights])
      } else {
        #expect(estimate[.gradients] == estimate[.weights])
      }
    }
    #expect(throws: EngineError.self) {
      try engine.memory(for: ModelWork(.lastLayers(99)), of: tiny.spec)
    }
  }

  @Test func `a model beyond counting is still counted`() throws {
    var spec = TinyModel.llama.spec
    (spec.width, spec.heads, spec.keyValueHeads, spec.headWidth) = (16384, 128, 8, 128)
    (spec.layers, spec.mlpWidth, spec.vocabularySize) = (126, 53248, 128_256)
    let estimate = try NativeEngine().memory(for: ModelWork(.full), of: spec)
    #expect(estimate.total > 6_000_000_000_000)
  }
}
