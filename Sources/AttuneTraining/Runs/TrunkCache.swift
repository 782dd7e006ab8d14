// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
package import AttuneEngine

/// The results of a model's frozen lower layers, kept for rows that come again: in later epochs, in
/// evaluation, and where another model is trained from the same start.
package final class TrunkStore {
  fileprivate var kept: [EncodedGroup: any Trunk] = [:]

  package init() {}
}

/// How one model's training uses what is kept.
package struct TrunkCache {
  private let model: any LanguageModel
  private let store: TrunkStore
  /// Layers that are kept; 0 where nothing is frozen or memory does not suffice.
  let layers: Int

  /// Decides whether to keep anything.
  ///
  /// - Parameters:
  ///   - model: The model that is trained.
  ///   - megabytes: Memory that may be used.
  ///   - tokens: Tokens of all rows.
  ///   - store: What was kept before, and where more is kept.
  package init(
    _ model: any LanguageModel, megabytes: Int, tokens: Int, store: TrunkStore = TrunkStore()
  ) {
    self.model = model
    self.store = store
    let needed = Double(tokens) * Double(model.spec.width) * 4 / 1_000_000
    // Of many ranks each would keep those of the pieces that it ran, and meet other rows next time.
    layers =
      needed <= Double(megabytes) && Collective.current.isAlone ? model.sharedLayers : 0
  }

  /// The trunk of some groups, in their order; of those that are not kept it is computed.
  ///
  /// - Parameters:
  ///   - groups: The groups.
  ///   - segments: Their segments, as they will be scored.
  /// - Returns: Nil where nothing is kept: the model then runs all layers.
  func trunk(for groups: [EncodedGroup], segments: [Segment]) throws -> (any Trunk)? {
    guard layers > 0 else { return nil }
    var missing: [EncodedGroup: Range<Int>] = [:]
    var asked: [Segment] = []
    var start = 0
    for group in groups {
      let count = group.answers.count + (group.prompt.isEmpty ? 0 : 1)
      if !has(group), missing[group] == nil {
        let shift = asked.count - start
        missing[group] = asked.count..<asked.count + count
        for segment in segments[start..<start + count] {
          asked.append(Segment(segment.ids, parent: segment.parent.map { $0 + shift }))
        }
      }
      start += count
    }
    if !asked.isEmpty {
      guard let trunk = try model.trunk(asked, layers: layers) else { return nil }
      for (group, range) in missing { store.kept[group] = try trunk.selecting(Array(range)) }
    }
    return try groups.compactMap { store.kept[$0] }.joined()
  }

  private func has(_ group: EncodedGroup) -> Bool {
    store.kept[group].map { $0.layers == layers && model.accepts($0) } ?? false
  }
}
