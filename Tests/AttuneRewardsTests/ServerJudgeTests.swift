// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneNative
import AttuneRewards
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Synchronization
import Testing

struct ServerJudgeTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  /// Set once for all tests: a process has one environment.
  private static let key: String = {
    setenv("ATTUNE_TEST_KEY", "very-secret-key", 1)
    return "very-secret-key"
  }()

  private func settings(_ server: HTTPServerStub) -> JudgeSettings {
    var settings = JudgeSettings()
    settings.judges = [server.address]
    settings.retrySeconds = 0.01
    settings.keyVariable = Self.key.isEmpty ? "" : "ATTUNE_TEST_KEY"
    return settings
  }

  private func judge(
    _ server: HTTPServerStub, _ change: (inout JudgeSettings) -> Void = { _ in },
    output: String = "pairs.jsonl"
  ) throws -> (report: JudgeReport, rows: [Preference]) {
    var settings = settings(server)
    change(&settings)
    let file = folder.url.appending(path: output)
    let data = try DataFile.read(folder.file("samples.jsonl", JudgeTests.samples))
    let report = try Judging.run(
      .init(data: data, output: file), settings: settings, on: NativeEngine(), style: .silent)
    let rows = try DataFile.read(file).rows.compactMap { row in
      if case .preference(let pair) = row.example { pair } else { nil }
    }
    return (report, rows)
  }

  /// Whether answer (A) of a question holds a word.
  private static func isInA(_ word: String, _ question: String) -> Bool? {
    guard let a = question.range(of: "Answer (A): "), let b = question.range(of: "Answer (B): ")
    else { return nil }
    let (inA, inB) = (
      question[a.upperBound..<b.lowerBound].contains(word), question[b.upperBound...].contains(word)
    )
    return inA == inB ? nil : inA
  }

  /// A judge that likes "good" at odds of 4 to 1, and letter A at odds of 2 to 1.
  private static func likesGood(_ request: HTTPServerStub.Request) -> HTTPServerStub.Response {
    guard request.path == "/v1/chat/completions" else { return HTTPServerStub.models }
    let odds = isInA("good", request.lastMessage).map { $0 ? 4.0 : 0.25 } ?? 1
    let a = 2 * odds / (2 * odds + 1)
    return HTTPServerStub.completion(
      a > 0.5 ? "A" : "B",
      top: [("A", log(0.6 * a)), (" A", log(0.3 * a)), ("B", log(0.9 * (1 - a))), ("C", log(0.1))])
  }

  @Test func `log-probabilities become labels in which the position cancels`() throws {
    let server = try HTTPServerStub { Self.likesGood($0) }
    let (report, rows) = try judge(server)
    #expect(report.judge == "judge:\(server.address)/v1#tiny")
    #expect(rows.count == 3 + 1 - report.unanswered && report.unanswered == 0)
    // P(A) is 8/9 where A is good, 1/3 where B is: the mean of 8/9 and 1 − 1/3.
    let p = (8.0 / 9 + 2.0 / 3) / 2
    let decided = rows.filter { $0.outcome == .preferred }
    #expect(decided.count == 3 && report.ties == 1)
    for row in decided {
      #expect(row.chosen.lastText.contains("good"))
      #expect(abs((row.probability ?? 0) - p) < 1e-9)
    }
    #expect(abs((report.letterMass ?? 0) - 0.9) < 1e-9)
    let bias = try #require(report.bias)
    let firsts: [Double] = [8.0 / 9, 1.0 / 3, 8.0 / 9, 1.0 / 3, 8.0 / 9, 1.0 / 3, 2.0 / 3, 2.0 / 3]
    let position = firsts.reduce(0, +) / 8 - 0.5
    #expect(abs(bias.position - position) < 1e-9)
    #expect(bias.flips == 0.25)
    let asked = server.requests.filter { $0.path == "/v1/chat/completions" }
    #expect(asked.count == 8 && report.asked == 8)
    #expect(asked.allSatisfy { $0.headers["authorization"] == "Bearer \(Self.key)" })
    #expect(asked.allSatisfy { $0.object["model"] as? String == "tiny" })
    for name in ["pairs.jsonl", "pairs.jsonl.answers"] {
      #expect(!String(decoding: folder.bytes(name) ?? Data(), as: UTF8.self).contains(Self.key))
    }
  }

  @Test func `without log-probabilities votes are counted, and what is no vote is not`() throws {
    let count = Mutex(0)
    let server = try HTTPServerStub { request in
      guard request.path == "/v1/chat/completions" else { return HTTPServerStub.models }
      if request.object["logprobs"] != nil {
        return HTTPServerStub.Response(
          status: 400, body: "{\"error\":{\"message\":\"logprobs are not supported\"}}")
      }
      // One of five answers is none.
      let vote = (request.object["seed"] as? Int ?? 0) % 5
      count.withLock { $0 += 1 }
      guard vote != 0 else {
        return HTTPServerStub.completion("A better answer is hard to choose.")
      }
      let isA = Self.isInA("good", request.lastMessage) ?? (vote < 3)
      return HTTPServerStub.completion(isA ? "(A)" : "Option B.")
    }
    let (report, rows) = try judge(server) { $0.votes = 10 }
    #expect(rows.count == 4 && report.letterMass == nil)
    for row in rows where row.outcome == .preferred {
      #expect(row.chosen.lastText.contains("good") && row.probability == 1)
    }
    #expect(count.withLock { $0 } == 80)
    #expect(throws: TrainingError.self) {
      try judge(server, { $0.reading = .logprobs }, output: "b.jsonl")
    }
  }

  @Test func `passing failures are tried again, never more requests at once than allowed`() throws {
    let count = Mutex(0)
    let server = try HTTPServerStub { request in
      guard request.path == "/v1/chat/completions" else { return HTTPServerStub.models }
      let turn = count.withLock { count in
        count += 1
        return count
      }
      Thread.sleep(forTimeInterval: 0.02)
      if turn % 3 == 1 { return HTTPServerStub.Response(status: 503, body: "busy") }
      if turn % 3 == 2 {
        return HTTPServerStub.Response(
          status: 429, headers: ["Retry-After": "0"], body: "slow down")
      }
      return Self.likesGood(request)
    }
    let (report, rows) = try judge(server) {
      $0.parallel = 3
      $0.retries = 20
    }
    #expect(rows.count == 4 && report.asked == 8)
    #expect(server.mostAtOnce <= 3 && server.mostAtOnce > 1)
  }

  @Test func `what was answered is never asked again`() throws {
    let isBroken = Mutex(true)
    let count = Mutex(0)
    let server = try HTTPServerStub { request in
      guard request.path == "/v1/chat/completions" else { return HTTPServerStub.models }
      let turn = count.withLock { count in
        count += 1
        return count
      }
      if turn > 3, isBroken.withLock({ $0 }) { return HTTPServerStub.Response(status: 400) }
      return Self.likesGood(request)
    }
    #expect(throws: TrainingError.self) { try judge(server) { $0.parallel = 1 } }
    #expect(!folder.exists("pairs.jsonl"))
    isBroken.withLock { $0 = false }
    // A kill in the middle of a line.
    let answers = folder.url.appending(path: "pairs.jsonl.answers")
    let half = try Data(contentsOf: answers) + Data("{\"key\":\"12".utf8)
    try half.write(to: answers)
    let (report, rows) = try judge(server)
    #expect(report.remembered == 3 && report.asked == 5 && rows.count == 4)
    let before = count.withLock { $0 }
    let (again, same) = try judge(server)
    #expect(again.asked == 0 && again.remembered == 8 && same == rows)
    #expect(count.withLock { $0 } == before)
    // Another constitution is another question.
    let file = folder.file("own.txt", "The better answer is good.\n")
    #expect(try judge(server) { $0.constitution = file.path }.report.asked == 8)
  }

  @Test(arguments: [false, true])
  func `what could not be read is asked again by the next run`(withLogprobs: Bool) throws {
    let isMended = Mutex(false)
    let server = try HTTPServerStub { request in
      guard request.path == "/v1/chat/completions" else { return HTTPServerStub.models }
      if isMended.withLock({ $0 }) { return Self.likesGood(request) }
      // Some questions are refused, the others lost to reasoning.
      if request.lastMessage.contains("Answer (A): yes") {
        return HTTPServerStub.completion(
          "I'm sorry, I can't.", top: withLogprobs ? [("I", -0.1), ("As", -5)] : nil)
      }
      return HTTPServerStub.Response(
        body: """
          {"choices":[{"message":{"role":"assistant","content":null,"reasoning_content":"(A) is"},
          "finish_reason":"length"}]}
          """)
    }
    let error = #expect(throws: TrainingError.self) { try judge(server) }
    let message = error?.message ?? ""
    #expect(
      message.contains("it said “I'm sorry, I can't.”") || message.contains("spent on reasoning"),
      "\(message)")
    isMended.withLock { $0 = true }
    let (report, rows) = try judge(server)
    #expect(report.remembered == 0 && report.asked == 8 && rows.count == 4)
    #expect(report.unread == nil)
    #expect(try judge(server).report.asked == 0)
  }

  @Test func `a page, an error and a wrong path are told with the address`() throws {
    for (answer, word) in [
      (
        HTTPServerStub.Response(body: "<html><body>Bad gateway</body></html>"),
        "a page: Bad gateway"
      ),
      (HTTPServerStub.Response(body: "{\"error\":{\"message\":\"no model\"}}"), "no model"),
      (HTTPServerStub.Response(status: 404, body: "{\"error\":\"no\"}"), "with status 404"),
    ] {
      let server = try HTTPServerStub { request in
        request.path == "/v1/chat/completions" ? answer : HTTPServerStub.models
      }
      let error = #expect(throws: TrainingError.self) { try judge(server) }
      let message = error?.message ?? ""
      #expect(message.contains(word) && message.contains("check the address"), "\(message)")
      #expect(message.contains("\(server.address)/v1/chat/completions"), "\(message)")
    }
    let lost = try HTTPServerStub { _ in HTTPServerStub.Response(body: "<p>hello</p>") }
    let error = #expect(throws: TrainingError.self) { try judge(lost) }
    #expect(error?.message.contains("\(lost.address)/v1/models") == true)
    #expect(error?.message.contains("a page: hello") == true, "\(error?.message ?? "")")
  }

  @Test func `silence, closed ports and unknown hosts are told in words`() throws {
    let silent = try HTTPServerStub { request in
      if request.path == "/v1/chat/completions" { Thread.sleep(forTimeInterval: 3) }
      return HTTPServerStub.models
    }
    func message(_ address: String) throws -> String {
      var knobs = JudgeSettings()
      knobs.judges = [address]
      (knobs.retries, knobs.retrySeconds, knobs.timeout) = (1, 0.01, 1)
      let check = try folder.rows(
        "check.jsonl", [#"{"prompt":"a","chosen":"b","rejected":"c"}"#])
      return #expect(throws: TrainingError.self) {
        try Judging.run(.init(check: check), settings: knobs, on: NativeEngine(), style: .silent)
      }?.message ?? ""
    }
    for (address, words) in [
      (silent.address, ["said nothing for 1 s", "failed 2 times", "--set timeout=SECONDS"]),
      ("http://127.0.0.1:9", ["nothing accepts connections at 127.0.0.1:9", "failed 2 times"]),
      ("http://no-such-host.invalid:8", ["there is no host no-such-host.invalid"]),
    ] {
      let message = try message(address)
      for word in words { #expect(message.contains(word), "\(message)") }
      #expect(!message.contains("NSURL"), "\(message)")
    }
  }

  @Test(arguments: [401, 302])
  func `a refusal is told without the key, and no redirection is followed`(status: Int) throws {
    let other = try HTTPServerStub { Self.likesGood($0) }
    let server = try HTTPServerStub { request in
      guard request.path == "/v1/chat/completions" else { return HTTPServerStub.models }
      return HTTPServerStub.Response(
        status: status, headers: ["Location": other.address + "/v1/chat/completions"],
        body:
          "{\"error\":{\"message\":\"no entry with \(request.headers["authorization"] ?? "")\"}}")
    }
    do {
      _ = try judge(server)
      Issue.record("it went through")
    } catch let error as TrainingError {
      #expect(error.code == .unavailable && error.message.contains("\(status)"))
      #expect(error.message.contains("no entry") && !error.message.contains(Self.key))
      #expect(!error.message.contains("\n"))
    }
    #expect(other.requests.isEmpty)
  }

  @Test func `people's preferences show how far a judge agrees`() throws {
    let server = try HTTPServerStub { Self.likesGood($0) }
    var rows: [String] = []
    // Eight pairs with the judge, two against it; a tie of people's is left out.
    for i in 0..<10 {
      let (good, bad) = ("good one \(i)", "bad \(i)")
      rows.append(
        "{\"prompt\":\"p\(i)\",\"chosen\":\"\(i < 8 ? good : bad)\","
          + "\"rejected\":\"\(i < 8 ? bad : good)\"}")
    }
    rows.append("{\"prompt\":\"p\",\"chosen\":\"good\",\"rejected\":\"bad\",\"outcome\":\"tie\"}")
    let report = try Judging.run(
      .init(check: try folder.rows("people.jsonl", rows)), settings: settings(server),
      on: NativeEngine(),
      style: .silent)
    let check = try #require(report.check)
    #expect(check.pairs == 10 && check.undecided == 1 && check.unanswered == 0)
    #expect(abs(check.accuracy - 0.8) < 1e-12 && abs(check.kappa - 0.6) < 1e-12)
    #expect(check.accuracyInterval.low < 0.8 && check.accuracyInterval.high > 0.8)
    let p = (8.0 / 9 + 2.0 / 3) / 2
    #expect(abs(check.confidence - p) < 1e-9 && abs(check.ece - (0.8 - p)) < 1e-9)
    // The good answers are longer.
    #expect(check.bias.longerPreferred == 1 && check.peopleLonger == 0.8)
    #expect(abs((check.bias.lengthCorrelation ?? 0) - 1) < 1e-9)
  }

  @Test func `grades become rankings, thoughts come before the answer`() throws {
    let server = try HTTPServerStub { request in
      guard request.path == "/v1/chat/completions" else { return HTTPServerStub.models }
      if request.lastMessage.contains("Think it through") {
        return HTTPServerStub.completion("It has something.")
      }
      let messages = request.object["messages"] as? [[String: Any]] ?? []
      let question = messages.first?["content"] as? String ?? ""
      #expect(messages.count == 3 && messages[1]["content"] as? String == "It has something.")
      let isGood = question.contains("good")
      return HTTPServerStub.completion(
        isGood ? "4" : "2",
        top: [(isGood ? "4" : "2", log(0.5)), (isGood ? "5" : "1", log(0.25)), ("x", log(1e-12))])
    }
    var knobs = settings(server)
    knobs.by = .rubric
    knobs.shape = .rankings
    knobs.reasoning = true
    knobs.constitution = folder.file("own.txt", "The better answer is kind.\n").path
    let output = folder.url.appending(path: "rankings.jsonl")
    _ = try Judging.run(
      .init(
        data: try DataFile.read(folder.file("samples.jsonl", JudgeTests.samples)), output: output),
      settings: knobs, on: NativeEngine(), style: .silent)
    let rows = try DataFile.read(output, expecting: [.ranking]).rows
    #expect(rows.count == 2)
    for row in rows {
      guard case .ranking(let ranking) = row.example else { continue }
      for (text, score) in zip(ranking.completions, ranking.scores) {
        let expected = text.lastText.contains("good") ? 13.0 / 3 : 5.0 / 3
        #expect(abs(score - expected) < 1e-6)
      }
    }
  }

  @Test func `revisions are rows to tune on`() throws {
    let server = try HTTPServerStub { request in
      guard request.path == "/v1/chat/completions" else { return HTTPServerStub.models }
      return HTTPServerStub.completion(
        request.lastMessage.contains("rewrite") ? " A revised answer. " : "It is short.")
    }
    var knobs = ReviseSettings()
    knobs.judge = settings(server)
    knobs.rounds = 2
    let output = folder.url.appending(path: "revised.jsonl")
    let data = try DataFile.read(folder.file("samples.jsonl", JudgeTests.samples))
    let report = try Revising.run(
      data, settings: knobs, output: output, on: NativeEngine(), style: .silent)
    // Five different answers, two texts a round; the second round's questions are about one text.
    #expect(report.answers == 5 && report.rows == 5 && report.unchanged == 0)
    let rows = try DataFile.read(output, expecting: [.promptCompletion]).rows
    for row in rows {
      guard case .completion(_, let completion) = row.example else { continue }
      #expect(completion.lastText == "A revised answer.")
      guard case .array(let principles)? = row.json["principles"] else { continue }
      #expect(principles.count == 2 && Set(principles).count == 2)
    }
    #expect(rows[3].example.isConversational)
    #expect(
      try Revising.run(data, settings: knobs, output: output, on: NativeEngine(), style: .silent)
        .asked == 0)
  }

  @Test(
    arguments: [
      ("A", 0), (" b", nil), ("B.", 1), ("(B)", 1), ("Option A", 0), ("**A**", 0),
      ("A) it is kind", 0),
      ("The answer is B", 1), ("A better answer is hard to find", nil), ("(A) or (B)", nil),
      ("", nil),
      ("neither", nil), ("I choose (A) because", 0), ("A: because B is rude", 0),
      ("A common mistake is to praise it.", nil), ("A good answer is short, so B", nil),
      ("<think>\nAnswer A is short, B", nil), ("<think>A is short.</think>\n\nB", 1),
      ("Answer A is short.</think> **B**", 1), ("[THINK]A.[/THINK](A)", 0),
      ("A, B", nil), ("A or B", nil), ("Not A.", nil), ("I would not choose (A).", nil),
      ("The answer is A better one.", nil), ("Answer (A) is short.", nil), ("In (A) the", nil),
      ("I'd go with (B).", 1), ("My verdict: [[B]]", 1), ("Option A is better.", 0),
      ("A's tone is good", nil), ("`B`", 1), ("The answer is A, because B is rude.", nil),
      ("The answer is **A**, because B is rude.", 0), ("A. It is kind.\nB. It is rude.", nil),
    ] as [(String, Int?)])
  func `an answer is taken for an option only if it names one`(text: String, option: Int?) {
    #expect(ServerJudge.option(in: text, ["A", "B"]) == option)
  }

  @Test(
    arguments: [
      ("4", 3), ("4/5", 3), ("4 out of 5.", 3), ("Grade: 4", 3), ("I give it 4.", 3),
      ("**2**", 1), ("(5)", 4), ("3. It is fair.", 2), ("5\n\nIt follows it.", 4),
      ("On a scale of 1 to 5, I give it 4.", nil), ("4.5", nil), ("4-5", nil), ("-1", nil),
      ("1. It is short.", nil), ("1", 0), ("10", nil), ("0.1", nil), ("1-5", nil),
      ("It has 2 mistakes", nil), ("<think>4", nil), ("The grade is 3 of 5", nil),
    ] as [(String, Int?)])
  func `a number is taken for a grade only if it is one`(text: String, option: Int?) {
    #expect(ServerJudge.option(in: text, ["1", "2", "3", "4", "5"]) == option)
  }

  @Test func `log-probabilities are read where the answer stands, as votes read it`() {
    func choice(
      _ tokens: [String], text: String? = nil, isWhole: Bool = true,
      _ options: [String] = ["A", "B"]
    ) -> JudgeChoice {
      // Of each token that is an option the other one has a tenth of its probability.
      let positions = tokens.map { token in
        (token: token, listed: [(token, log(0.9)), (token == " B" ? " A" : "B", log(0.09))])
      }
      return ServerJudge.choice(text ?? tokens.joined(), positions, isWhole: isWhole, options)
    }
    func first(_ choice: JudgeChoice) -> Double? { choice.probabilities?[0] }
    #expect(first(choice(["A", " good", " answer", " is", " short", ",", " so", " B"])) == nil)
    let said = choice(["A", " good", " answer", " is", " short"])
    #expect(said.unread == "it said “A good answer is short”")
    #expect(first(choice(["<think>", "\n", "Answer", " A", " is", " B"])) == nil)
    let thought = choice(["<think>", " A", ".", "</think>", " B"])
    #expect(abs((first(thought) ?? 0) - 0.09 / 0.99) < 1e-12)
    // Thoughts that the server took out of the text are among its tokens still.
    let taken = choice(["A", " is", " A", ".", "\n", " B"], text: "B")
    #expect(abs((first(taken) ?? 0) - 0.09 / 0.99) < 1e-12)
    #expect(first(choice(["The", " answer", " is", " A"])) ?? 0 > 0.9)
    #expect(first(choice(["The", " answer", " is", " A"], isWhole: false)) == nil)
    let grades = ["1", "2", "3", "4", "5"]
    let scale = ["On", " a", " scale", " of", " 1", " to", " 5", ","]
    let whole = "On a scale of 1 to 5, I give it 4."
    #expect(choice(scale, text: whole, grades).probabilities == nil)
    #expect(choice(scale, isWhole: false, grades).probabilities == nil)
    // It goes on where the tokens end.
    #expect(
      choice(["The", " grade", " is", " 4"], text: "The grade is 4 or so", grades).probabilities
        == nil)
  }

  @Test func `an option that is not listed has at most what the least listed has`() {
    let choice = ServerJudge.choice(
      "\nA",
      [("\n", [("\n", 0)]), ("A", [("A", log(0.9)), ("So", log(0.05)), ("x", log(0.01))])],
      isWhole: true, ["A", "B"])
    #expect(abs((choice.probabilities?[0] ?? 0) - 0.9 / 0.91) < 1e-12)
    #expect(abs((choice.mass ?? 0) - 0.9) < 1e-12)
    // A server that lists one token leaves little for the other letter.
    let single = ServerJudge.choice("A", [("A", [("A", log(0.9))])], isWhole: true, ["A", "B"])
    #expect(abs((single.probabilities?[0] ?? 0) - 0.9) < 1e-12)
    #expect(
      ServerJudge.choice("So", [("So", [("So", 0)])], isWhole: true, ["A", "B"]).probabilities
        == nil)
  }

  @Test func `a wrong address is said so before anything is asked`() throws {
    var knobs = JudgeSettings()
    for address in ["http://", "http://me:pass@localhost:1", "http://127.0.0.1:9/v1"] {
      knobs.judges = [address]
      knobs.retries = 0
      knobs.timeout = 2
      do {
        _ = try Judging.run(
          .init(
            check: try folder.rows(
              "p.jsonl", ["{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\"}"])),
          settings: knobs, on: NativeEngine(), style: .silent)
        Issue.record("\(address) went through")
      } catch let error as TrainingError {
        #expect(!error.message.contains("pass@"))
      }
    }
  }
}
