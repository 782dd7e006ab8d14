// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@Suite(.serialized)
struct FeedbackCommandTests {
  private func folder() throws -> URL {
    let folder = URL.temporaryDirectory.appending(path: "attune-feedback-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    return folder
  }

  @Test(arguments: ["import", "export", "stats"])
  func `every part explains itself with an example`(part: String) throws {
    let run = try CommandRun(["feedback", part, "--help"], in: URL.temporaryDirectory)
    #expect(run.code == 0 && run.output.contains("Example: attune feedback \(part)"))
    #expect(run.output.contains("--json") && run.output.contains("--store"))
  }

  @Test func `in, out, told and ranked`() throws {
    let folder = try folder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let rows = """
      {"prompt":"p","chosen":"a b","rejected":"c","labeller":"anna","chosen_model":"m","rejected_model":"n"}
      {"prompt":"p","chosen":"c","rejected":"a b","labeller":"bert","chosen_model":"n","rejected_model":"m"}
      not JSON
      {"prompt":"q","chosen":"a","rejected":"c","labeller":"anna","chosen_model":"m","rejected_model":"n"}

      """
    try Data(rows.utf8).write(to: folder.appending(path: "in.jsonl"))
    func attune(_ line: String) throws -> CommandRun {
      try CommandRun(line.split(separator: " ").map(String.init), in: folder)
    }

    let imported = try attune("feedback import in.jsonl --store f.db --json")
    #expect(imported.code == 0, "\(imported.errors)")
    let files = try #require(try imported.object()["files"] as? [[String: Any]])
    #expect(files.first?["added"] as? Int == 3)
    let broken = try #require(files.first?["broken"] as? [[String: Any]])
    #expect(broken.first?["line"] as? Int == 3)
    let again = try attune("feedback import in.jsonl --store f.db")
    #expect(again.output.contains("0 rows added, 3 known") && again.output.contains("in.jsonl:3:"))

    let exported = try attune("feedback export --store f.db --output out.jsonl")
    #expect(exported.code == 0, "\(exported.errors)")
    let kept = try String(contentsOf: folder.appending(path: "out.jsonl"), encoding: .utf8)
    #expect(kept == rows.replacing("not JSON\n", with: ""))

    let stats = try attune("feedback stats --store f.db --json")
    #expect(stats.code == 0, "\(stats.errors)")
    let agreement = try #require(try stats.object()["agreement"] as? [[String: Any]])
    #expect(agreement.first?["agreement"] as? Double == 0)

    for source in ["in2.jsonl", "f.db"] {
      try Data(kept.utf8).write(to: folder.appending(path: "in2.jsonl"))
      let ranked = try attune("rank \(source) --json")
      #expect(ranked.code == 0, "\(ranked.errors)")
      let models = try #require(try ranked.object()["models"] as? [[String: Any]])
      #expect(models.map { $0["model"] as? String } == ["m", "n"])
    }
  }

  @Test func `what can't be done is said in one line`() throws {
    let folder = try folder()
    defer { try? FileManager.default.removeItem(at: folder) }
    try Data(#"{"text":"t"}"#.utf8).write(to: folder.appending(path: "text.jsonl"))
    try Data("[]".utf8).write(to: folder.appending(path: "empty.json"))
    try Data("x\n".utf8).write(to: folder.appending(path: "broken.jsonl"))
    let cases: [(String, Int32, String)] = [
      ("feedback stats --store none.db", 1, "none.db"),
      ("feedback import none.jsonl --store f.db", 1, "none.jsonl"),
      ("feedback import empty.json --store f.db", 1, "empty.json"),
      ("feedback import broken.jsonl --store f.db", 1, "broken.jsonl:1:"),
      ("feedback export --store text.jsonl --output o.jsonl", 1, "text.jsonl"),
      ("feedback export --store f.db --format x --output o.jsonl", 64, "hh-rlhf"),
      ("feedback stats --store f.db --accuracy 2", 64, "--accuracy"),
      ("feedback stats --store f.db --accuracy 0.5 --curve text.jsonl", 1, "learning_curve"),
      ("rank text.jsonl", 1, "text.jsonl"),
    ]
    for (line, code, name) in cases {
      let run = try CommandRun(line.split(separator: " ").map(String.init), in: folder)
      #expect(run.code == code, "\(line): \(run.errors)")
      #expect(run.errorLines.count == 1 && run.failure.contains(name), "\(line): \(run.errors)")
    }
  }
}
