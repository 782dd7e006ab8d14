// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import CAttuneKernels
import Foundation
import Testing

/// SmolLM2, or another model, held against transformers, with what
/// `Scripts/agreement/write_reference.py` wrote: `make agreement`, or `ATTUNE_AGREEMENT=DIR
/// ATTUNE_AGREEMENT_MODEL=FILE swift test -c release --filter Agreement`. Not part of `make test`: it
/// needs the peer and half a gigabyte of numbers.
@Suite(
  .serialized, .enabled(if: ProcessInfo.processInfo.environment["ATTUNE_AGREEMENT"] != nil))
struct AgreementTests {
  struct Reference: Decodable {
    struct Row: Decodable {
      let ids: [Int32]
      let log_probabilities: [Double]
    }
    struct Greedy: Decodable {
      let prompt: [Int32]
      let ids: [Int32]
      let margins: [Double]
    }
    let rows: [Row]
    let greedy: [Greedy]
    let batch: [[Int32]]
    let losses: [Double]
    let learning_rate: Double
    let weight_decay: Double
    let autocast: [[Double]]
    let bf16: [[Double]]
    let autocast_losses: [Double]
    let autocast_gradient_distance: Double
  }

  static func environment(_ name: String) throws -> URL {
    URL(filePath: try #require(ProcessInfo.processInfo.environment[name]))
  }

  static func reference() throws -> Reference {
    try JSONDecoder().decode(
      Reference.self,
      from: Data(contentsOf: environment("ATTUNE_AGREEMENT").appending(path: "reference.json")))
  }

  static func model(_ precision: Precision = .float32) throws -> NativeModel {
    try NativeModel.load(
      Checkpoint.open(environment("ATTUNE_AGREEMENT_MODEL")), on: NativeEngine(precision: precision)
    )
  }

  /// Mean and largest distance of log-probabilities from transformers' in float32.
  static func distance(_ ours: [[Double]], _ reference: Reference) -> (mean: Double, most: Double) {
    let gaps = zip(ours, reference.rows).flatMap { ours, row in
      zip(ours, row.log_probabilities).map { abs($0 - $1) }
    }
    return (gaps.reduce(0, +) / Double(gaps.count), gaps.max() ?? .infinity)
  }

  @Test(.enabled(if: atk_has_bf16()))
  func `in bf16 log-probabilities and ten AdamW steps are nearer to float32 than autocast's`()
    throws
  {
    let reference = try Self.reference()
    let frozen = try Self.model(.bf16)
    let ours = Self.distance(
      try frozen.score(
        reference.rows.map { Segment($0.ids, scored: [1..<$0.ids.count]) }
      ).logProbabilities, reference)
    let autocast = Self.distance(reference.autocast, reference)
    print("bf16 log-probabilities, mean and largest difference from float32:")
    print(
      "ours \(ours), autocast \(autocast), in bfloat16 \(Self.distance(reference.bf16, reference))")
    #expect(ours.mean < autocast.mean && ours.most < 2 * autocast.most)

    let model = try frozen.copy(training: .full)
    let segments = reference.batch.map { Segment($0, scored: [1..<$0.count]) }
    let count = reference.batch.reduce(0) { $0 + $1.count - 1 }
    let weights = reference.batch.map {
      [Double](repeating: 1 / Double(count), count: $0.count - 1)
    }
    let file = try Safetensors.File(
      Self.environment("ATTUNE_AGREEMENT").appending(path: "gradients.safetensors"))
    var (worst, apart, size) = (0.0, 0.0, 0.0)
    for (step, expected) in reference.losses.enumerated() {
      model.zeroGradients()
      let scores = try model.supervise(segments, weights: weights)
      let loss = -scores.logProbabilities.joined().reduce(0, +) / Double(count)
      worst = max(worst, abs(loss - expected))
      for gradient in step == 0 ? model.trainedGradients() : [] {
        let theirs: [Float] = try file.read(gradient.name)
        for (a, b) in zip(gradient.values, theirs) {
          apart += Double(a - b) * Double(a - b)
          size += Double(b) * Double(b)
        }
      }
      try model.step(
        AdamW(weightDecay: reference.weight_decay), learningRate: reference.learning_rate)
    }
    let distance = (apart / size).squareRoot()
    let theirs = zip(reference.autocast_losses, reference.losses).map { abs($0 - $1) }.max() ?? 0
    print("bf16 losses over ten AdamW steps: ours \(worst) from float32's, autocast's \(theirs)")
    print("bf16 gradient: ours \(distance) from float32's, autocast's", terminator: " ")
    print(reference.autocast_gradient_distance)
    #expect(worst < max(theirs, 2e-3))
    #expect(distance < 1.2 * reference.autocast_gradient_distance)
  }

  @Test func `log-probabilities of every text are those of transformers within 1e-3`() throws {
    let reference = try Self.reference()
    let scores = try Self.model().score(
      reference.rows.map { Segment($0.ids, scored: [1..<$0.ids.count]) })
    var worst = 0.0
    for (ours, row) in zip(scores.logProbabilities, reference.rows) {
      for (a, b) in zip(ours, row.log_probabilities) { worst = max(worst, abs(a - b)) }
    }
    print("log-probabilities of \(reference.rows.count) texts: largest difference \(worst)")
    #expect(reference.rows.count >= 50 && worst < 1e-3)
  }

  @Test func `greedy answers are those of transformers up to the first near tie`() throws {
    let reference = try Self.reference()
    let model = try Self.model()
    var settings = SamplingSettings()
    settings.temperature = 0
    settings.maxTokens = 64
    settings.stopIds = []
    let answers = try model.sample(reference.greedy.map(\.prompt), settings)
    var whole = 0
    for (answer, row) in zip(answers, reference.greedy) {
      let until = row.margins.firstIndex { $0 < 1e-4 } ?? row.ids.count
      #expect(Array(answer[0].ids.prefix(until)) == Array(row.ids.prefix(until)))
      if until == row.ids.count { whole += 1 }
    }
    print("greedy: \(whole) of \(reference.greedy.count) answers compared for all 64 tokens")
  }

  @Test func `gradients and ten AdamW steps are those of PyTorch`() throws {
    let reference = try Self.reference()
    let model = try Self.model().copy(training: .full)
    let segments = reference.batch.map { Segment($0, scored: [1..<$0.count]) }
    let count = reference.batch.reduce(0) { $0 + $1.count - 1 }
    let weights = reference.batch.map {
      [Double](repeating: 1 / Double(count), count: $0.count - 1)
    }
    let file = try Safetensors.File(
      Self.environment("ATTUNE_AGREEMENT").appending(path: "gradients.safetensors"))
    var worstLoss = 0.0
    for (step, expected) in reference.losses.enumerated() {
      model.zeroGradients()
      let scores = try model.supervise(segments, weights: weights)
      let loss = -scores.logProbabilities.joined().reduce(0, +) / Double(count)
      worstLoss = max(worstLoss, abs(loss - expected))
      if step == 0 {
        var worst = ("", 0.0)
        for gradient in model.trainedGradients() {
          let theirs: [Float] = try file.read(gradient.name)
          var difference = 0.0
          var length = 0.0
          for (a, b) in zip(gradient.values, theirs) {
            difference += Double(a - b) * Double(a - b)
            length += Double(b) * Double(b)
          }
          let relative = (difference / length).squareRoot()
          if relative > worst.1 { worst = (gradient.name, relative) }
          #expect(relative < 1e-3, "\(gradient.name)")
        }
        print("gradients: largest relative difference \(worst.1) (\(worst.0))")
      }
      try model.step(
        AdamW(weightDecay: reference.weight_decay), learningRate: reference.learning_rate)
    }
    print("loss over \(reference.losses.count) AdamW steps: largest difference \(worstLoss)")
    #expect(worstLoss < 1e-4)
  }
}
