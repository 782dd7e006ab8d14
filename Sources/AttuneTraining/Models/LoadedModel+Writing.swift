// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneData
public import AttuneEngine
import AttuneFiles
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
    _ trained: any LanguageModel, to folder: URL, merging: Bool = false, reward: RewardScale? = nil
  ) throws {
    try AtomicFile.makeFolder(folder)
    var note = Note(reward: reward)
    if !merging, case .lora(let settings) = trained.trainable {
      note.base = Note.Base(name: absoluteName, fingerprint: fingerprint)
      note.trained = trained.trainable
      try LoRAFiles(
        settings: settings, tensors: trained.trainedParameters(), baseModel: try baseFolder()
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
      try writeWhole(trained, to: folder)
    }
    try write(note, to: folder)
    // Room for the model that is loaded now.
    trained.releaseMemory()
    try compare(trained, with: folder)
  }

  /// Writes this model whole, adapters merged in, as a folder that Attune and transformers load.
  ///
  /// - Parameters:
  ///   - folder: A folder that is not there or is empty.
  ///   - type: What the numbers are stored as.
  /// - Throws: An error if the folder holds something, or can't be written.
  public func export(to folder: URL, as type: Safetensors.ElementType = .float32) throws {
    try Self.makeEmpty(folder)
    var note = Note(reward: reward)
    // A model of random weights has no files of its own.
    if (try? Self.resolve(name)) != nil, let base = try Self.base(of: name),
      let fingerprint = base.fingerprint
    {
      note.base = Note.Base(name: base.name, fingerprint: fingerprint)
      note.trained = .full
    }
    try writeWhole(model, to: folder, as: type)
    try write(note, to: folder)
  }

  /// Makes a folder that must not hold anything yet.
  static func makeEmpty(_ folder: URL) throws {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    guard names.isEmpty else {
      throw TrainingError(
        .badOutput, "\(folder.path): is not empty; give a new folder for the whole model")
    }
    try AtomicFile.makeFolder(folder)
  }

  private func writeWhole(
    _ model: any LanguageModel, to folder: URL, as type: Safetensors.ElementType = .float32
  ) throws {
    try model.write(to: folder, head: model.hasScalarHead ? .scalar : .language, as: type)
    for (name, data) in tokenizer.files(chatTemplate: chatTemplateSource) {
      try AtomicFile.write(data, to: folder.appending(path: name))
    }
  }

  private func write(_ note: Note, to folder: URL) throws {
    guard let data = try? JSONText.indented(note) else {
      throw TrainingError(.diverged, "\(folder.path): the rewards are not finite")
    }
    try AtomicFile.write(data, to: folder.appending(path: "attune.json"))
  }

  /// A folder that transformers loads this model from, by its absolute path: its own, or for a
  /// `.gguf` file and for an adapter a copy in the cache, which is written once.
  private func baseFolder() throws -> String {
    guard let url = try? Self.resolve(name) else { return absoluteName }
    let own = url.standardizedFileURL
    if FileManager.default.fileExists(atPath: own.appending(path: "config.json").path),
      !LoRAFiles.isPresent(in: own)
    {
      return own.path
    }
    let bases = Pull.cache.appending(path: "bases", directoryHint: .isDirectory)
    let place = bases.appending(
      path: String(fingerprint.prefix(16)), directoryHint: .isDirectory
    ).standardizedFileURL
    func isThere() -> Bool {
      FileManager.default.fileExists(atPath: place.appending(path: "attune.json").path)
    }
    if isThere() { return place.path }
    // Under its name only once it is whole, whoever else writes the same.
    try Collective.current.first {
      let work = bases.appending(path: ".\(UUID().uuidString).part", directoryHint: .isDirectory)
      defer { try? FileManager.default.removeItem(at: work) }
      try export(to: work)
      guard rename(work.path, place.path) == 0 || isThere() else {
        throw FileError("can't be put in place", place.path)
      }
    }
    return place.path
  }

  /// The name as it works from any working folder.
  var absoluteName: String {
    FileManager.default.fileExists(atPath: name)
      ? URL(filePath: name).standardizedFileURL.path : name
  }

  /// Loads what was written and scores a few tokens with it: an export that lost something is found
  /// out now.
  private func compare(_ trained: any LanguageModel, with folder: URL) throws {
    // A model from random weights has no files to be loaded beside.
    let written = try LoadedModel.open(folder.path, beside: self, rewardModels: true)
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
