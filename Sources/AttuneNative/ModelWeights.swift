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
  /// The numbers rounded to bfloat16 and laid out for products, where a sampler has made them.
  package var bf16: UnsafeRawPointer?

  package init(_ form: WeightForm, _ start: UnsafeRawPointer, rows: Int, columns: Int) {
    self.form = form
    self.start = start
    self.rows = rows
    self.columns = columns
  }
}

/// Adapters of a model, where they lie in its arena.
struct Adapters {
  let layout: LoRALayout
  let arena: UnsafePointer<Float>
}

/// A whole model as matrices and adapters beside them, borrowed: what the decoder reads, valid while the
/// model lends it.
package struct ModelWeights {
  package let spec: TransformerSpec
  package let embeddings: ParameterBlock
  package let layers: [ParameterBlock]
  /// The last norm, and the head where it is not the embedding.
  package let final: ParameterBlock
  /// What is added to products of the layers' matrices.
  let adapters: Adapters?
  /// Each layer's rotary tables; nil where nothing is rotated.
  package let rotary: [RotaryTable?]
  /// Which copies of the matrices products read: with `int8` every matrix of one has it, with `bf16`
  /// those that are float32.
  let copies: SamplerCopy?

  /// [V, D].
  package var head: Matrix? {
    spec.tiedHead ? embeddings.matrix(.embedding) : final.matrix(.head)
  }
}
