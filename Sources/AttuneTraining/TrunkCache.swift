// SPDX-License-Identifier: Apache-2.0

import AttuneEngine

/// The results of a model's frozen lower layers, kept for rows that come again: later epochs, and
/// evaluation rows.
struct TrunkCache {
  private let model: LanguageModel
  /// Layers that are kept; 0 where nothing is frozen or memory does not suffice.
  let layers: Int
  private var kept: [EncodedGroup: Trunk] = [:]

  /// Decides whether to keep anything.
  ///
  /// - Parameters:
  ///   - model: The model that is trained.
  ///   - megabytes: Memory that may be used.
  ///   - tokens: Tokens of all rows.
  init(_ model: LanguageModel, megabytes: Int, tokens: Int) {
    self.model = model
    let needed = Double(tokens) * Double(model.spec.width) * 4 / 1_000_000
    layers = needed <= Double(megabytes) ? model.sharedLayers : 0
  }

  /// The trunk of some groups, in their order.
  ///
  /// - Parameters:
  ///   - groups: The groups.
  ///   - segments: Their segments, as they will be scored.
  /// - Returns: Nil where nothing is kept: the model then runs all layers.
  mutating func trunk(for groups: [EncodedGroup], segments: [Segment]) throws -> Trunk? {
    guard layers > 0 else { return nil }
    if groups.contains(where: { kept[$0] == nil }) {
      let whole = try model.trunk(segments, layers: layers)
      var start = 0
      for group in groups {
        let count = group.answers.count + (group.prompt.isEmpty ? 0 : 1)
        kept[group] = whole.selecting(Array(start..<start + count))
        start += count
      }
      return whole
    }
    return Trunk.joining(groups.compactMap { kept[$0] })
  }
}
