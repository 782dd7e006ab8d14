// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Recipes that hold a command's options too, and lists of values that make a grid.
@Suite(.serialized)
struct RecipeTests {
  private static let samples =
    #"{"prompt":"a","completions":[{"text":"b","ids":[1],"logprob":-1,"finish_reason":"stop"},"#
    + #"{"text":"c d","ids":[2],"logprob":-1,"finish_reason":"stop"}],"#
    + #""model":{"name":"m","fingerprint":"f"},"sampling":{}}"# + "\n"

  private func settings(_ bench: Workbench, _ run: String) throws -> [String: Any] {
    let file =
      try JSONSerialization.jsonObject(with: Data(bench.read("\(run)/run.json").utf8))
      as? [String: Any]
    let record = try #require(file?["record"] as? [String: Any])
    return try #require(record["settings"] as? [String: Any])
  }

  @Test func `model, data and output may stand in a recipe, and the line wins`() throws {
    let bench = try Workbench()
    try bench.write(
      "recipe.json",
      """
      {"model": "model", "data": "texts.jsonl", "output": "one", "threads": 1, "eval_data":
       "texts.jsonl", "learning_rate": 0.01, "max_steps": 1, "seed": 5}
      """)
    let run = try bench.attune(line: "sft --config recipe.json --json")
    #expect(run.code == 0, "\(run.errors)")
    #expect(bench.exists("one/model.safetensors"))
    #expect(try settings(bench, "one")["learning_rate"] as? Double == 0.01)
    #expect(try settings(bench, "one")["seed"] as? Int == 5)
    #expect(try bench.read("one/metrics.jsonl").contains("loss/held_out"))
    let other = try bench.attune(
      line: "sft --config=recipe.json --output two --learning-rate 0.02 --set seed=6")
    #expect(other.code == 0, "\(other.errors)")
    #expect(try settings(bench, "two")["learning_rate"] as? Double == 0.02)
    #expect(try settings(bench, "two")["seed"] as? Int == 6)
    // A command without knobs, whose options are a recipe all the same.
    try bench.write(
      "score.json",
      #"{"reward": ["labeller:concise"], "data": "rows.jsonl", "output": "scores.jsonl"}"#)
    try bench.write("rows.jsonl", #"{"prompt":"a","completion":"b"}"# + "\n")
    let scored = try bench.attune(line: "score --config score.json")
    #expect(scored.code == 0 && bench.exists("scores.jsonl"), "\(scored.errors)")
    // An option that a command can't do without, and that is a knob too.
    try bench.write("samples.jsonl", Self.samples)
    try bench.write(
      "label.json",
      #"{"labeller": "concise", "data": "samples.jsonl", "output": "pairs.jsonl", "sharpness": 9}"#)
    let labelled = try bench.attune(line: "label --config label.json")
    #expect(labelled.code == 0 && bench.exists("pairs.jsonl"), "\(labelled.errors)")
  }

  @Test func `what is wrong with a recipe is said with file and key`() throws {
    let bench = try Workbench()
    let good = #""model": "model", "data": "texts.jsonl", "output": "run""#
    for (text, words, code) in [
      ("[1]", "r.json: a recipe is a JSON object", 1),
      (
        "{\(good), \"learning_rat\": 1}",
        "r.json: attune sft has no knob or option learning_rat; did you mean learning_rate?", 1
      ),
      ("{\(good), \"evaldata\": 1}", "did you mean eval_data?", 1),
      ("{\(good), \"epochs\": 0}", "r.json: epochs must be from 1 to 1000000 (it is 0)", 1),
      ("{\(good), \"epochs\": \"two\"}", "r.json: epochs must be a whole number", 1),
      (
        "{\(good), \"learning_rate\": 1e999}",
        "r.json: learning_rate: 1e999 is beyond every number", 1
      ),
      ("{\(good), \"learning_rate\": NaN}", "r.json: line 1, column", 1),
      ("{\(good), \"seed\": 1, \"seed\": 2}", "r.json: seed stands twice", 1),
      ("{\(good), \"seed\": -1}", "r.json: seed: ", 1),
      ("{\(good), \"threads\": \"many\"}", "r.json: threads: ", 1),
      ("{\(good), \"threads\": {}}", "r.json: threads must be a text or a number (it is {})", 1),
      ("{\(good), \"restart\": 1}", "r.json: restart must be true or false (it is 1)", 1),
      ("{\(good), \"train\": \"full\", \"rank\": 4}", "r.json: rank is set but not read", 1),
      ("{\(good), \"epochs\": []}", "r.json: epochs is an empty list", 1),
      ("{\(good), \"epochs\": [1, 1]}", "r.json: epochs has 1 twice", 1),
      ("{\(good), \"config\": \"r.json\"}", "has no knob or option config", 1),
    ] {
      try bench.write("r.json", text)
      let run = try bench.attune(line: "sft --config r.json")
      #expect(run.code == code && run.failure.contains(words), "\(text): \(run.errors)")
      #expect(run.errorLines.count == 1)
    }
    #expect(!bench.exists("run"))
    for (options, words) in [
      (
        "--set learning_rat=1",
        "--set learning_rat: there is no knob learning_rat; did you mean learning_rate?"
      ),
      ("--set epochs=0", "--set epochs: epochs must be from 1 to 1000000 (it is 0)"),
      ("--epochs 0", "--epochs: epochs must be from 1 to 1000000 (it is 0)"),
      ("--epochs 2 --set epochs=2", "epochs is given twice: by --set epochs and by --epochs"),
      ("--set epochs=1 --set epochs=2", "epochs is given twice"),
      ("--learning-rate nan", "--learning-rate: give a finite number"),
    ] {
      let run = try bench.attune(
        line: "sft --model model --data texts.jsonl --output run \(options)")
      #expect(run.code == 64 && run.failure.contains(words), "\(options): \(run.errors)")
    }
    let missing = try bench.attune(line: "sft --config nowhere.json")
    #expect(missing.code == 1 && missing.failure.contains("nowhere.json: can't be read"))
  }

  @Test func `lists of values run one after the other and are compared`() throws {
    let bench = try Workbench()
    try bench.write(
      "grid.json",
      """
      {"model": "model", "data": "texts.jsonl", "eval_data": "texts.jsonl", "output": "runs",
       "threads": 1, "learning_rate": [0.001, 0.01], "seed": [1, 2], "max_steps": 2,
       "batch_size": 1}
      """)
    let first = try bench.attune(line: "sft --config grid.json --json")
    #expect(first.code == 0, "\(first.errors)")
    let table = try first.object()
    let runs = try #require(table["runs"] as? [[String: Any]])
    let names = [
      "learning_rate=0.001,seed=1", "learning_rate=0.001,seed=2", "learning_rate=0.01,seed=1",
      "learning_rate=0.01,seed=2",
    ]
    #expect(runs.map { $0["folder"] as? String } == names)
    for (run, name) in zip(runs, names) {
      #expect(bench.exists("runs/\(name)/model.safetensors"))
      let numbers = try #require(run["numbers"] as? [String: Double])
      #expect(numbers["loss/held_out"] != nil && numbers["step"] == 2)
    }
    let groups = try #require(table["groups"] as? [[String: Any]])
    #expect(groups.count == 2 && groups.allSatisfy { $0["runs"] as? Int == 2 })
    let held = try runs.prefix(2).map {
      try #require(($0["numbers"] as? [String: Double])?["loss/held_out"])
    }
    let mean = try #require((groups[0]["mean"] as? [String: Double])?["loss/held_out"])
    let deviation = try #require((groups[0]["deviation"] as? [String: Double])?["loss/held_out"])
    #expect(abs(mean - (held[0] + held[1]) / 2) < 1e-9)
    #expect(abs(deviation - abs(held[0] - held[1]) / 2.0.squareRoot()) < 1e-9)

    // Nothing is run twice; a run that is missing is made again, with the same numbers.
    try FileManager.default.removeItem(at: bench.url("runs/\(names[3])"))
    let second = try bench.attune(line: "sft --config grid.json")
    #expect(second.code == 0, "\(second.errors)")
    #expect(second.errors.components(separatedBy: "finished before").count == 4)
    #expect(second.output.contains("learning_rate=0.01,seed=2"))
    #expect(second.output.contains("mean ± sd over seeds") && second.output.contains("±"))
    let again = try #require(
      try JSONSerialization.jsonObject(with: Data(bench.read("runs/grid.json").utf8))
        as? [String: Any])
    let means = try #require(again["groups"] as? [[String: Any]]).map {
      ($0["mean"] as? [String: Double])?["loss/held_out"]
    }
    #expect(means == groups.map { ($0["mean"] as? [String: Double])?["loss/held_out"] })
    // The line goes before the recipe: one value is no grid.
    let one = try bench.attune(
      line: "sft --config grid.json --learning-rate 0.02 --seed 3 --output one")
    #expect(one.code == 0 && bench.exists("one/run.json"), "\(one.errors)")
    // The same of the line alone.
    let line = try bench.attune(
      line: "sft --model model --data texts.jsonl --output line --set max_steps=[1,2]")
    #expect(line.code == 0 && bench.exists("line/max_steps=2/run.json"), "\(line.errors)")
  }

  @Test func `a grid that makes no sense is refused before any work`() throws {
    let bench = try Workbench()
    try bench.write("samples.jsonl", Self.samples)
    let noFolder = try bench.attune(
      line: "label --data samples.jsonl --labeller concise --output p.jsonl --set sharpness=[1,2]")
    #expect(noFolder.code == 64 && noFolder.failure.contains("writes no run's folder"))
    try bench.write("runs/thesis.txt", "years of work")
    let stranger = try bench.attune(
      line: "sft --model model --data texts.jsonl --output runs --set epochs=[1,2]")
    #expect(stranger.code == 1 && stranger.failure.contains("thesis.txt"), "\(stranger.errors)")
    // All values are looked at before the first run.
    let wrong = try bench.attune(
      line: "sft --model model --data texts.jsonl --output grid --set epochs=[0,1]")
    #expect(wrong.code == 64 && wrong.failure.contains("epochs must be from 1 to 1000000"))
    try bench.write("r.json", #"{"model": "model", "data": "texts.jsonl", "epochs": [0, 1]}"#)
    let named = try bench.attune(line: "sft --config r.json --output other")
    #expect(named.code == 1 && named.failure.contains("r.json: epochs must be from 1 to 1000000"))
  }

  @Test func `an option beside a list of its knob is refused, whatever its name`() throws {
    let bench = try Workbench()
    try bench.write("prompts.jsonl", #"{"prompt":"a"}"# + "\n")
    try bench.write("r.json", #"{"dpo": {"beta": [0.1, 0.3]}, "samples_per_prompt": [2, 3]}"#)
    let iterate =
      "iterate --model model --data prompts.jsonl --reward labeller:concise --output runs"
    for (options, words) in [
      ("--config r.json --beta 0.05", "dpo.beta is given twice: by --beta and by a list in r.json"),
      (
        "--config r.json --n 4", "samples_per_prompt is given twice: by --n and by a list in r.json"
      ),
      ("--set dpo.beta=[0.1,0.3] --beta 0.05", "dpo.beta is given twice"),
      ("--set rounds=[1,2] --rounds 3", "rounds is given twice: by --set rounds and by --rounds"),
    ] {
      let run = try bench.attune(line: "\(iterate) \(options)")
      #expect(run.code == 64 && run.failure.contains(words), "\(options): \(run.errors)")
    }
  }

  @Test func `a recipe's options stand before what is no option`() throws {
    let bench = try Workbench()
    try bench.write("r.json", #"{"store": "f.db"}"#)
    try bench.write("rows.jsonl", #"{"prompt":"a"}"# + "\n")
    let run = try bench.attune(line: "feedback import --config r.json -- rows.jsonl")
    #expect(run.code == 0 && bench.exists("f.db"), "\(run.errors)")
  }

  @Test func `Ctrl-C stops a grid, and the same command goes on`() throws {
    let bench = try Workbench()
    let texts = (0..<200).map { "{\"text\":\"the cat \($0) sat on the mat \($0 * 7)\"}\n" }.joined()
    try bench.write("many.jsonl", texts)
    let line =
      "sft --model model --data many.jsonl --output runs --set epochs=[300,400] --threads 1"
    let words = line.split(separator: " ").map(String.init)
    let stopped = try CommandRun(
      words, in: bench.folder, interruptedAfter: 2, onceItSays: "Run 1 of 2")
    #expect(stopped.code == 130, "\(stopped.errors)")
    #expect(stopped.failure.contains("0 of 2 runs finished; the same command goes on"))
    #expect(!bench.exists("runs/epochs=400"))
    let again = try CommandRun(
      words, in: bench.folder, interruptedAfter: 2, onceItSays: "resuming at step")
    #expect(again.code == 130 && again.errors.contains("resuming at step"), "\(again.errors)")
  }
}
