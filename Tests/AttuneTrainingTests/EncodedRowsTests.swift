// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneNative
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

/// Templates that differ in what they write and rewrite.
private enum Template {
  static let plain = EncodingTests.template
  /// Thoughts in the last turn alone, as Qwen3 writes them.
  static let thinking = """
    {% for m in messages %}{% if m.role == 'assistant' and loop.last %}\
    {{ '[assistant]<t>' + (m.reasoning_content or '') + '</t>' + m.content + '<|endoftext|>' }}\
    {% else %}{{ '[' + m.role + ']' + m.content + '<|endoftext|>' }}{% endif %}{% endfor %}\
    {% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}
    """
  /// Tools before all turns, and their calls.
  static let tools = """
    {% if tools %}{{ 'T' ~ (tools | tojson) }}{% endif %}{% for m in messages %}\
    {{ '[' + m.role + ']' + m.content }}{% for c in m.tool_calls or [] %}{{ c | tojson }}\
    {% endfor %}{{ '<|endoftext|>' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}
    """
}

struct EncodedRowsTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func model(_ template: String?, tokenizer: Tokenizer = .bytes) throws -> LoadedModel {
    var spec = TransformerSpec(
      architecture: .llama, vocabularySize: 600, width: 16, layers: 1, heads: 2,
      keyValueHeads: 1, mlpWidth: 16, maximumPositions: 256, tiedHead: true)
    spec.endOfSequence = [2]
    return try LoadedModel.random(
      spec, tokenizer: tokenizer, chatTemplate: template, seed: 1, on: NativeEngine())
  }

  private func row(_ json: String) throws -> DataRow {
    try folder.rows("row.jsonl", [json]).rows[0]
  }

  private func conversation(_ turns: (String, String, String)...) -> String {
    let messages = turns.map { role, content, more in
      #"{"role": "\#(role)", "content": "\#(content)"\#(more)}"#
    }
    return #"{"messages": [\#(messages.joined(separator: ", "))]}"#
  }

  private func text(_ ids: some Sequence<Int32>, _ tokenizer: Tokenizer = .bytes) -> String {
    tokenizer.decode(Array(ids), skippingSpecialTokens: false)
  }

  private func scored(_ group: EncodedGroup) -> [String] {
    group.answers[0].scored.map { text(group.answers[0].ids[$0]) }
  }

  // MARK: - What is learned

  @Test func `a turn of weight 0 carries no loss`() throws {
    let encoder = try TextEncoder(model(Template.plain))
    let wrong = ("assistant", "Six.", #", "weight": 0"#)
    let first = try encoder.learned(
      row(conversation(("user", "2+3?", ""), wrong, ("user", "No.", ""), ("assistant", "5", ""))))
    #expect(first.count == 1)
    #expect(text(first[0].prompt).contains("Six.") && scored(first[0]) == ["5<|endoftext|>"])
    let between = try encoder.learned(
      row(
        conversation(
          ("user", "a", ""), ("assistant", "b", ""), ("user", "c", ""), wrong, ("user", "d", ""),
          ("assistant", "e", #", "train": true"#))))
    #expect(scored(between[0]) == ["b<|endoftext|>", "e<|endoftext|>"])
    #expect(text(between[0].answers[0].ids).contains("Six."))
    // Behind the last answer that is learned nothing is worth a pass.
    let last = try encoder.learned(
      row(conversation(("user", "a", ""), ("assistant", "b", ""), ("user", "c", ""), wrong)))
    #expect(scored(last[0]) == ["b<|endoftext|>"] && !text(last[0].answers[0].ids).contains("Six"))
    let passed = #expect(throws: PassedOver.self) {
      try encoder.learned(row(conversation(("user", "a", ""), wrong)))
    }
    #expect(passed?.line == 1 && passed?.reason == "no answer to learn from")
    // In a pair, too.
    let pair = try encoder.group(
      row(
        #"{"prompt": [{"role": "user", "content": "q"}], "chosen": [{"role": "assistant", "#
          + #""content": "a", "weight": 0}, {"role": "user", "content": "r"}, {"role": "#
          + #""assistant", "content": "b"}], "rejected": "c"}"#))
    #expect(scored(pair) == ["b<|endoftext|>"])
  }

  @Test func `answers before anybody asked are given, empty ones are not learned`() throws {
    let encoder = try TextEncoder(model(Template.plain))
    let greeted = try encoder.learned(
      row(
        conversation(
          ("assistant", "Welcome.", ""), ("user", "Ferns?", ""), ("assistant", "Four kinds.", ""))))
    #expect(text(greeted[0].prompt).contains("Welcome."))
    #expect(scored(greeted[0]) == ["Four kinds.<|endoftext|>"])
    let silent = try encoder.learned(
      row(
        conversation(
          ("user", "How?", ""), ("assistant", "", ""), ("user", "The gist?", ""),
          ("assistant", "So.", ""))))
    #expect(scored(silent[0]) == ["So.<|endoftext|>"])
    for turns in [
      conversation(("system", "Be kind.", "")), conversation(("assistant", "Hello", "")),
      conversation(("user", "a", ""), ("assistant", " ", "")),
      #"{"prompt": "a", "completion": ""}"#, #"{"text": ""}"#,
      #"{"prompt": [{"role": "user", "content": "a"}], "completion": ""}"#,
    ] {
      #expect(throws: PassedOver.self, "\(turns)") { try encoder.learned(row(turns)) }
    }
    // An empty answer that was compared with another one is an answer.
    let pair = try encoder.group(row(#"{"prompt": "p", "chosen": "c", "rejected": ""}"#))
    #expect(pair.answers[1].ids == [256])
  }

  @Test func `a template that rewrites earlier turns makes a text for each answer`() throws {
    let encoder = try TextEncoder(model(Template.thinking))
    let turns = try row(
      conversation(
        ("user", "u", ""), ("assistant", "a", #", "reasoning_content": "x""#), ("user", "v", ""),
        ("assistant", "b", "")))
    let groups = try encoder.learned(turns)
    #expect(
      groups.map { text($0.prompt) } == [
        "[user]u<|endoftext|>[assistant]",
        "[user]u<|endoftext|>[assistant]a<|endoftext|>[user]v<|endoftext|>[assistant]",
      ])
    #expect(groups.map(scored) == [["<t>x</t>a<|endoftext|>"], ["<t></t>b<|endoftext|>"]])
    // Each is what the template makes of the conversation up to there.
    let last = try encoder.learned(turns, answers: .last)
    #expect(last == [groups[1]])
    let one = try encoder.learned(row(conversation(("user", "u", ""), ("assistant", "a", ""))))
    #expect(one.count == 1)
    // A template that keeps what it wrote has them in one text, each under its mask.
    let kept = try TextEncoder(model(Template.plain)).learned(turns.plain)
    #expect(kept.count == 1 && kept[0].answers[0].scored.count == 2)
    let lastKept = try TextEncoder(model(Template.plain)).learned(turns.plain, answers: .last)
    #expect(lastKept.map(scored) == [["b<|endoftext|>"]])
    // A pair whose answers have several turns has no such texts.
    #expect(throws: TrainingError.self) {
      try encoder.group(
        row(
          #"{"prompt": [{"role": "user", "content": "q"}], "chosen": [{"role": "assistant", "#
            + #""content": "a"}, {"role": "user", "content": "r"}, {"role": "assistant", "#
            + #""content": "b"}], "rejected": "c"}"#))
    }
  }

  // MARK: - What is given

  @Test func `an answer goes on after the words that the prompt ends in`() throws {
    let encoder = try TextEncoder(model(Template.plain))
    let prompt =
      #""prompt": [{"role": "user", "content": "q"}, {"role": "assistant", "#
      + #""content": "Dear Ms Kern, I am sorry that"}]"#
    let given = try encoder.group(row("{\(prompt)}"))
    #expect(text(given.prompt).hasSuffix("<|im_start|>assistant\nDear Ms Kern, I am sorry that"))
    for answer in [
      #""completion": " it is late.""#,
      #""completion": [{"role": "assistant", "content": " it is late."}]"#,
    ] {
      let row = try row("{\(prompt), \(answer)}")
      for group in [try encoder.group(row)] + (try encoder.learned(row)) {
        #expect(group.prompt == given.prompt)
        #expect(text(group.answers[0].ids) == " it is late.<|endoftext|>")
        #expect(group.answers[0].scored == [0..<group.answers[0].ids.count])
      }
    }
    let pair = try encoder.group(row("{\(prompt), \"chosen\": \" a\", \"rejected\": \" b\"}"))
    #expect(pair.prompt == given.prompt)
    #expect(pair.answers.map { text($0.ids) } == [" a<|endoftext|>", " b<|endoftext|>"])
    // As a model would have gone on, whatever the template does to whole turns.
    let thinking = try TextEncoder(model(Template.thinking))
    let group = try thinking.group(row("{\(prompt), \"completion\": \" b\"}"))
    #expect(text(group.prompt).hasSuffix("<t></t>Dear Ms Kern, I am sorry that"))
    #expect(text(group.answers[0].ids) == " b<|endoftext|>")
    let call = #expect(throws: DataError.self) {
      try TextEncoder(model(Template.tools)).prompt(
        .messages([
          Message(role: "user", content: "q"),
          Message(
            role: "assistant", content: "",
            fields: [.init("tool_calls", .array([.object([])]))]),
        ]))
    }
    #expect(call?.message.contains("a call of tools") == true)
  }

  @Test func `tools reach the template, and one that writes none is refused`() throws {
    let tools = #""tools": [{"type": "function", "function": {"name": "level"}}]"#
    let turns =
      #"{"role": "user", "content": "How high?"}, {"role": "assistant", "content": "", "#
      + #""tool_calls": [{"name": "level"}]}, {"role": "tool", "content": "212"}, "#
      + #"{"role": "assistant", "content": "212 cm."}"#
    let encoder = try TextEncoder(model(Template.tools))
    let learned = try encoder.learned(row("{\"messages\": [\(turns)], \(tools)}"))
    let list = #"T[{"type": "function", "function": {"name": "level"}}]"#
    #expect(text(learned[0].prompt) == list + "[user]How high?<|endoftext|>[assistant]")
    #expect(scored(learned[0]) == [#"{"name": "level"}<|endoftext|>"#, "212 cm.<|endoftext|>"])
    let pair = try encoder.group(
      row(
        "{\"prompt\": [{\"role\": \"user\", \"content\": \"q\"}], \"chosen\": \"a\", "
          + "\"rejected\": \"b\", \(tools)}"))
    #expect(text(pair.prompt).hasPrefix(list))
    for (json, field) in [
      ("{\"messages\": [\(turns)], \(tools)}", "\"tools\""),
      ("{\"messages\": [\(turns)]}", "\"tool_calls\""),
      (
        conversation(("user", "u", ""), ("assistant", "a", #", "reasoning_content": "x""#)),
        "\"reasoning_content\""
      ),
    ] {
      let error = #expect(throws: TrainingError.self) {
        try TextEncoder(model(Template.plain)).learned(row(json))
      }
      #expect(error?.message.hasPrefix("line 1: \(field)") == true, "\(error?.message ?? "")")
    }
    // Thoughts of earlier turns, which templates leave out, are no fault of a prompt.
    let thinking = try TextEncoder(model(Template.thinking))
    let asked = try thinking.prompt(
      .messages([
        Message(role: "user", content: "u"),
        Message(
          role: "assistant", content: "a", fields: [.init("reasoning_content", .string("x"))]),
        Message(role: "user", content: "v"),
      ]))
    #expect(text(asked).contains("[assistant]a<|endoftext|>[user]v"))
  }

  @Test func `a string has the beginning of sequence that its tokenizer puts there, once`() throws {
    let fixture = URL(filePath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "Fixtures/tokenizers/llama3")
    let tokenizer = try Tokenizer.load(directory: fixture)
    let begin = try #require(tokenizer.sequencePrefix.first)
    let loaded = try model(Template.plain, tokenizer: tokenizer)
    let encoder = try TextEncoder(loaded)
    let words = tokenizer.encode("The river is")
    #expect(try encoder.prompt(.text("The river is")) == [begin] + words)
    #expect(try encoder.prompt(.text("<|endoftext|>The river is")) == [begin] + words)
    #expect(try encoder.prompt(.text("")) == [begin])
    for json in [
      #"{"prompt": "The river is", "completion": " deep"}"#,
      #"{"prompt": "The river is", "chosen": " deep", "rejected": " low"}"#,
      #"{"prompt": "The river is", "completion": " deep", "label": true}"#,
    ] {
      let group = try encoder.group(row(json))
      #expect(group.prompt == [begin] + words)
      #expect(group.answers[0].ids.first == tokenizer.encode(" deep").first)
    }
    let text = try encoder.group(row(#"{"text": "<|endoftext|>The river"}"#))
    #expect(text.prompt == [begin] && text.answers[0].ids.starts(with: tokenizer.encode("The")))
    #expect(text.answers[0].scored == [0..<text.answers[0].ids.count])
    // A prompt that is cut keeps it.
    let long = try TextEncoder(loaded, maximumLength: 12).group(
      row(#"{"prompt": "one two three four five six seven eight", "completion": " nine"}"#))
    #expect(long.promptCut > 0 && long.prompt.first == begin && long.prompt[1] != begin)
    // Chat templates write their own.
    let chat = try TextEncoder(
      model("{{ '<|endoftext|>' }}{{ messages[0].content }}", tokenizer: tokenizer))
    let turn = Message(role: "user", content: "a")
    #expect(try chat.prompt(.messages([turn])) == [begin] + tokenizer.encode("a"))
  }

  // MARK: - Length

  @Test func `a prompt keeps a quarter of the longest length, and what is cut is counted`() throws {
    let loaded = try model(Template.plain)
    let prompt = String(repeating: "p", count: 30)
    func group(_ answer: Int, _ tooLong: TooLong = .cut) throws -> EncodedGroup {
      try TextEncoder(loaded, maximumLength: 40, tooLong: tooLong).group(
        row(
          #"{"prompt": "\#(prompt)", "completion": "\#(String(repeating: "a", count: answer))"}"#))
    }
    let fits = try group(9)
    #expect(fits.prompt.count == 30 && fits.answers[0].ids.count == 10 && fits.promptCut == 0)
    let cut = try group(25)
    #expect(cut.prompt.count == 14 && cut.promptCut == 16 && !cut.answers[0].isCut)
    let both = try group(50)
    #expect(both.prompt.count == 10 && both.answers[0].ids.count == 30 && both.answers[0].isCut)
    #expect(try group(9, .drop) == fits)
    let dropped = #expect(throws: PassedOver.self) { try group(25, .drop) }
    #expect(dropped?.reason == "longer than max_length 40")
  }
}

extension DataRow {
  /// Without its messages' further fields.
  fileprivate var plain: DataRow {
    var row = self
    if case .text(.messages(let messages)) = example {
      row.example = .text(
        .messages(messages.map { Message(role: $0.role, content: $0.content) }))
    }
    return row
  }
}

struct RowAccountTests {
  private let folder: TemporaryFolder
  private var output: URL { folder.url.appending(path: "out") }

  init() throws { folder = try TemporaryFolder() }

  private func check(_ account: RowAccount, read: Int, leftOut: [String: (Int, line: Int)]) {
    #expect(account.read == read)
    #expect(account.trained + account.heldOut + account.leftOutRows == read)
    for part in account.leftOut {
      #expect(leftOut[part.reason]?.0 == part.rows, "\(part)")
      #expect(leftOut[part.reason]?.line == part.firstLine, "\(part)")
    }
    #expect(account.leftOut.count == leftOut.count, "\(account.leftOut)")
  }

  private static let thumbs = (0..<5).map {
    #"{"prompt": "Question \#($0)?", "completion": " \#($0).", "label": \#($0 % 2 == 0)}"#
  }

  @Test func `kto trains what it cannot hold out`() throws {
    let data = try folder.rows("thumbs.jsonl", Self.thumbs)
    var settings = KTOSettings()
    settings.batchSize = 5
    let report = try KTO.train(
      tinyModel(), data: data, settings: settings, output: output, options: .quiet)
    check(report.dataRows, read: 5, leftOut: [:])
    #expect(report.rows == 5 && report.dataRows.trained == 5 && report.leftOut == 0)
  }

  @Test func `rows of a JSON list on one line are rows, not one`() throws {
    let list = folder.file("thumbs.json", "[" + Self.thumbs.joined(separator: ",") + "]\n")
    var settings = KTOSettings()
    settings.batchSize = 5
    let report = try KTO.train(
      tinyModel(), data: try DataFile.read(list), settings: settings, output: output,
      options: .quiet)
    check(report.dataRows, read: 5, leftOut: [:])
    #expect(report.dataRows.trained == 5)
    let texts = folder.file("texts.json", #"[{"text": "one two"}, {"text": "three"}]"#)
    let tuned = try SFT.train(
      tinyModel(), data: try DataFile.read(texts), settings: SFTSettings(),
      output: folder.url.appending(path: "sft"), options: .quiet)
    #expect(tuned.rows == 2 && tuned.dataRows.trained == 2)
  }

  @Test func `equal pairs are passed over and counted, after the cut too`() throws {
    let long = String(repeating: "x", count: 60)
    let pairs = [
      #"{"prompt": "p", "chosen": " same", "rejected": " same"}"#,
      #"{"prompt": "q", "chosen": " a", "rejected": " b"}"#,
      #"{"prompt": "r", "chosen": "\#(long)1", "rejected": "\#(long)2"}"#,
      #"{"prompt": "s", "chosen": " a", "rejected": " a"}"#,
      #"{"prompt": "t", "chosen": " c", "rejected": " d"}"#,
    ]
    let data = try folder.rows("pairs.jsonl", pairs)
    let reasons = [
      "chosen and rejected are the same": (2, line: 1),
      "chosen and rejected are the same within max_length 32": (1, line: 3),
    ]
    var dpo = DPOSettings()
    dpo.maxLength = 32
    dpo.evaluationShare = 0
    let pairwise = try DPO.train(
      tinyModel(), data: data, settings: dpo, output: output, options: .quiet)
    check(pairwise.dataRows, read: 5, leftOut: reasons)
    #expect(pairwise.rows == 2 && pairwise.leftOut == 3)
    var kto = KTOSettings()
    kto.maxLength = 32
    kto.evaluationShare = 0
    let thumbs = try KTO.train(
      tinyModel(), data: data, settings: kto, output: folder.url.appending(path: "kto"),
      options: .quiet)
    check(thumbs.dataRows, read: 5, leftOut: reasons)
    #expect(thumbs.rows == 4)
    var reward = RewardModelSettings()
    reward.maxLength = 32
    reward.evaluationShare = 0
    let scored = try RewardModel.train(
      tinyModel(), data: data, settings: reward, output: folder.url.appending(path: "reward"),
      options: .quiet)
    check(scored.dataRows, read: 5, leftOut: reasons)
    // Longer ones can be left out instead.
    dpo.tooLong = .drop
    let dropped = try DPO.train(
      tinyModel(), data: data, settings: dpo, output: folder.url.appending(path: "drop"),
      options: .quiet)
    check(
      dropped.dataRows, read: 5,
      leftOut: [
        "chosen and rejected are the same": (2, line: 1), "longer than max_length 32": (1, line: 3),
      ])
  }

  @Test func `sft passes over what holds no answer`() throws {
    let data = try folder.rows(
      "chats.jsonl",
      [
        #"{"messages": [{"role": "system", "content": "Be kind."}]}"#,
        #"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#,
        #"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}]}"#,
      ])
    let model = try LoadedModel.random(
      tinyModel().model.spec, chatTemplate: EncodingTests.template, seed: 1, on: NativeEngine())
    let report = try SFT.train(
      model, data: data, heldOut: data, settings: SFTSettings(), output: output, options: .quiet)
    check(report.dataRows, read: 3, leftOut: ["no answer to learn from": (2, line: 1)])
    #expect(report.rows == 1 && report.texts == 1 && report.heldOutDataRows?.heldOut == 1)
    let error = #expect(throws: TrainingError.self) {
      try SFT.train(
        model, data: folder.rows("none.jsonl", [#"{"text": ""}"#]), settings: SFTSettings(),
        output: folder.url.appending(path: "none"), options: .quiet)
    }
    #expect(error?.message.contains("the text is empty (line 1)") == true)
  }

  @Test func `a run keeps the date that its template wrote`() throws {
    let dated = "{{ strftime_now('%Y-%m-%d') }}" + EncodingTests.template
    let model = try LoadedModel.random(
      tinyModel().model.spec, chatTemplate: dated, seed: 1, on: NativeEngine())
    let data = try folder.rows(
      "chat.jsonl",
      (0..<4).map {
        #"{"messages": [{"role": "user", "content": "\#($0)"}, "#
          + #"{"role": "assistant", "content": "b"}]}"#
      })
    var settings = SFTSettings()
    settings.batchSize = 2
    settings.epochs = 3
    let record = output.appending(path: "run.json")
    #expect(throws: TrainingError.self) {
      try SFT.train(
        model, data: data, settings: settings, output: output, options: .stopping(after: 2))
    }
    // As if the run had been begun on another day.
    let text = try String(contentsOf: record, encoding: .utf8)
    let today = TemplateClock.text
    let formatter = DateFormatter()
    formatter.dateFormat = "yyyy-MM-dd'T'HH:mm:ss"
    formatter.locale = Locale(identifier: "en_US_POSIX")
    // The wall clock's, where the process began.
    #expect(abs(try #require(formatter.date(from: today)).timeIntervalSinceNow) < 3600)
    #expect(text.contains("\"clock\" : \"\(today)\""))
    TemplateClock.resume("2024-07-26T09:30:00")
    let old = folder.url.appending(path: "old")
    #expect(throws: TrainingError.self) {
      try SFT.train(
        model, data: data, settings: settings, output: old, options: .stopping(after: 2))
    }
    TemplateClock.resume(today)
    let report = try SFT.train(
      model, data: data, settings: settings, output: old, options: .quiet)
    #expect(report.steps == 6 && TemplateClock.text == "2024-07-26T09:30:00")
    #expect(
      try String(contentsOf: old.appending(path: "run.json"), encoding: .utf8)
        .contains("\"clock\" : \"2024-07-26T09:30:00\""))
    TemplateClock.resume(today)
  }
}
