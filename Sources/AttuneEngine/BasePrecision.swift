// SPDX-License-Identifier: Apache-2.0

/// How an engine keeps the matrices of models that it opens: the base that adapters are put beside, the
/// reference, a judge, and what a copy to train starts from (whose trained numbers are float32).
///
/// Norms, biases and scalar heads are float32 always. A model is brought to a precision tensor by tensor
/// as it is read, so that it is never there in float32 (QLoRA, Dettmers et al. 2023, arXiv:2305.14314,
/// with other codes).
public enum BasePrecision: String, Sendable, CaseIterable {
  /// In the numbers of its file: float32, bfloat16, or a GGUF file's codes. Nothing changes.
  case asIs = "as-is"
  /// In bfloat16, rounded to nearest even.
  case bf16
  /// In 8-bit codes with a scale for each 16 weights.
  case q8
  /// In 4-bit codes with a scale and an offset for each 32 weights.
  case q4

  /// The form that a matrix is kept in, whose file has it in another: one in as few bytes stays as it is.
  package func form(of stored: WeightForm) -> WeightForm {
    let form: WeightForm =
      switch self {
      case .asIs: stored
      case .bf16: .bfloat16
      case .q8: .bytes
      case .q4: .nibbles
      }
    return form.bytes(WeightForm.group) < stored.bytes(WeightForm.group) ? form : stored
  }
}
