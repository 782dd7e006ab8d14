// SPDX-License-Identifier: Apache-2.0

/// A weight matrix of a layer that an adapter can be put beside.
public enum Projection: String, Codable, CaseIterable, Sendable {
  /// Query.
  case q
  /// Key.
  case k
  /// Value.
  case v
  /// Attention output.
  case o
  /// The gate of SwiGLU; GPT-2 has none.
  case gate
  /// Up.
  case up
  /// Down.
  case down
}

/// Low-rank adapters: y = W·x + (alpha/rank)·B·A·x with W frozen (Hu et al. 2021, arXiv:2106.09685).
public struct LoRASettings: Codable, Sendable, Equatable {
  /// Rows of A, columns of B.
  public var rank: Int
  /// Scale of the adapter, divided by the rank.
  public var alpha: Double
  /// How many layers, counted from the top, carry adapters; 0: all.
  public var lastLayers: Int
  /// The matrices that carry adapters.
  public var projections: [Projection]

  /// Makes settings; the defaults are rank 16, alpha 32, every matrix of every layer.
  ///
  /// - Parameters:
  ///   - rank: Rows of A.
  ///   - alpha: Scale, divided by the rank.
  ///   - lastLayers: Layers counted from the top; 0: all.
  ///   - projections: Matrices that carry adapters.
  public init(
    rank: Int = 16, alpha: Double = 32, lastLayers: Int = 0,
    projections: [Projection] = Projection.allCases
  ) {
    self.rank = rank
    self.alpha = alpha
    self.lastLayers = lastLayers
    self.projections = projections
  }
}

/// Which numbers of a model are trained.
public enum Trainable: Codable, Sendable, Equatable {
  /// None.
  case frozen
  /// All.
  case full
  /// The last k layers and the final norm; embeddings and head stay.
  case lastLayers(Int)
  /// Adapters beside frozen weights.
  case lora(LoRASettings)

  /// Layers below all that is trained: those of the model that a copy was made from.
  package func frozenLayers(of spec: TransformerSpec) -> Int {
    switch self {
    case .frozen: spec.layers
    case .full: 0
    case .lastLayers(let count): spec.layers - count
    case .lora(let settings): settings.lastLayers == 0 ? 0 : spec.layers - settings.lastLayers
    }
  }
}

/// How a scalar head (reward or value) starts.
public enum ScalarHeadStart: Codable, Sendable, Equatable {
  /// At zero: every answer scores 0.
  case zero
  /// Normal with standard deviation 1/√(D + 1) (Stiennon et al. 2020), from a seed.
  case normal(seed: UInt64)
  /// A copy of given weights, D of them: another model's head.
  case weights([Float])
}
