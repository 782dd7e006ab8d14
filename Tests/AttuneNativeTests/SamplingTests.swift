// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import CAttuneKernels
import Foundation
import Testing

@Suite(.serialized)
struct SamplingTests {
  static func settings(_ change: (inout SamplingSettings) -> Void = { _ in }) -> SamplingSettings {
    var settings = SamplingSettings()
    settings.maxTokens = 9
    settings.seed = 5
    settings.stopIds = []
    change(&settings)
    return settings
  }

  static let prompts: [[Int32]] = [
    [3, 1, 4, 1, 5], [9], [2, 6, 5, 3, 5, 8, 9, 7, 9, 3], [40, 0],
  ]

  @Test(arguments: TinyModel.native)
  func `step by step the decoder gives the logits of the whole text`(_ tiny: TinyModel) throws {
    let model = try tiny.native()
    let texts: [[Int32]] = [[3, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1, 8, 2, 8]]
    try model.withWeights(positions: 16) { weights in
      let decoder = try IncrementalDecoder(weights: weights, maximumRows: 8, maximumBatch: 4)
      let cache = try KVCache(weights, blocks: 4, capacity: 10)
      let v = weights.spec.vocabularySize
      let reference = ReferenceDecoder(weights: weights)
      let exact = texts.map { reference.logits($0) }
      // The first three tokens of each text are shared blocks, filled in one step for both.
      let prefixes = [cache.take(), cache.take()]
      let owns = [cache.take(), cache.take()]
      decoder.step(
        (0..<6).map { i in
          DecodeRow(id: texts[i / 3][i % 3], own: prefixes[i / 3], ownIndex: i % 3)
        }, wantsLogits: false)
      for t in 3..<8 {
        let present = texts.indices.filter { t < texts[$0].count }
        let logits = decoder.step(
          present.map {
            DecodeRow(
              id: texts[$0][t], prefix: prefixes[$0], prefixCount: 3, own: owns[$0],
              ownIndex: t - 3)
          }, wantsLogits: true)
        for (m, text) in present.enumerated() {
          for id in 0..<v {
            #expect(abs(Double(logits[m * v + id]) - exact[text][t][id]) < 5e-5)
          }
        }
      }
    }
  }

  @Test(arguments: [
    LoRASettings(rank: 3, alpha: 7), LoRASettings(rank: 16, lastLayers: 1),
    LoRASettings(rank: 5, projections: [.k, .up, .down]),
  ])
  func `adapters beside the weights decode to what the forward pass scores`(
    _ settings: LoRASettings
  ) throws {
    for tiny in [TinyModel.llama, .qwen3, .gpt2] {
      let start = try tiny.native()
      let model = try start.copy(training: .lora(settings))
      var random = SplitMix(seed: 4)
      try model.setTrainedParameters(
        model.trainedParameters().map { tensor in
          var tensor = tensor
          for i in tensor.values.indices { tensor.values[i] = random.float() * 0.3 }
          return tensor
        })
      let text: [Int32] = [3, 1, 4, 1, 5, 9, 2, 6]
      let scored = try model.score([Segment(text, scored: [1..<8])]).logProbabilities[0]
      let plain = try start.score([Segment(text, scored: [1..<8])]).logProbabilities[0]
      try model.withWeights(positions: 16) { weights in
        let v = weights.spec.vocabularySize
        // One row after another, and six texts side by side of which the last is the same.
        let alone = try IncrementalDecoder(weights: weights, maximumRows: 1, maximumBatch: 1)
        let beside = try IncrementalDecoder(weights: weights, maximumRows: 6, maximumBatch: 6)
        let cache = try KVCache(weights, blocks: 7, capacity: 8)
        let own = cache.take()
        let others = (0..<6).map { _ in cache.take() }
        for t in 0..<7 {
          let one = alone.step([DecodeRow(id: text[t], own: own, ownIndex: t)], wantsLogits: true)
          let six = beside.step(
            others.indices.map {
              DecodeRow(id: $0 == 5 ? text[t] : Int32($0 + t), own: others[$0], ownIndex: t)
            }, wantsLogits: true)
          let logits = (0..<v).map { one[$0] }
          #expect(logits == (0..<v).map { six[5 * v + $0] })
          let total = logits.reduce(0) { $0 + exp(Double($1)) }
          let value = Double(logits[Int(text[t + 1])]) - log(total)
          #expect(abs(value - Double(scored[t])) < 1e-4, "\(tiny)")
          #expect(abs(value - Double(plain[t])) > 1e-3 || t == 0, "\(tiny)")
        }
      }
    }
  }

  @Test(arguments: TinyModel.allCases)
  func `samples do not depend on batch, order or company`(_ tiny: TinyModel) throws {
    let model = try tiny.frozen()
    let whole = try model.sample(Self.prompts, Self.settings { $0.samplesPerPrompt = 3 })
    for batch in [1, 3, 5] {
      let again = try model.sample(
        Self.prompts,
        Self.settings {
          $0.samplesPerPrompt = 3
          $0.batch = batch
        })
      #expect(again == whole)
    }
    for (p, prompt) in Self.prompts.enumerated().reversed() {
      for i in 0..<3 {
        let alone = try model.sample(
          [prompt], Self.settings(), streams: [UInt64(p * 3 + i)], onToken: nil)
        #expect(alone[0][0] == whole[p][i])
      }
    }
    #expect(Set(whole.joined().map(\.ids)).count > 6)
  }

  @Test(arguments: TinyModel.allCases)
  func `log-probabilities are those that scoring gives`(_ tiny: TinyModel) throws {
    let model = try tiny.frozen()
    let samples = try model.sample(
      Self.prompts,
      Self.settings {
        $0.samplesPerPrompt = 2
        $0.temperature = 0.7
        if tiny != .table {
          $0.topK = 20
          $0.repetitionPenalty = 1.2
        }
      })
    for (prompt, answers) in zip(Self.prompts, samples) {
      for answer in answers {
        let scores = try model.score(
          [
            Segment(
              prompt + answer.ids, scored: [prompt.count..<prompt.count + answer.ids.count])
          ], HeadRequest(temperature: 0.7))
        for (a, b) in zip(answer.logProbability, scores.logProbabilities[0]) {
          #expect(abs(a - b) < 1e-4)
        }
      }
    }
  }

  /// So a text's perplexity under a sampler is that of what it draws.
  @Test(arguments: Sampler.allCases, [Precision.float32] + (atk_has_bf16() ? [.bf16] : []))
  func `a text has, to the last bit, the log-probabilities that it would be drawn with`(
    _ sampler: Sampler, _ precision: Precision
  ) throws {
    let model = try TinyModel.qwen2.native(precision)
    let settings = Self.settings { $0.sampler = sampler }
    for (prompt, answers) in zip(Self.prompts, try model.sample(Self.prompts, settings)) {
      let all = try model.drawnLogProbabilities(prompt + answers[0].ids, sampler: sampler)
      #expect(all.suffix(answers[0].ids.count) == answers[0].logProbability[...])
    }
    let text = Self.prompts.flatMap { $0 }
    let perplexity = try Perplexity(of: model, text, sampler: sampler)
    #expect(perplexity.tokens == text.count - 1)
    let gap = abs(perplexity.sampled / perplexity.passes - 1)
    #expect(gap < (sampler == .int8 ? 0.05 : precision == .bf16 ? 1e-3 : 1e-5), "\(gap)")
    #expect(gap > 1e-6 || sampler == .same)
  }

  /// A model that reads long prompts.
  static func longReader(_ precision: Precision) throws -> NativeModel {
    let spec = TransformerSpec(
      architecture: .llama, vocabularySize: 41, width: 48, layers: 2, heads: 6, keyValueHeads: 2,
      mlpWidth: 80, maximumPositions: 1024, tiedHead: true)
    return try NativeModel.random(spec, seed: 3, on: NativeEngine(precision: precision))
  }

  /// Of more than 256 tokens, which are run in blocks where products are not in float32.
  @Test(arguments: Sampler.allCases, [Precision.float32] + (atk_has_bf16() ? [.bf16] : []))
  func `answers to long prompts do not depend on company, and are near what scoring gives`(
    _ sampler: Sampler, _ precision: Precision
  ) throws {
    let model = try Self.longReader(precision)
    var random = SplitMix(seed: 6)
    let prompts = [5, 700, 130, 333, 257, 1, 300].map { count in
      (0..<count).map { _ in Int32(random.next() % 41) }
    }
    let settings = Self.settings { $0.sampler = sampler }
    let whole = try model.sample(prompts, settings)
    for (p, prompt) in prompts.enumerated() {
      let alone = try model.sample([prompt], settings, streams: [UInt64(p)], onToken: nil)
      #expect(alone[0] == whole[p])
      let ids = whole[p][0].ids
      let scores = try model.score(
        [Segment(prompt + ids, scored: [prompt.count..<prompt.count + ids.count])])
      for (a, b) in zip(whole[p][0].logProbability, scores.logProbabilities[0]) {
        #expect(abs(a - b) < (sampler == .int8 ? 0.1 : precision == .bf16 ? 5e-3 : 1e-4))
      }
    }
  }

  @Test(arguments: Sampler.allCases, [Precision.float32] + (atk_has_bf16() ? [.bf16] : []))
  func `prompts that begin alike take over what one has read, bit for bit`(
    _ sampler: Sampler, _ precision: Precision
  ) throws {
    let model = try Self.longReader(precision)
    var random = SplitMix(seed: 7)
    func tokens(_ count: Int) -> [Int32] { (0..<count).map { _ in Int32(random.next() % 41) } }
    let text = tokens(700)
    // Short and long of it, the whole, a part, the same twice, and one that is another.
    let parts = [
      (20, 9), (40, 5), (299, 3), (700, 0), (600, 200), (520, 0), (299, 80), (30, 0), (30, 0),
      (0, 50),
    ]
    let prompts = parts.map { Array(text[..<$0]) + tokens($1) }
    for batch in [3, 32] {
      let settings = Self.settings {
        $0.sampler = sampler
        $0.batch = batch
      }
      let whole = try model.sample(prompts, settings)
      for (p, prompt) in prompts.enumerated() {
        let stream = UInt64(p) &* UInt64(settings.samplesPerPrompt)
        let alone = try model.sample([prompt], settings, streams: [stream], onToken: nil)
        #expect(alone[0] == whole[p], "prompt \(p) of batch \(batch)")
      }
    }
  }

  @Test func `greedy answers are the most probable tokens`() throws {
    let model = try TinyModel.llama.native()
    let answer = try model.sample([[3, 1, 4]], Self.settings { $0.temperature = 0 })[0][0]
    try model.withWeights(positions: 16) { weights in
      let logits = ReferenceDecoder(weights: weights).logits([3, 1, 4] + answer.ids)
      for (t, id) in answer.ids.enumerated() {
        #expect(logits[2 + t].firstIndex(of: logits[2 + t].max() ?? 0) == Int(id))
      }
    }
  }

  @Test(arguments: [TinyModel.qwen2, .table])
  func `answers end at stop ids, at the most tokens and at the end of the context`(
    _ tiny: TinyModel
  ) throws {
    let model = try tiny.frozen()
    let free = try model.sample(Self.prompts, Self.settings { $0.samplesPerPrompt = 2 })
    #expect(free.joined().allSatisfy { $0.finishReason == .length && $0.ids.count == 9 })
    let stop = free[0][0].ids[4]
    let stopped = try model.sample(
      Self.prompts,
      Self.settings {
        $0.samplesPerPrompt = 2
        $0.stopIds = [stop]
        $0.batch = 3
      })
    for (before, after) in zip(free.joined(), stopped.joined()) {
      let end = before.ids.firstIndex(of: stop).map { $0 + 1 } ?? 9
      #expect(after.ids == Array(before.ids[..<end]))
      #expect(after.logProbability == Array(before.logProbability[..<end]))
      #expect(after.finishReason == (before.ids.contains(stop) ? .stop : .length))
    }
    let long = [Int32](repeating: 1, count: 62)
    let cut = try model.sample([long], Self.settings())[0][0]
    #expect(cut.ids.count == 3)
    #expect(cut.finishReason == .length)
  }

  @Test(arguments: [TinyModel.qwen3, .table])
  func `events come a token at a time, and end the answers they are told to`(
    _ tiny: TinyModel
  ) throws {
    let model = try tiny.frozen()
    let settings = Self.settings {
      $0.samplesPerPrompt = 2
      $0.batch = 3
    }
    let whole = try model.sample(Self.prompts, settings)
    var events: [SampleEvent] = []
    let cut = try model.sample(Self.prompts, settings) { event in
      events.append(event)
      return !(event.prompt == 2 && event.sample == 1 && event.position == 3)
    }
    for (p, answers) in whole.enumerated() {
      for (i, answer) in answers.enumerated() {
        let isCut = p == 2 && i == 1
        let count = isCut ? 4 : 9
        #expect(cut[p][i].ids == Array(answer.ids[..<count]))
        #expect(cut[p][i].finishReason == (isCut ? .cancelled : .length))
        let own = events.filter { $0.prompt == p && $0.sample == i }
        #expect(own.map(\.id) == cut[p][i].ids)
        #expect(own.map(\.position) == Array(0..<count))
        #expect(own.map(\.logProbability) == cut[p][i].logProbability)
      }
    }
    struct Stop: Error {}
    #expect(throws: Stop.self) { try model.sample(Self.prompts, settings) { _ in throw Stop() } }
  }

  @Test func `requests that do not fit are refused by name`() throws {
    let model = try TinyModel.llama.frozen()
    func message(_ prompts: [[Int32]], _ settings: SamplingSettings) -> String {
      do {
        _ = try model.sample(prompts, settings)
        return ""
      } catch { return "\(error)" }
    }
    #expect(message([[1], []], Self.settings()).contains("prompt 2 is empty"))
    #expect(message([[1, 41]], Self.settings()).contains("the id 41"))
    #expect(message([[-1]], Self.settings()).contains("the id -1"))
    #expect(message([Array(repeating: 1, count: 65)], Self.settings()).contains("65 tokens"))
    #expect(message([[1]], Self.settings { $0.temperature = -1 }).contains("temperature"))
    #expect(message([[1]], Self.settings { $0.topP = 0 }).contains("top-p"))
    #expect(message([[1]], Self.settings { $0.minP = 2 }).contains("min-p"))
    #expect(message([[1]], Self.settings { $0.topK = -1 }).contains("top-k"))
    #expect(message([[1]], Self.settings { $0.maxTokens = 0 }).contains("max tokens"))
    #expect(message([[1]], Self.settings { $0.repetitionPenalty = 0 }).contains("penalty"))
    #expect(message([[1]], Self.settings { $0.batch = 0 }).contains("batch"))
    #expect(try model.sample([], Self.settings()).isEmpty)
  }
}
