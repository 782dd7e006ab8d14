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

struct JudgeTests {
  static let samples = """
    {"prompt":"Is it far?","completions":[{"text":"yes","ids":[1],"logprob":-1,"finish_reason":"stop"},{"text":"It is good to walk.","ids":[2],"logprob":-1,"finish_reason":"length"},{"text":"no","ids":[3],"logprob":-1,"finish_reason":"stop"}]}
    {"prompt":[{"role":"user","content":"Hi"}],"completions":[{"text":"Hello","ids":[1],"logprob":-1,"finish_reason":"stop"},{"text":"Hello","ids":[1],"logprob":-1,"finish_reason":"stop"},{"text":"good day","ids":[1],"logprob":-1,"finish_reason":"stop"}]}

    """

  @Test func `the standard constitution has sixteen principles, and its page lists them`() throws {
    let principles = try Constitution.standard.principles
    #expect(principles.count == 16 && Set(principles).count == 16)
    let page = try String(
      contentsOf: URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Documentation/Judge.md"), encoding: .utf8)
    let words = page.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    for principle in principles { #expect(words.contains(principle), "\(principle)") }
    let own = try Constitution(text: "# no\n\n  Be kind.  \r\n#x\nBe brief.", name: "own")
    #expect(own.principles == ["Be kind.", "Be brief."])
    #expect(throws: TrainingError.self) { try Constitution(text: "# nothing\n", name: "own") }
  }

  @Test func `a tree of tokens holds every text, and what they share once`() {
    var random = SplitMix(seed: 5)
    for count in 1...12 {
      // Few different tokens, so that much is shared, and some texts begin others.
      let texts = (0..<count).map { _ in
        (0..<Int.random(in: 2...6, using: &random)).map { _ in
          Int32.random(in: 0...1, using: &random)
        }
      }
      let tree = TokenTree(texts)
      for (text, leaf) in zip(texts, tree.leaves) {
        var ids = tree.segments[leaf].ids
        #expect(tree.segments[leaf].scored == [ids.count - 1..<ids.count])
        var place = leaf
        while let parent = tree.segments[place].parent {
          #expect(parent < place)
          ids = tree.segments[parent].ids + ids
          place = parent
        }
        #expect(ids == text)
      }
    }
    let long = Array(repeating: Int32(7), count: 50)
    let tree = TokenTree([long + [1, 9], long + [2, 9], long + [2, 8, 9]])
    // 50 shared by all, 2 by two of them, and what follows.
    #expect(tree.segments.map(\.ids.count) == [50, 2, 1, 1, 2])
  }

  @Test(arguments: [2048, 40])
  func `shared prompts give the letters the probabilities that each question alone has`(
    budget: Int
  ) throws {
    let loaded = try tinyModel(width: 32)
    let judge = try LocalJudge(loaded, pieceTokens: budget)
    let questions = ["cat", "dog", "cart", "x"].map {
      JudgeQuestion(
        messages: [Message(role: "user", content: "Which of the two: \($0)?")],
        options: $0 == "x" ? ["1", "2", "3"] : ["A", "B"])
    }
    var answers: [Int: JudgeChoice] = [:]
    try judge.choose(questions) { answers[$0] = $1 }
    #expect(answers.count == 4)
    for (place, question) in questions.enumerated() {
      let found = try #require(answers[place]?.probabilities)
      let text = question.askingForOption[0].content + "\n\nAnswer: "
      let prompt = loaded.tokenizer.encode(text)
      let letters = question.options.map { loaded.tokenizer.encode($0)[0] }
      let scores = try letters.map { letter in
        try loaded.model.score(
          [Segment(prompt + [letter], scored: [prompt.count..<prompt.count + 1])]
        ).logProbabilities[0][0]
      }
      let sum = scores.reduce(0) { $0 + exp($1) }
      for (a, b) in zip(found, scores) { #expect(abs(a - exp(b) / sum) < 1e-5) }
      #expect(abs((answers[place]?.mass ?? 0) - sum) < 1e-5)
    }
    // The model reads 128 tokens.
    try judge.choose([
      JudgeQuestion(
        messages: [Message(role: "user", content: String(repeating: "long ", count: 40))],
        options: ["A", "B"])
    ]) { #expect($0 == 0 && $1.probabilities == nil) }
  }

  @Test func `a judge reads which tools were called`() {
    let call = JSONValue.object([
      .init("name", .string("level")), .init("arguments", .object([.init("unit", .string("m"))])),
    ])
    let prompt = Content.messages([
      Message(role: "user", content: "How high?"),
      Message(role: "assistant", content: "", fields: [.init("tool_calls", .array([call]))]),
      Message(role: "tool", content: "212"),
    ])
    let text = JudgeQuestion.grade(prompt, "212 m", principle: "It is true.").messages[0].content
    #expect(
      text.contains("Person: How high?\nAssistant: [calls level {\"unit\":\"m\"}]\ntool: 212"),
      "\(text)")
  }

  @Test func `judged pairs are rows to train on, the same whichever answer comes first`() throws {
    let folder = try TemporaryFolder()
    let tiny = try LoadedModel.random(
      TransformerSpec(
        architecture: .llama, vocabularySize: 259, width: 32, layers: 2, heads: 4,
        keyValueHeads: 2, mlpWidth: 64, maximumPositions: 2048, tiedHead: true), seed: 3,
      on: NativeEngine())
    let model = folder.url.appending(path: "model")
    try tiny.write(tiny.model, to: model)
    func judge(_ name: String, _ text: String) throws -> (JudgeReport, [DataRow]) {
      var settings = JudgeSettings()
      settings.judges = [model.path]
      settings.constitution = folder.file("one.txt", "The better answer is good.\n").path
      let output = folder.url.appending(path: "\(name).jsonl")
      let report = try Judging.run(
        .init(data: try DataFile.read(folder.file("\(name)-in.jsonl", text)), output: output),
        settings: settings, on: NativeEngine(), style: .silent)
      return (report, try DataFile.read(output, expecting: [.preference]).rows)
    }
    let (report, rows) = try judge("a", Self.samples)
    // Three pairs of the first prompt, and one of the second, two of whose answers are equal.
    #expect(rows.count == 4 && report.rows == 4 && report.unanswered == 0)
    #expect(report.asked == 8)
    for row in rows {
      guard case .preference(let pair) = row.example else { continue }
      let p = try #require(pair.probability)
      #expect(p > 0.5 && p <= 1 && pair.labeller == "judge:\(model.path)")
      guard case .array(let readings)? = row.json["readings"],
        case .array(let orders)? = readings.first
      else {
        Issue.record("no readings")
        continue
      }
      let values = orders.compactMap { Double($0.text) }
      #expect(values.count == 2 && abs(values.reduce(0, +) / 2 - p) < 1e-12)
      #expect(row.json["chosen_finish_reason"] != nil)
    }
    #expect(rows[3].example.isConversational)
    let reversed = Self.samples.replacing("\"yes\"", with: "\"_\"")
      .replacing("\"no\"", with: "\"yes\"").replacing("\"_\"", with: "\"no\"")
    let (_, others) = try judge("b", reversed)
    func labels(_ rows: [DataRow]) -> [String: Double] {
      var labels: [String: Double] = [:]
      for row in rows {
        guard case .preference(let pair) = row.example else { continue }
        labels["\(pair.chosen.lastText)>\(pair.rejected.lastText)"] = pair.probability
      }
      return labels
    }
    let (a, b) = (labels(rows), labels(others))
    #expect(a.count == 4 && a.keys == b.keys || Set(a.keys) == Set(b.keys))
    for (key, p) in a { #expect(abs(p - (b[key] ?? 0)) < 1e-5) }
  }

  @Test func `at equal length the win rate is what length does not explain`() {
    var random = SplitMix(seed: 9)
    func rate(_ pairs: [LengthControl.ComparedPair], deviation: Double) -> Double {
      LengthControl.winRate(
        pairs, deviation: deviation,
        penalty: LengthControl.penalty(pairs.map { [$0] }, deviation: deviation))
    }
    for (theta, phi, shift) in [(0.0, 1.5, 20.0), (0.7, -1, 10), (-1, 0, 0)] {
      let rows = (0..<1000).map { _ in
        let x = Double.random(in: -40...40, using: &random) + shift
        let z = theta + phi * tanh(x / 20)
        return LengthControl.ComparedPair(probability: 1 / (1 + exp(-z)), difference: x)
      }
      #expect(abs(rate(rows, deviation: 20) - 1 / (1 + exp(-theta))) < 2e-3)
    }
    // All won, all of one length: finite.
    let won = (0..<4).map { _ in LengthControl.ComparedPair(probability: 1, difference: 0) }
    #expect(rate(won, deviation: 0) > 0.9 && rate(won, deviation: 0) < 1)
  }

  /// Win rates by alpaca_eval (`Scripts/fixtures/length_control.py`), in percent.
  private struct LengthFixture: Decodable {
    struct Case: Decodable {
      var rows: [[Double]]
      var minimal: Double
      var withDifficulty: Double
    }
    var cases: [Case]
  }

  @Test func `the win rate at equal length is alpaca_eval's`() throws {
    let fixture = try JSONDecoder().decode(
      LengthFixture.self, from: Data(contentsOf: Fixtures.url("length_control.json")))
    #expect(fixture.cases.count == 7)
    for own in fixture.cases {
      for (isHard, wanted) in [(false, own.minimal), (true, own.withDifficulty)] {
        let pairs = own.rows.map {
          LengthControl.ComparedPair(
            probability: $0[0], difference: $0[1], difficulty: isHard ? $0[2] : nil)
        }
        let deviation = LengthControl.spread(pairs)
        let penalty = LengthControl.penalty(pairs.map { [$0] }, deviation: deviation)
        let rate = 100 * LengthControl.winRate(pairs, deviation: deviation, penalty: penalty)
        #expect(abs(rate - wanted) < 0.1, "\(own.rows.count) rows: \(rate), \(wanted)")
      }
    }
  }
}
