// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneNative
import AttuneRewards
import AttuneStudies
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Synchronization
import Testing

struct ServerSamplerTests {
  private let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
    _ = Self.keys
  }

  /// Set once for all tests: a process has one environment.
  private static let keys: [String] = {
    setenv("ATTUNE_SERVER_KEY", "first-secret", 1)
    setenv("ATTUNE_SERVER_KEY_2", "second-secret", 1)
    return ["first-secret", "second-secret"]
  }()

  private func prompts() throws -> DataFile {
    try folder.rows(
      "prompts.jsonl",
      (0..<3).map { #"{"prompt":[{"role":"user","content":"q\#($0)"}],"id":\#($0)}"# })
  }

  /// Answers with the question and the seed; every third answer is cut.
  private static func answer(_ request: HTTPServerStub.Request) -> HTTPServerStub.Response {
    guard request.path == "/v1/chat/completions" else { return HTTPServerStub.models }
    let seed = request.object["seed"] as? Int ?? -1
    let text = "\(request.lastMessage) by \(request.object["model"] ?? "") \(seed)"
    let reason = seed % 3 == 2 ? "length" : "stop"
    return HTTPServerStub.Response(
      body: """
        {"choices":[{"message":{"role":"assistant","content":"\(text)"},"finish_reason":"\(reason)"}],
         "usage":{"completion_tokens":7}}
        """)
  }

  private func sample(
    _ models: [String], _ output: String, _ change: (inout SampleSettings) -> Void = { _ in }
  ) throws -> (report: SampleReport, rows: [SampleRow]) {
    var settings = SampleSettings()
    settings.n = 3
    settings.maxTokens = 5
    change(&settings)
    let file = folder.url.appending(path: output)
    let report = try Sampling.run(
      models: models, data: try prompts(), settings: settings, output: file, on: NativeEngine(),
      style: .silent)
    return (report, try SampleRow.read(file))
  }

  @Test func `servers answer beside each other, each with its own key`() throws {
    let servers = try [HTTPServerStub { Self.answer($0) }, HTTPServerStub { Self.answer($0) }]
    let (report, rows) = try sample(
      [servers[0].address, servers[1].address + "#other"], "samples.jsonl"
    ) {
      $0.temperature = 0.7
      $0.topP = 0.9
      $0.stop = ["END"]
      $0.seed = 2
    }
    let names = ["\(servers[0].address)/v1#tiny", "\(servers[1].address)/v1#other"]
    #expect(report.models.map(\.model) == names && report.models.map(\.answers) == [9, 9])
    #expect(report.length == 7 && report.tokens == 18 * 7)
    #expect(rows.count == 3 && rows.allSatisfy { $0.completions.count == 6 })
    for (i, row) in rows.enumerated() {
      #expect(row.fields.map(\.key) == ["id"] && row.models.map(\.name) == names)
      #expect(Set(row.completions.map(\.text)).count == 6 && row.ids == nil)
      #expect(row.completions[0].text == "q\(i) by tiny 2000")
      #expect(row.completions.map(\.finishReason).count { $0 == .length } == 2)
    }
    for (place, server) in servers.enumerated() {
      #expect(
        server.requests.allSatisfy {
          $0.headers["authorization"] == "Bearer \(Self.keys[place])"
        })
      let body = server.requests.last?.object ?? [:]
      #expect(body["temperature"] as? Double == 0.7 && body["top_p"] as? Double == 0.9)
      #expect(body["max_tokens"] as? Int == 5 && body["stop"] as? [String] == ["END"])
    }
    for name in ["samples.jsonl", "samples.jsonl.answers"] {
      let text = String(decoding: folder.bytes(name) ?? Data(), as: UTF8.self)
      #expect(!text.isEmpty && !text.contains("secret"))
    }
    // The same again asks nothing but for the list of models; the other server was named.
    let asked = servers.map(\.requests.count)
    let (_, again) = try sample(
      [servers[0].address, servers[1].address + "#other"], "samples.jsonl"
    ) {
      $0.temperature = 0.7
      $0.topP = 0.9
      $0.stop = ["END"]
      $0.seed = 2
    }
    #expect(again == rows)
    #expect(servers.map(\.requests.count) == [asked[0] + 1, asked[1]])
  }

  @Test func `a server is sent the words to go on with, tools, and what was asked of them`() throws
  {
    let server = try HTTPServerStub { Self.answer($0) }
    let data = try folder.rows(
      "prefilled.jsonl",
      [
        #"{"prompt": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "Dear"}]}"#,
        #"{"prompt": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", "#
          + #""tool_calls": [{"id": "c", "weight": 1}]}, {"role": "tool", "content": "212", "#
          + #""tool_call_id": "c"}], "tools": [{"type": "function"}]}"#,
      ])
    var settings = SampleSettings()
    settings.n = 1
    let output = folder.url.appending(path: "prefilled-samples.jsonl")
    _ = try Sampling.run(
      models: [server.address], data: data, settings: settings, output: output, on: NativeEngine(),
      style: .silent)
    let bodies = server.requests.filter { $0.path == "/v1/chat/completions" }.map(\.object)
    #expect(bodies.count == 2)
    for body in bodies {
      let messages = body["messages"] as? [[String: Any]] ?? []
      if messages.count == 2 {
        #expect(messages[1]["role"] as? String == "assistant")
        #expect(messages[1]["content"] as? String == "Dear" && body["tools"] == nil)
      } else {
        #expect((messages[1]["tool_calls"] as? [Any])?.count == 1)
        #expect(messages[2]["tool_call_id"] as? String == "c")
        // Tools are told of once, beside the messages.
        #expect((body["tools"] as? [Any])?.count == 1 && messages[0]["tools"] == nil)
      }
    }
  }

  @Test func `a server's answers are labelled and scored by their text`() throws {
    let server = try HTTPServerStub { Self.answer($0) }
    let (_, rows) = try sample([server.address], "samples.jsonl")
    #expect(rows[0].model?.name == "\(server.address)/v1#tiny")
    #expect(throws: DataError.self) {
      try rows[0].checkProposal(at: DataPlace(file: "samples.jsonl", line: 1))
    }
    var settings = LabelSettings()
    settings.labeller = .concise
    let file = folder.url.appending(path: "pairs.jsonl")
    _ = try Labelling.run(rows, settings: settings, output: file)
    let pairs = try DataFile.read(file, expecting: [.preference]).rows
    #expect(
      pairs.allSatisfy {
        $0.json["chosen_model"]?["name"] == .string("\(server.address)/v1#tiny")
      })
    // Texts after plain prompts, since the tiny model has no chat template.
    let plain = try folder.rows(
      "plain.jsonl",
      [
        #"{"prompt":"q","completions":[{"text":"ab","finish_reason":"stop"},{"text":"cd","finish_reason":"length"}]}"#
      ]
    )
    let group = try TextEncoder(tinyModel()).group(plain.rows[0])
    #expect(group.answers[0].ids.dropLast() == [97, 98] && group.answers[1].ids == [99, 100])
  }

  /// Answers with reasons alone where the question has a word; all do if it is empty.
  private static func reasoning(
    _ word: String, _ request: HTTPServerStub.Request
  ) -> HTTPServerStub.Response {
    guard word.isEmpty || request.lastMessage.contains(word),
      request.path == "/v1/chat/completions"
    else { return answer(request) }
    return HTTPServerStub.Response(
      body: """
        {"choices":[{"message":{"role":"assistant","content":null,"reasoning_content":"Hm"},
        "finish_reason":"length"}],"usage":{"completion_tokens":9}}
        """)
  }

  @Test func `an answer that is missing stops no other one, and is asked for again`() throws {
    let isMended = Mutex(false)
    let server = try HTTPServerStub { request in
      isMended.withLock({ $0 }) ? Self.answer(request) : Self.reasoning("q1", request)
    }
    let (report, rows) = try sample([server.address], "samples.jsonl")
    // A prompt without any answer has no row.
    #expect(rows.count == 2 && rows.allSatisfy { $0.completions.count == 3 })
    #expect(report.answers == 6 && report.unanswered == 3 && report.tokens == 42)
    #expect(report.warning?.contains("3 of 9 answers are missing") == true)
    #expect(report.warning?.contains("spent on reasoning (finish_reason length)") == true)
    isMended.withLock { $0 = true }
    let asked = server.requests.count
    let (again, all) = try sample([server.address], "samples.jsonl")
    #expect(all.count == 3 && again.unanswered == 0 && again.warning == nil)
    #expect(server.requests.count == asked + 1 + 3)
  }

  @Test func `a server that gives no answer at all is an error that says why`() throws {
    let server = try HTTPServerStub { Self.reasoning("", $0) }
    let error = #expect(throws: TrainingError.self) {
      try sample([server.address], "samples.jsonl")
    }
    #expect(error?.message.contains("gave none of 9 answers") == true, "\(error?.message ?? "")")
    #expect(error?.message.contains("spent on reasoning") == true)
    #expect(!folder.exists("samples.jsonl"))
  }

  @Test func `ids of another tokenizer are not taken for this one's`() throws {
    let row = try folder.rows(
      "mixed.jsonl",
      [
        """
        {"prompt":"q","completions":[
        {"text":"ab","ids":[97,98],"logprob":-1,"finish_reason":"length","model":{"name":"x","fingerprint":"1"}},
        {"text":"cd","ids":[7,8],"logprob":-1,"finish_reason":"length","model":{"name":"y","fingerprint":"2"}}]}
        """.replacing("\n", with: "")
      ]
    ).rows[0]
    let group = try TextEncoder(tinyModel()).group(row)
    #expect(group.answers.map(\.ids) == [[97, 98], [99, 100]])
  }

  @Test func `what a server can't do is said`() throws {
    let server = try HTTPServerStub { Self.answer($0) }
    func refused(
      _ models: [String], _ word: String, _ change: (inout SampleSettings) -> Void = { _ in }
    ) {
      let error = #expect(throws: TrainingError.self) {
        _ = try sample(models, "refused.jsonl", change)
      }
      #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
      #expect(!folder.exists("refused.jsonl"))
    }
    refused([server.address], "top_k is set") { $0.topK = 5 }
    refused([server.address, server.address], "given twice")
    refused(["http://u:p@localhost"], "no user or password")
    refused(["nowhere"], "nowhere")
    let several = try HTTPServerStub { _ in
      HTTPServerStub.Response(body: #"{"data":[{"id":"a"},{"id":"b"}]}"#)
    }
    refused([several.address], "\(several.address)#MODEL")
    let text = try folder.rows("text.jsonl", [#"{"prompt":"q"}"#])
    let error = #expect(throws: TrainingError.self) {
      _ = try Sampling.run(
        models: [server.address], data: text, settings: SampleSettings(),
        output: folder.url.appending(path: "refused.jsonl"), on: NativeEngine(), style: .silent)
    }
    #expect(error?.message.contains("text.jsonl, line 1: a server answers conversations") == true)
  }
}
