// SPDX-License-Identifier: Apache-2.0

/// A weight matrix [rows, columns], row-major and dense, that somebody else keeps alive.
package struct Matrix {
  /// The numbers, in the precision in which they are kept.
  package enum Storage {
    case float32(UnsafePointer<Float>)
    /// The upper halves of floats.
    case bfloat16(UnsafePointer<UInt16>)
  }

  package let rows: Int
  package let columns: Int
  package let storage: Storage
  /// The same numbers in fewer bytes, where the model's file has them so.
  package var compact: (form: CompactForm, bytes: UnsafeRawPointer)?

  package init(_ storage: Storage, rows: Int, columns: Int) {
    self.storage = storage
    self.rows = rows
    self.columns = columns
  }

  /// A float32 matrix.
  package init(_ values: UnsafePointer<Float>, rows: Int, columns: Int) {
    self.init(.float32(values), rows: rows, columns: columns)
  }
}

/// One layer as plain matrices (LoRA merged in), borrowed: valid while the model lends them.
///
/// D width, H query heads, G key/value heads, C head width, F mlp width.
package struct LayerWeights {
  /// [D], and its bias for layer norm.
  package var norm1: UnsafePointer<Float>
  package var norm1Bias: UnsafePointer<Float>?
  /// [(H + 2G)·C, D]: the rows of query, then key, then value.
  package var qkv: Matrix
  package var qkvBias: UnsafePointer<Float>?
  /// [C] each.
  package var qNorm: UnsafePointer<Float>?
  package var kNorm: UnsafePointer<Float>?
  /// [D, H·C].
  package var out: Matrix
  package var outBias: UnsafePointer<Float>?
  /// [D], and its bias for layer norm.
  package var norm2: UnsafePointer<Float>
  package var norm2Bias: UnsafePointer<Float>?
  /// SwiGLU: [2F, D], gate rows then up rows; GELU: [F, D].
  package var gateUp: Matrix
  package var gateUpBias: UnsafePointer<Float>?
  /// [D, F].
  package var down: Matrix
  package var downBias: UnsafePointer<Float>?

  package init(
    norm1: UnsafePointer<Float>, norm1Bias: UnsafePointer<Float>? = nil,
    qkv: Matrix, qkvBias: UnsafePointer<Float>? = nil,
    qNorm: UnsafePointer<Float>? = nil, kNorm: UnsafePointer<Float>? = nil,
    out: Matrix, outBias: UnsafePointer<Float>? = nil,
    norm2: UnsafePointer<Float>, norm2Bias: UnsafePointer<Float>? = nil,
    gateUp: Matrix, gateUpBias: UnsafePointer<Float>? = nil,
    down: Matrix, downBias: UnsafePointer<Float>? = nil
  ) {
    self.norm1 = norm1
    self.norm1Bias = norm1Bias
    self.qkv = qkv
    self.qkvBias = qkvBias
    self.qNorm = qNorm
    self.kNorm = kNorm
    self.out = out
    self.outBias = outBias
    self.norm2 = norm2
    self.norm2Bias = norm2Bias
    self.gateUp = gateUp
    self.gateUpBias = gateUpBias
    self.down = down
    self.downBias = downBias
  }
}

/// A whole model as plain matrices, borrowed: what the decoder reads.
package struct ModelWeights {
  package var spec: TransformerSpec
  /// [V, D].
  package var embedding: Matrix
  /// [positions, D], learned positions only.
  package var positionEmbedding: Matrix?
  package var layers: [LayerWeights]
  /// [D], and its bias for layer norm.
  package var finalNorm: UnsafePointer<Float>
  package var finalNormBias: UnsafePointer<Float>?
  /// [V, D]; the embedding where the two are tied.
  package var head: Matrix
  /// Tables [positions, C/2], rotary positions only.
  package var ropeCosine: UnsafePointer<Float>?
  package var ropeSine: UnsafePointer<Float>?

  package init(
    spec: TransformerSpec, embedding: Matrix, positionEmbedding: Matrix? = nil,
    layers: [LayerWeights], finalNorm: UnsafePointer<Float>,
    finalNormBias: UnsafePointer<Float>? = nil, head: Matrix,
    ropeCosine: UnsafePointer<Float>? = nil, ropeSine: UnsafePointer<Float>? = nil
  ) {
    self.spec = spec
    self.embedding = embedding
    self.positionEmbedding = positionEmbedding
    self.layers = layers
    self.finalNorm = finalNorm
    self.finalNormBias = finalNormBias
    self.head = head
    self.ropeCosine = ropeCosine
    self.ropeSine = ropeSine
  }
}
