// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine

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
  /// The numbers rounded to 8-bit codes, where a sampler has made them.
  package var int8: UnsafeRawPointer?

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

/// A whole model as plain matrices (LoRA merged in), borrowed: what the decoder reads, valid while
/// the model lends it.
package struct ModelWeights {
  package let spec: TransformerSpec
  package let embeddings: ParameterBlock
  package let layers: [ParameterBlock]
  /// The last norm, and the head where it is not the embedding.
  package let final: ParameterBlock
  /// Tables [positions, C/2], rotary positions only.
  package let ropeCosine: UnsafePointer<Float>?
  package let ropeSine: UnsafePointer<Float>?
  /// Which numbers products are computed with; with `int8` every matrix of a product has codes.
  package let sampler: Sampler

  /// [V, D].
  package var head: Matrix? {
    spec.tiedHead ? embeddings.matrix(.embedding) : final.matrix(.head)
  }
}
