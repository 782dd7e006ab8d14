// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import Foundation
import Testing

struct TokenPickerTests {
  /// Hugging Face's processors one after another, over everything, sorted.
  static func expected(
    _ logits: [Float], _ settings: SamplingSettings, seen: Set<Int32>, uniform: Double
  ) -> Int32 {
    let temperature = settings.temperature
    var scores = logits.enumerated().map { id, logit in
      let penalised =
        logit < 0
        ? logit * Float(settings.repetitionPenalty)
        : logit / Float(settings.repetitionPenalty)
      return (id: Int32(id), score: seen.contains(Int32(id)) ? penalised : logit)
    }
    scores.sort { $0.score == $1.score ? $0.id < $1.id : $0.score > $1.score }
    let most = Double(scores[0].score)
    if settings.topK > 0 { scores = Array(scores.prefix(settings.topK)) }
    var weights = scores.map { exp((Double($0.score) - most) / temperature) }
    let total = weights.reduce(0, +)
    var sum = 0.0
    var kept = 0
    while kept < weights.count, kept == 0 || sum < settings.topP * total {
      sum += weights[kept]
      kept += 1
    }
    weights = weights.prefix(kept).filter { $0 >= settings.minP }
    var rest = uniform * weights.reduce(0, +)
    for (i, weight) in weights.enumerated() {
      if rest < weight { return scores[i].id }
      rest -= weight
    }
    return scores[weights.count - 1].id
  }

  static let filters: [SamplingSettings] = {
    func make(_ change: (inout SamplingSettings) -> Void) -> SamplingSettings {
      var settings = SamplingSettings()
      settings.seed = 9
      change(&settings)
      return settings
    }
    return [
      make { $0.topK = 1 }, make { $0.topK = 40 },
      make {
        $0.topK = 40; $0.temperature = 0.3
      },
      make { $0.topP = 0.9 }, make { $0.topP = 0.05 },
      make {
        $0.topP = 0.999; $0.temperature = 1.7
      },
      make { $0.minP = 0.05 }, make { $0.minP = 1 },
      make {
        $0.topK = 50; $0.topP = 0.8; $0.minP = 0.02; $0.temperature = 0.7
      },
      make {
        $0.topK = 10; $0.repetitionPenalty = 1.3
      },
      make {
        $0.topP = 0.95; $0.repetitionPenalty = 0.7
      },
      make {
        $0.topK = 100_000; $0.topP = 0.5
      },
    ]
  }()

  @Test(arguments: filters)
  func `filters pick what sorting everything picks`(_ settings: SamplingSettings) throws {
    var random = SplitMix(seed: 1)
    for vocabulary in [3, 700, 5000] {
      var picker = TokenPicker(settings, vocabulary: vocabulary)
      let rows = 12
      let logits = (0..<rows * vocabulary).map { _ in
        random.float() * 5 + random.float() * random.float() * 6
      }
      let seen = (0..<rows).map { _ in
        Set((0..<20).map { _ in Int32.random(in: 0..<Int32(vocabulary), using: &random) })
      }
      var buffer = logits
      let picks = try buffer.withUnsafeMutableBufferPointer {
        try picker.pick(
          #require($0.baseAddress),
          (0..<rows).map { .init(stream: UInt64($0), position: 4, seen: seen[$0].sorted()) })
      }
      for m in 0..<rows {
        let row = Array(logits[m * vocabulary..<(m + 1) * vocabulary])
        let uniform = TokenPicker.uniform(seed: 9, stream: UInt64(m), position: 4)
        let id = Self.expected(
          row, settings, seen: settings.repetitionPenalty == 1 ? [] : seen[m], uniform: uniform)
        #expect(picks[m].id == id)
        let t = settings.temperature
        let normaliser = log(row.reduce(0.0) { $0 + exp(Double($1) / t) })
        #expect(abs(picks[m].logProbability - (Double(row[Int(id)]) / t - normaliser)) < 1e-5)
      }
    }
  }

  @Test(arguments: [0.5, 1.0, 2.0])
  func `tokens come as often as their probability says`(_ temperature: Double) throws {
    var settings = SamplingSettings()
    settings.temperature = temperature
    settings.seed = 3
    let logits: [Float] = [0.3, -1, 1.2, 0, -20, 0.7]
    var picker = TokenPicker(settings, vocabulary: logits.count)
    let draws = 40_000
    var buffer = [Float]()
    for _ in 0..<draws { buffer += logits }
    let picks = try buffer.withUnsafeMutableBufferPointer {
      try picker.pick(
        #require($0.baseAddress),
        (0..<draws).map { .init(stream: UInt64($0 / 200), position: $0 % 200) })
    }
    let weights = logits.map { exp(Double($0) / temperature) }
    let total = weights.reduce(0, +)
    for (id, weight) in weights.enumerated() {
      let share = weight / total
      let count = picks.filter { $0.id == Int32(id) }.count
      let deviation = (share * (1 - share) * Double(draws)).squareRoot()
      #expect(abs(Double(count) - share * Double(draws)) < 4 * deviation + 1)
    }
  }

  @Test func `greedy takes the first of the greatest, with its log-probability at temperature 1`()
    throws
  {
    var settings = SamplingSettings()
    settings.temperature = 0
    var picker = TokenPicker(settings, vocabulary: 20)
    var logits = (0..<20).map { Float($0 % 7) }
    let pick = try logits.withUnsafeMutableBufferPointer {
      try picker.pick(#require($0.baseAddress), [.init(stream: 0, position: 0)])
    }
    #expect(pick[0].id == 6)
    let normaliser = log(logits.reduce(0.0) { $0 + exp(Double($1)) })
    #expect(abs(pick[0].logProbability - (6 - normaliser)) < 1e-6)
  }

  @Test(arguments: [Float.nan, .infinity])
  func `logits that are not finite are refused`(_ bad: Float) {
    var picker = TokenPicker(SamplingSettings(), vocabulary: 3)
    var logits: [Float] = [0, bad, 1]
    #expect(throws: EngineError.self) {
      try logits.withUnsafeMutableBufferPointer {
        try picker.pick(#require($0.baseAddress), [.init(stream: 0, position: 0)])
      }
    }
  }

  @Test func `random numbers are spread, and streams do not repeat one another`() {
    var numbers: [Double] = []
    for stream in 0..<100 {
      for position in 0..<100 {
        numbers.append(TokenPicker.uniform(seed: 1, stream: UInt64(stream), position: position))
      }
    }
    #expect(Set(numbers).count == 10_000)
    #expect(numbers.allSatisfy { (0..<1).contains($0) })
    #expect(abs(numbers.reduce(0, +) / 10_000 - 0.5) < 0.012)
    let tenths = Dictionary(grouping: numbers) { Int($0 * 10) }
    #expect(tenths.values.allSatisfy { abs($0.count - 1000) < 130 })
  }
}
