// SPDX-License-Identifier: Apache-2.0

/// One token of one sequence, to be run through the model at its position.
package struct DecodeRow {
  package var id: Int32
  /// Keys and values of the sequence's first positions, shared with other sequences.
  package var prefix: KVBlock?
  /// How many positions of `prefix` there are; the token's position is `prefixCount + ownIndex`.
  package var prefixCount: Int
  /// Where the sequence's own keys and values go, the token's at `ownIndex`.
  package var own: KVBlock
  package var ownIndex: Int

  package init(
    id: Int32, prefix: KVBlock? = nil, prefixCount: Int = 0, own: KVBlock, ownIndex: Int
  ) {
    self.id = id
    self.prefix = prefix
    self.prefixCount = prefixCount
    self.own = own
    self.ownIndex = ownIndex
  }
}
