// SPDX-License-Identifier: Apache-2.0

import AttuneEngine

/// Sizes that every layer uses.
struct LayerSizes {
  let rows: Int
  let width: Int
  let heads: Int
  let keyValueHeads: Int
  let headWidth: Int
  /// Columns of queries, and of the fused query, key and value.
  let queries: Int
  let keys: Int
  let fused: Int
  let mlp: Int
  /// Columns of gate and up together, or of up alone.
  let gates: Int
  /// Of adapters, 0 without any.
  let rank: Int
  /// Vectors that the norms of queries and of keys work on, a row: heads, or 1 where those are one; 0
  /// without such norms.
  let queryNorms: Int
  let keyNorms: Int
  /// Whether norms stand behind blocks, and whether what blocks give is added to the stream apart.
  let normsAfter: Bool
  let addsApart: Bool
  let isParallel: Bool

  init(_ spec: TransformerSpec, rows: Int, rank: Int = 0) {
    self.rows = rows
    self.rank = rank
    (queryNorms, keyNorms) =
      switch spec.queryKeyNorm {
      case .none: (0, 0)
      case .head, .headAfterRotation: (spec.heads, spec.keyValueHeads)
      case .all: (1, 1)
      }
    normsAfter = spec.normPlacement.isAfter
    addsApart = normsAfter || spec.residualScale != 1
    isParallel = spec.isParallel
    width = spec.width
    heads = spec.heads
    keyValueHeads = spec.keyValueHeads
    headWidth = spec.headWidth
    queries = spec.heads * spec.headWidth
    keys = spec.keyValueHeads * spec.headWidth
    fused = queries + 2 * keys
    mlp = spec.mlpWidth
    gates = spec.mlp.isGated ? 2 * spec.mlpWidth : spec.mlpWidth
  }
}

/// Where a layer's activations go: memory of its own when they are kept, shared memory when not.
struct LayerActivations {
  let input: UnsafeMutablePointer<Float>
  let rstd1: UnsafeMutablePointer<Float>
  let mean1: UnsafeMutablePointer<Float>
  let queryKeyValue: UnsafeMutablePointer<Float>
  /// Queries and keys before their norm; the same memory without one.
  let raw: UnsafeMutablePointer<Float>
  let rstdQuery: UnsafeMutablePointer<Float>
  let rstdKey: UnsafeMutablePointer<Float>
  let attention: UnsafeMutablePointer<Float>
  let logSumExp: UnsafeMutablePointer<Float>
  let middle: UnsafeMutablePointer<Float>
  let rstd2: UnsafeMutablePointer<Float>
  let mean2: UnsafeMutablePointer<Float>
  let gateUp: UnsafeMutablePointer<Float>
  let lowRankInput: UnsafeMutablePointer<Float>
  let lowRankOutput: UnsafeMutablePointer<Float>
  let lowRankGate: UnsafeMutablePointer<Float>
  let lowRankDown: UnsafeMutablePointer<Float>
  /// What attention and the feed-forward layer give before their norms.
  let attentionOutput: UnsafeMutablePointer<Float>
  let rstd3: UnsafeMutablePointer<Float>
  let mlpOutput: UnsafeMutablePointer<Float>
  let rstd4: UnsafeMutablePointer<Float>
}
