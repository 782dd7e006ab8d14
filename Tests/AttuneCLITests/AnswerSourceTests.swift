// SPDX-License-Identifier: Apache-2.0

import AttuneTestSupport
import Foundation
import Testing

/// Where prompts and answers come from: data sets, several models, servers.
@Suite(.serialized)
struct AnswerSourceTests {
  @Test func `prompts, answers of two models and a server, preferences, and the models ranked`()
    throws
  {
    let bench = try Workbench()
    let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}bot: "
    try bench.write("model/chat_template.jinja", template)
    let other = try bench.attune(
      line: "sft --model model --data texts.jsonl --output other --set max_steps=1 --seed 9 "
        + "--set train=full --learning-rate 0.01 --set warmup_steps=0")
    #expect(other.code == 0, "\(other.errors)")
    let pairs = (0..<12).map { i in
      """
      {"chosen":[{"role":"user","content":"q \(i % 8)"},{"role":"assistant","content":"a"}],\
      "rejected":[{"role":"user","content":"q \(i % 8)"},{"role":"assistant","content":"b"}]}

      """
    }
    try bench.write("pairs.jsonl", pairs.joined())
    let taken = try bench.attune(
      line: "prompts --data pairs.jsonl --count 8 --output prompts.jsonl --held-out held.jsonl "
        + "--held-out-share 0.25 --json")
    #expect(taken.code == 0, "\(taken.errors)")
    let report = try taken.object()
    #expect(report["prompts"] as? Int == 6 && report["held_out_prompts"] as? Int == 2)
    #expect(report["repeated"] as? Int == 4 && report["format_version"] as? Int == 1)

    // The server's answers are as long as the labeller likes them.
    let server = try HTTPServerStub { request in
      guard request.path == "/v1/chat/completions" else { return HTTPServerStub.models }
      let seed = request.object["seed"] as? Int ?? 0
      let words = (0..<15).map { "word\($0 + seed)" }.joined(separator: " ")
      return HTTPServerStub.completion("It is so because \(words).")
    }
    let sampled = try bench.attune(
      line: "sample --model model --model other --model \(server.address) --data prompts.jsonl "
        + "--n 2 --max-tokens 12 --parallel 2 --output samples.jsonl --json")
    #expect(sampled.code == 0, "\(sampled.errors)")
    let models = try #require(try sampled.object()["models"] as? [[String: Any]])
    let names = ["model", "other", "\(server.address)/v1#tiny"]
    #expect(models.map { $0["model"] as? String } == names)
    #expect(server.mostAtOnce <= 2)

    for (name, line) in [
      ("pairs", "label --data samples.jsonl --labeller concise --set sharpness=8"),
      ("rankings", "label --data samples.jsonl --labeller concise --as rankings --sharpness 8"),
      ("judged", "judge --data samples.jsonl --judge model --pairs-per-prompt 3"),
    ] {
      let made = try bench.attune(line: "\(line) --output \(name).out.jsonl")
      #expect(made.code == 0, "\(made.errors)")
      let stored = try bench.attune(
        line: "feedback import --store \(name).db samples.jsonl \(name).out.jsonl")
      #expect(stored.code == 0, "\(stored.errors)")
      for source in ["\(name).out.jsonl", "\(name).db"] {
        let ranked = try bench.attune(line: "rank \(source) --json")
        #expect(ranked.code == 0, "\(source): \(ranked.errors)")
        let entries = try #require(try ranked.object()["models"] as? [[String: Any]])
        #expect(Set(entries.compactMap { $0["model"] as? String }) == Set(names), "\(source)")
        if name != "judged" { #expect(entries[0]["model"] as? String == names[2], "\(source)") }
      }
    }
    let exported = try bench.attune(
      line: "feedback export --store pairs.db --format ranking --output r.jsonl")
    #expect(exported.code == 0, "\(exported.errors)")
    #expect(try bench.attune(line: "rank r.jsonl").code == 0)
  }

  @Test func `what can't be had is refused in one line`() throws {
    let bench = try Workbench()
    try bench.write(
      "rows.jsonl", ["a", "b", "a "].map { "{\"prompt\":\"\($0)\"}\n" }.joined())
    let cases: [(line: String, code: Int32, word: String)] = [
      ("prompts --data none.jsonl --output out", 1, "none.jsonl"),
      ("prompts --data texts.jsonl --output out", 1, "no row has a prompt"),
      ("prompts --data rows.jsonl --output out --count 9", 1, "only 2 different"),
      ("prompts --data rows.jsonl --output out --held-out held", 1, "held_out_share"),
      ("prompts --data rows.jsonl --output out --held-out-share 0.5", 1, "held_out_share"),
      (
        "prompts --data rows.jsonl --output out --held-out out --held-out-share 0.5", 1, "one file"
      ),
      ("sample --data rows.jsonl --output out", 64, "--model"),
      ("sample --model model --model model --data rows.jsonl --output out", 1, "given twice"),
      ("sample --model model --model no --data rows.jsonl --output out --max-tokens 1", 1, "no"),
      ("sample --model model --data rows.jsonl --output out --parallel 3", 64, "--parallel"),
      ("sample --model http:// --data rows.jsonl --output out", 1, "address"),
      (
        "sample --model http://127.0.0.1:9#m --data rows.jsonl --output out --top-k 3", 1, "top_k"
      ),
      ("sample --model http://127.0.0.1:9#m --data rows.jsonl --output out", 1, "line 1"),
    ]
    for (line, code, word) in cases {
      let run = try bench.attune(line: line)
      #expect(run.code == code && run.failure.contains(word), "\(line): \(run.errors)")
      #expect(run.failure.hasPrefix("error: "), "\(run.errors)")
      #expect(run.output.isEmpty && !bench.exists("out"))
    }
  }
}
