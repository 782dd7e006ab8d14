// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneNative
import AttuneRewards
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

struct LikelihoodRewardTests {
  /// The log-probabilities of a text's tokens behind others, by a plain pass.
  private func logProbabilities(_ model: LoadedModel, _ before: String, _ text: String) throws
    -> [Double]
  {
    let ids = try TextEncoder(model).prompt(.text("a cat")) + model.tokenizer.encode(before)
    let right = model.tokenizer.encode(text)
    return try model.model.score([
      Segment(ids), Segment(right, parent: 0, scored: [0..<right.count]),
    ])
    .logProbabilities[1]
  }

  @Test func `it is what reasoning adds to the right answer's probability`() throws {
    let family = try ModelFamily()
    let base = family.base
    let json = try JSONValue(parsing: #"{"answer":"so on\n#### mat"}"#)
    let prompt = DataPrompt(
      .text("a cat"), row: DataRow(line: 1, example: .prompt(.text("a cat")), json: json))
    func rewards(_ source: String, _ texts: [String]) throws -> [Double] {
      try RewardSources([RewardSpecification(source)], on: NativeEngine(), beside: base)
        .weighted[0].source.checkedScores(
          prompts: texts.map { _ in prompt },
          completions: texts.map { Completion(ids: [], text: $0, endedByItself: true) }, shared: nil
        )
    }
    let texts = ["sat on the\n#### hat", "it sat", "ran <answer>hat</answer>", "\\boxed{hat}"]
    // What stands before the answer, what it is put behind, and the answer itself.
    let parts = [
      ("sat on the\n", "####", " mat"), ("it sat\n\n", "The answer is", " mat"),
      ("ran ", "<answer>", "mat"), ("", "\\boxed{", "mat"),
    ]
    let means = try parts.map { before, mark, right in
      try [mark, before + mark].map { try logProbabilities(base, $0, right) }
    }
    func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }
    let logarithms = try rewards("likelihood:answer,log", texts)
    for (reward, both) in zip(logarithms, means) {
      #expect(abs(reward - (mean(both[1]) - mean(both[0]))) < 1e-5)
    }
    #expect(logarithms[3] == 0 && logarithms[0] != 0)
    for (reward, both) in zip(try rewards("likelihood:answer", texts), means) {
      let gain = mean(both[1].map(exp)) - mean(both[0].map(exp))
      #expect(abs(reward - min(max(gain, 0), 1)) < 1e-6)
    }
    // Where the answer is to stand in a box there is one reasoning, all of the text.
    let boxed = try rewards("likelihood:answer,log,extract=boxed", [texts[0]])
    let whole = try ["The answer is", texts[0] + "\n\nThe answer is"].map {
      mean(try logProbabilities(base, $0, " mat"))
    }
    #expect(abs(boxed[0] - (whole[1] - whole[0])) < 1e-5)
  }

  @Test func `it needs a model that speaks, and a right answer`() throws {
    let none = #expect(throws: TrainingError.self) {
      try RewardSources([RewardSpecification("likelihood:answer")], on: NativeEngine())
    }
    #expect(none?.message.contains("likelihood:answer,model=M") == true, "\(none?.message ?? "")")
    let family = try ModelFamily()
    let reward = try family.member("reward", .lastLayers(1), seed: 1, isReward: true)
    #expect(throws: TrainingError.self) {
      try RewardSources(
        [RewardSpecification("likelihood:answer,model=\(reward)")], on: NativeEngine())
    }
    let source = try RewardSources(
      [RewardSpecification("likelihood:x")], on: NativeEngine(), beside: family.base
    ).weighted[0].source
    let data = try family.folder.rows("rows.jsonl", [#"{"prompt":"p","x":["a"]}"#])
    let error = #expect(throws: DataError.self) { try data.check(for: [source]) }
    #expect(
      error?.message.contains("rows.jsonl:1: column \"x\"") == true, "\(error?.message ?? "")")
  }
}
