// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneNative
import AttuneObjectives
import AttuneRewards
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

struct RewardSourceTests {
  static let prompts = ["a cat", "a cat", "a dog"].map { DataPrompt(.text($0)) }
  static let texts = ["sat on the mat", "ran", "barks and barks"]

  /// Those answers as texts, cut at the token limit.
  static let completions = texts.map { Completion(ids: [], text: $0, endedByItself: false) }

  func source(_ text: String, beside model: LoadedModel? = nil) throws -> any RewardSource {
    try RewardSources([RewardSpecification(text)], on: NativeEngine(), beside: model).weighted[0]
      .source
  }

  func scores(
    _ text: String, beside model: LoadedModel? = nil, shared: SharedPass? = nil
  ) throws -> [Double] {
    try source(text, beside: model).checkedScores(
      prompts: Self.prompts, completions: Self.completions, shared: shared)
  }

  /// The same answers as a rollout has them.
  func pass(_ base: LoadedModel, layers: Int) throws -> SharedPass {
    func ids(_ text: String) -> [Int32] { base.tokenizer.encode(text) }
    let segments = [
      Segment(ids("a cat")), Segment(ids(Self.texts[0]), parent: 0),
      Segment(ids(Self.texts[1]), parent: 0), Segment(ids("a dog")),
      Segment(ids(Self.texts[2]), parent: 3),
    ]
    return SharedPass(
      segments: segments, answers: [1, 2, 4],
      trunk: try base.model.trunk(segments, layers: layers), origin: base.origin)
  }

  func agree(_ a: [Double], _ b: [Double], within tolerance: Double = 1e-5) -> Bool {
    a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) < tolerance }
  }

  @Test func `a reward model says once that it does not see the whole`() throws {
    let encoder = try TextEncoder(try tinyModel())
    let notice = CutNotice()
    func groups(_ prompt: String) throws -> [EncodedGroup] {
      try encoder.groups(
        prompts: [DataPrompt(.text(prompt))], completions: [Self.completions[0]], source: "model:m",
        notice: notice)
    }
    let short = try groups("a cat")
    #expect(notice.warning(for: short, source: "model:m", most: 128) == nil)
    let long = try groups(String(repeating: "cat ", count: 50))
    #expect(notice.warning(for: long, source: "model:m", most: 128) == nil)
    let words = CutNotice().warning(for: long, source: "model:m", most: 128)
    #expect(words?.hasPrefix("model:m: reads 128 tokens at most") == true, "\(words ?? "")")
  }

  // MARK: Specifications

  @Test func `kind, argument and weight are told apart`() throws {
    for (text, name, weight) in [
      ("labeller:concise", "labeller:concise", 1.0), ("length:20-40@0.5", "length:20-40", 0.5),
      ("regex:a@2@1", "regex:a@2", 1), ("regex:me@home", "regex:me@home", 1),
      ("exec:2.5s:cat -@-3", "exec:2.5s:cat -", -3),
      ("ensemble:mean-0.5std:a,b", "ensemble:mean-0.5std:a,b", 1),
    ] {
      let source = try RewardSpecification(text)
      #expect(source.name == name && source.weight == weight, "\(source)")
    }
  }

  @Test(arguments: [
    ("concise", "write KIND:ARGUMENT"), ("lenght:3", "did you mean length?"),
    ("model:", "nothing stands after model:"), ("labeller:consise", "concise"),
    ("regex:a(b", "missing closing parenthesis, after “a(b”"),
    ("regex:[z-a]", "range out of order"),
    ("length:0", "from 1 on"), ("length:9-3", "MIN-MAX"), ("length:few", "length:few"),
    ("ensemble:runs/a,runs/b", "RULE"), ("ensemble:max:a,b", "RULE"),
    ("ensemble:mean-std:a,b", "RULE"), ("ensemble:min:a", "two reward models"),
    ("ensemble:min:a,", "two reward models"), ("implicit:a,b,c", "implicit:POLICY"),
    ("implicit:,b", "implicit:POLICY"),
    ("implicit:a,temperature=0", "temperature is a number above 0"),
    ("implicit:a,b,c,temperature=2", "implicit:POLICY"), ("exec:0s:cat", "seconds above 0"),
    ("exec:3s: ", "seconds above 0"),
  ])
  func `what is wrong with a source is said before anything is opened`(text: String, word: String) {
    let error = #expect(throws: TrainingError.self) { try RewardSpecification(text) }
    #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
  }

  @Test func `a process reward model is read after every step`() throws {
    let family = try ModelFamily()
    var scale = RewardScale(mean: 0, deviation: 1)
    scale.stepSeparator = "\n"
    let folder = try family.member("steps", .full, seed: 5, isReward: true, scale: scale)
    let encoder = try TextEncoder(family.base)
    let text = "one two\nthree\n\nfour"
    let ids = encoder.tokenizer.encode(text) + [encoder.endOfSequence]
    let ends = encoder.stepEnds(of: ids, separator: "\n")
    #expect(ends.count == 3)
    let prompt = DataPrompt(.text("a cat"))
    func ask(_ rule: String, _ answers: [Completion], shared: SharedPass? = nil) throws -> [Double]
    {
      try source("model:\(folder)\(rule)", beside: family.base).checkedScores(
        prompts: answers.map { _ in prompt }, completions: answers, shared: shared)
    }
    // What the model says of the answer up to each step, as of an answer that was cut there.
    let parts = ends.map { end in
      let part = Array(ids[...end])
      return Completion(
        ids: part, text: encoder.tokenizer.decode(part), endedByItself: end == ids.count - 1)
    }
    let likely = try ask("", parts).map { 1 / (1 + exp(-$0)) }
    let whole = [Completion(ids: ids, text: text, endedByItself: true)]
    let segments = [Segment(try encoder.prompt(prompt.content)), Segment(ids, parent: 0)]
    let shared = SharedPass(
      segments: segments, answers: [1], trunk: nil, origin: family.base.fingerprint)
    for (rule, value) in [
      ("min", likely.min() ?? 0), ("prod", likely.reduce(1, *)), ("last", likely[2]),
      ("mean", likely.reduce(0, +) / 3),
    ] {
      #expect(abs(try ask(":\(rule)", whole)[0] - value) < 1e-5, "\(rule)")
      #expect(abs(try ask(":\(rule)", whole, shared: shared)[0] - value) < 1e-5, "\(rule), shared")
    }
    // In parts: what a step adds to the least of those up to it.
    let added = try #require(
      try source("model:\(folder):min", beside: family.base).parts(
        prompts: [prompt], completions: whole, shared: shared))[0]
    #expect(
      added.count == ids.count && added.indices.filter { added[$0] != 0 }.allSatisfy(ends.contains))
    for count in 1...3 {
      let sum = added[...ends[count - 1]].reduce(0, +)
      #expect(abs(sum - (likely.prefix(count).min() ?? 0)) < 1e-5)
    }
    // Shaping: what a step adds to the last one's, taken back at the end.
    let shaping = try source("model:\(folder):shaping", beside: family.base)
    let shaped = try #require(
      try shaping.parts(prompts: [prompt], completions: whole, shared: shared))[0]
    #expect(shaping.isShaping && abs(shaped.reduce(0, +)) < 1e-9)
    for count in 1...2 {
      #expect(abs(shaped[...ends[count - 1]].reduce(0, +) - likely[count - 1]) < 1e-5)
    }
    #expect(try ask(":shaping", whole) == [0])
    #expect(try source("model:\(folder)").parts(prompts: [], completions: [], shared: nil) == nil)
    #expect(Set(likely.map { Int($0 * 1e6) }).count == 3)
    let minimum = try source("model:\(folder):min", beside: family.base)
    #expect(minimum.name.hasSuffix(":min") && minimum.scale == nil)
    let plain = try family.member("plain", .full, seed: 6, isReward: true)
    let error = #expect(throws: TrainingError.self) { _ = try source("model:\(plain):min") }
    #expect(error?.message.contains("did not learn from steps") == true)
  }

  @Test func `every kind explains itself in one table`() {
    let lines = RewardSpecification.Kind.table.split(separator: "\n")
    #expect(lines.count == RewardSpecification.Kind.allCases.count)
    for (kind, line) in zip(RewardSpecification.Kind.allCases, lines) {
      #expect(line.hasPrefix("\(kind.rawValue):\(kind.form) – ") && kind.summary.count > 20)
    }
  }

  @Test func `the page describes every kind in the same form`() throws {
    let url = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "Documentation/Rewards.md")
    let page = try String(contentsOf: url, encoding: .utf8)
    for kind in RewardSpecification.Kind.allCases {
      #expect(page.contains("| `\(kind.rawValue):\(kind.form)` | "), "\(kind)")
    }
  }

  @Test func `a source twice, or a weight that nobody reads, is refused`() throws {
    let twice = try ["length:3", "length:3@2"].map { try RewardSpecification($0) }
    #expect(throws: TrainingError.self) { try RewardSources(twice, on: NativeEngine()) }
    let error = #expect(throws: TrainingError.self) {
      try twice[1].measured(by: "--watch")
    }
    #expect(error?.message.contains("--watch length:3@2.00") == true, "\(error?.message ?? "")")
    #expect(try twice[0].measured(by: "--watch") == twice[0])
    let shaping = #expect(throws: TrainingError.self) {
      try RewardSpecification("model:a:shaping").measured(by: "--watch")
    }
    #expect(shaping?.message.contains("says nothing of the whole") == true)
  }

  @Test func `fingerprints tell sources, weights and members apart`() throws {
    let family = try ModelFamily()
    let a = try family.member("a", .lastLayers(1), seed: 1, isReward: true)
    let b = try family.member("b", .lastLayers(1), seed: 2, isReward: true)
    let c = try family.member("c", .lastLayers(1), seed: 3, isReward: true)
    let marks = try [
      "length:3", "length:4", "length:3@2", "regex:3", "model:\(a)", "model:\(b)",
      "ensemble:min:\(a),\(b)", "ensemble:min:\(a),\(c)", "ensemble:mean:\(a),\(b)",
      "ensemble:mean-1std:\(a),\(b)", "ensemble:mean-2std:\(a),\(b)",
    ].map {
      try RewardSources([RewardSpecification($0)], on: NativeEngine(), beside: family.base)
        .fingerprint
    }
    #expect(Set(marks).count == marks.count)
  }

  // MARK: Rules

  @Test func `a pattern is found anywhere, in Unicode, within limits`() throws {
    func found(_ pattern: String, _ texts: String...) throws -> [Double] {
      try PatternReward(pattern).scores(
        prompts: texts.map { _ in DataPrompt(.text("")) },
        completions: texts.map { Completion(ids: [], text: $0, endedByItself: true) }, shared: nil)
    }
    #expect(try found(#"\d+"#, "yes 42", "no", "") == [1, 0, 0])
    #expect(try found(#"^\w+$"#, "größer", "zwei Worte") == [1, 0])
    #expect(try found("(?i)yes", "YES", "sey") == [1, 0])
    #expect(try found("^$", "", "x") == [1, 0])
    // Two to the forty ways to fail.
    let hostile = String(repeating: "a", count: 40) + "b"
    #expect(try found("(a|a)+$", hostile, "aaa") == [0, 1])
  }

  @Test func `penalties of length are what their papers say`() throws {
    let prompts = [0, 0, 0, 1, 1].map { DataPrompt(.text("\($0)")) }
    let completions = [10, 30, 20, 5, 5].map {
      Completion(ids: Array(repeating: 7, count: $0), text: "x", endedByItself: true)
    }
    let cases: [(rule: String, wanted: [Double])] = [
      ("tokens", [-10, -30, -20, -5, -5]), ("target:20", [-10, -10, 0, -15, -15]),
      ("overlong:30,15", [0, -1, -1 / 3, 0, 0]), ("overlong:25", [0, -1, 0, 0, 0]),
      ("group", [0.5, -0.5, 0, 0, 0]),
    ]
    for (rule, wanted) in cases {
      let source = try source("length:\(rule)")
      let found = try source.checkedScores(prompts: prompts, completions: completions, shared: nil)
      #expect(agree(found, wanted), "\(rule): \(found)")
      #expect(source.isRelative == (rule == "group"))
      // Of a text alone nobody knows the tokens.
      #expect(throws: AnswerFault.self) { try scores("length:\(rule)") }
    }
    // Of the first prompt's answers one is right, of the second's the first.
    let rows = try [0, 1].map { i in
      let json = try JSONValue(parsing: #"{"prompt":"\#(i)","answer":"x"}"#)
      return DataRow(line: i + 1, example: .prompt(.text("\(i)")), json: json)
    }
    let asked = [0, 0, 0, 1, 1].map { DataPrompt(.text("\($0)"), row: rows[$0]) }
    let texts = ["x", "y", "y", "x", "y"]
    let given = zip([10, 30, 20, 5, 90], texts).map {
      Completion(ids: Array(repeating: 7, count: $0), text: $1, endedByItself: true)
    }
    let checked: [(rule: String, wanted: [Double])] = [
      ("group:answer:exact", [0.5, -0.5, 0, 0.5, -0.5]),
      // TRL 1.16's get_cosine_scaled_reward(max_len=40) on 10 right, 30, 20 wrong, 5 right, 90 wrong.
      (
        "cosine:40:answer:exact",
        [0.9267766952966369, -0.5732233047033631, -0.75, 0.9809698831278217, -0.5]
      ),
    ]
    for (rule, wanted) in checked {
      let source = try source("length:\(rule)")
      #expect(source.readsRows)
      let found = try source.checkedScores(prompts: asked, completions: given, shared: nil)
      #expect(agree(found, wanted, within: 1e-12), "\(rule): \(found)")
    }
    let swapped = try source("length:group:answer:exact").checkedScores(
      prompts: asked,
      completions: given.map { given in
        var given = given
        given.text = given.text == "x" ? "y" : "x"
        return given
      }, shared: nil)
    #expect(agree(swapped, [0, -0.5, 0, 0, -0.5]), "\(swapped)")
    for wrong in [
      "target:0", "target:a", "overlong:5,9", "overlong", "tokens:3", "group:2", "1-2-3",
      "cosine:9",
      "cosine:9:length:3", "cosine:a:answer:exact", "group:answer:exact@2", "group:answer:exat",
    ] {
      #expect(throws: TrainingError.self, "\(wrong)") {
        try RewardSpecification("length:\(wrong)@1")
      }
    }
    #expect(throws: TrainingError.self) {
      try RewardSpecification("length:group").measured(by: "--watch")
    }
  }

  @Test func `a length costs its logarithm from the nearest bound`() throws {
    #expect(agree(try scores("length:2"), [-log(2.0), -log(2.0), -log(1.5)]))
    #expect(agree(try scores("length:3-9"), [0, -log(3.0), 0]))
    let empty = Completion(ids: [], text: " \n", endedByItself: true)
    #expect(
      agree(
        try LengthReward("5").scores(
          prompts: [DataPrompt(.text(""))], completions: [empty], shared: nil),
        [-log(5.0)]))
  }

  // MARK: Models

  @Test func `an ensemble is what its members say by hand`() throws {
    let family = try ModelFamily()
    let scales = [
      RewardScale(mean: 0.3, deviation: 2), RewardScale(mean: -1, deviation: 0.5),
      RewardScale(mean: 0.1, deviation: 0),
    ]
    let lora = Trainable.lora(LoRASettings(rank: 2, alpha: 4, lastLayers: 1))
    let members = [
      try family.member("a", .lastLayers(1), seed: 1, isReward: true, scale: scales[0]),
      try family.member("b", lora, seed: 2, isReward: true, scale: scales[1]),
      try family.member("c", .full, seed: 3, isReward: true, scale: scales[2]),
    ]
    let own = try zip(members, scales).map { member, scale in
      try scores("model:\(member)", beside: family.base).map {
        ($0 - scale.mean) / (scale.deviation == 0 ? 1 : scale.deviation)
      }
    }
    #expect(Set(own.flatMap(\.self)).count == 9)
    let list = members.joined(separator: ",")
    func by(_ rule: ([Double]) -> Double) -> [Double] {
      (0..<3).map { i in rule(own.map { $0[i] }) }
    }
    for (name, rule) in [
      ("mean", { Statistics.mean($0) }), ("min", { $0.min() ?? .nan }),
      ("mean-0.5std", { Statistics.mean($0) - 0.5 * Statistics.standardDeviation($0) }),
    ] as [(String, ([Double]) -> Double)] {
      // Alone, beside the base, and on a rollout's own hidden states.
      let expected = by(rule)
      let spec = "ensemble:\(name):\(list)"
      #expect(agree(try scores(spec), expected), "\(name)")
      #expect(agree(try scores(spec, beside: family.base), expected), "\(name)")
      let pass = try pass(family.base, layers: 1)
      #expect(agree(try scores(spec, beside: family.base, shared: pass), expected), "\(name)")
    }
    let whole = try source("ensemble:min:\(list)", beside: family.base)
    #expect(whole.sharedLayers(with: family.base.origin) == 1)
    #expect(whole.sharedLayers(with: "another") == nil && whole.scale == nil)
  }

  @Test func `members without a scale count as they are, but not beside others`() throws {
    let family = try ModelFamily()
    let a = try family.member("a,1", .lastLayers(1), seed: 1, isReward: true)
    let b = try family.member("b", .lastLayers(1), seed: 2, isReward: true)
    let c = try family.member(
      "c", .lastLayers(1), seed: 3, isReward: true, scale: RewardScale(mean: 0, deviation: 1))
    let one = try scores("model:\(a)", beside: family.base)
    let two = try scores("model:\(b)", beside: family.base)
    let protected = a.replacing(",", with: "\\,")
    #expect(
      agree(
        try scores("ensemble:min:\(protected),\(b)", beside: family.base), zip(one, two).map(min)))
    let error = #expect(throws: TrainingError.self) {
      try scores("ensemble:min:\(b),\(c)", beside: family.base)
    }
    #expect(error?.message.contains("model:\(b) does not say") == true, "\(error?.message ?? "")")
    #expect(throws: TrainingError.self) {
      try scores("ensemble:min:\(b),\(family.base.name)", beside: family.base)
    }
  }

  /// The log-probabilities of the answers.
  func sums(_ loaded: LoadedModel, temperature: Double = 1) throws -> [Double] {
    let encoder = try TextEncoder(loaded)
    return try zip(Self.prompts, Self.texts).map { prompt, text in
      let group = try encoder.group(
        prompt: prompt.content, answers: [(.text(text), false)], line: 1)
      return try loaded.model.score(
        AnswerSegments([group]).segments, HeadRequest(temperature: temperature)
      ).logProbabilities[1].reduce(0, +)
    }
  }

  @Test(arguments: ["lora", "merged", "layers", "full"])
  func `an implicit reward is the difference of log-probabilities`(way: String) throws {
    let family = try ModelFamily()
    let lora = Trainable.lora(LoRASettings(rank: 2, alpha: 4, lastLayers: 1))
    let training: Trainable = way == "full" ? .full : way == "layers" ? .lastLayers(1) : lora
    let policy = try family.member("policy", training, seed: 5, merging: way == "merged")
    let other = try family.member("other", .full, seed: 6)
    let ours = try sums(LoadedModel.open(policy, on: NativeEngine()))
    let theirs = try sums(family.base)
    let others = try sums(LoadedModel.open(other, on: NativeEngine()))
    let expected = zip(ours, theirs).map { $0 - $1 }
    #expect(expected.allSatisfy { abs($0) > 0.01 })
    // What it was trained from is noted beside it.
    #expect(agree(try scores("implicit:\(policy)"), expected, within: 1e-4))
    #expect(agree(try scores("implicit:\(policy)", beside: family.base), expected, within: 1e-4))
    let pass = try pass(family.base, layers: 1)
    #expect(
      agree(
        try scores("implicit:\(policy)", beside: family.base, shared: pass), expected,
        within: 1e-4))
    #expect(
      agree(
        try scores("implicit:\(policy),\(other)"), zip(ours, others).map { $0 - $1 }, within: 1e-4))
    // At the temperature that it is told.
    let hot = zip(
      try sums(LoadedModel.open(policy, on: NativeEngine()), temperature: 2),
      try sums(family.base, temperature: 2)
    ).map { $0 - $1 }
    #expect(!agree(hot, expected, within: 1e-2))
    for shared in [nil, pass] {
      let said = try scores("implicit:\(policy),temperature=2", beside: family.base, shared: shared)
      #expect(agree(said, hot, within: 1e-4))
    }
  }

  @Test func `an implicit reward needs two policies with the same tokens`() throws {
    let family = try ModelFamily()
    let reward = try family.member("reward", .lastLayers(1), seed: 1, isReward: true)
    let base = family.base.name
    for (text, word) in [
      ("implicit:\(base)", "does not say what it was trained from"),
      ("implicit:\(reward)", "is a reward model"),
      ("implicit:\(base),\(family.folder.url.path)", "no model"),
    ] {
      let error = #expect(throws: TrainingError.self) { try scores(text) }
      #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
    }
  }

  @Test func `sampled ids stay what was sampled where the tokenizer is the same`() throws {
    let family = try ModelFamily()
    let path = try family.member("reward", .lastLayers(1), seed: 1, isReward: true)
    let reward = try source("model:\(path)")
    let ids = family.base.tokenizer.encode("ran")
    func score(_ ids: [Int32], ended: Bool = false) throws -> Double {
      try reward.scores(
        prompts: [DataPrompt(.text("a cat"))],
        completions: [Completion(ids: ids, text: "ran", endedByItself: ended)], shared: nil)[0]
    }
    let end = try #require(family.base.tokenizer.endOfSequence)
    #expect(try score([]) == score(ids))
    #expect(try score([], ended: true) == score(ids + [end], ended: true))
    #expect(try score([], ended: true) != score(ids))
    // Ids that say something else, or that this model does not have, are another model's.
    #expect(try score([]) == score([1, 2]))
    #expect(try score([]) == score([Int32.max]))
  }
}
