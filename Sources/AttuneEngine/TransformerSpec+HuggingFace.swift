// SPDX-License-Identifier: Apache-2.0

public import Foundation

extension TransformerSpec {
  /// Reads a Hugging Face config.json. Where a generation_config.json lies beside it, the ids that
  /// it ends answers at are added: instruction models name several only there.
  ///
  /// - Parameter url: The config.json.
  /// - Throws: `EngineError` that names the file and the field at fault.
  public init(configuration url: URL) throws {
    let config = try JSONFile(url)
    let type = try config.required("model_type", config.string)
    self = try Architecture(modelType: type, place: url.path).spec(config)
    let generation = url.deletingLastPathComponent().appendingPathComponent(
      "generation_config.json")
    if FileManager.default.fileExists(atPath: generation.path) {
      let file = try JSONFile(generation)
      var ids = try file.ids("eos_token_id")
      for id in endOfSequence where !ids.contains(id) { ids.append(id) }
      endOfSequence = ids
    }
    // Some configurations name ids of a larger family's vocabulary; the model cannot emit those.
    endOfSequence.removeAll { $0 < 0 || Int($0) >= vocabularySize }
    if let id = beginOfSequence, id < 0 || Int(id) >= vocabularySize { beginOfSequence = nil }
    try validated(url.path)
    if architecture == .gpt2, width % heads != 0 {
      throw EngineError(
        .badModel, "\(url.path): n_embd \(width) is not a multiple of n_head \(heads)")
    }
  }
}
