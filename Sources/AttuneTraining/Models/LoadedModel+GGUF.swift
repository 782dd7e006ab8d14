// SPDX-License-Identifier: Apache-2.0

import AttuneData
public import AttuneEngine
import AttuneFiles
public import Foundation

extension LoadedModel {
  /// This model with the adapters of a folder put on it, whatever model the folder names.
  ///
  /// - Parameter name: The folder of the adapters.
  /// - Throws: An error if it holds no adapters, or Attune noted that they were trained on another model.
  public func adapted(by name: String) throws -> LoadedModel {
    let url = URL(filePath: name, directoryHint: .isDirectory)
    guard LoRAFiles.isPresent(in: url) else {
      throw TrainingError(.badModel, "\(name): holds no adapters (adapter_config.json)")
    }
    let note = try Self.readNote(url)
    guard note?.base.map({ $0.fingerprint == fingerprint }) ?? true else {
      throw TrainingError(
        .badModel,
        "\(name): was trained on \(note?.base?.name ?? "another model"), not on \(self.name) as it is "
          + "now (fingerprints differ)")
    }
    return try Self.openTrained(
      url, name: name, fingerprint: Fingerprint.of(model: url), base: self, trained: nil,
      reward: note?.reward)
  }

  /// Writes this model as a GGUF file, adapters merged in, for llama.cpp and what is made of it, and reads
  /// it again: network, weights, tokenizer and chat template.
  ///
  /// - Parameters:
  ///   - url: The file, `.gguf`.
  ///   - weights: What the weights are stored as.
  /// - Returns: What llama.cpp does otherwise than this model says; mostly nothing.
  /// - Throws: An error that says what llama.cpp has no place for.
  @discardableResult
  public func exportGGUF(to url: URL, as weights: GGUFWeights) throws -> [String] {
    try Self.requireGGUFName(url)
    guard !model.hasScalarHead else {
      throw TrainingError(
        .badModel, "\(name): is a reward model, which llama.cpp can't run; --to hf writes it")
    }
    var texts: GGUFTokenizer
    do {
      texts = try tokenizer.gguf(rows: model.spec.vocabularySize)
    } catch let error as DataError {
      throw TrainingError(.badModel, "\(name): \(error.message)")
    }
    texts.chatTemplate = chatTemplateSource
    texts.beginOfSequence = texts.beginOfSequence ?? model.spec.beginOfSequence
    var ends = model.spec.endOfSequence
    if let own = tokenizer.endOfSequence, ends.contains(own) || ends.isEmpty {
      ends = [own] + ends.filter { $0 != own }
    }
    texts.endOfSequence = ends.first
    var notes: [(key: String, value: GGUFValue)] = [("general.name", .string(shortName))]
    notes += texts.metadata
    for (key, id) in zip(["eot", "eom"], ends.dropFirst()) {
      notes.append(("tokenizer.ggml.\(key)_token_id", .unsigned(UInt64(id))))
    }
    try AtomicFile.makeFolder(url.deletingLastPathComponent())
    var remarks = try GGUFModel.write(
      model.spec, to: url, as: weights, notes: notes, values: { try self.model.weight($0)?.values },
      check: { try self.compareTexts($0) })
    if ends.count > 3 {
      remarks.append(
        "a GGUF file has room for three tokens that end an answer; left out: "
          + ends.dropFirst(3).compactMap { tokenizer.token(of: $0) }.joined(separator: ", "))
    }
    return remarks
  }

  /// Writes a folder for `ollama create`: `model.gguf` and `Modelfile`.
  ///
  /// - Parameters:
  ///   - folder: A folder that is not there or is empty.
  ///   - weights: What the weights are stored as.
  /// - Returns: What Ollama does otherwise than this model says.
  /// - Throws: An error if the folder holds something, or that says what llama.cpp has no place for.
  @discardableResult
  public func exportOllama(to folder: URL, as weights: GGUFWeights) throws -> [String] {
    try Self.makeEmpty(folder)
    var remarks = try exportGGUF(to: folder.appending(path: "model.gguf"), as: weights)
    let file = try Modelfile(of: self)
    try AtomicFile.write(file.text(from: "./model.gguf"), to: folder.appending(path: "Modelfile"))
    if let remark = file.remark { remarks.append(remark) }
    return remarks
  }

  /// Writes adapters as a GGUF file, to be loaded beside their base model (`--lora`).
  ///
  /// - Parameters:
  ///   - name: The folder of the adapters.
  ///   - base: The model that they are put on; the one that they name, unless said.
  ///   - url: The file, `.gguf`.
  ///   - weights: What the numbers are stored as: f32, f16 or bf16.
  /// - Throws: An error that names the folder, or says what llama.cpp has no place for.
  public static func exportAdapter(
    _ name: String, base: String? = nil, to url: URL, as weights: GGUFWeights
  ) throws {
    try requireGGUFName(url)
    let folder = URL(filePath: name, directoryHint: .isDirectory)
    guard LoRAFiles.isPresent(in: folder) else {
      throw TrainingError(
        .badModel,
        "\(name): holds no adapters (adapter_config.json); --to gguf writes a whole model")
    }
    let note = try readNote(folder)
    let place = try base.map { ($0, try resolve($0)) } ?? adaptersBase(note, folder)
    if let expected = note?.base?.fingerprint, try expected != Fingerprint.of(model: place.1) {
      throw TrainingError(
        .badModel,
        "\(name): was trained on another model than \(place.0) is now (fingerprints differ)")
    }
    let spec = try Checkpoint.open(place.1).spec
    try AtomicFile.makeFolder(url.deletingLastPathComponent())
    try GGUFModel.write(
      LoRAFiles(folder, spec: spec), of: spec, to: url, as: weights,
      name: folder.standardizedFileURL.lastPathComponent)
  }

  /// The end of the model's name.
  private var shortName: String {
    URL(filePath: name).standardizedFileURL.deletingPathExtension().lastPathComponent
  }

  private static func requireGGUFName(_ url: URL) throws {
    guard url.pathExtension.lowercased() == "gguf" else {
      throw TrainingError(
        .badOutput, "\(url.path): a GGUF file's name ends in .gguf; call it \(url.path).gguf")
    }
  }

  /// Holds a file's tokenizer and chat template against this model's.
  private func compareTexts(_ url: URL) throws {
    let again = try Self.tokenizer(url.path)
    if let text = tokenizer.firstDifference(from: again) {
      throw TrainingError(
        .badOutput, "\(url.path): the tokenizer that was written makes other ids of \"\(text)\"")
    }
    guard again.chatTemplate == chatTemplateSource else {
      throw TrainingError(.badOutput, "\(url.path): the chat template is another than was written")
    }
  }
}
