// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
public import Foundation

/// Writes models and adapters as GGUF files, which llama.cpp and Ollama load, and holds what was written
/// against what it was to be.
public enum GGUFModel {
  /// Writes a model with its language head, and reads it again.
  ///
  /// - Parameters:
  ///   - spec: What the model is made of.
  ///   - url: The file; its folder must exist.
  ///   - weights: What the weights are stored as.
  ///   - notes: More metadata: the model's name, its tokenizer and its chat template.
  ///   - values: Gives a weight by canonical name, row-major; nil is an error.
  ///   - check: Reads the file once more before it gets its name.
  /// - Returns: What llama.cpp does otherwise than the model says; mostly nothing.
  /// - Throws: `EngineError` that says what llama.cpp has no place for, or that names the tensor that was
  ///   read as something else.
  public static func write(
    _ spec: TransformerSpec, to url: URL, as weights: GGUFWeights,
    notes: [(key: String, value: GGUFValue)], values: (String) throws -> [Float]?,
    check: (URL) throws -> Void = { _ in }
  ) throws -> [String] {
    try spec.validated(url.path)
    let fields = try fields(of: spec, place: url.path)
    let parts = StoredParts(spec.tensors.map { ($0, spec.architecture.gguf($0, spec)) })
    var metadata: [(key: String, value: GGUFValue)] = [
      ("general.architecture", .string(fields.architecture)), ("general.type", .string("model")),
      ("general.file_type", GGUFFields.whole(weights.fileType)),
      ("general.quantization_version", GGUFFields.whole(2)),
    ]
    metadata += fields.values.sorted { $0.key < $1.key }.map {
      (fields.architecture + "." + $0.key, $0.value)
    }
    metadata += notes
    var layout: [GGUF.Writer.Layout] = fields.vectors.map { ($0.name, [$0.values.count], .f32) }
    layout += parts.order.map { stored in
      (stored.name, stored.shape, weights.type(of: parts.tensors(of: stored.name)[0], in: spec))
    }
    try written(to: url) { unchecked in
      let writer = try GGUF.Writer(unchecked, metadata: metadata, layout: layout)
      for (name, values) in fields.vectors {
        try values.withUnsafeBufferPointer { try writer.write(name, $0) }
      }
      for stored in parts.order {
        let whole = try parts.whole(stored) { try weight($0, values, place: url.path) }
        try whole.withUnsafeBufferPointer { try writer.write(stored.name, $0) }
      }
      try writer.finish()
      try compare(unchecked, with: spec, values, place: url.path)
      try check(unchecked)
    }
    return fields.remarks
  }

  /// Writes a file under a name of its own, and gives it its name once it was read again.
  private static func written(to url: URL, _ body: (URL) throws -> Void) throws {
    let beside = url.deletingLastPathComponent().appendingPathComponent(
      ".\(url.deletingPathExtension().lastPathComponent).\(getpid()).unchecked.gguf")
    defer { unlink(beside.path) }
    try body(beside)
    guard rename(beside.path, url.path) == 0 else { throw FileError("can't be written", url.path) }
  }

  private static func fields(of spec: TransformerSpec, place: String) throws -> GGUFFields {
    guard let write = spec.architecture.writeMetadata else {
      throw EngineError(
        .badRequest,
        "\(place): llama.cpp has no name for \(spec.architecture.title); --to hf writes it")
    }
    do {
      return try write(spec)
    } catch let error as EngineError {
      throw EngineError(error.code, "\(place): \(error.message)")
    }
  }

  private static func weight(
    _ tensor: TransformerSpec.Tensor, _ values: (String) throws -> [Float]?, place: String
  ) throws -> [Float] {
    guard let found = try values(tensor.name), found.count == tensor.count else {
      throw EngineError(
        .badRequest, "\(place): the weight \(tensor.name) is missing or of another size")
    }
    guard found.allSatisfy(\.isFinite) else {
      throw EngineError(.badRequest, "\(place): the weight \(tensor.name) is not finite")
    }
    return found
  }

  // MARK: - Adapters

  /// Writes adapters, and reads them again.
  ///
  /// - Parameters:
  ///   - adapters: The adapters, on a model with a language head.
  ///   - spec: What their model is made of.
  ///   - url: The file; its folder must exist.
  ///   - weights: What the numbers are stored as: f32, f16 or bf16.
  ///   - name: What the adapters are called.
  /// - Throws: `EngineError` that says what llama.cpp has no place for.
  public static func write(
    _ adapters: LoRAFiles, of spec: TransformerSpec, to url: URL, as weights: GGUFWeights,
    name: String
  ) throws {
    let types: [GGUFWeights: GGUFType] = [.f32: .f32, .f16: .f16, .bf16: .bf16]
    guard let type = types[weights] else {
      throw EngineError(
        .badRequest, "\(url.path): adapters are written as f32, f16 or bf16, not as \(weights)")
    }
    let fields = try fields(of: spec, place: url.path)
    var places: [String: StoredTensor] = [:]
    for tensor in spec.tensors where tensor.isMatrix {
      places[String(tensor.name.dropLast(".weight".count))] = spec.architecture.gguf(tensor, spec)
    }
    let stored = try adapters.tensors.map { tensor -> (place: StoredTensor, values: [Float]) in
      let parts = tensor.name.components(separatedBy: ".lora_")
      guard parts.count == 2, let place = places[parts[0]] else {
        throw EngineError(
          .badRequest, "\(url.path): llama.cpp has no place for the adapter's \(tensor.name)")
      }
      let isInner = parts[1] == "A.weight"
      // The rows of the outer matrix are those of the weight that it is added to.
      let part = StoredTensor(
        "\(place.name).lora_\(isInner ? "a" : "b")", tensor.shape, isInner ? .plain : place.layout)
      var whole = [Float](repeating: 0, count: tensor.values.count)
      StoredParts.put(tensor.values, part, in: &whole)
      return (part, whole)
    }
    let metadata: [(key: String, value: GGUFValue)] = [
      ("general.architecture", .string(fields.architecture)), ("general.type", .string("adapter")),
      ("general.name", .string(name)), ("general.file_type", GGUFFields.whole(weights.fileType)),
      ("adapter.type", .string("lora")),
      ("adapter.lora.alpha", GGUFFields.number(adapters.settings.alpha)),
    ]
    try written(to: url) { unchecked in
      let writer = try GGUF.Writer(
        unchecked, metadata: metadata, layout: stored.map { ($0.place.name, $0.place.shape, type) })
      for (place, values) in stored {
        guard values.allSatisfy(\.isFinite) else {
          throw EngineError(.badRequest, "\(url.path): \(place.name) is not finite")
        }
        try values.withUnsafeBufferPointer { try writer.write(place.name, $0) }
      }
      try writer.finish()
      let again = try GGUF(unchecked)
      for (place, values) in stored {
        try hold(again.read(place.name), against: values, type, name: place.name, place: url.path)
      }
    }
  }

  // MARK: - What was written

  /// Reads a file and holds network and weights against the model's: the numbers themselves, or of codes
  /// how far they are off altogether.
  private static func compare(
    _ url: URL, with spec: TransformerSpec, _ values: (String) throws -> [Float]?, place: String
  ) throws {
    let gguf = try GGUF(url)
    let again = try TransformerSpec(gguf: gguf)
    if let field = spec.difference(from: again) {
      throw EngineError(
        .badRequest,
        "\(place): llama.cpp has no such \(spec.architecture.title): a GGUF file can't say the "
          + "model's \(field)")
    }
    let tensors = try GGUFTensors(gguf, again)
    for tensor in spec.tensors {
      let expected = try weight(tensor, values, place: place)
      let found = try tensors.read(tensor.name)
      let type = gguf.tensors[again.architecture.gguf(tensor, again).name]?.type ?? .f32
      try hold(found, against: expected, type, name: tensor.name, place: place)
    }
  }

  private static func hold(
    _ found: [Float], against expected: [Float], _ type: GGUFType, name: String, place: String
  ) throws {
    var (apart, whole) = (0.0, 0.0)
    for (one, two) in zip(expected, found) {
      apart += Double(one - two) * Double(one - two)
      whole += Double(one) * Double(one)
    }
    guard found.count == expected.count, apart <= type.allowedError * whole else {
      throw EngineError(
        .badModel,
        "\(place): the tensor \(name), read again as \(type), is another than was written")
    }
  }
}

extension GGUFType {
  /// The most that the squared error of a tensor may be, as a share of its squares.
  ///
  /// Tensors in a wrong order are off by 2.
  fileprivate var allowedError: Double {
    switch self {
    // A norm's weight has had 1 added and taken away.
    case .f32: 1e-12
    case .f16: 1e-6
    case .bf16: 1e-4
    case .q8_0: 1e-3
    default: 0.1
    }
  }
}
