// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

struct RunFolderTests {
  struct Knobs: Codable {
    var learningRate = 1e-4
    var epochs = 2
  }

  func record(_ knobs: Knobs = Knobs(), data: String = "aa") throws -> RunRecord {
    try RunRecord(stage: "sft", settings: knobs, inputs: [("data", data)])
  }

  @Test func `an unfinished run is resumed and a finished one refused`() throws {
    let folder = try TemporaryFolder()
    let out = folder.url.appending(path: "deep/run")
    var run: RunFolder? = try RunFolder(out, record: record())
    run = nil
    let checkpoint = folder.file("deep/run/checkpoint.safetensors", "state")
    run = try RunFolder(out, record: record())
    #expect(FileManager.default.fileExists(atPath: checkpoint.path))
    try run?.finish()
    run = nil
    #expect(!FileManager.default.fileExists(atPath: checkpoint.path))
    let error = #expect(throws: TrainingError.self) { _ = try RunFolder(out, record: record()) }
    #expect(error?.message.contains("finished") == true)
    let metrics = folder.file("deep/run/metrics.jsonl", "old")
    _ = try RunFolder(out, record: record(), restart: true)
    #expect(!FileManager.default.fileExists(atPath: metrics.path))
  }

  @Test func `another run is refused with the knobs that differ`() throws {
    let folder = try TemporaryFolder()
    let out = folder.url.appending(path: "run")
    _ = try RunFolder(out, record: record())
    var knobs = Knobs()
    knobs.learningRate = 2e-4
    let error = #expect(throws: TrainingError.self) {
      _ = try RunFolder(out, record: record(knobs, data: "bb"))
    }
    let message = error?.message ?? ""
    #expect(message.contains("learning_rate (0.0001 there, 0.0002 now)"), "\(message)")
    #expect(message.contains("the data (other contents)") && !message.contains("epochs"))
  }

  @Test func `a folder with strange files is left alone, restart or not`() throws {
    let folder = try TemporaryFolder()
    let note = folder.file("thesis.txt", "years of work")
    for restart in [false, true] {
      let error = #expect(throws: TrainingError.self) {
        _ = try RunFolder(folder.url, record: record(), restart: restart)
      }
      #expect(error?.message.contains("thesis.txt") == true)
    }
    #expect(FileManager.default.fileExists(atPath: note.path))
  }

  @Test func `restart keeps files that no run wrote`() throws {
    let folder = try TemporaryFolder()
    let out = folder.url
    var run: RunFolder? = try RunFolder(out, record: record())
    let note = folder.file("notes.txt", "mine")
    let metrics = folder.file("metrics.jsonl", "{}\n")
    run = nil
    run = try RunFolder(out, record: record(), restart: true)
    #expect(FileManager.default.fileExists(atPath: note.path))
    #expect(!FileManager.default.fileExists(atPath: metrics.path))
    _ = run
  }

  /// What a killed `--restart` leaves after so many removals is cleared by the next run, whether it
  /// is told to restart or not.
  @Test(arguments: [false, true])
  func `a restart that was killed after any removal is gone on with`(again: Bool) throws {
    let files = [
      "adapter_model.safetensors", "checkpoint.safetensors", "config.json", "metrics.jsonl",
      "model-00001-of-00002.safetensors", "round-1", "round-2", "tokenizer.json",
    ]
    for removed in 0...files.count {
      let folder = try TemporaryFolder()
      _ = try RunFolder(folder.url, record: record())
      let file = folder.url.appending(path: "run.json")
      let text = try String(contentsOf: file, encoding: .utf8)
      #expect(text.contains("\"running\""))
      _ = folder.file("run.json", text.replacing("\"running\"", with: "\"discarded\""))
      for name in files[removed...] {
        if name.hasPrefix("round") {
          let policy = folder.url.appending(path: name + "/policy")
          try FileManager.default.createDirectory(at: policy, withIntermediateDirectories: true)
        } else {
          _ = folder.file(name, "old")
        }
      }
      _ = folder.file("notes.txt", "mine")
      var other = Knobs()
      other.epochs = 9
      _ = try RunFolder(folder.url, record: record(other), restart: again)
      let left = try FileManager.default.contentsOfDirectory(atPath: folder.url.path).sorted()
      #expect(left == [".lock", "notes.txt", "run.json"], "after \(removed)")
      _ = try RunFolder(folder.url, record: record(other))
    }
  }

  @Test func `a run that was killed between its end and its last removal is cleared`() throws {
    let folder = try TemporaryFolder()
    var run: RunFolder? = try RunFolder(folder.url, record: record())
    try run?.finish()
    run = nil
    let left = folder.file("checkpoint.safetensors", "old")
    let error = #expect(throws: TrainingError.self) {
      _ = try RunFolder(folder.url, record: record())
    }
    #expect(error?.message.contains("finished") == true)
    #expect(!FileManager.default.fileExists(atPath: left.path))
  }

  @Test(arguments: [false, true])
  func `half-written files of killed processes go with the next run`(restart: Bool) throws {
    let folder = try TemporaryFolder()
    _ = try RunFolder(folder.url, record: record())
    let below = folder.url.appending(path: "round-1/policy")
    try FileManager.default.createDirectory(at: below, withIntermediateDirectories: true)
    let parts = [".checkpoint.safetensors.4711.99.part", ".run.json.4711.1.part"].map {
      folder.file($0, "half")
    }
    let deep = below.appending(path: ".model.safetensors.4711.2.part")
    try Data().write(to: deep)
    let checkpoint = folder.file("checkpoint.safetensors", "state")
    _ = try RunFolder(folder.url, record: record(), restart: restart)
    for part in parts + [deep] { #expect(!FileManager.default.fileExists(atPath: part.path)) }
    #expect(FileManager.default.fileExists(atPath: checkpoint.path) == !restart)
  }

  @Test func `a folder that was killed before its record was written is taken`() throws {
    let folder = try TemporaryFolder()
    _ = folder.file(".lock", "")
    _ = folder.file(".run.json.4711.1.part", "{")
    _ = try RunFolder(folder.url, record: record())
    let left = try FileManager.default.contentsOfDirectory(atPath: folder.url.path).sorted()
    #expect(left == [".lock", "run.json"])
  }

  @Test func `two processes can't share a folder`() throws {
    let folder = try TemporaryFolder()
    let first = try RunFolder(folder.url, record: record())
    let error = #expect(throws: TrainingError.self) {
      _ = try RunFolder(folder.url, record: record())
    }
    #expect(error?.message.contains("another process") == true)
    _ = first
  }

  @Test func `the record holds settings as JSON, and compares them by value`() throws {
    struct Outer: Codable {
      struct Inner: Codable { var clip = 0.1 + 0.2 }
      var names = ["a", "b"]
      var beta: Double? = 1
      var inner = Inner()
      var seed = UInt64.max
      var checkpointSeconds = 5.0
    }
    let folder = try TemporaryFolder()
    _ = try RunFolder(
      folder.url, record: RunRecord(stage: "dpo", settings: Outer(), inputs: [("model", "ab")]))
    let data = try Data(contentsOf: folder.url.appending(path: "run.json"))
    let file = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    let record = try #require(file["record"] as? [String: Any])
    let settings = try #require(record["settings"] as? [String: Any])
    #expect(settings["names"] as? [String] == ["a", "b"])
    #expect(String(decoding: data, as: UTF8.self).contains("\"clip\" : 0.30000000000000004"))
    #expect(settings["checkpoint_seconds"] == nil)
    #expect((record["inputs"] as? [String: String]) == ["model": "ab"])
    func open(_ change: (inout Outer) -> Void) throws {
      var settings = Outer()
      change(&settings)
      _ = try RunFolder(
        folder.url, record: RunRecord(stage: "dpo", settings: settings, inputs: [("model", "ab")]))
    }
    for (difference, change) in [
      ("inner.clip (0.30000000000000004 there, 0.3 now);", { $0.inner.clip = 0.3 }),
      ("seed (18446744073709551615 there, 18446744073709551614 now);", { $0.seed -= 1 }),
    ] as [(String, (inout Outer) -> Void)] {
      let error = #expect(throws: TrainingError.self) { try open(change) }
      #expect(error?.message.contains("what differs: " + difference) == true)
    }
    try open { $0.checkpointSeconds = 9 }
  }

  @Test func `a record of another format is refused as that`() throws {
    let folder = try TemporaryFolder()
    _ = folder.file(
      "run.json",
      #"{"format_version":1,"state":"running","fingerprint":"","record":{"stage":"sft"}}"#)
    let error = #expect(throws: TrainingError.self) {
      _ = try RunFolder(folder.url, record: record())
    }
    #expect(error?.message.contains("another version of attune (format 1, here 2)") == true)
  }

  @Test func `a record is the same read by either kind of decoder`() throws {
    var whole = try record()
    whole.templateDate = "2024-07-26T00:00:00"
    whole.precision = "high"
    whole.basePrecision = "q4"
    let data = try JSONText.pretty(whole)
    let snake = JSONDecoder()
    snake.keyDecodingStrategy = .convertFromSnakeCase
    #expect(try JSONDecoder().decode(RunRecord.self, from: data) == whole)
    #expect(try snake.decode(RunRecord.self, from: data) == whole)
  }

  @Test func `a damaged record is named`() throws {
    let folder = try TemporaryFolder()
    _ = folder.file("run.json", "{")
    let error = #expect(throws: TrainingError.self) {
      _ = try RunFolder(folder.url, record: record())
    }
    #expect(error?.message.contains("run.json: is damaged") == true)
  }

  @Test func `what killed pulls left goes, what a pull is at work in stays`() throws {
    let cache = try TemporaryFolder()
    let pull = try #require(Pull.all.first { $0.name == "vader" })
    func folder(_ name: String) throws -> URL {
      let folder = cache.url.appending(path: name, directoryHint: .isDirectory)
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      return folder
    }
    let dead = try folder(".vader-1.part")
    let alive = try folder(".vader-2.part")
    let other = try folder("vader")
    let lock = open(alive.appending(path: ".lock").path, O_RDWR | O_CREAT, 0o644)
    #expect(flock(lock, LOCK_EX | LOCK_NB) == 0)
    pull.removeDeadWork(in: cache.url)
    #expect(!FileManager.default.fileExists(atPath: dead.path))
    for kept in [alive, other] { #expect(FileManager.default.fileExists(atPath: kept.path)) }
    close(lock)
  }
}
