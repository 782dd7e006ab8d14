// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneServer
import AttuneStore
import AttuneTestSupport
import Foundation
import Synchronization
import Testing

/// OpenAI's interface over models that are a script.
@Suite(.serialized, .timeLimit(.minutes(2))) struct ServiceTests {
  @Test func `a chat is answered whole and as a stream`() async throws {
    try await withService { bench in
      let client = PageClient(bench.server.url)
      let whole = try await client.chat("one two", ["n": 2, "logprobs": true, "top_logprobs": 1])
      #expect(whole.status == 200 && whole.object["object"] as? String == "chat.completion")
      #expect(whole.object["model"] as? String == "echo")
      let messages = whole.choices.compactMap { $0["message"] as? [String: Any] }
      #expect(messages.map { $0["content"] as? String } == ["one two", "one two again"])
      let usage = try #require(whole.object["usage"] as? [String: Int])
      #expect(usage == ["prompt_tokens": 7, "completion_tokens": 6, "total_tokens": 13])
      let logprobs = whole.choices[0]["logprobs"] as? [String: Any]
      let tokens = try #require(logprobs?["content"] as? [[String: Any]])
      #expect(tokens.map { $0["token"] as? String } == ["one", " two"])
      #expect((tokens[0]["top_logprobs"] as? [[String: Any]])?.count == 2)

      let stream = try await client.chat(
        "one two", ["stream": true, "stream_options": ["include_usage": true]])
      #expect(stream.headers["content-type"]?.hasPrefix("text/event-stream") == true)
      #expect(String(decoding: stream.data, as: UTF8.self).hasSuffix("data: [DONE]\n\n"))
      let deltas = stream.events.compactMap {
        ($0["choices"] as? [[String: Any]])?.first?["delta"] as? [String: Any]
      }
      #expect(deltas.first?["role"] as? String == "assistant")
      #expect(deltas.compactMap { $0["content"] as? String }.joined() == "one two")
      #expect(Set(stream.events.compactMap { $0["id"] as? String }).count == 1)
      let last = try #require(stream.events.last)
      #expect((last["choices"] as? [Any])?.isEmpty == true)
      #expect((last["usage"] as? [String: Int])?["total_tokens"] == 10)
    }
  }

  @Test func `completions take texts and ids, and list tokens side by side`() async throws {
    try await withService { bench in
      let client = PageClient(bench.server.url)
      let prompts: [(Any, Int)] = [
        ("one two", 1), (["one", "two three"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2),
      ]
      for (prompt, count) in prompts {
        let answer = try await client.post(
          "v1/completions", ["model": "echo", "prompt": prompt, "logprobs": 1])
        #expect(answer.status == 200 && answer.choices.count == count)
        #expect(answer.choices.map { $0["index"] as? Int } == Array(0..<count))
        let lists = try #require(answer.choices[0]["logprobs"] as? [String: Any])
        #expect((lists["token_logprobs"] as? [Double])?.allSatisfy { $0 == -0.5 } == true)
        #expect((lists["top_logprobs"] as? [[String: Double]])?.first?.count == 2)
        if prompt as? String == "one two" { #expect(lists["text_offset"] as? [Int] == [0, 3]) }
      }
    }
  }

  /// Fields, and the one that is refused.
  private static let refused = [
    (#""messages": 3"#, "messages"), (#""messages": [{"role": "user"}]"#, "messages"),
    (#""messages": []"#, "messages"), (#""model": 1"#, "model"),
    (#""temperature": -1"#, "temperature"),
    (#""top_p": 0"#, "top_p"), (#""n": 0"#, "n"), (#""n": 200"#, "n"), (#""seed": 1.5"#, "seed"),
    (#""max_tokens": 0"#, "max_tokens"), (#""stop": [""]"#, "stop"), (#""stop": [1]"#, "stop"),
    (#""top_logprobs": 2"#, "top_logprobs"),
    (#""logprobs": true, "top_logprobs": 21"#, "top_logprobs"),
    (#""stream_options": {}"#, "stream_options"),
    (#""stream": true, "stream_options": {"x": 1}"#, "stream_options.x"),
    (#""max_tokens": 2, "max_completion_tokens": 3"#, "max_completion_tokens"),
    (#""tools": [{}]"#, "tools"),
    (#""response_format": {"type": "json_object"}"#, "response_format"),
    (#""frequency_penalty": 0.1"#, "frequency_penalty"), (#""logit_bias": {"1": 2}"#, "logit_bias"),
    (#""echo": true"#, "echo"), (#""best_of": 2"#, "best_of"), (#""temprature": 1"#, "temprature"),
    (#""store": 1"#, "store"),
  ]

  @Test func `a field that is not honoured is refused by its name`() async throws {
    try await withService { bench in
      let client = PageClient(bench.server.url)
      for (fields, name) in Self.refused {
        let body =
          #"{"model": "echo", "messages": [{"role": "user", "content": "a"}], \#(fields)}"#
        let answer = try await client.ask("POST", "v1/chat/completions", Data(body.utf8))
        #expect(answer.status == 400, "\(fields)")
        #expect(answer.failure.field == name, "\(fields)")
        #expect(answer.failure.message.contains(name.split(separator: ".")[0]), "\(fields)")
      }
    }
  }

  @Test func `fields that say nothing are taken`() async throws {
    try await withService { bench in
      let answer = try await PageClient(bench.server.url).chat(
        "a",
        [
          "frequency_penalty": 0.0, "presence_penalty": 0, "tools": NSNull(), "logit_bias": [:],
          "response_format": ["type": "text"], "service_tier": "auto", "user": "anna",
          "max_completion_tokens": 3, "top_k": -1, "unknown": NSNull(),
        ] as [String: Any])
      #expect(answer.status == 200)
    }
  }

  @Test func `models are listed, chosen by name, and missed by name`() async throws {
    try await withService { bench in
      let client = PageClient(bench.server.url)
      let data = try await client.get("v1/models").object["data"] as? [[String: Any]] ?? []
      #expect(data.map { $0["id"] as? String } == ["echo", "other/one"])
      #expect(data[0]["max_model_len"] as? Int == 64)
      #expect(try await client.get("v1/models/other%2Fone").object["created"] as? Int == 2)
      let missed = try await client.chat("a", ["model": "none"])
      #expect(missed.status == 404 && missed.failure.code == "model_not_found")
      for stream in [true, false] {
        let answer = try await client.chat("a", ["model": "none", "stream": stream])
        #expect(answer.status == 404 && answer.failure.field == "model")
      }
      #expect(try await client.get("health").object["status"] as? String == "ok")
      #expect(try await client.get("v1/nothing").status == 404)
      #expect(try await client.get("v1/chat/completions").status == 405)
      #expect(try await client.get("v1/policies").status == 404)
    }
  }

  @Test func `the key, other hosts and other sites' pages`() async throws {
    let key = "sixteen characters"
    try await withService(key: key) { bench in
      let client = PageClient(bench.server.url)
      for headers in [[:], ["Authorization": "Bearer wrong"], ["Authorization": key]] {
        let answer = try await client.chat("a", headers: headers)
        #expect(answer.status == 401 && answer.failure.code == "invalid_api_key")
      }
      #expect(try await client.chat("a", headers: ["Authorization": "Bearer \(key)"]).status == 200)
      #expect(try await client.get("health").status == 200)
      #expect(try await client.get("v1/models").status == 401)
      // The page's session needs the key once, and its seal each time.
      #expect(try await client.begin("anna").status == 403)
      #expect(try await client.begin("anna", token: key).status == 200)
      #expect(try await client.chat("a").status == 200)
      client.seal = "none"
      #expect(try await client.chat("a").status == 401)
    }
    try await withService(origins: ["https://good.example"]) { bench in
      let client = PageClient(bench.server.url)
      func ask(_ origin: String) async throws -> PageClient.Response {
        try await client.chat("a", headers: ["Origin": origin])
      }
      #expect(try await ask("https://bad.example").status == 403)
      let good = try await ask("https://good.example")
      #expect(good.status == 200)
      #expect(good.headers["access-control-allow-origin"] == "https://good.example")
      for (origin, status) in [("https://good.example", 204), ("https://bad.example", 403)] {
        let answer = try await client.ask(
          "OPTIONS", "v1/chat/completions", headers: ["Origin": origin])
        #expect(answer.status == status)
      }
      let rebound = try await RawConnection.ask(
        bench.server.url,
        "GET /v1/models HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
      #expect(rebound.hasPrefix("HTTP/1.1 421"))
    }
  }

  @Test func `a full queue says to come later, and a client that goes leaves it`() async throws {
    try await withService({ $0.queue = 1 }) { bench in
      let client = PageClient(bench.server.url)
      // The script holds what it takes; whoever closes the connection is not waited for.
      let body = #"{"model":"echo","messages":[{"role":"user","content":"hold"}]}"#
      let request =
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
      async let silent = RawConnection.ask(bench.server.url, request, patience: 1)
      for _ in 0..<200 where bench.holds(0) {
        try await Task.sleep(for: .milliseconds(10))
      }
      #expect(bench.holds(1))
      var running = 0
      for _ in 0..<100 where running == 0 {
        running = try await client.get("health").object["running"] as? Int ?? 0
      }
      #expect(running == 1)
      #expect(try await silent == "")
      for _ in 0..<200 where !bench.holds(0) {
        try await Task.sleep(for: .milliseconds(10))
      }
      #expect(bench.holds(0), "the client has gone")
    }
    let queue = GenerationQueue(most: 2)
    func job() -> GenerationJob {
      GenerationJob(GenerationRequest(model: "m", inputs: [.ids([1])], seed: 1))
    }
    let first = job()
    #expect(queue.add(first) && queue.add(job()) && !queue.add(job()))
    #expect(queue.take() === first)
    #expect(queue.add(job()))
    queue.close()
    #expect(!queue.add(job()) && queue.take() == nil)
  }

  @Test func `ratings, choices and edits become rows to train on`() async throws {
    try await withService { bench in
      let client = PageClient(bench.server.url)
      func feedback(_ body: [String: Any]) async throws -> PageClient.Response {
        try await client.post("v1/feedback", body)
      }
      let one = try #require(try await client.chat("one two", ["user": "anna"]).object["id"])
      let two = try #require(try await client.chat("three", ["n": 2]).object["id"])
      #expect(
        try await feedback([
          "id": one, "rating": "up", "reason": "Right.", "user": "anna", "key": "k",
        ])
        .object["stored"] as? Bool == true)
      // Sent again it is stored once; another mind supersedes it.
      #expect(
        try await feedback(["id": one, "rating": "up", "user": "anna", "key": "k"])
          .object["stored"] as? Bool == false)
      #expect(try await feedback(["id": one, "rating": "down", "user": "anna"]).status == 200)
      var thumbs = try await bench.rows(.unpaired)
      #expect(thumbs.count == 1 && thumbs[0]["label"] == .bool(false))
      #expect(thumbs[0]["labeller"] == .string("anna") && thumbs[0]["model"] == .string("echo@0"))
      #expect(try await feedback(["id": one, "rating": "none", "user": "anna"]).status == 200)
      thumbs = try await bench.rows(.unpaired)
      #expect(thumbs.isEmpty)

      #expect(try await feedback(["id": two, "preferred": 0]).status == 200)
      #expect(try await feedback(["id": two, "preferred": 1, "reason": "More."]).status == 200)
      #expect(try await feedback(["id": one, "edited": "two ones"]).status == 200)
      let pairs = try await bench.rows(.preference)
      #expect(pairs.count == 2)
      let chosen = pairs.compactMap { $0["chosen"]?.fields.isEmpty == true ? $0["chosen"] : nil }
      #expect(chosen.count == 2)
      let texts = pairs.map { "\($0["chosen"]?.text ?? "") > \($0["rejected"]?.text ?? "")" }
      #expect(texts[0].contains("three again") && pairs[0]["rationale"] == .string("More."))
      #expect(pairs[0]["chosen_model"] == .string("echo@1"))
      #expect(texts[1].contains("two ones") && texts[1].contains("one two"))
      #expect(pairs[1]["chosen_model"] == nil && pairs[1]["rejected_model"] == .string("echo@0"))
      #expect(try bench.store.decidedCount() == 2)

      for (body, field) in [
        (["id": "none", "rating": "up"], "id"), (["rating": "up"], "id"),
        (["id": one, "rating": "good"], "rating"), (["id": one, "preferred": 0], "preferred"),
        (["id": two, "preferred": 2], "preferred"),
        (["id": two, "preferred": 0, "index": 1], "index"),
        (["id": one, "edited": "one two"], "edited"),
        (["id": one, "index": 1, "rating": "up"], "index"),
        (["id": one, "rating": "up", "preferred": 0], "preferred"),
        (["id": one, "rating": "up", "stars": 5], "stars"),
        (["id": one, "rating": "up", "user": "\u{7}"], "user"),
      ] as [([String: Any], String)] {
        let answer = try await feedback(body)
        #expect([400, 404].contains(answer.status) && answer.failure.field == field, "\(body)")
      }
      let last = try await feedback(["id": one])
      #expect(last.status == 400)
    }
  }

  @Test func `what is not to be kept is not, and without a store nothing is`() async throws {
    try await withService { bench in
      let client = PageClient(bench.server.url)
      let secret = try #require(try await client.chat("secret", ["store": false]).object["id"])
      #expect(try await client.post("v1/feedback", ["id": secret, "rating": "up"]).status == 404)
      let scored = try await client.post(
        "v1/completions", ["model": "echo", "prompt": "secret", "echo": true, "logprobs": 0])
      #expect(scored.status == 200)
      #expect(try bench.store.counts()["answer"] == 0)
      let ids = try await client.post(
        "v1/completions", ["model": "echo", "prompt": [1, 2], "store": true])
      #expect(ids.status == 400 && ids.failure.field == "store")
    }
    try await withService(keeps: false) { bench in
      let client = PageClient(bench.server.url)
      let id = try #require(try await client.chat("a").object["id"])
      #expect(try await client.post("v1/feedback", ["id": id, "rating": "up"]).status == 404)
      #expect(try await client.chat("a", ["store": true]).failure.field == "store")
    }
  }

  @Test func `a response is known by its id after a restart`() async throws {
    try await withService { bench in
      let client = PageClient(bench.server.url)
      let id = try #require(try await client.chat("a b").object["id"] as? String)
      let given = try FeedbackStore(bench.folder.appending(path: "feedback.db")).response(id)
      #expect(given.map(\.choice) == [0])
      #expect(given[0].answer.content.lastText == "a b")
      // A second server would ask people out of the same store.
      let store = try bench.store
      #expect(throws: StoreError.self) { try ModelService(ServeSettings(), store: store) }
    }
  }
}

extension ServiceBench {
  /// The rows that an export has.
  func rows(_ format: RowFormat) async throws -> [JSONValue] {
    let data = try store.export(format).data
    return try String(decoding: data, as: UTF8.self).split(separator: "\n").map {
      try JSONValue(parsing: String($0))
    }
  }
}
