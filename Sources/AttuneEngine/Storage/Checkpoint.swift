// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
public import Foundation

/// A model as it lies on the disk: what it is made of, and its weights by canonical name.
public struct Checkpoint: Sendable {
  /// What a model is read from.
  public enum Format: String, Codable, Sendable {
    /// A folder with config.json and model.safetensors or its shards.
    case huggingFace
    /// One .gguf file.
    case gguf
  }

  /// What the model is made of.
  public let spec: TransformerSpec
  /// Its weights, `score.weight` among them if it has a scalar head.
  public let tensors: any TensorSource
  /// What it is read from.
  public let format: Format
  /// The folder or file.
  public let url: URL
  /// A GGUF file's metadata, tokenizer and chat template among it; nil for folders.
  public var ggufMetadata: [String: GGUFValue]?

  /// Whether it has a scalar head: a reward model or a value model.
  public var hasScalarHead: Bool { tensors.shape(of: "score.weight") != nil }

  /// Opens a folder or a .gguf file and checks that every weight of its spec is there in the right
  /// shape; nothing is read yet.
  ///
  /// A model with a scalar head has no language head, whatever else lies in its files: the spec says
  /// that the head is tied where an untied one is absent, and its logits mean nothing. A file that
  /// has another head than the embedding, though the configuration ties the two, is read as
  /// transformers 5 does: not tied.
  ///
  /// - Parameter url: The folder or the file.
  /// - Returns: The checkpoint.
  /// - Throws: `EngineError` that names the file and the tensor or field at fault.
  public static func open(_ url: URL) throws -> Checkpoint {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder) else {
      throw EngineError(.file, "\(url.path): there is no such file or folder")
    }
    if isFolder.boolValue { return try openFolder(url) }
    guard url.pathExtension.lowercased() == "gguf" else {
      throw EngineError(
        .badModel, "\(url.path): is neither a model's folder nor a .gguf file")
    }
    let gguf = try GGUF(url)
    let spec = try TransformerSpec(gguf: gguf)
    let source = try GGUFTensors(gguf, spec)
    return Checkpoint(
      spec: spec, tensors: source, format: .gguf, url: url, ggufMetadata: gguf.metadata)
  }

  private static func openFolder(_ url: URL) throws -> Checkpoint {
    let config = url.appendingPathComponent("config.json")
    guard FileManager.default.fileExists(atPath: config.path) else {
      throw EngineError(.badModel, "\(url.path): has no config.json, so it is no model's folder")
    }
    var spec = try TransformerSpec(configuration: config)
    let name = try className(config)
    let isClassifier = name?.hasSuffix("ForSequenceClassification") ?? false
    if isClassifier, let labels = try labelCount(config), labels != 1 {
      throw EngineError(
        .badModel, "\(config.path): num_labels is \(labels); only scalar heads of 1 are supported")
    }
    let files = try SafetensorsFolder(url)
    let hasScore = files.file(of: "score.weight") != nil
    if let name, hasScore != isClassifier {
      throw EngineError(
        .badModel,
        hasScore
          ? "\(url.path): the tensor score.weight has no place in a \(name); a reward model's "
            + "config.json says …ForSequenceClassification"
          : "\(url.path): config.json says \(name), but the tensor score.weight is missing")
    }
    if hasScore {
      if files.file(of: "lm_head.weight") == nil { spec.tiedHead = true }
    } else if spec.tiedHead, try files.hasOwnHead(spec) {
      spec.tiedHead = false
    }
    let source = try HuggingFaceTensors(files, spec)
    return Checkpoint(spec: spec, tensors: source, format: .huggingFace, url: url)
  }

  /// The class that the configuration names, if it names one.
  private static func className(_ config: URL) throws -> String? {
    guard case .array(let classes)? = try JSONFile(config).fields["architectures"],
      case .string(let name)? = classes.first
    else { return nil }
    return name
  }

  /// The number of labels of a sequence classifier.
  private static func labelCount(_ config: URL) throws -> Int? {
    let file = try JSONFile(config)
    if let labels = try file.integer("num_labels") { return labels }
    // transformers writes the names of the labels in place of their number, and none for two.
    return try file.object("id2label")?.fields.count ?? 2
  }

  /// Holds the tensors of a file against those of a spec.
  ///
  /// - Returns: For each canonical name its place, the names in order.
  static func places(
    _ spec: TransformerSpec, path: String, present: [String],
    shape: (String) -> (name: String, shape: [Int])?,
    stored: (TransformerSpec.Tensor) -> StoredTensor
  ) throws -> (names: [String], places: [String: StoredTensor]) {
    var places: [String: StoredTensor] = [:]
    var names: [String] = []
    var claimed: Set<String> = []
    for tensor in spec.tensors + [spec.scoreTensor] {
      var place = stored(tensor)
      guard let found = shape(place.name) else {
        if tensor.role == .score { continue }
        throw EngineError(.badModel, "\(path): the tensor \(place.name) is missing")
      }
      guard found.shape == place.shape else {
        throw EngineError(
          .badModel,
          "\(path): the tensor \(found.name) has the shape \(found.shape), the configuration "
            + "says \(place.shape)")
      }
      place.name = found.name
      claimed.insert(found.name)
      places[tensor.name] = place
      names.append(tensor.name)
    }
    // A weight that no part of the spec uses would change the results silently; a tied head's copy
    // is the embedding.
    if let stray = present.first(where: {
      !claimed.contains($0) && !spec.architecture.leftovers.contains(where: $0.hasSuffix)
        && !(spec.tiedHead && $0 == "lm_head.weight")
    }) {
      throw EngineError(
        .badModel,
        "\(path): the tensor \(stray) has no place in a \(spec.architecture) of this "
          + "configuration")
    }
    return (names, places)
  }
}
