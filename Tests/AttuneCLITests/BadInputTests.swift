// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// What is wrong with an input is told in one line that names the place; nothing crashes, and
/// nothing half-written is left under its final name.
@Suite(.serialized)
struct BadInputTests {
  /// Runs a command line that must fail.
  private func expect(
    _ bench: Workbench, _ line: String, code: Int32 = 1, names words: String...,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let run = try bench.attune(line: line)
    #expect(run.code == code, "\(run.errors)", sourceLocation: sourceLocation)
    #expect(run.failure.hasPrefix("error: "), "\(run.errors)", sourceLocation: sourceLocation)
    #expect(
      run.errorLines.count { $0.hasPrefix("error") } == 1, "\(run.errors)",
      sourceLocation: sourceLocation)
    #expect(run.output.isEmpty, sourceLocation: sourceLocation)
    for word in words {
      #expect(run.failure.contains(word), "\(run.failure)", sourceLocation: sourceLocation)
    }
    #expect(!bench.exists("out"), sourceLocation: sourceLocation)
  }

  @Test func `damaged models`() throws {
    let bench = try Workbench()
    let prompt = "--raw --prompt a --max-tokens 1"

    try bench.copyModel("cut")
    let weights = try Data(contentsOf: bench.url("model/model.safetensors"))
    try bench.write("cut/model.safetensors", weights.prefix(weights.count / 2))
    try expect(bench, "generate --model cut \(prompt)", names: "model.safetensors")

    try bench.copyModel("huge")
    var header = Data([0, 0, 0, 0, 0, 0, 0, 0x10])  // 2^60 in little-endian
    header.append(contentsOf: "{}".utf8)
    try bench.write("huge/model.safetensors", header)
    try expect(bench, "generate --model huge \(prompt)", names: "model.safetensors")

    try bench.copyModel("none")
    try bench.write("none/model.safetensors", Data())
    try expect(bench, "generate --model none \(prompt)", names: "model.safetensors")

    try bench.copyModel("shape")
    let wider = try bench.read("model/config.json")
      .replacing(/"intermediate_size"\s*:\s*64/, with: "\"intermediate_size\": 96")
    try bench.write("shape/config.json", wider)
    try expect(bench, "generate --model shape \(prompt)", names: "mlp")

    try bench.copyModel("merges")
    try bench.write(
      "merges/tokenizer.json",
      #"{"model":{"type":"BPE","vocab":{"a":0,"b":1}},"pre_tokenizer":null,"added_tokens":[]}"#)
    try expect(bench, "generate --model merges \(prompt)", names: "merges")

    try bench.copyModel("json")
    try bench.write("json/config.json", wider.prefix(40).description)
    try expect(bench, "generate --model json \(prompt)", names: "config.json")

    var gguf = Data("GGUF".utf8)
    gguf.append(contentsOf: [3, 0, 0, 0])
    gguf.append(contentsOf: [UInt8](repeating: 0xFF, count: 16))
    try bench.write("cut.gguf", gguf.prefix(14))
    try bench.write("counts.gguf", gguf)
    try expect(bench, "generate --model cut.gguf \(prompt)", names: "cut.gguf")
    try expect(bench, "generate --model counts.gguf \(prompt)", names: "counts.gguf")
    try expect(bench, "generate --model nowhere \(prompt)", names: "nowhere")
  }

  @Test func `damaged data`() throws {
    let bench = try Workbench()
    try bench.write(
      "half.jsonl", "{\"prompt\":\"a\",\"completion\":\"b\"}\n{\"prompt\":\"a\",\"comp")
    try bench.write("empty.jsonl", "")
    try bench.write("no-prompt.jsonl", "{\"prompt\":\"\",\"completion\":\"b\"}\n")
    let data = "--model model --output out"
    for command in ["logprobs", "score", "sample", "sft", "reward"] {
      if command != "reward" {
        try expect(bench, "\(command) \(data) --data half.jsonl", names: "half.jsonl:2")
      }
      try expect(bench, "\(command) \(data) --data empty.jsonl", names: "empty.jsonl")
      try expect(bench, "\(command) \(data) --data missing.jsonl", names: "missing.jsonl")
    }
    try expect(
      bench, "label --data texts.jsonl --labeller concise --output out", names: "texts.jsonl")
    try expect(bench, "score \(data) --data texts.jsonl", names: "scalar head")
    try expect(bench, "tokenize --model model --data empty.jsonl", names: "empty.jsonl")
    try expect(bench, "inspect --model model --data texts.jsonl --row 9", names: "--row 9")
  }

  @Test func `wrong knobs and flags`() throws {
    let bench = try Workbench()
    try bench.write("recipe.json", #"{"learning_rat": 1}"#)
    try bench.write("type.json", #"{"epochs": "many"}"#)
    try bench.write("broken.json", #"{"epochs": "#)
    let sft = "sft --model model --data texts.jsonl --output out"
    try expect(bench, "\(sft) --config recipe.json", names: "learning_rat", "learning_rate")
    try expect(bench, "\(sft) --config type.json", names: "type.json", "epochs")
    try expect(bench, "\(sft) --config broken.json", names: "broken.json")
    try expect(bench, "\(sft) --config missing.json", names: "missing.json")
    try expect(bench, "\(sft) --set rank=4", names: "rank")
    try expect(bench, "\(sft) --set epochs=0", code: 64, names: "epochs")
    try expect(bench, "\(sft) --lerning-rate 1", code: 64, names: "--lerning-rate")
    try expect(bench, "\(sft) --epochs many", code: 64, names: "many")
    try expect(bench, "\(sft) --threads 0", code: 64, names: "--threads")
    try expect(
      bench, "\(sft) --base-precision q5", code: 64, names: "--base-precision", "as-is", "q4")
    try expect(bench, "sft --data texts.jsonl --output out", code: 64, names: "--model")
    try expect(bench, "train", code: 64, names: "train")
    try expect(
      bench, "tokenize --model model --data texts.jsonl --set a=1", code: 64, names: "--set")
    try expect(
      bench, "ppo --model model --data texts.jsonl --output out --reward modle:x",
      names: "modle", "model")
    try expect(
      bench, "ppo --model model --data texts.jsonl --output out --reward regex:a(b",
      names: "regex", "missing closing parenthesis")
    try expect(
      bench,
      "ppo --model model --data texts.jsonl --output out --reward length:3 --watch length:4@2",
      names: "--watch", "weight")
    try expect(
      bench, "evaluate --model model --data texts.jsonl --reward length:3@2", names: "--reward",
      "weight")
    try expect(
      bench, "score --data texts.jsonl --output out --reward exec:no-such-program",
      names: "no-such-program", "127")
    try expect(bench, "score --data texts.jsonl --output out", code: 64, names: "--reward")
    try expect(bench, "pull smollm", names: "smollm2")
  }

  @Test(.enabled(if: FileManager.default.fileExists(atPath: "/dev/full")))
  func `a disk that is full`() throws {
    let bench = try Workbench()
    try bench.write("rows.jsonl", "{\"prompt\":\"a\",\"completion\":\"b\"}\n")
    try expect(
      bench, "logprobs --model model --data rows.jsonl --output /dev/full", names: "/dev/full")
    try expect(
      bench, "sample --model model --data rows.jsonl --max-tokens 2 --output /dev/full",
      names: "/dev/full")
    let run = try bench.attune(
      line: "tokenize --model model --data texts.jsonl --json", output: "/dev/full")
    #expect(run.code == 1)
    #expect(run.failure.hasPrefix("error: standard output"))
  }
}
