// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// What a run would take, told before it begins.
@Suite(.serialized)
struct PlanCommandTests {
  private static let middle = """
    {"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":384,
     "intermediate_size":1024,"num_hidden_layers":6,"num_attention_heads":6,
     "num_key_value_heads":2,"vocab_size":16000,"max_position_embeddings":2048,
     "rms_norm_eps":1e-5,"rope_theta":10000,"hidden_act":"silu","tie_word_embeddings":true}
    """

  private func entries(_ folder: URL) throws -> [String] {
    // The program's own output lies beside them while it runs.
    try FileManager.default.subpathsOfDirectory(atPath: folder.path).filter {
      !$0.hasPrefix("out-") && !$0.hasPrefix("err-")
    }.sorted()
  }

  @Test func `a config alone is planned, for every trainer, in words and as one object`() throws {
    let bench = try Workbench()
    try bench.write("bare/config.json", Self.middle)
    for trainer in [
      "sft", "reward", "ppo", "reinforce", "rloo", "grpo", "raft", "dpg", "brain", "distill", "dpo",
      "kto", "iterate",
    ] {
      let model = trainer == "sft" ? "bare/config.json" : "bare"
      let run = try bench.attune(
        line: "plan \(trainer) --model \(model) --data-shape 100x64 --json --threads 1"
          + (trainer == "distill" ? " --set teacher_system=brief" : ""))
      #expect(run.code == 0 && run.output.split(separator: "\n").count == 1, "\(run.errors)")
      let plan = try run.object()
      #expect(plan["trainer"] as? String == trainer && plan["fits"] as? Bool == true)
      let parts = try #require(plan["memory"] as? [[String: Any]])
      let sum = parts.reduce(0) { $0 + ($1["bytes"] as? Int ?? 0) }
      #expect(plan["bytes"] as? Int == sum && sum > 50_000_000)
      #expect(parts.contains { $0["part"] as? String == "moments" })
      let work = try #require(plan["work"] as? [String: Any])
      #expect(work["count"] as? Int ?? 0 > 0 && work["largest_pass"] as? Int ?? 0 > 0)
      // Weights that are not there can't be timed.
      #expect(plan["time"] == nil && plan["limit"] as? Int ?? 0 > sum)
    }
    let words = try bench.attune(line: "plan grpo --model bare --threads 1").output
    for word in ["memory ", "AdamW's moments", "keys and values", "what would take less"] {
      #expect(words.contains(word), "\(words)")
    }
    // Knobs and recipes are the trainer's.
    func bytes(_ knobs: String) throws -> Int {
      try #require(
        try bench.attune(line: "plan sft --model bare --json --threads 1 \(knobs)")
          .object()["bytes"] as? Int)
    }
    try bench.write("recipe.json", #"{"train":"lora","rank":4}"#)
    #expect(try bytes("--config recipe.json") < bytes(""))
    #expect(try bytes("--set recompute=true") < bytes(""))
    // A judge of the reward lies beside the policy: here the same weights again.
    func program(_ reward: String) throws -> Int {
      let plan = try bench.attune(line: "plan grpo --model bare --json --threads 1 \(reward)")
        .object()
      let parts = try #require(plan["memory"] as? [[String: Any]])
      return try #require(parts.first { $0["part"] as? String == "program" }?["bytes"] as? Int)
    }
    let judged = try program(
      "--reward rank:bare --reward judge:http://localhost:1 --reward length:3")
    let parameters = try #require(
      try bench.attune(line: "plan grpo --model bare --json").object()["parameters"] as? Int)
    let plain = try program("")
    #expect(abs(judged - plain - 4 * parameters) < parameters)
    let refused = try bench.attune(line: "plan sft --model bare --reward judge:bare")
    #expect(refused.code == 64 && refused.failure.contains("takes no reward"), "\(refused.errors)")
  }

  @Test func `wrong usage is told`() throws {
    let bench = try Workbench()
    try bench.write("bare/config.json", Self.middle)
    try bench.write("grid.json", #"{"dry_run":true,"learning_rate":[1e-4,1e-5]}"#)
    for (line, code, words) in [
      ("plan sft --model bare --data texts.jsonl", 1, "--data-shape 1000x256"),
      ("plan sft --model bare --data-shape 12", 64, "write rows x tokens, as 1000x256"),
      ("plan sft --model bare --data-shape 0x8", 64, "write rows x tokens"),
      ("plan sft --model bare --data texts.jsonl --data-shape 1x2", 64, "give one of them"),
      ("plan sft --model nowhere", 1, "there is no such folder or file"),
      ("plan sft --model nowhere.json", 1, "nowhere.json"),
      ("plan sft --model bare --set samples_per_prompt=3", 64, "samples_per_prompt"),
      ("plan sft --model bare --set train=last_layers --set layers=0", 1, "layers"),
      (
        "sft --model model --data texts.jsonl --output o --dry-run --set seed=[1,2]", 64,
        "plans one run"
      ),
      (
        "sft --model model --data texts.jsonl --output o --config grid.json", 64,
        "learning_rate: a list of values is a grid of runs, and --dry-run (dry_run in a recipe)"
      ),
    ] {
      let run = try bench.attune(line: line)
      #expect(run.code == code && run.failure.contains(words), "\(line): \(run.errors)")
    }
    #expect(!bench.exists("o"))
  }

  @Test func `a dry run of a trainer's own line says so and writes nothing`() throws {
    let bench = try Workbench()
    try bench.write(
      "pairs.jsonl",
      (0..<16).map { "{\"prompt\":\"a \($0)\",\"chosen\":\"bee\",\"rejected\":\"cat\"}\n" }
        .joined())
    let before = try entries(bench.folder)
    let small = "--set rollouts=2 --set prompts_per_rollout=2 --set max_tokens=4"
    for line in [
      "sft --model model --data texts.jsonl", "dpo --model model --data pairs.jsonl",
      "kto --model model --data pairs.jsonl", "reward --model model --data pairs.jsonl",
      "rloo --model model --data pairs.jsonl --reward labeller:concise \(small)",
      "ppo --model model --data pairs.jsonl --reward labeller:concise \(small)",
    ] {
      let run = try bench.attune(line: "\(line) --output o --dry-run --json --threads 1")
      #expect(run.code == 0, "\(line): \(run.errors)")
      let plan = try run.object()
      #expect(line.hasPrefix(plan["trainer"] as? String ?? "-"))
      let time = try #require(plan["time"] as? [String: Double])
      #expect(time["per_unit"] ?? 0 > 0 && time["run"] ?? 0 > 0, "\(line)")
      #expect((time["sampling"] != nil) == line.contains("--reward"))
    }
    let told = try bench.attune(line: "plan dpo --model model --data pairs.jsonl --threads 1")
    #expect(told.code == 0 && told.output.contains("steps, each "), "\(told.errors)")
    #expect(try entries(bench.folder) == before)
  }

  @Test func `a dry run of rounds and of a whole job says so and writes nothing`() throws {
    let bench = try Workbench()
    try bench.writeLoop()
    let before = try entries(bench.folder)
    for options in ["", "--online", "--set dpo.train=full"] {
      let run = try bench.attune(
        line:
          "iterate --model model --data prompts.jsonl --reward labeller:concise --rounds 2 --n 3 "
          + "--max-tokens 8 --output o --dry-run --json --threads 1 \(options)")
      #expect(run.code == 0, "\(options): \(run.errors)")
      let plan = try run.object()
      let work = try #require(plan["work"] as? [String: Any])
      #expect(plan["trainer"] as? String == "iterate" && work["unit"] as? String == "round")
      #expect(work["count"] as? Int == 2 && work["answers"] as? Int == 27)
      let time = try #require(plan["time"] as? [String: Double])
      #expect(time["sampling"] ?? 0 > 0 && time["run"] ?? 0 > time["per_unit"] ?? 0)
      // The knobs that would take less are called as iterate has them.
      let changes = try #require(plan["changes"] as? [[String: Any]])
      #expect(
        changes.allSatisfy {
          ($0["change"] as? String ?? "").split(separator: " ").filter { $0.contains("=") }
            .allSatisfy { $0.hasPrefix("dpo.") || $0.hasPrefix("max_tokens") }
        })
    }
    for method in ["ppo", "dpo", "kto", "iterate"] {
      let line =
        "rlhf --model model --data prompts.jsonl --method \(method) --set sample.n=3 "
        + "--set sample.max_tokens=6 --set reward.layers=1 --output o --dry-run --threads 1"
      let run = try bench.attune(line: line + " --json")
      #expect(run.code == 0, "\(method): \(run.errors)")
      let job = try run.object()
      let stages = try #require(job["stages"] as? [[String: Any]])
      #expect(stages.map { $0["trainer"] as? String } == ["reward", method])
      let bytes = stages.compactMap { $0["bytes"] as? Int }
      #expect(job["bytes"] as? Int == bytes.max() && job["fits"] as? Bool == true)
      #expect(stages.allSatisfy { ($0["time"] as? [String: Double])?["per_unit"] ?? 0 > 0 })
      let words = try bench.attune(line: line).output
      #expect(
        words.contains("reward of model") && words.contains("\(method) of model"), "\(words)")
    }
    #expect(try entries(bench.folder) == before)
  }

  /// Twice a run of twelve million weights: what it takes at its largest, and what was said of it.
  @Test func `the peak of a real run is what was planned, within a tenth`() throws {
    let bench = try Workbench()
    try bench.write("config.json", Self.middle)
    let text = String(repeating: "the cat sat on the mat and the dog sat by it. ", count: 6)
    try bench.write(
      "texts.jsonl", String(repeating: "{\"text\":\"\(text)\"}\n", count: 4))
    let line =
      "sft --init config.json --data texts.jsonl --output big --set max_steps=2 "
      + "--set batch_size=2 --json --threads 1"
    let plan = try bench.attune(line: line + " --dry-run").object()
    let said = try #require(plan["bytes"] as? Int)
    let run = try bench.attune(line: line)
    #expect(run.code == 0, "\(run.errors)")
    let last = try #require(try bench.read("big/metrics.jsonl").split(separator: "\n").last)
    let row = try #require(
      try JSONSerialization.jsonObject(with: Data(last.utf8)) as? [String: Any])
    let peak = try #require(row["memory/peak_mb"] as? Double ?? row["peak_memory"] as? Double)
    let planned = Double(said) / Double(1 << 20)
    #expect(abs(planned - peak) < 0.1 * peak, "planned \(planned), took \(peak)")
  }

  /// From start to end, what was written read again: little is kept of passes that compute anew, so that
  /// what only training needs has to go before.
  @Test(arguments: ["adamw", "adamw-8bit"])
  func `the peak of the whole process is what was planned`(optimizer: String) throws {
    let bench = try Workbench()
    try bench.write("config.json", Self.middle)
    let line =
      "sft --init config.json --data texts.jsonl --output big --set max_steps=2 --threads 1 "
      + "--set batch_size=1 --set recompute=true --json --optimizer \(optimizer)"
    let plan = try bench.attune(line: line + " --dry-run").object()
    let planned = Double(try #require(plan["bytes"] as? Int)) / Double(1 << 20)
    let peak = try bench.peak(line: line)
    #expect(abs(planned - peak) < 0.1 * peak, "planned \(planned), took \(peak)")
  }

  @Test func `a run that can't fit is refused with the numbers before it begins`() throws {
    let bench = try Workbench()
    try bench.write("config.json", Self.middle)
    func limited(_ kilobytes: Int, _ line: String) throws -> (code: Int32, out: Data, last: String)
    {
      let process = Process()
      process.executableURL = URL(filePath: "/bin/sh")
      process.arguments =
        ["-c", "ulimit -v \(kilobytes); exec \"$0\" \"$@\"", CommandRun.program.path]
        + line.split(separator: " ").map(String.init)
      process.currentDirectoryURL = bench.folder
      let (output, errors) = (Pipe(), Pipe())
      process.standardOutput = output
      process.standardError = errors
      try process.run()
      let out = output.fileHandleForReading.readDataToEndOfFile()
      let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitUntilExit()
      return (
        process.terminationStatus, out, text.split(separator: "\n").last.map(String.init) ?? ""
      )
    }
    let plan = "plan sft --model config.json --data-shape 2x24 --threads 1 --json"
    let wide = try limited(4_000_000, plan)
    let object = try #require(
      try JSONSerialization.jsonObject(with: wide.out) as? [String: Any], "\(wide.last)")
    let parts = try #require(object["memory"] as? [[String: Any]])
    let program = try #require(
      parts.first { $0["part"] as? String == "program" }?["bytes"] as? Int)
    let bytes = try #require(object["bytes"] as? Int)
    #expect(object["limit"] as? Int == 4_000_000 * 1024 && object["fits"] as? Bool == true)
    // Room for the weights, and not for what trains them.
    let room = (program + (bytes - program) * 6 / 10) / 1024
    let narrow = try limited(room, plan)
    let tight = try #require(
      try JSONSerialization.jsonObject(with: narrow.out) as? [String: Any], "\(narrow.last)")
    #expect(narrow.code == 0 && tight["fits"] as? Bool == false)
    let changes = try #require(tight["changes"] as? [[String: Any]])
    #expect(changes.contains { $0["fits"] as? Bool == true })
    let run = try limited(
      room, "sft --init config.json --data texts.jsonl --output big --threads 1 --set batch_size=1")
    #expect(run.code == 1, "\(run.last)")
    #expect(run.last.hasPrefix("error: this run needs "), "\(run.last)")
    #expect(run.last.contains(", and this process can have "))
    #expect(run.last.contains(" would take ") || run.last.contains("would still take"))
    #expect(!bench.exists("big"))

    // A job is refused before its first stage, by those that train.
    try bench.writePrompts()
    let made = try bench.attune(
      line:
        "sft --init config.json --data texts.jsonl --output middle --set max_steps=1 --threads 1")
    #expect(made.code == 0, "\(made.errors)")
    let job = try limited(
      room,
      "rlhf --model middle --data prompts.jsonl --output job --threads 1 --set reward.train=full "
        + "--set ppo.train=full")
    #expect(job.code == 1 && job.last.hasPrefix("error: this run needs "), "\(job.last)")
    #expect(job.last.contains("reward.") && !bench.exists("job"), "\(job.last)")
  }
}
