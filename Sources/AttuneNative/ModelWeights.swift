// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine

/// A weight matrix [rows, columns], row-major and dense, that somebody else keeps alive.
package struct Matrix {
  package let rows: Int
  package let columns: Int
  /// How its numbers are kept.
  package let form: WeightForm
  /// Where they begin.
  package let start: UnsafeRawPointer
  /// The numbers rounded to 8-bit codes, where a sampler has made them.
  package var int8: UnsafeRawPointer?

  package init(_ form: WeightForm, _ start: UnsafeRawPointer, rows: Int, columns: Int) {
    self.form = form
    self.start = start
    self.rows = rows
    self.columns = columns
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
