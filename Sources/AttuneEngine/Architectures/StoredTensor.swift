// SPDX-License-Identifier: Apache-2.0

/// Where a canonical tensor lies in a file, and what makes it the canonical one.
struct StoredTensor: Sendable, Equatable {
  enum Layout: Sendable, Equatable {
    /// As it is.
    case plain
    /// The file holds `[input, outputs of all parts]` (GPT-2's Conv1D): these columns, transposed.
    case transposed(columns: Range<Int>)
    /// The file holds several tensors one after another: these rows.
    case rows(Range<Int>)
    /// Each head's rows lie as rotated pairs, (0, C/2, 1, C/2 + 1, …): GGUF's Llama, Ernie.
    case rotaryPairs(heads: Int)
    /// Each head's rows of several tensors lie together: `part` of `parts`, `width` rows each (GPT-NeoX).
    case headParts(part: Int, of: Int, width: Int)
  }

  /// Its name in the file.
  var name: String
  /// The whole file tensor's shape, row-major.
  var shape: [Int]
  var layout: Layout
  /// What is added to the file's numbers.
  var shift: Float = 0

  init(_ name: String, _ shape: [Int], _ layout: Layout = .plain) {
    self.name = name
    self.shape = shape
    self.layout = layout
  }

  /// The row of the file's tensor that a canonical row is; not of transposed ones.
  var source: @Sendable (Int) -> Int {
    switch layout {
    case .plain: return { $0 }
    case .rows(let rows):
      let first = rows.lowerBound
      return { first + $0 }
    case .rotaryPairs(let heads):
      let width = shape[0] / heads
      return { row in
        let (head, inside) = row.quotientAndRemainder(dividingBy: width)
        let half = width / 2
        return head * width + (inside < half ? 2 * inside : 2 * (inside - half) + 1)
      }
    case .headParts(let part, let parts, let width):
      return { row in
        let (head, inside) = row.quotientAndRemainder(dividingBy: width)
        return (head * parts + part) * width + inside
      }
    case .transposed: preconditionFailure("\(name): a transposed tensor has no such rows")
    }
  }

  /// The row of the file's tensor that the canonical one begins at, where its rows lie one after another.
  var firstRow: Int? {
    switch layout {
    case .plain: 0
    case .rows(let rows): rows.lowerBound
    case .transposed, .rotaryPairs, .headParts: nil
    }
  }
}

extension StoredTensor {
  /// Where a tensor lies in a GGUF file, by the names that llama.cpp has for all families.
  init(gguf tensor: TransformerSpec.Tensor) {
    let module =
      switch tensor.role {
      case .embedding: "token_embd"
      case .positionEmbedding: "position_embd"
      case .inputNorm: "attn_norm"
      case .query: "attn_q"
      case .key: "attn_k"
      case .value: "attn_v"
      case .queryNorm: "attn_q_norm"
      case .keyNorm: "attn_k_norm"
      case .output: "attn_output"
      case .attentionOutputNorm: "post_attention_norm"
      case .middleNorm: "ffn_norm"
      case .gate: "ffn_gate"
      case .up: "ffn_up"
      case .down: "ffn_down"
      case .mlpOutputNorm: "post_ffw_norm"
      case .finalNorm: "output_norm"
      case .head: "output"
      case .score: "cls.output"
      }
    let block = tensor.layer.map { "blk.\($0)." } ?? ""
    self.init("\(block)\(module).\(tensor.kind)", tensor.shape)
  }
}

extension TransformerSpec {
  /// Which rows of a tensor in a file are a tensor's, where queries, keys and values are one, and gate and
  /// up another; all of its own for others.
  func fusedRows(of tensor: Tensor) -> (rows: Range<Int>, whole: Int) {
    let (queries, keys) = (heads * headWidth, keyValueHeads * headWidth)
    let whole = queries + 2 * keys
    switch tensor.role {
    case .query: return (0..<queries, whole)
    case .key: return (queries..<queries + keys, whole)
    case .value: return (queries + keys..<whole, whole)
    case .gate: return (0..<mlpWidth, 2 * mlpWidth)
    case .up where mlp.isGated: return (mlpWidth..<2 * mlpWidth, 2 * mlpWidth)
    default: return (0..<tensor.shape[0], tensor.shape[0])
    }
  }

  /// Where a tensor lies that is a part of a larger one of that name.
  func fused(_ tensor: Tensor, in name: String) -> StoredTensor {
    let (rows, whole) = fusedRows(of: tensor)
    return StoredTensor(
      name, [whole] + tensor.shape.dropFirst(), whole > rows.count ? .rows(rows) : .plain)
  }

  /// The same in a GGUF file, whose gate and up, where they are one, are called up.
  func fusedInGGUF(_ tensor: Tensor) -> StoredTensor {
    guard let layer = tensor.layer, fusedRows(of: tensor).whole > tensor.shape[0] else {
      return StoredTensor(gguf: tensor)
    }
    let isMLP = tensor.role == .gate || tensor.role == .up
    return fused(tensor, in: "blk.\(layer).\(isMLP ? "ffn_up" : "attn_qkv").\(tensor.kind)")
  }
}
