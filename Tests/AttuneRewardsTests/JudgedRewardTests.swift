// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneData
import AttuneEngine
import AttuneNative
import AttuneRewards
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Synchronization
import Testing

struct JudgedRewardTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  /// Two prompts with three answers and one, each prompt in a row of its own.
  private static let texts = ["good and kind", "kind", "bad", "good"]

  private func prompts(_ rows: [String]) throws -> [DataPrompt] {
    let file = try folder.rows("rows.jsonl", rows)
    let own = try file.prompts(byRow: true)
    return [own[0], own[0], own[0], own[1]]
  }

  private static let rows = [
    #"{"prompt":"Say one","rubric":[{"criterion":"It is good.","weight":3},"It is kind."]}"#,
    #"{"prompt":"Say two","rubric":["It is kind."]}"#,
  ]

  private func source(_ text: String) throws -> any RewardSource {
    try RewardSources(
      [RewardSpecification(text)], on: NativeEngine(),
      answers: folder.url.appending(path: "judge.answers")
    ).weighted[0].source
  }

  private func scores(_ source: any RewardSource, _ rows: [String] = rows) throws -> [Double] {
    try source.checkedScores(
      prompts: prompts(rows), completions: Self.texts.map(Self.completion), shared: nil)
  }

  private static func completion(_ text: String) -> Completion {
    Completion(ids: [], text: text, endedByItself: true)
  }

  private static func chats(_ server: HTTPServerStub) -> Int {
    server.requests.count { $0.path == "/v1/chat/completions" }
  }

  /// A judge's answer of tokens, each with what was listed in its place.
  private static func said(
    _ tokens: [(text: String, top: [String: Double])]
  ) -> HTTPServerStub.Response {
    let content = tokens.map { token in
      [
        "token": token.text, "logprob": 0.0,
        "top_logprobs": token.top.map { ["token": $0.key, "logprob": log($0.value)] },
      ] as [String: Any]
    }
    let choice: [String: Any] = [
      "message": ["role": "assistant", "content": tokens.map(\.text).joined()],
      "logprobs": ["content": content],
    ]
    let data = try? JSONSerialization.data(withJSONObject: [
      "choices": [choice], "usage": ["prompt_tokens": 20, "completion_tokens": 2],
    ])
    return HTTPServerStub.Response(body: String(decoding: data ?? Data(), as: UTF8.self))
  }

  /// How good an answer is: a grade of 4 or 2, and its probability.
  private static func graded(_ text: String) -> (String, [String: Double]) {
    let isGood = text.contains("good")
    return (
      isGood ? "4" : "2", isGood ? ["4": 0.5, "5": 0.25, "1": 0.25] : ["2": 0.75, "1": 0.25]
    )
  }

  @Test func `a judge's reward is the expected grade, asked for once`() throws {
    let server = try HTTPServerStub { request in
      guard request.path == "/v1/chat/completions" else { return HTTPServerStub.models }
      let answer = request.lastMessage.components(separatedBy: "Answer: ")[1]
      let (grade, top) = Self.graded(answer.components(separatedBy: "\n")[0])
      return Self.said([(grade, top)])
    }
    let judge = try source("judge:\(server.address),principles=2")
    let found = try scores(judge)
    #expect(found[0] == found[3] && found[1] == found[2] && found[0] > found[1])
    // The list leaves nothing for grades that are not in it.
    let good = 0.5 * 4 + 0.25 * 5 + 0.25
    #expect(abs(found[0] - good) < 1e-12)
    // Four answers under two principles.
    let cost = try #require(judge.takeCost())
    #expect(cost.calls == 8 && cost.remembered == 0 && cost.tokens == 176 && cost.seconds > 0)
    #expect(judge.takeCost()?.calls == 0)
    // Another process asks nothing.
    let later = try source("judge:\(server.address),principles=2")
    #expect(try scores(later) == found && Self.chats(server) == 8)
    #expect(later.takeCost()?.remembered == 8)
  }

  @Test func `one request can be about several answers, and what it garbles is asked for alone`()
    throws
  {
    let garbles = Mutex(false)
    let server = try HTTPServerStub { request in
      guard request.path == "/v1/chat/completions" else { return HTTPServerStub.models }
      let text = request.lastMessage
      let isSeveral = text.contains("Answer (1): ")
      if isSeveral, garbles.withLock({ $0 }) { return Self.said([("All", ["All": 1])]) }
      guard isSeveral else {
        let (grade, top) = Self.graded(
          text.components(separatedBy: "Answer: ")[1].components(separatedBy: "\n")[0])
        return Self.said([(grade, top)])
      }
      var tokens: [(text: String, top: [String: Double])] = []
      var number = 1
      while let range = text.range(of: "Answer (\(number)): ") {
        let (grade, top) = Self.graded(
          text[range.upperBound...].components(separatedBy: "\n")[0])
        tokens += [("\(number)", [:]), (":", [:]), (" \(grade)", top), ("\n", [:])]
        number += 1
      }
      return Self.said(tokens)
    }
    let together = try scores(source("judge:\(server.address),together=3"))
    #expect(Self.chats(server) == 2)
    let alone = try scores(source("judge:\(server.address)"))
    #expect(together == alone)
    garbles.withLock { $0 = true }
    let folder = try TemporaryFolder()
    let other = try RewardSources(
      [RewardSpecification("judge:\(server.address),together=2")], on: NativeEngine(),
      answers: folder.url.appending(path: "x")
    ).weighted[0].source
    #expect(try scores(other) == alone)
    // One request about two answers, and all four alone.
    #expect(other.takeCost()?.calls == 5)
  }

  @Test func `what can't be read ends the command with answer and line, never with a 0`() throws {
    enum Fault: CaseIterable { case offForm, refusal, silence, none }
    for fault in Fault.allCases {
      let server = try HTTPServerStub { request in
        guard request.path == "/v1/chat/completions" else { return HTTPServerStub.models }
        guard request.lastMessage.contains("Say two") else { return Self.said([("4", ["4": 1])]) }
        switch fault {
        case .offForm: return Self.said([("Well", ["Well": 0.5, "4": 0.5])])
        case .refusal:
          let body = #"{"choices":[{"message":{"content":null,"refusal":"I must not"}}]}"#
          return HTTPServerStub.Response(body: body)
        case .silence:
          Thread.sleep(forTimeInterval: 8)
          return Self.said([("4", ["4": 1])])
        case .none:
          return HTTPServerStub.Response(
            status: 400, body: #"{"error":{"message":"context too long"}}"#)
        }
      }
      let patience = fault == .silence ? 1 : 60
      let text =
        "judge:\(server.address),timeout=\(patience),retries=1,retry_seconds=0"
      let error = #expect(throws: (any Error).self) { try scores(source(text)) }
      let words = "\(error.map { "\($0)" } ?? "")"
      #expect(words.contains("answer 4, to the prompt of line 2"), "\(fault): \(words)")
      let wanted =
        switch fault {
        case .offForm: "asked 3 times: it said “Well”"
        case .refusal: "it refused: “I must not”"
        case .silence: "said nothing for 1 s"
        case .none: "context too long"
        }
      #expect(words.contains(wanted), "\(fault): \(words)")
    }
  }

  @Test func `an answer of another form is asked for again`() throws {
    let server = try HTTPServerStub { request in
      guard request.path == "/v1/chat/completions" else { return HTTPServerStub.models }
      return request.lastMessage.contains("(This is asked for the 2. time.)")
        ? Self.said([("3", ["3": 1])]) : Self.said([("Well", ["Well": 1])])
    }
    #expect(try scores(source("judge:\(server.address)")).allSatisfy { $0 == 3 })
    #expect(Self.chats(server) == 8)
  }

  @Test func `without log-probabilities votes are counted, or refused`() throws {
    let server = try HTTPServerStub { request in
      guard request.path == "/v1/chat/completions" else { return HTTPServerStub.models }
      let vote = (request.object["seed"] as? Int ?? 1) % 2
      return HTTPServerStub.completion(vote == 0 ? "4" : "2")
    }
    #expect(try scores(source("judge:\(server.address),votes=4")).allSatisfy { $0 == 3 })
    let error = #expect(throws: TrainingError.self) {
      try scores(source("judge:\(server.address),reading=logprobs"))
    }
    #expect(
      error?.message.contains("use reading=votes behind a comma") == true,
      "\(error?.message ?? "")")
  }

  @Test func `a rubric is the weighted share of criteria that are met`() throws {
    let server = try HTTPServerStub { request in
      guard request.path == "/v1/chat/completions" else { return HTTPServerStub.models }
      let text = request.lastMessage
      let answer = text.components(separatedBy: "Answer: ")[1].components(separatedBy: "\n")[0]
      var tokens: [(text: String, top: [String: Double])] = []
      for line in text.components(separatedBy: "\n") where line.hasPrefix("Criterion") {
        let word = line.contains("good") ? "good" : "kind"
        let p = answer.contains(word) ? 0.9 : 0.2
        if let number = line.firstMatch(of: /\((\d)\)/) { tokens.append(("\(number.1): ", [:])) }
        tokens.append((p > 0.5 ? "yes" : "No", ["yes": p, "No": 1 - p]))
        tokens.append(("\n", [:]))
      }
      return Self.said(tokens)
    }
    func wanted(_ good: Double, _ kind: Double) -> Double { (3 * good + kind) / 4 }
    let rubric = [wanted(0.9, 0.9), wanted(0.2, 0.9), wanted(0.2, 0.2), 0.2]
    for knobs in ["", ",together=4"] {
      let found = try scores(source("rubric:\(server.address)\(knobs)"))
      for (a, b) in zip(found, rubric) { #expect(abs(a - b) < 1e-12, "\(found)") }
    }
    // One file for all rows, in both forms.
    let list = #"[{"criterion":"It is good.","weight":1},{"criterion":"x","weight":0}]"#
    for (name, text) in [
      ("a.json", list), ("plain.txt", "It is good.\n"),
      ("b.jsonl", "\n{\"criterion\":\"It is good.\"}\n"),
    ] {
      let path = folder.file(name, text).path
      let found = try scores(source("rubric:\(server.address),criteria=\(path)"))
      for (a, b) in zip(found, [0.9, 0.2, 0.2, 0.9]) { #expect(abs(a - b) < 1e-12, "\(found)") }
    }
  }

  @Test func `criteria that are none are refused with file, line and field`() throws {
    let server = try HTTPServerStub { _ in HTTPServerStub.models }
    func message(_ rubric: String) -> String {
      let row = #"{"prompt":"Say two","rubric":\#(rubric)}"#
      do {
        let data = try folder.rows("rows.jsonl", [Self.rows[0], row])
        try data.check(for: [try source("rubric:\(server.address)")])
        return ""
      } catch { return "\(error)" }
    }
    #expect(message(#"["It is kind."]"#) == "")
    for (rubric, wanted) in [
      ("null", "column \"rubric\" is missing"), ("3", "must be a list of criteria"),
      ("[]", "an empty list"), ("[3]", "criterion 1 must be a text or an object"),
      (#"["a",{"weight":1}]"#, "criterion 2: field \"criterion\" is missing"),
      (#"[{"criterion":4}]"#, "field \"criterion\" must be a text"),
      (#"[{"criterion":"a","weight":"b"}]"#, "field \"weight\" must be a number"),
      (#"[{"criterion":"a","weight":-1}]"#, "must be at least 0"),
      (#"[{"criterion":"a","weight":0}]"#, "every \"weight\" is 0"),
      (#"[{"criterion":"a","points":2}]"#, "field \"points\", which is not read"),
    ] {
      let found = message(rubric)
      #expect(
        found.contains("rows.jsonl:2: ") && found.contains(wanted), "\(rubric): \(found)")
    }
    let file = folder.file("c.jsonl", "in plain words\n{\"criterion\":\"b\",\"weight\":-2}\n").path
    let error = #expect(throws: DataError.self) {
      try source("rubric:\(server.address),criteria=\(file)")
    }
    #expect(
      error?.message.contains("c.jsonl:2: ") == true && error?.message.contains("weight") == true,
      "\(error?.message ?? "")")
  }

  @Test func `a prompt's answers are put in order in one call`() throws {
    let forms = ["B > A > C", "From best to worst:\nB, A, C", "1. B\n2. A\n3. C"]
    for (place, form) in forms.enumerated() {
      let server = try HTTPServerStub { request in
        guard request.path == "/v1/chat/completions" else { return HTTPServerStub.models }
        return HTTPServerStub.completion(form)
      }
      let rank = try source("rank:\(server.address)")
      #expect(rank.isRelative)
      #expect(try scores(rank) == [0.5, 1, 0, 0.5], "\(place)")
      #expect(rank.takeCost()?.calls == 1 && Self.chats(server) == 1)
      // Shown the other way round, B is again in the middle.
      #expect(try scores(source("rank:\(server.address),orders=2")) == [0.25, 1, 0.25, 0.5])
    }
    let reader = OrderReader(["A", "B", "C"])
    for wrong in [
      "B > A", "B > A > A", "A > B > C\nB > A > C", "", "I like A, B and C", "<think>A > B > C",
    ] {
      #expect(reader.order(in: wrong) == nil, "\(wrong)")
    }
  }

  @Test func `an order needs answers to put in order, one that can be read, and one model`() throws
  {
    let server = try HTTPServerStub { request in
      request.path == "/v1/models" ? HTTPServerStub.models : HTTPServerStub.completion("A is best")
    }
    let rank = try source("rank:\(server.address)")
    let fault = #expect(throws: AnswerFault.self) { try scores(rank) }
    #expect(
      fault?.description.contains("line 1: what the judge says can't be read, asked 3 times")
        == true,
      "\(String(describing: fault))")
    let own = try prompts(Self.rows)
    let single = #expect(throws: AnswerFault.self) {
      try rank.checkedScores(
        prompts: [own[0], own[3]], completions: ["a", "b"].map(Self.completion), shared: nil)
    }
    #expect(single?.message.contains("sample several") == true)
    #expect(throws: TrainingError.self) {
      try RewardSpecification("rank:m").measured(by: "--watch")
    }
  }

  @Test func `knobs are held to their names and ranges before anything is opened`() throws {
    for (text, wanted) in [
      ("judge:m,votes=3", "votes is of servers"), ("judge:m,scal=1-5", "did you mean scale?"),
      ("judge:m,scale=5-1", "scale is two digits"), ("judge:http://h:1,votes=0", "votes must be"),
      ("judge:http://h:1,piece_tokens=9", "piece_tokens is of a model"),
      ("judge:m,principles=2,principles=3", "given twice"), ("judge:scale=1-5", "the judge first"),
      ("rubric:m,criteria=a,column=b", "give one of them"), ("rank:m,orders=3", "at most 2"),
      ("rubric:m,scale=1-5", "none of its knobs"),
      ("rank:m,reasoning_tokens=5", "reasoning is off"),
      ("rank:", "nothing stands after"),
    ] {
      let error = #expect(throws: TrainingError.self) { try RewardSpecification(text) }
      #expect(error?.message.contains(wanted) == true, "\(text): \(error?.message ?? "")")
    }
    let whole = try RewardSpecification("judge:http://h:1/v1,votes=9@0.5")
    #expect(whole.weight == 0.5 && whole.name == "judge:http://h:1/v1,votes=9")
    #expect(whole.models.isEmpty)
    #expect(try RewardSpecification("rank:m,orders=2").models == ["m"])
    #expect(GradeScale("A-C")?.mean([0.5, 0.25, 0.25]) == 2.25)
  }

  // MARK: A model as the judge

  /// A tiny model that reads a whole question.
  private func judge() throws -> (path: String, loaded: LoadedModel) {
    let tiny = try LoadedModel.random(
      TransformerSpec(
        architecture: .llama, vocabularySize: 259, width: 32, layers: 2, heads: 4,
        keyValueHeads: 2, mlpWidth: 64, maximumPositions: 2048, tiedHead: true), seed: 3,
      on: NativeEngine())
    let model = folder.url.appending(path: "judge")
    try tiny.write(tiny.model, to: model)
    return (model.path, tiny)
  }

  @Test func `a model's rewards are what its probabilities say`() throws {
    let (path, loaded) = try judge()
    let constitution = folder.file("one.txt", "The better answer is good.\n").path
    let found = try scores(source("judge:\(path),constitution=\(constitution)"))
    for (reward, (text, prompt)) in zip(found, zip(Self.texts, ["one", "one", "one", "two"])) {
      let question = JudgeQuestion.grade(
        .text("Say \(prompt)"), text, principle: "The better answer is good.")
      let ids = loaded.tokenizer.encode(question.askingForOption[0].content + "\n\nGrade: ")
      let grades = (1...5).map { loaded.tokenizer.encode("\($0)")[0] }
      let scores = try grades.map {
        exp(
          try loaded.model.score([Segment(ids + [$0], scored: [ids.count..<ids.count + 1])])
            .logProbabilities[0][0])
      }
      let sum = scores.reduce(0, +)
      let mean = scores.enumerated().reduce(0) { $0 + Double($1.offset + 1) * $1.element / sum }
      #expect(abs(reward - mean) < 1e-4)
    }
    #expect(Set(found).count > 1)
    let rubric = try scores(source("rubric:\(path)"))
    #expect(rubric.allSatisfy { $0 > 0 && $0 < 1 })
    let rank = try scores(source("rank:\(path)"))
    #expect(rank[..<3].sorted() == [0, 0.5, 1] && rank[3] == 0.5)
  }

  @Test func `many ranks find what one finds, and one file of answers`() throws {
    let (path, _) = try judge()
    let alone = try scores(source("judge:\(path)"))
    let prompts = try prompts(Self.rows)
    let answers = folder.url.appending(path: "ranks.answers")
    let found = RankThreads.run(3) { ranks in
      Collective.$current.withValue(ranks) {
        (try? RewardSources(
          [RewardSpecification("judge:\(path)")], on: NativeEngine(), answers: answers
        ).weighted[0].source.checkedScores(
          prompts: prompts, completions: Self.texts.map(Self.completion), shared: nil)) ?? []
      }
    }
    #expect(found.count == 3 && found.allSatisfy { $0 == found[0] })
    for (a, b) in zip(alone, found[0]) { #expect(abs(a - b) < 1e-5) }
    #expect(found[0].count == alone.count)
    let lines = try String(contentsOf: answers, encoding: .utf8).split(separator: "\n")
    #expect(lines.count == 4)
  }

  @Test(arguments: ["judge", "rubric", "rank"])
  func `a run that is stopped goes on to the same weights, bit for bit`(kind: String) throws {
    let (path, _) = try judge()
    let data = try folder.rows(
      "train.jsonl",
      (0..<4).map { #"{"prompt":"say \#($0)","rubric":["It is good.","It is short."]}"# })
    let start = try tinyModel()
    let reports = try folder.checkResume(
      stops: [3, 4], weights: "adapter_model.safetensors"
    ) { output, options in
      var settings = RLOOSettings()
      settings.rollout.rollouts = 4
      settings.rollout.promptsPerRollout = 2
      settings.rollout.samplesPerPrompt = 3
      settings.rollout.maxTokens = 8
      let sources = try RewardSources(
        [RewardSpecification("\(kind):\(path)")], on: NativeEngine(),
        answers: output.appending(path: RewardSources.answersFile))
      return try RLOO.train(
        start, data: data, rewards: sources.weighted, rewardFingerprint: sources.fingerprint,
        settings: settings, output: output, options: options)
    }
    #expect(reports.whole.lastReward == reports.parts.lastReward)
    let text = try String(
      contentsOf: folder.url.appending(path: "whole/metrics.jsonl"), encoding: .utf8)
    let line = try JSONValue(parsing: String(text.split(separator: "\n")[0]))
    #expect(line["judge/calls"]?.asInt ?? 0 > 0 || line["judge/calls"]?.asDouble ?? 0 > 0)
    #expect(line["judge/tokens"]?.asDouble ?? 0 > 100)
    #expect(line["judge/seconds"]?.asDouble ?? 0 > 0)
  }
}
