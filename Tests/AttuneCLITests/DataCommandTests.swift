// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// What commands say of the columns of their data, and how they part it.
@Suite(.serialized)
struct DataCommandTests {
  @Test func `every command that reads rows names the columns that it does not use, once`() throws {
    let bench = try Workbench()
    try bench.write(
      "pairs.jsonl",
      #"{"prompt":"a","chosen":" b","rejected":" c","source":"s","chosen_model":"m","#
        + #""rejected_model":"n"}"# + "\n"
        + #"{"prompt":"d","chosen":" e","rejected":" f"}"# + "\n")
    let (unused, unseen) = (
      "warning: pairs.jsonl: not used", "note: pairs.jsonl: the model does not see"
    )
    for (line, words) in [
      ("inspect --model model --data pairs.jsonl", unused),
      ("reward --model model --data pairs.jsonl --output reward --set max_steps=1", unused),
      ("sample --model model --data pairs.jsonl --output s.jsonl --max-tokens 2", unseen),
      ("prompts --data pairs.jsonl --output prompts.jsonl", "note: pairs.jsonl: not used"),
      ("split --data pairs.jsonl --train t.jsonl --held-out h.jsonl --share 0.5", unseen),
      ("rank pairs.jsonl", unused),
    ] {
      let run = try bench.attune(line: line)
      #expect(
        run.errorLines.count { $0.hasPrefix(words) && $0.contains("\"source\" (1 row)") } == 1,
        "\(line): \(run.errors)")
    }
  }

  @Test func `a judgement that is not read is refused unless a person says so`() throws {
    let bench = try Workbench()
    try bench.write("rated.jsonl", #"{"prompt":"a","completion":" b","rating":4}"# + "\n")
    let sft = "sft --model model --data rated.jsonl --output out --set max_steps=1"
    let refused = try bench.attune(line: sft)
    #expect(refused.code == 1 && refused.failure.contains("rated.jsonl:1: \"rating\" is not used"))
    #expect(!bench.exists("out"))
    let allowed = try bench.attune(line: "\(sft) --ignore rating")
    #expect(allowed.code == 0, "\(allowed.errors)")
    #expect(allowed.errors.contains("warning: rated.jsonl: not used: \"rating\" (1 row)"))
    let ppo = "ppo --model model --reward labeller:concise --data texts.jsonl --output out"
    for line in ["\(ppo) --ptx-data rated.jsonl", "judge --check rated.jsonl --judge model"] {
      let run = try bench.attune(line: line)
      #expect(run.code == 1 && run.failure.contains("rated.jsonl:1: \"rating\" is not used"))
      #expect(run.failure.contains("--ignore"), "\(run.failure)")
    }
    let imported = try bench.attune(line: "feedback import rated.jsonl --store f.db")
    #expect(imported.code == 1 && imported.failure.contains("\"rating\""))
  }

  @Test func `rows are parted by prompt, byte for byte, the same way for one seed`() throws {
    let bench = try Workbench()
    var lines: [String] = []
    for prompt in 0..<10 {
      for answer in 0..<3 {
        lines.append(
          #"{"prompt": "p\#(prompt)",  "chosen": "a\#(answer)", "rejected": "b", "n": 1.50}"#)
      }
    }
    try bench.write("pairs.jsonl", lines.joined(separator: "\n") + "\n")
    let split = "split --data pairs.jsonl --train t.jsonl --held-out h.jsonl --share 0.2"
    let run = try bench.attune(line: "\(split) --json")
    #expect(run.code == 0, "\(run.errors)")
    let report = try run.object()
    let heldOut = try #require(report["held_out"] as? [String: Any])
    #expect(heldOut["rows"] as? Int == 6 && heldOut["prompts"] as? Int == 2)
    func rows(_ name: String) throws -> [String] {
      try bench.read(name).split(separator: "\n").map(String.init)
    }
    let (train, held) = (try rows("t.jsonl"), try rows("h.jsonl"))
    #expect((train + held).sorted() == lines.sorted())
    func prompts(_ rows: [String]) -> Set<Substring> { Set(rows.map { $0.prefix(14) }) }
    #expect(prompts(train).isDisjoint(with: prompts(held)) && prompts(held).count == 2)
    _ = try bench.attune(line: split)
    #expect(try rows("h.jsonl") == held)
    _ = try bench.attune(line: "\(split) --seed 5")
    #expect(try rows("h.jsonl") != held)

    for (change, words) in [
      ("--share 0.01", "leaves one of the two files empty"), ("--share 1", "between 0 and 1"),
      ("--train pairs.jsonl", "three files"),
    ] {
      let parts = change.split(separator: " ").map(String.init)
      var arguments = split.split(separator: " ").map(String.init)
      arguments[arguments.firstIndex(of: parts[0])! + 1] = parts[1]
      let failed = try CommandRun(arguments, in: bench.folder)
      #expect(failed.code == 1 && failed.failure.contains(words), "\(failed.errors)")
    }
    #expect(try rows("pairs.jsonl") == lines)
  }
}
