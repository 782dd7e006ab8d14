// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
import CAttuneKernels

extension NativeModel {
  package func sample(
    _ prompts: [[Int32]], _ settings: SamplingSettings, streams: [UInt64]?,
    onToken: ((SampleEvent) throws -> Bool)?
  ) throws -> [[Sample]] {
    let longest = prompts.map(\.count).max() ?? 0
    let positions = min(spec.maximumPositions, longest + min(settings.maxTokens, 1 << 30))
    return try withWeights(positions: positions, sampler: settings.sampler) { weights in
      var run = try SamplingRun(weights, prompts, settings, streams: streams)
      return try run.run(onToken)
    }
  }

  /// The log-probability of each token of a text after its first, computed as a sampler computes what it
  /// draws: bit for bit a sample's own, whose prompt has at most 256 tokens.
  ///
  /// - Parameters:
  ///   - text: Token ids, at least one.
  ///   - sampler: Which numbers.
  /// - Throws: `EngineError` if the memory can't be had.
  package func drawnLogProbabilities(_ text: [Int32], sampler: Sampler) throws -> [Double] {
    let (count, vocabulary) = (text.count - 1, spec.vocabularySize)
    guard count > 0 else { return [] }
    return try withWeights(positions: text.count, sampler: sampler) { weights in
      let rows = min(count, 128)
      let decoder = try IncrementalDecoder(
        weights: weights, maximumRows: rows, maximumBatch: rows)
      let cache = try KVCache(weights, blocks: 1, capacity: count)
      defer { withExtendedLifetime(cache) {} }
      let block = cache.take()
      var result: [Double] = []
      for start in stride(from: 0, to: count, by: rows) {
        let part = start..<min(start + rows, count)
        let logits = decoder.step(
          part.map { DecodeRow(id: text[$0], own: block, ownIndex: $0) }, wantsLogits: true)
        var normalisers = [Double](repeating: 0, count: part.count)
        atk_log_sum_exp(&normalisers, logits, 1, part.count, vocabulary)
        for (m, i) in part.enumerated() {
          result.append(Double(logits[m * vocabulary + Int(text[i + 1])]) - normalisers[m])
        }
      }
      return result
    }
  }
}
