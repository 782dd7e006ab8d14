// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneServer
import AttuneStore
import AttuneTestSupport
import Foundation
import Testing

/// What the page gets beside questions: calls of tools, own labels, guidelines, the export.
@Suite(.timeLimit(.minutes(2))) struct PageDataTests {
  private func messages(_ turn: [String: Any], _ key: String) -> [[String: String]] {
    turn[key] as? [[String: String]] ?? []
  }

  @Test func `calls of tools and their results are shown`() async throws {
    let row =
      #"{"prompt":[{"role":"user","content":"Rain?"},{"role":"assistant","content":null,"tool_calls":"#
      + #"[{"id":"c1","type":"function","function":{"name":"weather","arguments":"#
      + #""{\"city\":\"Oslo <b>\",\"days\":[1,2]}"}}]},"#
      + #"{"role":"tool","tool_call_id":"c1","content":"{\"sky\":\"rain\"}"},"#
      + #"{"role":"assistant","content":"","reasoning_content":"I think."}],"#
      + #""completions":[{"text":"Yes","finish_reason":"stop"},{"text":"","finish_reason":"stop"}]}"#
    let bench = try await ServerBench([row])
    let anna = PageClient(bench.server.url)
    try await anna.begin("anna")
    let turn = try await anna.post("api/next").object
    let prompt = messages(turn, "prompt")
    #expect(prompt.map { $0["role"] } == ["user", "assistant", "tool: weather", "assistant"])
    let call = prompt[1]["html"] ?? ""
    #expect(call.contains("Calls <code>weather</code>"))
    #expect(call.contains("{\n  &quot;city&quot;: &quot;Oslo &lt;b&gt;&quot;,\n"))
    #expect(call.contains("&quot;days&quot;: [\n    1,\n    2\n  ]\n}"))
    #expect(prompt[2]["html"] == "<pre>{\n  &quot;sky&quot;: &quot;rain&quot;\n}</pre>")
    #expect(prompt[3]["html"]?.contains("Reasoning") == true)
    let answers = turn["answers"] as? [[[String: String]]] ?? []
    #expect(answers.contains { $0[0]["html"]?.contains("(empty)") == true })
  }

  @Test func `somebody looks through their labels and changes one`() async throws {
    let bench = try await ServerBench(ServerBench.rows(4)) { $0.strengths = 3 }
    let anna = PageClient(bench.server.url)
    try await anna.begin("anna")
    for number in 0..<3 {
      let question = try #require(try await anna.next())
      _ = try await anna.label(
        question, ranks: [1, 2], ["strength": 2, "reason": "reason \(number)"])
    }
    let bert = PageClient(bench.server.url)
    try await bert.begin("bert")
    #expect((try await bert.get("api/labels").object["labels"] as? [Any])?.isEmpty == true)
    let listed = try await anna.get("api/labels").object
    let labels = try #require(listed["labels"] as? [[String: Any]])
    #expect(labels.map { $0["reason"] as? String } == ["reason 2", "reason 1", "reason 0"])
    #expect(labels[0]["ranks"] as? [Int] == [1, 2] && labels[0]["strength"] as? Int == 2)
    #expect((labels[0]["answers"] as? [String])?.count == 2)
    #expect(listed["before"] is NSNull)

    let oldest = try #require(labels[2]["question"] as? String)
    let shown = try await anna.post("api/again", ["question": oldest]).object
    #expect(shown["state"] as? String == "question" && shown["question"] as? String == oldest)
    #expect((shown["given"] as? [String: Any])?["ranks"] as? [Int] == [1, 2])
    #expect(try await bert.post("api/again", ["question": oldest]).status == 400)
    let before = try await anna.next()
    #expect(try await anna.label(oldest, ranks: [2, 1], ["reason": "no, B"]).status == 200)
    #expect(try await anna.next() == before, "the question before them stays")
    #expect(try bench.store.counts()["comparison"] == 4)
    let statistics = try bench.store.statistics()
    #expect(statistics.comparisons == 3)
    let again = try await anna.get("api/labels").object["labels"] as? [[String: Any]]
    #expect(again?.map { $0["reason"] as? String } == ["no, B", "reason 2", "reason 1"])
    #expect(again?[0]["ranks"] as? [Int] == [2, 1])
    #expect(try await anna.get("api/labels?before=x").status == 400)
  }

  @Test func `long lists of labels come in parts`() async throws {
    let bench = try await ServerBench(ServerBench.rows(60))
    let anna = PageClient(bench.server.url)
    try await anna.begin("anna")
    while let question = try await anna.next() {
      _ = try await anna.label(question, ranks: [1, 1])
    }
    let first = try await anna.get("api/labels").object
    #expect((first["labels"] as? [Any])?.count == 50)
    let before = try #require(first["before"] as? Int)
    let second = try await anna.get("api/labels?before=\(before)").object
    #expect((second["labels"] as? [Any])?.count == 10 && second["before"] is NSNull)
  }

  @Test func `guidelines are safe HTML, and for those who are in`() async throws {
    let folder = URL.temporaryDirectory.appending(path: "attune-guidelines-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appending(path: "rules.md")
    try Data("# Rules\n\nBe *kind*. <script>x</script>".utf8).write(to: file)
    let store = try FeedbackStore(folder.appending(path: "feedback.db"))
    let collector = try Collector(CollectSettings(), store: store, guidelines: file)
    let server = try await PageServer.start(collector, at: .init())
    let anna = PageClient(server.url)
    #expect(try await anna.get("api/guidelines").status == 401)
    #expect(try await anna.begin("anna").object["guidelines"] as? Bool == true)
    let html = try await anna.get("api/guidelines").object["html"] as? String ?? ""
    #expect(html.contains("<h1>Rules</h1>") && html.contains("<em>kind</em>"))
    #expect(html.contains("&lt;script&gt;") && !html.contains("<script"))
    await server.stop()
    collector.release()
    for (bytes, words) in [([], "are empty"), ([0xFF, 0xFE], "UTF-8")] as [([UInt8], String)] {
      try Data(bytes).write(to: file)
      let error = #expect(throws: ServerError.self) {
        try Collector(CollectSettings(), store: store, guidelines: file)
      }
      #expect(error?.message.contains("rules.md") == true && error?.message.contains(words) == true)
    }
    let missing = #expect(throws: ServerError.self) {
      try Collector(
        CollectSettings(), store: store, guidelines: folder.appending(path: "none.md"))
    }
    #expect(missing?.message.contains("none.md") == true)
  }

  @Test func `labels are downloaded by those who are in`() async throws {
    let bench = try await ServerBench(ServerBench.rows(2), token: "0123456789abcdef")
    let anna = PageClient(bench.server.url)
    #expect(try await anna.get("api/export").status == 401)
    #expect(try await anna.get("api/labels").status == 401)
    try await anna.begin("anna", token: "0123456789abcdef")
    let question = try #require(try await anna.next())
    _ = try await anna.label(question, ranks: [1, 2], ["milliseconds": 300])
    let answer = try await anna.get("api/export")
    #expect(answer.headers["content-disposition"]?.contains("attachment") == true)
    #expect(answer.data == (try bench.store.export(.preference).data) && !answer.data.isEmpty)
    let paces = try await anna.get("api/progress").object["paces"] as? [[String: Any]]
    #expect(paces?.first?["hasty"] as? Int == 1 && paces?.first?["timed"] as? Int == 1)
  }

  @Test func `Ann and ann are one person`() async throws {
    let bench = try await ServerBench(ServerBench.rows(1)) { $0.votes = 2 }
    let ann = PageClient(bench.server.url)
    try await ann.begin("Ann")
    let question = try #require(try await ann.next())
    _ = try await ann.label(question, ranks: [1, 2])
    let same = PageClient(bench.server.url)
    #expect(try await same.begin(" aNN ").object["name"] as? String == "Ann")
    #expect(try await same.next() == nil, "one's own question is not asked twice")
    #expect(try await same.post("api/undo", ["key": "u"]).status == 200)
    let other = PageClient(bench.server.url)
    #expect(try await other.begin("Anne").object["name"] as? String == "Anne")
    var address = PageServer.Address()
    address.annotators = ["Ann", "ann"]
    let error = #expect(throws: ServerError.self) { try address.validate() }
    #expect(error?.message.contains("are one") == true)
  }

  @Test func `a link for a name that the store spells otherwise lets in`() async throws {
    let folder = URL.temporaryDirectory.appending(path: "attune-names-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let store = try FeedbackStore(folder.appending(path: "feedback.db"))
    try await store.add(StandingSkip(annotator: "Zoë", question: "1-2"), time: 1)
    let collector = try Collector(CollectSettings(), store: store)
    var address = PageServer.Address()
    address.annotators = ["zoë"]
    address.token = "0123456789abcdef"
    let server = try await PageServer.start(collector, at: address)
    #expect(server.links.map(\.name) == ["Zoë"])
    let token = String(server.links[0].url.split(separator: "=").last ?? "")
    let answer = try await PageClient(server.url).begin("ZOË", token: token)
    #expect(answer.object["name"] as? String == "Zoë")
    await server.stop()
  }
}
