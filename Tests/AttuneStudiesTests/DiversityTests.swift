// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneObjectives
import AttuneRewards
import AttuneStudies
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

struct DiversityTests {
  func evaluate(
    _ answers: [[String]]?, n: Int, model: LoadedModel? = nil
  ) throws -> EvaluationReport.Model {
    let model = try model ?? tinyModel()
    var settings = EvaluationSettings()
    settings.n = n
    settings.maxTokens = 6
    settings.temperature = 0.7
    let given = answers?.map { texts in
      texts.map { text in
        let ids = model.tokenizer.encode(text)
        return SampledAnswer(
          completion: Completion(ids: ids, text: text, endedByItself: false),
          logProbabilities: ids.map { _ in 0 })
      }
    }
    return try Evaluation.run(
      [EvaluatedModel(role: "policy", loaded: model, answers: given)], reference: nil,
      prompts: [DataPrompt(.text("a")), DataPrompt(.text("b"))], rewards: [], settings: settings,
      style: .silent
    ).models[0]
  }

  @Test func `answers to one prompt are compared with each other alone`() throws {
    let found = try evaluate([["a b", "a b", "c d"], ["x y z", "x y z", "x y z"]], n: 3).diversity
    #expect(abs((found.selfBLEU ?? 0) - (2.0 / 3 + 1) / 2) < 1e-12)
    #expect(abs((found.distinctAnswers ?? 0) - (2.0 / 3 + 1.0 / 3) / 2) < 1e-12)
    #expect((found.selfBLEUInterval?.low ?? 0) >= 2.0 / 3 - 1e-12)
  }

  @Test func `the entropy is the mean over the answers' tokens at the temperature`() throws {
    let model = try tinyModel()
    let texts = [["ab", "c"], ["abc"]]
    let found = try evaluate(texts, n: 2, model: model)
    // From the distributions themselves, token by token.
    let means = try zip(["a", "b"], texts).map { prompt, answers in
      Statistics.mean(
        try answers.flatMap { answer in
          let ids = model.tokenizer.encode(answer)
          let first = model.tokenizer.encode(prompt)
          return try ids.indices.map { i in
            let scores = try model.model.score(
              [.init(first + ids[...i], scored: [(first.count + i)..<(first.count + i + 1)])],
              .init(temperature: 0.7, candidates: (0..<259).map { Int32($0) }))
            return -scores.candidates[0][0].reduce(0) { $0 + exp($1) * $1 }
          }
        })
    }
    #expect(abs(found.diversity.entropy - Statistics.mean(means)) < 1e-4)
    #expect(found.diversity.entropy > 1)
  }

  @Test func `one answer a prompt has nothing to be compared with`() throws {
    let found = try evaluate(nil, n: 1).diversity
    #expect(found.selfBLEU == nil && found.distinctAnswers == nil && found.entropy > 0)
  }
}
