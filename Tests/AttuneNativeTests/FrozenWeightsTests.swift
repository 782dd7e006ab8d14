// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import Foundation
import Testing

/// A model whose frozen matrices are not float32 against the float32 model of the very same numbers.
@Suite(.serialized)
struct FrozenWeightsTests {
  /// Families whose matrices have rows of whole groups of codes.
  private static let families: [(name: String, spec: TransformerSpec)] = [
    (
      "llama",
      TransformerSpec(
        architecture: .llama, vocabularySize: 83, width: 64, layers: 3, heads: 4, keyValueHeads: 2,
        mlpWidth: 96, maximumPositions: 64, tiedHead: true)
    ),
    (
      "untied",
      TransformerSpec(
        architecture: .llama, vocabularySize: 83, width: 64, layers: 2, heads: 4, mlpWidth: 96,
        maximumPositions: 64, queryKeyValueBias: true, attentionOutputBias: true, mlpBias: true)
    ),
    (
      "gpt2",
      TransformerSpec(
        architecture: .gpt2, vocabularySize: 83, width: 64, layers: 2, heads: 4, mlpWidth: 128,
        maximumPositions: 64, norm: .layer, positions: .learned, mlp: .gelu,
        queryKeyValueBias: true, attentionOutputBias: true, mlpBias: true, tiedHead: true)
    ),
  ]

  /// Products of fewer rows than a tile has, and of more.
  private static let batches = [
    [Segment([3, 1, 4, 1, 5], scored: [1..<5])],
    (0..<4).map { row in
      Segment((0..<16).map { Int32((row * 31 + $0 * 7) % 83) }, scored: [1..<16])
    },
  ]

  /// The float32 model of a model's numbers.
  private static func plain(_ model: NativeModel) throws -> NativeModel {
    try model.frozenCopy(of: model.weight)
  }

  private static func random(_ model: NativeModel) throws -> [NamedTensor] {
    var random = SplitMix(seed: 2)
    return model.trainedParameters().map { tensor in
      var tensor = tensor
      for i in tensor.values.indices { tensor.values[i] = random.float() * 0.1 }
      return tensor
    }
  }

  /// Everything that a model computes, in a fixed order.
  private static func numbers(_ model: NativeModel, _ segments: [Segment]) throws -> [Double] {
    let request = HeadRequest(temperature: 0.7, entropy: true, candidates: [4, 39])
    let pass = try model.pass(segments, request)
    let scores = pass.scores
    var all =
      [scores.logProbabilities, scores.entropies, scores.candidates.flatMap { $0 }].flatMap {
        $0.joined()
      }
    if model.trainable == .frozen { return all }
    model.zeroGradients()
    try pass.backward(EngineContractTests.weights(scores, seed: 3))
    all += model.trainedGradients().flatMap(\.values).map { Double($0) }
    model.zeroGradients()
    let weights = scores.logProbabilities.map { $0.map { _ in 0.125 } }
    all += try model.supervise(segments, weights: weights).logProbabilities.joined()
    return all + model.trainedGradients().flatMap(\.values).map { Double($0) }
  }

  private static func samples(_ model: NativeModel) throws -> [[Sample]] {
    var settings = SamplingSettings()
    settings.maxTokens = 12
    settings.samplesPerPrompt = 3
    settings.stopIds = []
    return try model.sample([[1, 2, 3], [80, 7]], settings)
  }

  /// Holds a model with frozen matrices against the float32 one of its numbers.
  private static func check(
    _ kept: NativeModel, _ batches: [[Segment]] = FrozenWeightsTests.batches
  ) throws {
    let plain = try plain(kept)
    for segments in batches {
      #expect(try numbers(kept, segments) == numbers(plain, segments))
      #expect(
        try kept.klDivergence(segments, to: plain, temperature: 1, trunk: nil).joined().allSatisfy {
          $0 == 0
        })
      for training in [
        Trainable.lora(LoRASettings(rank: 3)), .lora(LoRASettings(rank: 2, lastLayers: 1)),
        .lastLayers(1), .full,
      ] {
        let (ours, theirs) = (try kept.copy(training: training), try plain.copy(training: training))
        // Until it is trained a copy scores as its origin.
        #expect(try ours.score(segments) == kept.score(segments))
        try ours.setTrainedParameters(random(ours))
        try theirs.setTrainedParameters(random(ours))
        #expect(try numbers(ours, segments) == numbers(theirs, segments), "\(training)")
        #expect(try samples(ours) == samples(theirs), "\(training)")
        // Written, read or merged: each weight is the same.
        for tensor in kept.spec.tensors {
          #expect(try ours.weight(tensor.name)?.values == theirs.weight(tensor.name)?.values)
        }
      }
    }
    #expect(try samples(kept) == samples(plain))
  }

  @Test(arguments: families.indices, [BasePrecision.bf16, .q8, .q4])
  func `a model that is brought to a precision computes what its numbers give in float32`(
    family: Int, precision: BasePrecision
  ) throws {
    let spec = Self.families[family].spec
    try withTemporaryFolder { folder in
      let start = try NativeModel.random(spec, seed: 3, on: NativeEngine())
      try start.write(to: folder)
      let kept = try NativeModel.load(
        Checkpoint.open(folder), on: NativeEngine(basePrecision: precision))
      let form: WeightForm = precision == .bf16 ? .bfloat16 : precision == .q8 ? .bytes : .nibbles
      try kept.withWeights(positions: 1) { weights in
        #expect(weights.head?.form == form)
        #expect(weights.layers[0].matrix(.query)?.form == form)
        #expect(weights.layers[1].matrix(.down)?.form == form)
      }
      for tensor in spec.tensors where tensor.shape.count == 1 {
        #expect(try kept.weight(tensor.name)?.values == start.weight(tensor.name)?.values)
      }
      // As far from the file's numbers as that precision is.
      let (ours, exact) = (
        try kept.weight("model.layers.0.mlp.up_proj.weight"),
        try start.weight("model.layers.0.mlp.up_proj.weight")
      )
      let pairs = zip(try #require(ours).values, try #require(exact).values).map { ($0, $1) }
      let error = pairs.reduce(0.0) { $0 + pow(Double($1.0 - $1.1), 2) }
      let size = pairs.reduce(0.0) { $0 + pow(Double($1.1), 2) }
      let most = precision == .bf16 ? 0.002 : precision == .q8 ? 0.005 : 0.072
      #expect(error > 0 && (error / size).squareRoot() < most)
      try Self.check(kept)
      // Random weights are the same however they came.
      let drawn = try NativeModel.random(spec, seed: 3, on: NativeEngine(basePrecision: precision))
      #expect(try drawn.score(Self.batches[1]) == kept.score(Self.batches[1]))
    }
  }

  @Test(arguments: families.indices)
  func `a file in bfloat16 is kept as it is`(family: Int) throws {
    try withTemporaryFolder { folder in
      try NativeModel.random(Self.families[family].spec, seed: 3, on: NativeEngine())
        .write(to: folder, as: .bfloat16)
      let checkpoint = try Checkpoint.open(folder)
      let kept = try NativeModel.load(checkpoint, on: NativeEngine())
      try kept.withWeights(positions: 1) { weights in
        #expect(weights.head?.form == .bfloat16)
        #expect(weights.layers[1].matrix(.query)?.form == .bfloat16)
      }
      for name in checkpoint.tensors.names {
        #expect(try kept.weight(name)?.values == checkpoint.tensors.read(name), "\(name)")
      }
      try Self.check(kept)
    }
  }

  @Test func `a GGUF file's codes are kept as they are`() throws {
    let spec = Self.families[0].spec
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("model.gguf")
      try GGUFFile.write(spec, to: url) { tensor in
        switch tensor.role {
        case .embedding: .q8_0
        // Beside one another in one product, in two forms.
        case .query, .key: tensor.layer == 0 ? .q4_1 : .q4_0
        case .value: tensor.layer == 0 ? .q8_0 : .q4_1
        case .output: .bf16
        case .down: .f16
        default: tensor.shape.count == 2 ? .q4_0 : .f32
        }
      }
      let checkpoint = try Checkpoint.open(url)
      let kept = try NativeModel.load(checkpoint, on: NativeEngine())
      try kept.withWeights(positions: 1) { weights in
        #expect(weights.head?.form == .bytes)
        #expect(weights.layers[0].matrix(.query)?.form == .float32)
        #expect(weights.layers[1].matrix(.query)?.form == .nibbles)
        #expect(weights.layers[1].matrix(.output)?.form == .bfloat16)
        #expect(weights.layers[1].matrix(.down)?.form == .float32)
      }
      for name in checkpoint.tensors.names {
        #expect(try kept.weight(name)?.values == checkpoint.tensors.read(name), "\(name)")
      }
      try Self.check(kept)
      // What is in as few bits stays as it is, the rest is brought there.
      let smaller = try NativeModel.load(checkpoint, on: NativeEngine(basePrecision: .q4))
      try smaller.withWeights(positions: 1) { weights in
        #expect(weights.head?.form == .nibbles)
        #expect(weights.layers[0].matrix(.query)?.form == .nibbles)
      }
      let query = "model.layers.1.self_attn.q_proj.weight"
      #expect(try smaller.weight(query) == kept.weight(query))
      try Self.check(smaller)
    }
  }

  @Test func `a GGUF file's codes of every other size too`() throws {
    let spec = TransformerSpec(
      architecture: .llama, vocabularySize: 83, width: 256, layers: 2, heads: 4, keyValueHeads: 2,
      mlpWidth: 256, maximumPositions: 64, tiedHead: true)
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("model.gguf")
      try GGUFFile.write(spec, to: url) { tensor in
        let isFirst = tensor.layer == 0
        return switch tensor.role {
        case .embedding: .q5_0
        case .query: isFirst ? .q5_1 : .q2K
        case .key: isFirst ? .q5K : .q2K
        case .value: isFirst ? .q5_0 : .q3K
        case .output: isFirst ? .q2K : .q5K
        case .gate: isFirst ? .iq4NL : .q4K
        case .up: isFirst ? .q6K : .q4K
        case .down: isFirst ? .q3K : .q5_1
        default: .f32
        }
      }
      let checkpoint = try Checkpoint.open(url)
      let kept = try NativeModel.load(checkpoint, on: NativeEngine())
      try kept.withWeights(positions: 1) { weights in
        #expect(weights.head?.form == .fives)
        let forms = weights.layers.map { layer in
          [.query, .output, .up, .down].map { layer.matrix($0)?.form }
        }
        #expect(forms[0] == [.fives, .fineNibbles, .bytes, .fineNibbles])
        #expect(forms[1] == [.fineNibbles, .fives, .nibbles, .fives])
      }
      for name in checkpoint.tensors.names {
        #expect(try kept.weight(name)?.values == checkpoint.tensors.read(name), "\(name)")
      }
      // Products of few rows are BLAS's, and of matrices this large their bits depend on the number of
      // threads, which other tests change meanwhile.
      try Self.check(kept, [Self.batches[1]])
      // Five bits are fewer than eight: they stay.
      let smaller = try NativeModel.load(checkpoint, on: NativeEngine(basePrecision: .q8))
      #expect(try Self.samples(smaller) == Self.samples(kept))
    }
  }

  @Test func `rows that are no whole groups are refused by name`() throws {
    try withTemporaryFolder { folder in
      let spec = TinyModel.llama.spec
      try NativeModel.random(spec, seed: 3, on: NativeEngine()).write(to: folder)
      for precision in [BasePrecision.q4, .q8] {
        let error = try #require(throws: EngineError.self) {
          try NativeModel.load(
            Checkpoint.open(folder), on: NativeEngine(basePrecision: precision))
        }
        #expect(error.code == .badRequest)
        #expect(
          error.message.contains("model.embed_tokens.weight has rows of 24 numbers")
            && error.message.contains("--base-precision bf16"))
      }
      try Self.checkNumbers(
        NativeModel.load(Checkpoint.open(folder), on: NativeEngine(basePrecision: .bf16)))
    }
  }

  /// Scores alone, of a model of another vocabulary.
  private static func checkNumbers(_ kept: NativeModel) throws {
    let segments = [Segment((0..<20).map { Int32($0 * 2) }, scored: [1..<20])]
    #expect(try numbers(kept, segments) == numbers(plain(kept), segments))
  }
}
