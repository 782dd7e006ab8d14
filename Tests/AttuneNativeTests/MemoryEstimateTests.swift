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
    case .distilled:
      // Not of the model's own origin, whose passes would share the workspace.
      let teacher = try model.engine.random(model.spec, seed: 9)
      _ = try model.divergence(
        segments, from: TeacherRequest(teacher, segments, mix: 0.5), weights: ones, trunk: trunk)
    }
  }

  @Test(arguments: TinyModel.native, [PassShape.Kind.scores, .gradients, .supervised, .distilled])
  func `the workspace is as large as the estimate says, to the byte`(
    tiny: TinyModel, kind: PassShape.Kind
  ) throws {
    for trainable in Self.trainables {
      for recomputes in [false, true] {
        for entropies in [false, true] where !entropies || kind == .scores || kind == .gradients {
          let start = try tiny.native()
          let model = try start.copy(training: trainable)
          model.recomputesActivations = recomputes
          try run(model, kind, entropies: entropies)
          var work = ModelWork(trainable)
          work.recomputes = recomputes
          var pass = PassShape(
            kind, rows: shape.rows, scored: shape.scored, entropies: entropies)
          if kind == .distilled { pass.teacherWidth = tiny.spec.width }
          work.passes = [pass]
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

  @Test func `what adapters are merged in is counted beside what passes took`() throws {
    for trainable in Self.trainables {
      let model = try TinyModel.llama.native().copy(training: trainable)
      try run(model, .gradients)
      var work = ModelWork(trainable)
      work.merges = true
      work.passes = [PassShape(.gradients, rows: shape.rows, scored: shape.scored)]
      let said = try NativeEngine().workspaceBytes(for: work, of: TinyModel.llama.spec)
      let before = model.workspaceBytes
      // As a merged model is written: each weight with its adapter.
      for tensor in TinyModel.llama.spec.tensors { _ = try model.weight(tensor.name) }
      #expect(said.logits + said.activations == model.workspaceBytes, "\(trainable)")
      if case .lora = trainable { #expect(model.workspaceBytes > before) }
    }
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
    #expect(estimate[.moments] == 2 * estimate[.weights] && estimate[.average] == 0)
    work.averages = true
    #expect(try engine.memory(for: work, of: start.spec)[.average] == estimate[.weights])
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

  @Test func `a model that was read is counted as its weights are kept`() throws {
    let folder = try TemporaryFolder()
    let (engine, spec) = (try NativeEngine(), TinyModel.llama.spec)
    try TinyModel.llama.native().write(to: folder.url, as: .bfloat16)
    let kept = try engine.load(Checkpoint.open(folder.url))
    let matrices = spec.tensors.filter(\.isMatrix).reduce(0) { $0 + $1.count }
    let vectors = spec.tensors.filter { !$0.isMatrix }.reduce(0) { $0 + $1.count }
    for trainable in [Trainable.frozen, .lora(LoRASettings(rank: 2))] {
      let work = ModelWork(trainable)
      #expect(try kept.memory(for: work)[.base] == 2 * matrices + 4 * vectors)
      // Of a file that is not there yet.
      #expect(try engine.memory(for: work, of: spec)[.base] == 4 * (matrices + vectors))
    }
    var work = ModelWork(.full)
    work.keepsStart = true
    #expect(try kept.memory(for: work)[.reference] == 2 * matrices + 4 * vectors)
    #expect(try kept.memory(for: work)[.weights] == 4 * (matrices + vectors))
  }

  @Test func `answers that are drawn at the end alone take the room of what is gone by then`()
    throws
  {
    let (engine, spec) = (try NativeEngine(), TinyModel.llama.spec)
    var work = ModelWork(.lora(LoRASettings(rank: 2, lastLayers: 1, projections: [.q])))
    let shape = SamplingShape(prompts: 1, samplesPerPrompt: 1, promptTokens: 2, maxTokens: 2)
    work.sampling = shape
    let between = try engine.memory(for: work, of: spec)
    #expect(between[.cache] > 0)
    (work.sampling, work.asking) = (nil, shape)
    let atEnd = try engine.memory(for: work, of: spec)
    #expect(atEnd[.cache] == 0)
    #expect(atEnd[.check] == between[.cache] - atEnd[.gradients] - atEnd[.moments])
    #expect(atEnd.total < between.total)
  }

  @Test(arguments: [Precision.float32, .bf16], [Sampler.same, .int8])
  func `what a sampler makes of the weights is counted`(
    precision: Precision, sampler: Sampler
  ) throws {
    guard let engine = try? NativeEngine(precision: precision) else { return }
    // A head of its own, in a form that transformers has.
    var untied = TinyModel.untied.spec
    untied.queryKeyValueBias = true
    let llama = TinyModel.llama.spec
    for (spec, trainable) in [
      (llama, Self.trainables[0]), (llama, Self.trainables[3]), (untied, .frozen),
    ] {
      // Frozen matrices in bfloat16, the others in float32.
      let folder = try TemporaryFolder()
      try engine.random(spec, seed: 1).write(to: folder.url, as: .bfloat16)
      let start = try engine.load(Checkpoint.open(folder.url))
      let model = try #require(start.copy(training: trainable) as? NativeModel)
      var settings = SamplingSettings()
      (settings.maxTokens, settings.sampler) = (2, sampler)
      _ = try model.sample([[1, 2]], settings)
      var work = ModelWork(trainable)
      work.sampling = SamplingShape(
        prompts: 1, samplesPerPrompt: 1, promptTokens: 2, maxTokens: 2, sampler: sampler)
      let said = try start.memory(for: work)[.sampler]
      #expect(said == model.samplerBytes, "\(trainable)")
      let makes = sampler == .int8 || precision == .bf16 && trainable == .full
      #expect((said > 0) == makes)
      model.releaseMemory()
      #expect(model.samplerBytes == 0)
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
    let gone = merged[.gradients] + merged[.moments] + merged[.activations]
    #expect(merged[.check] == full[.weights] - gone)
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
      // Sums wait beside the pass that is added: 1, 2 and 4 passes make the tree's levels.
      #expect(estimate[.gradients] == (isFull ? 1 : 3) * estimate[.weights])
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
