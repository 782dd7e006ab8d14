// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneRewards
import AttuneTraining
import Foundation
import Testing

struct PreferenceMakerTests {
  /// Answers of different lengths: the scores of `concise` differ by their logarithms.
  private static func samples(
    lengths: [Int], finish: [SampleRow.FinishReason] = [], prompt: Content = .text("Why?")
  ) -> SampleRow {
    SampleRow(
      prompt: prompt,
      completions: lengths.enumerated().map { i, length in
        SampleRow.Completion(
          text: (0..<length).map { "w\($0)" }.joined(separator: " "), ids: [1],
          logProbability: -1, finishReason: finish.isEmpty ? .stop : finish[i])
      })
  }

  private static func maker(
    sharpness: Double, seed: UInt64 = 1, pairsPerPrompt: Int = 0
  ) throws -> PreferenceMaker {
    try PreferenceMaker(
      Labeller.concise.scorer(), LabelNoise(sharpness: sharpness, seed: seed),
      pairsPerPrompt: pairsPerPrompt)
  }

  @Test func `a certain labeller always prefers the higher score`() throws {
    let row = Self.samples(lengths: [5, 20, 10, 20])
    let maker = try Self.maker(sharpness: .infinity)
    let pairs = maker.pairs(row, prompt: 0)
    // The second answer of 20 words repeats the first: three answers, three pairs.
    #expect(pairs.count == 3)
    for pair in pairs {
      #expect((pair.row.chosenScore ?? 0) > (pair.row.rejectedScore ?? 0))
      #expect(pair.row.labeller == "concise")
    }
    let ranking = try #require(maker.ranking(row, prompt: 0))
    #expect(ranking.row.scores == ranking.labellerScores)
    #expect(ranking.row.completions.count == 3)
    let (rows, summary) = maker.label([row, Self.samples(lengths: [7, 7])], as: .pairs)
    #expect(rows.count == 3)
    #expect(summary.promptsLeftOut == 1 && summary.answersLeftOut == 2)
    #expect(summary.agreement == 1 && summary.pairs == 3)
  }

  @Test func `labels are drawn with the Bradley–Terry probability`() throws {
    // Scores 2 and 2 − ln 2: with sharpness 2 the better one wins with probability 4/5.
    let row = Self.samples(lengths: [20, 10])
    let maker = try Self.maker(sharpness: 2)
    let count = 4000
    let rows = Array(repeating: row, count: count)
    for shape in PreferenceMaker.Shape.allCases {
      let (made, summary) = maker.label(rows, as: shape)
      #expect(made.count == count)
      // Five standard errors.
      #expect(abs(summary.agreement - 0.8) < 5 * (0.16 / Double(count)).squareRoot(), "\(shape)")
    }
  }

  @Test func `whole rankings follow Plackett–Luce`() throws {
    // Scores 2, 2 − ln 2, 2 − ln 4 with sharpness 1: worths 4, 2, 1.
    let row = Self.samples(lengths: [20, 10, 5])
    let maker = try Self.maker(sharpness: 1)
    let count = 6000
    var seen: [[Int]: Int] = [:]
    for prompt in 0..<count {
      let scores = try #require(maker.ranking(row, prompt: prompt)).row.scores
      seen[[0, 1, 2].sorted { scores[$0] > scores[$1] }, default: 0] += 1
    }
    let expected: [([Int], Double)] = [
      ([0, 1, 2], 8.0 / 21), ([0, 2, 1], 4.0 / 21), ([1, 0, 2], 8.0 / 35), ([2, 1, 0], 1.0 / 21),
    ]
    for (order, probability) in expected {
      let share = Double(seen[order] ?? 0) / Double(count)
      let error = (probability * (1 - probability) / Double(count)).squareRoot()
      #expect(abs(share - probability) < 5 * error, "\(order)")
    }
  }

  @Test func `pairs are distinct, and fewer of them are the same ones`() throws {
    let row = Self.samples(lengths: [5, 8, 11, 14, 17, 20])
    let all = try Self.maker(sharpness: 1).pairs(row, prompt: 7)
    #expect(all.count == 15)
    #expect(Set(all.map { Set([$0.row.chosen, $0.row.rejected]) }).count == 15)
    let some = try Self.maker(sharpness: 1, pairsPerPrompt: 4).pairs(row, prompt: 7)
    #expect(some == Array(all.prefix(4)))
    #expect(try Self.maker(sharpness: 1).pairs(row, prompt: 7) == all)
    #expect(try Self.maker(sharpness: 1, seed: 2).pairs(row, prompt: 7) != all)
    #expect(try Self.maker(sharpness: 1).pairs(row, prompt: 8) != all)
    #expect(throws: TrainingError.self) { try Self.maker(sharpness: 1, pairsPerPrompt: -1) }
  }

  @Test func `rows say why an answer ended, and are read again as data`() throws {
    let prompt = Content.messages([Message(role: "user", content: "Why?")])
    let row = Self.samples(lengths: [20, 10], finish: [.length, .stop], prompt: prompt)
    let maker = try Self.maker(sharpness: .infinity)
    let url = URL.temporaryDirectory.appending(path: "attune-\(UUID().uuidString).jsonl")
    defer { try? FileManager.default.removeItem(at: url) }
    for shape in PreferenceMaker.Shape.allCases {
      let made = maker.label([row], as: shape).rows
      let text = try made.map {
        String(decoding: try JSONEncoder().encode($0), as: UTF8.self) + "\n"
      }.joined()
      try Data(text.utf8).write(to: url)
      let data = try DataFile.read(url)
      #expect(data.isConversational)
      switch data.rows[0].example {
      case .preference(let pair):
        #expect(shape == .pairs)
        #expect(pair.chosen.lastText.hasSuffix("w9"))
        #expect(data.rows[0].json["chosen_finish_reason"] == .string("stop"))
        #expect(data.rows[0].json["rejected_finish_reason"] == .string("length"))
      case .ranking(let ranking):
        #expect(shape == .rankings)
        #expect(ranking.scores[1] > ranking.scores[0])
        #expect(
          data.rows[0].json["finish_reasons"] == .array([.string("length"), .string("stop")]))
      default: Issue.record("read as \(data.kind)")
      }
    }
  }
}
