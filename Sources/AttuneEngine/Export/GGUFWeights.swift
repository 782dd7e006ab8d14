// SPDX-License-Identifier: Apache-2.0

/// What a GGUF file's weights are stored as, by llama.cpp's names; of mixtures which tensor gets which type
/// is as llama.cpp's quantiser decides it without an importance matrix.
public enum GGUFWeights: String, Sendable, CaseIterable {
  case f32
  case f16
  case bf16
  case q8_0
  case q4_0
  case q4_1
  case q5_0
  case q5_1
  case q4_k_s
  case q4_k_m
  case q5_k_s
  case q5_k_m
  case q6_k

  /// `general.file_type`.
  var fileType: Int {
    switch self {
    case .f32: 0
    case .f16: 1
    case .q4_0: 2
    case .q4_1: 3
    case .q8_0: 7
    case .q5_0: 8
    case .q5_1: 9
    case .q4_k_s: 14
    case .q4_k_m: 15
    case .q5_k_s: 16
    case .q5_k_m: 17
    case .q6_k: 18
    case .bf16: 32
    }
  }

  /// The type of most matrices.
  private var main: GGUFType {
    switch self {
    case .f32: .f32
    case .f16: .f16
    case .bf16: .bf16
    case .q8_0: .q8_0
    case .q4_0: .q4_0
    case .q4_1: .q4_1
    case .q5_0: .q5_0
    case .q5_1: .q5_1
    case .q4_k_s, .q4_k_m: .q4K
    case .q5_k_s, .q5_k_m: .q5K
    case .q6_k: .q6K
    }
  }

  /// The type of a tensor.
  ///
  /// - Parameters:
  ///   - tensor: The tensor, of a fused one any part.
  ///   - spec: The model.
  package func type(of tensor: TransformerSpec.Tensor, in spec: TransformerSpec) -> GGUFType {
    let stored = spec.architecture.gguf(tensor, spec)
    guard stored.shape.count == 2, tensor.role != .positionEmbedding else { return .f32 }
    var type = main
    guard type.blockElements > 1, let columns = stored.shape.last else { return type }
    let layer = tensor.layer ?? 0
    switch tensor.role {
    case .head, .embedding:
      guard tensor.role == .head || spec.tiedHead else { break }
      if columns % type.blockElements != 0 {
        type = .q8_0
      } else if type != .q8_0 {
        type = .q6K
      }
    case .query, .key, .value:
      if Self.isFused(stored) {
        if self == .q4_k_m { type = .q5K }
        if self == .q5_k_m { type = .q6K }
      } else if tensor.role == .value {
        if self == .q4_k_m || self == .q5_k_m, Self.takesMore(layer, spec.layers) { type = .q6K }
        if self == .q4_k_s, layer < 4 { type = .q5K }
      }
    case .down:
      if self == .q4_k_m || self == .q5_k_m, Self.takesMore(layer, spec.layers) { type = .q6K }
      if self == .q4_k_s, layer < spec.layers / 8 { type = .q5K }
    default: break
    }
    return type.fitting(columns)
  }

  private static func isFused(_ stored: StoredTensor) -> Bool {
    switch stored.layout {
    case .rows, .headParts: true
    default: false
    }
  }

  /// The layers whose more sensitive matrices get more bits: the first and last eighth, and every third
  /// between.
  private static func takesMore(_ layer: Int, _ layers: Int) -> Bool {
    layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2
  }
}

extension GGUFType {
  /// This type, or where rows are no whole blocks of it the nearest one that fits them.
  fileprivate func fitting(_ columns: Int) -> GGUFType {
    if columns % blockElements == 0 { return self }
    let smaller: GGUFType =
      switch self {
      case .q4K: .q5_0
      case .q5K: .q5_1
      case .q6K: .q8_0
      default: .f16
      }
    return columns % smaller.blockElements == 0 ? smaller : .f16
  }
}
