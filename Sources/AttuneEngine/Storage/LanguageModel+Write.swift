// SPDX-License-Identifier: Apache-2.0

public import Foundation

extension LanguageModel {
  /// Writes the model, adapters merged in, as a folder that `transformers` loads as it is: with its
  /// language head, or with `head: .scalar` as a reward model.
  ///
  /// - Parameters:
  ///   - directory: The folder; made if it is not there.
  ///   - head: Which head the file has.
  ///   - type: What the numbers are stored as.
  /// - Throws: `EngineError` that names the file; nothing is left under a final name half-written.
  public func write(
    to directory: URL, head: HuggingFaceWriter.Head = .language,
    as type: Safetensors.ElementType = .float32
  ) throws {
    try HuggingFaceWriter.write(
      spec, to: directory, head: head, as: type, values: { try self.weight($0)?.values })
  }
}
