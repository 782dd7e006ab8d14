// SPDX-License-Identifier: Apache-2.0

import AttuneKit
import Foundation

/// An algorithm that Attune does not have, with a loop of its own: advantage-weighted regression (Peng
/// et al. 2019, arXiv:1910.00177). The policy's own answers are learned by supervision, each weighted
/// by exp((r − mean r)/β), divided by the weights' sum: `swift run -c release WeightedRegression MODEL`.
@main
enum WeightedRegression {
  static let questions = [
    "Name a fruit.", "What is rain?", "Say hello.", "What do bees make?", "Where do fish live?",
    "What is snow?", "Name a colour.", "What is a friend?",
  ]

  /// Short answers are better: 0 for one of 8 words, less for longer and shorter ones.
  static func reward(_ answer: String) -> Double {
    -abs(log(max(1, Double(answer.split(separator: " ").count)) / 8))
  }

  static func main() async {
    do {
      try await regress()
    } catch {
      print(error)
      exit(1)
    }
  }

  static func regress() async throws {
    let arguments = CommandLine.arguments
    let session = try await AttuneSession.open(arguments.count > 1 ? arguments[1] : "smollm2")
    let steps = arguments.count > 2 ? Int(arguments[2]) ?? 8 : 8
    var prompts: [Content] = []
    for question in questions { prompts.append(await session.prompt(question)) }

    // The loop runs on the sessions' thread, so that it may hold models, which have one owner.
    try await session.perform { [prompts] models in
      let encoder = try TextEncoder(models.start)
      let policy = try models.start.model.copy(training: .lora(LoRASettings()))
      let ids = try prompts.map { try encoder.prompt($0) }
      var sampling = SamplingSettings()
      sampling.samplesPerPrompt = 8
      sampling.maxTokens = 48
      sampling.stopIds = encoder.endings
      let beta = 0.5

      for step in 1...steps {
        sampling.seed = UInt64(step)
        var mean = 0.0
        policy.zeroGradients()
        for (prompt, answers) in zip(ids, try policy.sample(ids, sampling)) {
          let rewards = answers.map { reward(encoder.tokenizer.decode($0.ids)) }
          let average = rewards.reduce(0, +) / Double(rewards.count)
          mean += average / Double(ids.count)
          let weights = rewards.map { exp(($0 - average) / beta) }
          let sum = weights.reduce(0, +) * Double(ids.count)
          // The prompt once, then what continues it: all answers share its pass.
          let segments =
            [Segment(prompt)]
            + answers.map { Segment($0.ids, parent: 0, scored: [0..<$0.ids.count]) }
          let tokenWeights = zip(answers, weights).map { answer, weight in
            [Double](repeating: weight / sum / Double(answer.ids.count), count: answer.ids.count)
          }
          _ = try policy.supervise(segments, weights: [[]] + tokenWeights)
        }
        try policy.step(AdamW(), learningRate: 1e-3, maximumNorm: 1)
        print("step \(step): reward \(mean)")
      }
      models.answer(with: policy)
    }
    let answers = try await session.answers(to: prompts, greedy())
    for (question, answer) in zip(questions, answers) { print("\(question) → \(answer[0].text)") }
  }

  static func greedy() -> SampleSettings {
    var settings = SampleSettings()
    settings.n = 1
    settings.temperature = 0
    return settings
  }
}
