// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The safetensors files of a folder: model.safetensors, or the shards that its index names.
struct SafetensorsFolder: Sendable {
  let path: String
  private let files: [String: Safetensors.File]

  /// All names, sorted.
  var names: [String] { files.keys.sorted() }

  init(_ url: URL) throws {
    path = url.path
    func exists(_ name: String) -> Bool {
      FileManager.default.fileExists(atPath: url.appendingPathComponent(name).path)
    }
    let single = url.appendingPathComponent("model.safetensors")
    let index = url.appendingPathComponent("model.safetensors.index.json")
    var files: [String: Safetensors.File] = [:]
    if exists("model.safetensors") {
      let file = try Safetensors.File(single)
      for name in file.names { files[name] = file }
    } else if exists("model.safetensors.index.json") {
      let json = try JSONFile(index)
      guard let map = try json.object("weight_map") else {
        throw EngineError(.badModel, "\(index.path): weight_map is missing")
      }
      var shards: [String: Safetensors.File] = [:]
      for name in map.fields.keys.sorted() {
        let shard = try map.required(name, map.string)
        guard !shard.contains("/"), shard.hasSuffix(".safetensors") else {
          throw EngineError(
            .badModel, "\(index.path): the shard '\(shard)' of \(name) is no file of this folder")
        }
        let file = try shards[shard] ?? Safetensors.File(url.appendingPathComponent(shard))
        shards[shard] = file
        guard file.shape(of: name) != nil else {
          throw EngineError(.badModel, "\(file.path): has no tensor \(name), which the index names")
        }
        files[name] = file
      }
      for (shard, file) in shards.sorted(by: { $0.key < $1.key }) {
        guard let stray = file.names.first(where: { files[$0] == nil }) else { continue }
        throw EngineError(
          .badModel,
          "\(url.path)/\(shard): the tensor \(stray) is not named by model.safetensors.index.json")
      }
    } else if exists("pytorch_model.bin") || exists("pytorch_model.bin.index.json") {
      throw EngineError(
        .badModel,
        "\(url.path): has only pickled weights (pytorch_model.bin), which are never read; convert "
          + "them to model.safetensors")
    } else {
      throw EngineError(.badModel, "\(url.path): has no model.safetensors")
    }
    self.files = files
  }

  func file(of name: String) -> Safetensors.File? { files[name] }

  /// Whether there is a head whose numbers are not the embedding's.
  func hasOwnHead(_ spec: TransformerSpec) throws -> Bool {
    let embedding = spec.architecture.huggingFace(spec.tensors[0], spec).name
    let bare = String(embedding.dropFirst(spec.architecture.trunkPrefix.count))
    guard let head = files["lm_head.weight"], let headShape = head.shape(of: "lm_head.weight"),
      let name = [embedding, bare].first(where: { files[$0] != nil }), let own = files[name]
    else { return false }
    guard headShape == own.shape(of: name) else { return true }
    let count = headShape.reduce(1, *)
    var first = [Float](repeating: 0, count: min(count, 1 << 20))
    var second = first
    for start in stride(from: 0, to: count, by: 1 << 20) {
      let part = min(first.count, count - start)
      try first.withUnsafeMutableBufferPointer {
        try head.read("lm_head.weight", from: start, into: .init(rebasing: $0[..<part]))
      }
      try second.withUnsafeMutableBufferPointer {
        try own.read(name, from: start, into: .init(rebasing: $0[..<part]))
      }
      if first[..<part] != second[..<part] { return true }
    }
    return false
  }
}

/// A Hugging Face folder's weights by canonical name.
struct HuggingFaceTensors: StoredTensorSource {
  let names: [String]
  private let files: SafetensorsFolder
  private let places: [String: StoredTensor]
  private let shapes: [String: [Int]]

  init(_ files: SafetensorsFolder, _ spec: TransformerSpec) throws {
    self.files = files
    let prefix = spec.architecture.trunkPrefix
    (names, places) = try Checkpoint.places(
      spec, path: files.path, present: files.names,
      shape: { name in
        if let file = files.file(of: name) { return file.shape(of: name).map { (name, $0) } }
        // Files of a bare trunk, GPT-2's first release among them, have no prefix.
        guard name.hasPrefix(prefix) else { return nil }
        let bare = String(name.dropFirst(prefix.count))
        return files.file(of: bare)?.shape(of: bare).map { (bare, $0) }
      },
      stored: { spec.architecture.huggingFace($0, spec) })
    shapes = spec.shapesByName
  }

  func shape(of canonicalName: String) -> [Int]? {
    places[canonicalName] == nil ? nil : shapes[canonicalName]
  }

  func read(_ canonicalName: String, into buffer: UnsafeMutableBufferPointer<Float>) throws {
    try read(canonicalName, rows: 0..<(shapes[canonicalName]?[0] ?? 0), into: buffer)
  }

  func read(
    _ canonicalName: String, rows: Range<Int>, into buffer: UnsafeMutableBufferPointer<Float>
  ) throws {
    let (place, file) = try place(canonicalName)
    let columns = shapes[canonicalName]?.dropFirst().reduce(1, *) ?? 0
    precondition(
      buffer.count == rows.count * columns, "\(canonicalName): a buffer of wrong size")
    switch place.layout {
    case .plain:
      try file.read(place.name, from: rows.lowerBound * columns, into: buffer)
    case .rows(let own):
      try file.read(place.name, from: (own.lowerBound + rows.lowerBound) * columns, into: buffer)
    case .transposed(let own):
      let outputs = place.shape[1]
      let whole = try file.read(place.name)
      for row in 0..<rows.count {
        let column = own.lowerBound + rows.lowerBound + row
        for input in 0..<columns {
          buffer[row * columns + input] = whole[input * outputs + column]
        }
      }
    case .rotaryPairs, .headParts:
      let source = place.source
      for row in 0..<rows.count {
        let part = row * columns..<(row + 1) * columns
        try file.read(
          place.name, from: source(rows.lowerBound + row) * columns,
          into: UnsafeMutableBufferPointer(rebasing: buffer[part]))
      }
    }
  }

  func form(of canonicalName: String) -> WeightForm {
    guard let (place, file) = try? place(canonicalName), file.tag(of: place.name) == "BF16" else {
      return .float32
    }
    return .bfloat16
  }

  func readStored(_ canonicalName: String, into output: UnsafeMutableRawPointer) throws {
    let (place, file) = try place(canonicalName)
    let shape = shapes[canonicalName] ?? []
    let count = shape.reduce(1, *)
    let form = form(of: canonicalName)
    if form == .bfloat16, let first = place.firstRow {
      let start = first * shape.dropFirst().reduce(1, *)
      return try file.readBytes(
        place.name, from: form.bytes(start),
        into: UnsafeMutableRawBufferPointer(start: output, count: form.bytes(count)))
    }
    if form == .float32 {
      return try read(
        canonicalName,
        into: UnsafeMutableBufferPointer(
          start: output.bindMemory(to: Float.self, capacity: count), count: count))
    }
    let halves = output.bindMemory(to: UInt16.self, capacity: count)
    for (index, value) in try read(canonicalName).enumerated() {
      halves[index] = ElementConversion.brain(value)
    }
  }

  private func place(_ canonicalName: String) throws -> (StoredTensor, Safetensors.File) {
    guard let place = places[canonicalName], let file = files.file(of: place.name) else {
      throw EngineError(.badModel, "\(files.path): has no tensor \(canonicalName)")
    }
    return (place, file)
  }
}

extension TransformerSpec {
  /// The shapes of all canonical tensors, the scalar head's among them.
  var shapesByName: [String: [Int]] {
    .init(uniqueKeysWithValues: (tensors + [scoreTensor]).map { ($0.name, $0.shape) })
  }
}
