// SPDX-License-Identifier: Apache-2.0

package import AttuneFiles
public import Foundation

/// Writes models as folders that `transformers` (4 and 5) loads as they are.
public enum HuggingFaceWriter {
  /// What the head of the model is.
  public enum Head: String, Codable, Sendable {
    /// Logits over the vocabulary: `…ForCausalLM`.
    case language
    /// One number, from `score.weight`: `…ForSequenceClassification` with one label, a reward model.
    case scalar
  }

  /// Writes model.safetensors, generation_config.json and, last of all, config.json. Each file
  /// appears under its name only once it is whole.
  ///
  /// A reward model names no padding id: transformers reads the score at the last token that is not
  /// padding, so that the end of sequence itself, taken as padding, would have the score read one
  /// token early.
  ///
  /// - Parameters:
  ///   - spec: What the model is made of.
  ///   - directory: The folder; made if it is not there.
  ///   - head: Which head it has.
  ///   - type: What the numbers are stored as.
  ///   - values: Gives a weight by canonical name, row-major; nil is an error.
  /// - Throws: `EngineError` that names the file, or the tensor that is missing or of another size.
  public static func write(
    _ spec: TransformerSpec, to directory: URL, head: Head = .language,
    as type: Safetensors.ElementType = .float32, values: (String) throws -> [Float]?
  ) throws {
    try spec.validated(directory.path)
    let config = try configuration(spec, head: head, type: type, path: directory.path)
    do {
      try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    } catch {
      throw EngineError(.file, "\(directory.path): the folder cannot be made")
    }
    try writeWeights(
      spec, to: directory.appendingPathComponent("model.safetensors"), head, type, values)
    try write(generation(spec), to: directory.appendingPathComponent("generation_config.json"))
    try write(config, to: directory.appendingPathComponent("config.json"))
  }

  // MARK: - Weights

  private static func writeWeights(
    _ spec: TransformerSpec, to url: URL, _ head: Head, _ type: Safetensors.ElementType,
    _ values: (String) throws -> [Float]?
  ) throws {
    var tensors = spec.tensors
    if head == .scalar {
      tensors.removeAll { $0.role == .head }
      tensors.append(spec.scoreTensor)
    }
    let parts = StoredParts(tensors.map { ($0, spec.architecture.huggingFace($0, spec)) })
    func weight(_ tensor: TransformerSpec.Tensor) throws -> [Float] {
      guard let found = try values(tensor.name) else {
        throw EngineError(.badRequest, "\(url.path): the weight \(tensor.name) is missing")
      }
      guard found.count == tensor.count else {
        throw EngineError(
          .badRequest,
          "\(url.path): the weight \(tensor.name) has \(found.count) elements, not \(tensor.count)")
      }
      return found
    }
    let writer = try Safetensors.Writer(
      url, layout: parts.order.map { ($0.name, $0.shape, type) }, metadata: ["format": "pt"])
    for stored in parts.order {
      try parts.whole(stored, weight).withUnsafeBufferPointer {
        try writer.write(stored.name, $0)
      }
    }
    try writer.finish()
  }

  // MARK: - Configuration

  private static func write(_ fields: [String: JSONTree], to url: URL) throws {
    try AtomicFile.write(JSONTree.object(fields).text() + "\n", to: url)
  }

  private static func id(_ value: Int32?) -> JSONTree {
    value.map { .int(Int($0)) } ?? .null
  }

  private static func generation(_ spec: TransformerSpec) -> [String: JSONTree] {
    let ends = spec.endOfSequence.map { JSONTree.int(Int($0)) }
    return [
      "bos_token_id": id(spec.beginOfSequence),
      "eos_token_id": ends.count > 1 ? .array(ends) : ends.first ?? .null,
    ]
  }

  /// config.json, checked to say the same when it is read again.
  package static func configuration(
    _ spec: TransformerSpec, head: Head, type: Safetensors.ElementType, path: String
  ) throws -> [String: JSONTree] {
    let family = spec.architecture
    var fields = family.writeConfiguration(spec)
    let suffix = head == .language ? family.languageClass : "ForSequenceClassification"
    fields["architectures"] = .array([.string(family.className + suffix)])
    fields["model_type"] = .string(family.name)
    fields["bos_token_id"] = id(spec.beginOfSequence)
    fields["eos_token_id"] = id(spec.endOfSequence.first)
    fields["pad_token_id"] = .null
    fields["tie_word_embeddings"] = .bool(spec.tiedHead)
    // transformers 4 reads the first, 5 the second.
    fields["torch_dtype"] = .string(type.rawValue)
    fields["dtype"] = .string(type.rawValue)
    // One label: what a reward model has, and what transformers needs to know of a language model
    // that a reward model's adapters are put on.
    fields["id2label"] = .object(["0": .string("LABEL_0")])
    fields["label2id"] = .object(["LABEL_0": .int(0)])
    var again = try TransformerSpec(family, JSONFile(path: path, fields: fields))
    again.endOfSequence = spec.endOfSequence
    guard again == spec else {
      throw EngineError(
        .badRequest,
        "\(path): transformers' \(family.className) has no such model (biases, norms or "
          + "heads differ)")
    }
    return fields
  }
}
