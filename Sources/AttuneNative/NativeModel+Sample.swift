// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine

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
}
