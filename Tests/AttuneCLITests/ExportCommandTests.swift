// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneTestSupport
import Foundation
import Testing

struct ExportCommandTests {
  private static let template =
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nBe kind.<|im_end|>\\n' }}{% endif %}"
    + "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
    + "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

  @Test func `a GGUF file answers as its model does, and adapters go beside or into it`() throws {
    let bench = try Workbench()
    try bench.write(
      "rows.jsonl",
      ["sat", "ran"].map { "{\"prompt\":\"the cat \",\"completion\":\"\($0) on the mat\"}\n" }
        .joined())
    let trained = try bench.attune(
      line: "sft --model model --data rows.jsonl --set train=lora --set epochs=5 "
        + "--learning-rate 0.01 --output adapted")
    #expect(trained.code == 0, "\(trained.errors)")
    func sums(_ model: String) throws -> [Double] {
      let run = try bench.attune(
        line: "logprobs --model \(model) --data rows.jsonl --output sums.jsonl")
      #expect(run.code == 0, "\(run.errors)")
      return try bench.read("sums.jsonl").split(separator: "\n").map { line in
        let row = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
        return try #require(row?["sum"] as? Double)
      }
    }
    let expected = try sums("adapted")
    for line in [
      "export --model adapted --to gguf --type f32 --output whole.gguf",
      "export --model model --adapter adapted --to gguf --type f32 --output whole2.gguf",
    ] {
      let run = try bench.attune(line: line)
      #expect(run.code == 0, "\(run.errors)")
      let file = String(line.split(separator: " ").last ?? "")
      for (a, b) in zip(try sums(file), expected) { #expect(abs(a - b) < 1e-4) }
    }
    // Coarser, but still the model.
    let run = try bench.attune(
      line: "export --model adapted --to gguf --type q8_0 --output q.gguf --json")
    #expect(run.code == 0, "\(run.errors)")
    #expect(try run.object()["type"] as? String == "q8_0")
    for (a, b) in zip(try sums("q.gguf"), expected) { #expect(abs(a - b) < 0.5) }

    let alone = try bench.attune(
      line: "export --model adapted --to adapter-gguf --type f32 --output a.gguf")
    #expect(alone.code == 0, "\(alone.errors)")
    let adapter = try GGUF(bench.folder.appending(path: "a.gguf"))
    #expect(adapter.metadata["general.type"]?.string == "adapter")
    #expect(adapter.metadata["adapter.type"]?.string == "lora")
    let base = try GGUF(bench.folder.appending(path: "whole.gguf"))
    for name in adapter.names {
      let weight = try #require(base.shape(of: String(name.dropLast(".lora_a".count))), "\(name)")
      let shape = try #require(adapter.shape(of: name))
      #expect(name.hasSuffix("a") ? shape[1] == weight[1] : shape[0] == weight[0])
    }
  }

  @Test func `a folder for Ollama has the turns of the chat template`() throws {
    let bench = try Workbench()
    let file = bench.folder.appending(path: "model/tokenizer_config.json")
    var fields =
      (try? JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any]) ?? [:]
    fields["chat_template"] = Self.template
    try JSONSerialization.data(withJSONObject: fields).write(to: file)
    let run = try bench.attune(line: "export --model model --to ollama --output o")
    #expect(run.code == 0, "\(run.errors)")
    let text = try bench.read("o/Modelfile")
    #expect(text.hasPrefix("FROM ./model.gguf\n"))
    #expect(
      text.contains(
        """
        TEMPLATE \"\"\"{{ if .System }}<|im_start|>system
        {{ .System }}<|im_end|>
        {{ end }}<|im_start|>user
        {{ .Prompt }}<|im_end|>
        <|im_start|>assistant
        {{ .Response }}<|im_end|>
        \"\"\"
        SYSTEM \"\"\"Be kind.\"\"\"
        """), "\(text)")
    #expect(
      try GGUF(bench.folder.appending(path: "o/model.gguf")).metadata["tokenizer.chat_template"]?
        .string == Self.template)
  }

  @Test(arguments: [
    ("--to gguf --output x", 1, "ends in .gguf"),
    ("--to hf --type q8_0 --output x", 64, "f32, f16 or bf16"),
    ("--to adapter-gguf --output x.gguf", 1, "holds no adapters"),
    ("--to zip --output x", 64, "--to"),
    ("--to gguf --type q9 --output x.gguf", 64, "--type"),
    ("--adapter model --to gguf --output x.gguf", 1, "holds no adapters"),
  ])
  func `what can't be written is told`(line: String, code: Int32, why: String) throws {
    let bench = try Workbench()
    let run = try bench.attune(line: "export --model model \(line)")
    #expect(run.code == code)
    #expect(run.errors.contains(why), "\(run.errors)")
  }
}
