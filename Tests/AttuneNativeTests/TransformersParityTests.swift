// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import Foundation
import Testing

/// Tiny models of every architecture against what transformers computed for them
/// (`Scripts/fixtures/tiny_models.py`).
@Suite(.serialized)
struct TransformersParityTests {
  struct Reference: Decodable {
    struct Training: Decodable {
      let learning_rate, beta1, beta2, epsilon, weight_decay: Double
      let losses: [Double]
    }
    struct Greedy: Decodable {
      let prompt, answer: [Int32]
    }
    let greedy: Greedy
    let input_ids: [[Int32]]
    let log_probabilities: [[[Double]]]
    let entropies: [[Double]]
    let token_log_probabilities: [[Double]]
    let loss: Double
    let gradient_norms: [String: Double]
    let global_gradient_norm: Double
    let training: [Training]
    let score_weight: [Float]
    let scalars: [[Double]]
    let scalar_gradients: [String: Double]

    var segments: [Segment] { input_ids.map { Segment($0, scored: [1..<$0.count]) } }
    var weights: [[Double]] {
      let count = Double(input_ids.reduce(0) { $0 + $1.count - 1 })
      return input_ids.map { [Double](repeating: 1 / count, count: $0.count - 1) }
    }
  }

  static func open(_ name: String) throws -> (NativeModel, Reference) {
    let place = Fixtures.url("models/\(name)")
    let reference = try JSONDecoder().decode(
      Reference.self, from: Data(contentsOf: place.appending(path: "reference.json")))
    return (try NativeModel.load(Checkpoint.open(place), on: NativeEngine()), reference)
  }

  @Test(arguments: Fixtures.models)
  func `scores are those of transformers`(name: String) throws {
    let (model, reference) = try Self.open(name)
    let all = (0..<Int32(model.spec.vocabularySize)).map { $0 }
    let scores = try model.score(
      reference.segments, HeadRequest(entropy: true, candidates: all))
    for (s, ids) in reference.input_ids.enumerated() {
      for i in 1..<ids.count {
        #expect(
          abs(scores.logProbabilities[s][i - 1] - reference.token_log_probabilities[s][i - 1])
            < 2e-4)
        #expect(abs(scores.entropies[s][i - 1] - reference.entropies[s][i - 1]) < 2e-4)
        let worst =
          zip(scores.candidates[s][i - 1], reference.log_probabilities[s][i - 1])
          .map { abs($0 - $1) }.max() ?? .infinity
        #expect(worst < 2e-4)
      }
    }
  }

  @Test(arguments: Fixtures.models)
  func `every gradient is that of PyTorch`(name: String) throws {
    let (frozen, reference) = try Self.open(name)
    let model = try frozen.copy(training: .full)
    model.zeroGradients()
    let scores = try model.supervise(reference.segments, weights: reference.weights)
    let count = Double(reference.weights.joined().count)
    let loss = -scores.logProbabilities.joined().reduce(0, +) / count
    #expect(abs(loss - reference.loss) < 1e-4)
    #expect(abs(model.gradientNorm() / reference.global_gradient_norm - 1) < 1e-3)
    let file = try Safetensors.File(
      Fixtures.url("models/\(name)").appending(path: "gradients.safetensors"))
    let gradients = model.trainedGradients()
    #expect(Set(gradients.map(\.name)) == Set(reference.gradient_norms.keys))
    for gradient in gradients {
      let theirs: [Float] = try file.read(gradient.name)
      var difference = 0.0
      for (a, b) in zip(gradient.values, theirs) { difference += Double((a - b) * (a - b)) }
      let norm = reference.gradient_norms[gradient.name] ?? 0
      // A key's bias moves all scores of a query alike: its gradient is 0 but for rounding.
      #expect(
        difference.squareRoot() < 1e-3 * norm + 1e-6 * reference.global_gradient_norm,
        "\(gradient.name)")
    }
  }

  @Test(arguments: Fixtures.models)
  func `ten steps of AdamW give PyTorch's losses`(name: String) throws {
    let (frozen, reference) = try Self.open(name)
    #expect(reference.training.count > 1)
    for training in reference.training {
      let model = try frozen.copy(training: .full)
      let optimizer = AdamW(
        beta1: training.beta1, beta2: training.beta2, epsilon: training.epsilon,
        weightDecay: training.weight_decay)
      for expected in training.losses {
        model.zeroGradients()
        let scores = try model.supervise(reference.segments, weights: reference.weights)
        let count = Double(reference.weights.joined().count)
        let loss = -scores.logProbabilities.joined().reduce(0, +) / count
        #expect(abs(loss - expected) < 1e-3 * max(1, expected), "rate \(training.learning_rate)")
        try model.step(optimizer, learningRate: training.learning_rate)
      }
    }
  }

  @Test(arguments: Fixtures.models)
  func `greedy answers are those of transformers`(name: String) throws {
    let (model, reference) = try Self.open(name)
    var settings = SamplingSettings()
    (settings.temperature, settings.maxTokens, settings.stopIds) = (0, 12, [])
    let answer = try model.sample([reference.greedy.prompt], settings, streams: nil, onToken: nil)
    #expect(answer[0][0].ids == reference.greedy.answer)
    // What is drawn is what is scored, window or not: by the cache and by the pass.
    let ids = reference.input_ids[0]
    let drawn = try model.drawnLogProbabilities(ids, sampler: .same)
    for (ours, theirs) in zip(drawn, reference.token_log_probabilities[0]) {
      #expect(abs(ours - theirs) < 2e-4)
    }
  }

  @Test(arguments: Fixtures.models)
  func `a scalar head and its gradients are PyTorch's`(name: String) throws {
    let (frozen, reference) = try Self.open(name)
    let model = try frozen.copy(training: .full, scalarHead: .weights(reference.score_weight))
    let segments = reference.input_ids.map { Segment($0, scalarsAfter: Array($0.indices)) }
    let pass = try model.pass(segments)
    let scores = pass.scores
    for (a, b) in zip(scores.scalars.joined(), reference.scalars.joined()) {
      #expect(abs(a - b) < 2e-4 * max(1, abs(b)))
    }
    let count = Double(scores.scalars.joined().count)
    model.zeroGradients()
    try pass.backward(
      HeadGradients(scalars: scores.scalars.map { $0.map { _ in 1 / count } }))
    let largest = reference.scalar_gradients.values.max() ?? 0
    for gradient in model.trainedGradients() {
      let norm = gradient.values.reduce(0.0) { $0 + Double($1 * $1) }.squareRoot()
      // An untied head takes no part in the scalars.
      let expected = reference.scalar_gradients[gradient.name] ?? 0
      #expect(abs(norm - expected) < 1e-3 * expected + 1e-6 * largest, "\(gradient.name)")
    }
  }

  @Test(arguments: [
    "llama-tied", "qwen2", "qwen3", "llama-yarn", "mistral", "gemma", "gemma3", "phi3", "phi4-mini",
    "smollm3", "olmo2", "granite", "exaone4", "ernie", "pythia", "stablelm",
  ])
  func `the GGUF of a model scores as its directory`(name: String) throws {
    let (model, reference) = try Self.open(name)
    let gguf = try NativeModel.load(
      Checkpoint.open(Fixtures.url("models/\(name)").appending(path: "model.gguf")),
      on: NativeEngine())
    let ours = try gguf.score(reference.segments).logProbabilities.joined()
    for (a, b) in zip(ours, try model.score(reference.segments).logProbabilities.joined()) {
      // Its matrices are float16.
      #expect(abs(a - b) < 5e-2)
    }
  }

  @Test func `a model in bfloat16 stays near`() throws {
    let place = Fixtures.url("models/llama-tied")
    let (model, reference) = try Self.open("llama-tied")
    let rounded = try NativeModel.load(
      Checkpoint.open(place), on: NativeEngine(basePrecision: .bf16))
    let ours = try rounded.score(reference.segments).logProbabilities.joined()
    let exact = try model.score(reference.segments).logProbabilities.joined()
    let worst = zip(ours, exact).map { abs($0 - $1) }.max() ?? .infinity
    #expect(worst > 0 && worst < 0.3)
  }
}
