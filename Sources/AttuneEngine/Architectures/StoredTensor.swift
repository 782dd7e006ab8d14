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
    /// Each head's rows lie as rotated pairs, (0, C/2, 1, C/2 + 1, …): GGUF's Llama.
    case rotaryPairs(heads: Int)
  }

  /// Its name in the file.
  var name: String
  /// The whole file tensor's shape, row-major.
  var shape: [Int]
  var layout: Layout

  init(_ name: String, _ shape: [Int], _ layout: Layout = .plain) {
    self.name = name
    self.shape = shape
    self.layout = layout
  }

  /// The row of the file's tensor that the canonical one begins at, where its rows lie one after another.
  var firstRow: Int? {
    switch layout {
    case .plain: 0
    case .rows(let rows): rows.lowerBound
    case .transposed, .rotaryPairs: nil
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
      case .middleNorm: "ffn_norm"
      case .gate: "ffn_gate"
      case .up: "ffn_up"
      case .down: "ffn_down"
      case .finalNorm: "output_norm"
      case .head: "output"
      case .score: "cls.output"
      }
    let block = tensor.layer.map { "blk.\($0)." } ?? ""
    self.init("\(block)\(module).\(tensor.kind)", tensor.shape)
  }
}
