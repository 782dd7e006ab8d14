// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import CAttuneKernels
import Testing

/// A decoder of requests that come and go.
@Suite(.serialized)
struct ContinuousDecoderTests {
  /// What a decoder has given by now, by the numbers of its requests.
  private struct Answers {
    var tokens: [Int: [ScoredToken]] = [:]
    var prompts: [Int: [ScoredToken]] = [:]
    var finish: [Int: Sample.FinishReason] = [:]

    mutating func take(_ events: [DecoderEvent]) {
      for event in events {
        switch event {
        case .prompt(let number, let scores): prompts[number] = scores
        case .token(let number, let token, let reason):
          tokens[number, default: []].append(token)
          if let reason { finish[number] = reason }
        }
      }
    }

    mutating func run(_ decoder: any ContinuousDecoder, steps: Int = .max) throws {
      var left = steps
      while decoder.count > 0, left > 0 {
        take(try decoder.step())
        left -= 1
      }
    }

    func ids(_ number: Int) -> [Int32] { tokens[number]?.map(\.id) ?? [] }
  }

  private static let long = TransformerSpec(
    architecture: .llama, vocabularySize: 41, width: 24, layers: 2, heads: 6, keyValueHeads: 2,
    mlpWidth: 40, maximumPositions: 1024, tiedHead: true)

  private static func settings(
    sequences: Int = 3, kept: Int = 2, sampler: Sampler = .same
  ) -> DecoderSettings {
    var settings = DecoderSettings()
    (settings.sequences, settings.kept, settings.sampler) = (sequences, kept, sampler)
    return settings
  }

  /// Requests of many kinds; some begin as others do, some go on from their answers.
  private static func requests(_ sampler: Sampler) -> [DecoderRequest] {
    let changes: [(inout SamplingSettings) -> Void] = [
      { $0.temperature = 0 }, { $0.topK = 7 },
      { $0.topP = 0.6 }, { $0.repetitionPenalty = 1.5 }, { $0.minP = 0.1 }, { _ in },
    ]
    var random = SplitMix(seed: 9)
    let start = (0..<34).map { _ in Int32(random.next() % 41) }
    return (0..<12).map { i in
      var settings = SamplingTests.settings(changes[i % changes.count])
      settings.sampler = sampler
      settings.seed = UInt64(i / 3)
      settings.maxTokens = 3 + i
      if i % 4 == 1 { settings.stopIds = [3, 5, 7, 11, 13, 17] }
      let prompt = i < 4 ? SamplingTests.prompts[i] : start + [Int32(i % 5), 4].prefix(i % 3)
      return DecoderRequest(prompt: prompt, settings: settings, stream: UInt64(i), listed: i % 3)
    }
  }

  private static func expected(
    _ request: DecoderRequest, _ model: any LanguageModel
  ) throws -> Sample {
    try model.sample(
      [request.prompt], request.settings, streams: [request.stream], onToken: nil)[0][0]
  }

  private static func check(_ model: any LanguageModel, _ sampler: Sampler = .same) throws {
    let requests = requests(sampler)
    let expected = try requests.map { try Self.expected($0, model) }
    let decoder = try model.decoder(settings(sampler: sampler))
    var answers = Answers()
    // They come one by one, three at once; each comes again when all have been answered.
    for round in 0..<2 {
      var numbers: [Int] = []
      for request in round == 0 ? requests : requests.reversed() {
        numbers.append(try decoder.begin(request))
        try answers.run(decoder, steps: 2)
      }
      try answers.run(decoder)
      for (number, sample) in zip(numbers, round == 0 ? expected : expected.reversed()) {
        #expect(answers.ids(number) == sample.ids)
        #expect(answers.finish[number] == sample.finishReason)
      }
    }
    // A conversation: each turn goes on from the answer to the one before.
    var prompt: [Int32] = [3, 1, 4]
    for turn in 0..<4 {
      var request = requests[5]
      request.prompt = prompt
      let number = try decoder.begin(request)
      try answers.run(decoder)
      #expect(answers.ids(number) == (try Self.expected(request, model)).ids, "turn \(turn)")
      prompt += answers.ids(number) + [Int32(turn)]
    }
  }

  @Test(arguments: TinyModel.native)
  func `an answer is what sampling gives, whatever comes beside it or was kept`(
    _ tiny: TinyModel
  ) throws {
    try Self.check(tiny.native())
    try Self.check(tiny.native(), .int8)
    if atk_has_bf16() { try Self.check(tiny.native(.bf16)) }
  }

  /// From position 256 on prompts are run in blocks where products are not in float32.
  @Test(arguments: [Precision.float32, .bf16])
  func `long texts that go on from what was kept too`(_ precision: Precision) throws {
    guard precision == .float32 || atk_has_bf16() else { return }
    let model = try NativeModel.random(Self.long, seed: 3, on: NativeEngine(precision: precision))
    let decoder = try model.decoder(Self.settings())
    var random = SplitMix(seed: 2)
    var prompt = (0..<230).map { _ in Int32(random.next() % 41) }
    var answers = Answers()
    for turn in 0..<4 {
      let settings = SamplingTests.settings { $0.maxTokens = 90 }
      let request = DecoderRequest(prompt: prompt, settings: settings)
      let other = DecoderRequest(prompt: Array(prompt.prefix(200 + 40 * turn)), settings: settings)
      let numbers = [try decoder.begin(request), try decoder.begin(other)]
      try answers.run(decoder)
      for (number, request) in zip(numbers, [request, other]) {
        #expect(answers.ids(number) == (try Self.expected(request, model)).ids, "turn \(turn)")
      }
      prompt += answers.ids(numbers[0]) + (0..<20).map { _ in Int32(random.next() % 41) }
    }
  }

  @Test func `what was kept, or is being read, is not read again`() throws {
    let model = try NativeModel.random(Self.long, seed: 3, on: NativeEngine())
    let decoder = try model.decoder(Self.settings(sequences: 4))
    var answers = Answers()
    func steps(_ prompts: [[Int32]]) throws -> Int {
      let numbers = try prompts.map {
        try decoder.begin(
          DecoderRequest(prompt: $0, settings: SamplingTests.settings { $0.maxTokens = 1 }))
      }
      var count = 0
      while numbers.contains(where: { answers.finish[$0] == nil }) {
        answers.take(try decoder.step())
        count += 1
      }
      return count
    }
    // Beside a text that is under way prompts are read 64 tokens a step.
    let other = try decoder.begin(
      DecoderRequest(prompt: [1], settings: SamplingTests.settings { $0.maxTokens = 900 }))
    answers.take(try decoder.step())
    let prompt = (0..<641).map { Int32($0 * $0 % 41) }
    #expect(try steps([prompt, prompt, prompt + [1, 2]]) == 11)
    #expect(try steps([prompt + [5, 6], Array(prompt.dropLast(100))]) == 1)
    #expect(try steps([[7] + prompt]) == 11)
    decoder.cancel(other)
    #expect(decoder.count == 0)
  }

  @Test(arguments: TinyModel.native)
  func `a prompt's scores are those of a pass, and the likeliest come first`(
    _ tiny: TinyModel
  ) throws {
    let model = try tiny.native()
    let decoder = try model.decoder(Self.settings())
    let text: [Int32] = [3, 1, 4, 1, 5, 9, 2, 6]
    var answers = Answers()
    for temperature in [0, 1, 0.5] {
      let number = try decoder.begin(
        DecoderRequest(
          prompt: text,
          settings: SamplingTests.settings {
            $0.temperature = temperature
            $0.maxTokens = 2
          }, listed: 3, scoresPrompt: true))
      try answers.run(decoder)
      let scores = try #require(answers.prompts[number])
      let drawn = try #require(answers.tokens[number])
      #expect(scores.map(\.id) == Array(text.dropFirst()))
      let whole = text + drawn.map(\.id)
      let exact = try model.score(
        [Segment(whole, scored: [1..<whole.count])],
        HeadRequest(candidates: Array(0..<Int32(model.spec.vocabularySize))))
      for (i, token) in (scores + drawn).enumerated() {
        #expect(abs(token.logProbability - exact.logProbabilities[0][i]) < 1e-4)
        let all = exact.candidates[0][i]
        let likeliest = all.indices.sorted { all[$0] > all[$1] }.prefix(3)
        #expect(zip(token.listed, likeliest).allSatisfy { abs($0.logProbability - all[$1]) < 1e-4 })
        #expect(token.listed.count == 3)
      }
      if temperature == 0 { #expect(drawn[0].id == drawn[0].listed[0].id) }
    }
  }

  @Test func `one that is cancelled is heard of no more, and others go on`() throws {
    let model = try TinyModel.qwen2.native()
    let decoder = try model.decoder(Self.settings(sequences: 2))
    let requests = Self.requests(.same)
    let numbers = try requests.map { try decoder.begin($0) }
    var answers = Answers()
    try answers.run(decoder, steps: 2)
    // One under way, one that waits, one that there is none of.
    for number in [numbers[0], numbers[8], 99] { decoder.cancel(number) }
    let before = answers.ids(numbers[0]).count
    #expect(before > 0)
    try answers.run(decoder)
    #expect(answers.ids(numbers[0]).count == before && answers.ids(numbers[8]).isEmpty)
    for i in requests.indices where i != 0 && i != 8 {
      #expect(answers.ids(numbers[i]) == (try Self.expected(requests[i], model)).ids)
    }
  }

  @Test func `it ends where the context does, and refuses what does not fit`() throws {
    let model = try TinyModel.llama.native()
    var settings = Self.settings()
    settings.context = 20
    let decoder = try model.decoder(settings)
    var answers = Answers()
    let number = try decoder.begin(
      DecoderRequest(
        prompt: [1, 2, 3], settings: SamplingTests.settings { $0.maxTokens = 100 }))
    try answers.run(decoder)
    #expect(answers.ids(number).count == 18 && answers.finish[number] == .length)
    for prompt: [Int32] in [[], [41], [-1], Array(repeating: 1, count: 21)] {
      #expect(throws: EngineError.self) {
        try decoder.begin(DecoderRequest(prompt: prompt, settings: SamplingTests.settings()))
      }
    }
    #expect(throws: EngineError.self) {
      try decoder.begin(
        DecoderRequest(prompt: [1], settings: SamplingTests.settings { $0.samplesPerPrompt = 2 }))
    }
    settings.context = 1 << 40
    #expect(try model.decoder(settings).settings.context == model.spec.maximumPositions)
    settings.sequences = 1 << 40
    #expect(throws: EngineError.self) { try model.decoder(settings) }
    #expect(throws: EngineError.self) { try TinyModel.table.frozen().decoder(DecoderSettings()) }
  }
}
