// SPDX-License-Identifier: Apache-2.0

import AttuneStore
import AttuneTestSupport
import Foundation
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(5))) struct CollectCommandTests {
  private let bench: Bench

  init() throws { bench = try Bench() }

  /// Four people label 200 questions; the server is killed in the middle and started again, and
  /// each of them sends what was not acknowledged once more.
  @Test
  func `of two hundred labels none is lost and none is there twice when the server is killed`()
    async throws
  {
    var run = try await bench.serve()
    let labels = Labels(run.url)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for name in ["anna", "bert", "carl", "dora"] {
        group.addTask { try await Self.label(fifty: name, labels) }
      }
      // Killed twice, at moments that nobody chose.
      for threshold in [60, 130] {
        while labels.acknowledged.withLock({ $0.count }) < threshold {
          try await Task.sleep(for: .milliseconds(1))
        }
        run.kill()
        let before = labels.acknowledged.withLock { $0 }
        let stored = try store.standingJudgements()
        for label in before.keys {
          let count = stored.count { "\($0.annotator) \(Self.key($0.answers))" == label }
          #expect(count == 1, "\(label) was acknowledged and is there \(count) times")
        }
        run = try await bench.serve()
        let url = run.url
        labels.address.withLock { $0 = url }
      }
      try await group.waitForAll()
    }
    #expect(try run.interrupt() == 0)
    #expect(labels.acknowledged.withLock { $0.count } == 200)
    let stored = try store.standingJudgements()
    #expect(stored.count == 200)
    // A question that somebody had before them when the server was killed may have gone to
    // somebody else too; nobody's label of it is there twice.
    #expect(Set(stored.map { "\($0.annotator) \(Self.key($0.answers))" }).count == 200)
  }

  private var store: FeedbackStore {
    get throws { try FeedbackStore(bench.folder.appending(path: "feedback.db")) }
  }

  /// What four people share: where the server is, and what it has acknowledged.
  private final class Labels: Sendable {
    let acknowledged = Mutex<[String: Int]>([:])
    let address: Mutex<String>

    init(_ address: String) { self.address = Mutex(address) }
  }

  /// Gives fifty labels; a request that fails is made again, at the address that holds by then.
  private static func label(fifty name: String, _ labels: Labels) async throws {
    var client = PageClient(labels.address.withLock { $0 })
    func again(
      _ request: (PageClient) async throws -> PageClient.Response
    ) async throws -> PageClient.Response {
      while true {
        if let answer = try? await request(client), answer.status == 200 { return answer }
        try await Task.sleep(for: .milliseconds(20))
        let now = labels.address.withLock { $0 }
        if now != client.address { client = PageClient(now) }
        _ = try? await client.begin(name)
      }
    }
    for number in 0..<50 {
      let turn = try await again { try await $0.post("api/next") }
      guard let question = turn.object["question"] as? String else { return }
      let key = "\(name)-\(number)"
      _ = try await again { try await $0.label(question, ranks: [1, 2], key: key) }
      labels.acknowledged.withLock { $0["\(name) \(question)", default: 0] += 1 }
    }
  }

  @Test func `Ctrl-C ends it cleanly with a report`() async throws {
    let run = try await bench.serve(["--json"])
    let client = PageClient(run.url)
    try await client.begin("anna")
    let question = try #require(try await client.next())
    #expect(try await client.label(question, ranks: [2, 1]).status == 200)
    #expect(try run.interrupt() == 0)
    let report = try run.object()
    #expect(report["labels"] as? Int == 1 && report["questions"] as? Int == 220)
    #expect(report["annotators"] as? Int == 1)
  }

  @Test func `a second one of the same store ends at once, and imports go on`() async throws {
    let run = try await bench.serve()
    let second = try bench.run("collect", "--samples", "samples.jsonl", "--store", "./feedback.db")
    #expect(second.code == 1 && second.errorLines.count == 1)
    #expect(second.failure.contains("process \(run.number) asks people"), "\(second.errors)")
    let rows = bench.folder.appending(path: "pairs.jsonl")
    try Data(#"{"prompt":"p","chosen":"a","rejected":"b"}"#.utf8).write(to: rows)
    #expect(try bench.run("feedback", "import", "--store", "feedback.db", "pairs.jsonl").code == 0)
    #expect(try bench.run("feedback", "stats", "--store", "feedback.db").code == 0)
    // The lock dies with its process, however that ends.
    run.kill()
    let third = try await bench.serve()
    #expect(try third.interrupt() == 0)
    let left = try FileManager.default.contentsOfDirectory(atPath: bench.folder.path)
    #expect(!left.contains { $0.hasSuffix(".lock") }, "\(left)")
  }

  @Test func `too few files for its connections are told at once`() throws {
    let run = try Served(
      ["collect", "--samples", "samples.jsonl", "--store", "feedback.db", "--port", "0"],
      in: bench.folder, files: 100)
    #expect(run.end() == 1)
    #expect(run.errors.contains("512 connections need 640 open files, and the system allows 100"))
  }

  private static let canLimit = FileManager.default.isExecutableFile(atPath: "/usr/bin/prlimit")

  @Test(.enabled(if: canLimit))
  func `a connection for which there is no file does not end the listening`() async throws {
    let run = try await bench.serve()
    func limit(_ files: Int) throws {
      let process = try Process.run(
        URL(filePath: "/usr/bin/prlimit"),
        arguments: ["--pid", "\(run.number)", "--nofile=\(files):"])
      process.waitUntilExit()
      #expect(process.terminationStatus == 0)
    }
    let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(run.number)/fd").count
    try limit(open + 3)
    let port = try #require(URL(string: run.url)?.port)
    let connections = (0..<12).map { _ in Self.connect(port) }
    #expect(connections.allSatisfy { $0 >= 0 })
    try await Task.sleep(for: .milliseconds(500))
    try limit(1000)
    for connection in connections { close(connection) }
    #expect(try await PageClient(run.url).get("").status == 200)
    #expect(try run.interrupt() == 0)
  }

  /// A connection to this machine that says nothing.
  private static func connect(_ port: Int) -> Int32 {
    #if canImport(Darwin)
      let connection = socket(AF_INET, SOCK_STREAM, 0)
    #else
      let connection = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    #endif
    var place = sockaddr_in()
    place.sin_family = sa_family_t(AF_INET)
    place.sin_port = in_port_t(port).bigEndian
    place.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let code = withUnsafePointer(to: &place) { place in
      place.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Foundation.connect(connection, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    return code == 0 ? connection : -1
  }

  @Test func `with a host there is a token, and a link for each annotator`() async throws {
    let run = try await bench.serve([
      "--host", "127.0.0.1", "--token", "0123456789abcdef", "--annotator", "anna",
    ])
    #expect(run.errors.contains("anna: http://127.0.0.1:"))
    let client = PageClient(run.url)
    #expect(try await client.begin("anna").status == 403)
    #expect(try await client.begin("anna", token: "0123456789abcdef").status == 200)
    #expect(try run.interrupt() == 0)
  }

  @Test func `a model answers while people label, and what it said is not made again`() async throws
  {
    let model = try Workbench()
    try model.write(
      "prompts.jsonl", (0..<6).map { #"{"prompt":"the cat \#($0)"}"# }.joined(separator: "\n"))
    let arguments = [
      "collect", "--model", "model", "--prompts", "prompts.jsonl", "--store", "feedback.db",
      "--port", "0", "--max-tokens", "8", "--reward", "labeller:concise", "--json", "--threads",
      "1",
    ]
    var finished = 0
    for round in 0..<2 {
      let run = try Served(arguments, in: model.folder)
      try await run.listens()
      let client = PageClient(run.url)
      try await client.begin("anna")
      var given = 0
      while given < 3 {
        let turn = try await client.post("api/next").object
        guard let question = turn["question"] as? String else {
          #expect(turn["state"] as? String == "waiting")
          try await Task.sleep(for: .milliseconds(50))
          continue
        }
        #expect(try await client.label(question, ranks: [1, 2]).status == 200)
        given += 1
      }
      if round == 1 {
        #expect(try await client.post("api/next").object["state"] as? String == "done")
      }
      #expect(try run.interrupt() == 0)
      finished = try run.object()["finished"] as? Int ?? 0
    }
    #expect(finished == 6)
    let counts = try FeedbackStore(model.url("feedback.db")).counts()
    #expect(counts["prompt"] == 6 && counts["answer"] == 12 && counts["comparison"] == 6)
  }

  @Test
  func `rewards that read rows are given the first row of a prompt, and others are told once`()
    async throws
  {
    let model = try Workbench()
    try model.write("reward.sh", "while read -r line; do echo 1; done\n")
    // A column that a trainer would refuse: it is the program's.
    try model.write("prompts.jsonl", #"{"prompt":"the cat","rating":4}"# + "\n")
    func samples(_ answer: String, _ hints: [String]) -> String {
      hints.enumerated().map { number, hint in
        let completions = ["one \(answer)", "two \(answer)"].map {
          #"{"text":"\#($0)","ids":[1],"logprob":-1,"finish_reason":"stop"}"#
        }.joined(separator: ",")
        return
          #"{"prompt":"p\#(number)","completions":[\#(completions)],"sampling":{},"hint":"\#(hint)"}"#
      }.joined(separator: "\n")
    }
    try model.write("a.jsonl", samples("a", ["x", "y", "z"]))
    try model.write("b.jsonl", samples("b", ["x", "Y", "Z"]))
    let run = try Served(
      [
        "collect", "--model", "model", "--prompts", "prompts.jsonl", "--samples", "a.jsonl",
        "--samples", "b.jsonl", "--store", "feedback.db", "--port", "0", "--max-tokens", "4",
        "--reward", "exec:sh reward.sh", "--threads", "1",
      ], in: model.folder)
    try await run.listens()
    let words =
      "warning: b.jsonl:2 has the prompt of a.jsonl:2 with other columns, and so it is "
      + "with 1 further rows"
    #expect(run.errors.components(separatedBy: "has the prompt of").count == 2, "\(run.errors)")
    #expect(run.errors.contains(words), "\(run.errors)")
    #expect(try run.interrupt() == 0)
  }

  @Test(arguments: [
    ("--samples none.jsonl", 1, "none.jsonl"), ("--samples broken.jsonl", 1, "broken.jsonl:1:"),
    ("--samples one.jsonl", 1, "two different answers"),
    ("--samples samples.jsonl --gold samples.jsonl", 1, "samples.jsonl:1: a gold question"),
    ("--samples samples.jsonl --votes 0", 64, "votes must be from 1 to 1000"),
    ("--samples samples.jsonl --as thumbs --pairs-per-prompt 2", 1, "pairs_per_prompt"),
    ("--samples samples.jsonl --gold-share 0.5", 64, "--gold"),
    ("--samples samples.jsonl --host 0.0.0.0 --token short", 64, "16 to 256"),
    ("--samples samples.jsonl --port 99999", 64, "--port 99999"),
    ("--samples samples.jsonl --accuracy 2", 64, "--accuracy 2"), ("", 64, "--samples"),
    ("--samples samples.jsonl --n 3", 64, "--model"), ("--model m", 64, "--prompts"),
    ("--model none --prompts samples.jsonl", 1, "none"),
    ("--samples samples.jsonl --reward other:x", 1, "other"),
    ("--samples samples.jsonl --guidelines none.md", 1, "none.md: the guidelines"),
    ("--samples samples.jsonl --annotator Ann --annotator ann", 64, "are one"),
  ])
  func `what it can't work with is told in one line`(
    arguments: String, code: Int32, message: String
  ) throws {
    try Data("{\"prompt\":\n".utf8).write(to: bench.folder.appending(path: "broken.jsonl"))
    let one =
      #"{"prompt":"p","completions":[{"text":"a","ids":[1],"logprob":-1,"#
      + #""finish_reason":"stop"}],"sampling":{}}"#
    try Data(one.utf8).write(to: bench.folder.appending(path: "one.jsonl"))
    let run = try CommandRun(
      ["collect", "--store", "other.db"] + arguments.split(separator: " ").map(String.init),
      in: bench.folder)
    #expect(run.code == code && run.errorLines.count == 1, "\(run.errors)")
    #expect(run.failure.contains(message), "\(run.failure)")
  }

  private static func key(_ answers: [Int64]) -> String {
    answers.sorted().map(String.init).joined(separator: "-")
  }
}

/// A folder with two hundred and twenty questions.
private final class Bench: Sendable {
  let folder: URL

  init() throws {
    folder = URL.temporaryDirectory.appending(path: "attune-collect-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let rows = (0..<220).map { i in
      let completions = ["one \(i)", "two \(i)"].map {
        #"{"text":"\#($0)","ids":[1],"logprob":-1,"finish_reason":"stop"}"#
      }
      return
        #"{"prompt":"p\#(i)","completions":[\#(completions.joined(separator: ","))],"sampling":{}}"#
    }
    try Data(rows.joined(separator: "\n").utf8).write(to: folder.appending(path: "samples.jsonl"))
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  /// Runs a command to its end.
  func run(_ arguments: String...) throws -> CommandRun { try CommandRun(arguments, in: folder) }

  /// Starts a server and waits until it listens.
  func serve(_ more: [String] = []) async throws -> Served {
    let run = try Served(
      ["collect", "--samples", "samples.jsonl", "--store", "feedback.db", "--port", "0"] + more,
      in: folder)
    try await run.listens()
    return run
  }
}
