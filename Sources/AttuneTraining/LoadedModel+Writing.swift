// SPDX-License-Identifier: Apache-2.0

import AttuneData
public import AttuneEngine
public import Foundation

extension LoadedModel {
  /// Writes a model that was trained from this one as a folder that Attune and transformers load,
  /// then loads it again and compares.
  ///
  /// - Parameters:
  ///   - trained: A copy of this model, trained.
  ///   - folder: Where it goes.
  ///   - merging: Whether adapters are merged into the weights; else they are written in PEFT's
  ///     format, to be used with this model.
  ///   - reward: What a reward model's scores are normalised by.
  /// - Throws: An error if it can't be written, or reads back as something else.
  public func write(
    _ trained: LanguageModel, to folder: URL, merging: Bool = false, reward: RewardScale? = nil
  ) throws {
    try AtomicFile.makeFolder(folder)
    var note = Note(reward: reward)
    if !merging, case .lora(let settings) = trained.trainable {
      note.base = Note.Base(name: absoluteName, fingerprint: fingerprint)
      note.trained = trained.trainable
      try LoRAFiles(
        settings: settings, tensors: trained.trainedParameters(), baseModel: absoluteName
      ).write(to: folder, spec: trained.spec)
    } else {
      if case .lastLayers = trained.trainable {
        note.base = Note.Base(name: absoluteName, fingerprint: fingerprint)
        note.trained = trained.trainable
      } else if (try? Self.resolve(name)) != nil {
        // All numbers are here; the base is what `implicit:` compares with.
        note.base = Note.Base(name: absoluteName, fingerprint: fingerprint)
        note.trained = .full
      }
      try trained.write(to: folder, head: trained.hasScalarHead ? .scalar : .language)
      for (name, data) in tokenizer.files(chatTemplate: chatTemplateSource) {
        try AtomicFile.write(data, to: folder.appending(path: name))
      }
    }
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(note) else {
      throw TrainingError(.diverged, "\(folder.path): the rewards are not finite")
    }
    try AtomicFile.write(data, to: folder.appending(path: "attune.json"))
    // Room for the model that is loaded now.
    trained.releaseMemory()
    try compare(trained, with: folder)
  }

  /// The name as it works from any working folder.
  private var absoluteName: String {
    FileManager.default.fileExists(atPath: name)
      ? URL(filePath: name).standardizedFileURL.path : name
  }

  /// Loads what was written and scores a few tokens with it: an export that lost something is found
  /// out now.
  private func compare(_ trained: LanguageModel, with folder: URL) throws {
    // A model from random weights has no files to be loaded beside.
    let written = try LoadedModel.open(folder.path, beside: self)
    let ids = (0..<Int32(min(16, trained.spec.maximumPositions, trained.spec.vocabularySize)))
      .map { ($0 &* 7919) % Int32(trained.spec.vocabularySize) }
    // A reward model's folder need not have a language head.
    let probe =
      trained.hasScalarHead
      ? Segment(ids, scalarsAfter: [ids.count - 1]) : Segment(ids, scored: [1..<ids.count])
    let before = try trained.score([probe])
    let after = try written.model.score([probe])
    let values = zip(
      before.logProbabilities[0] + before.scalars[0], after.logProbabilities[0] + after.scalars[0])
    for (a, b) in values where abs(a - b) > 1e-3 * max(1, abs(a)) {
      throw TrainingError(
        .badOutput,
        "\(folder.path): the model that was written scores \(b) where the trained one scores \(a)")
    }
  }
}
