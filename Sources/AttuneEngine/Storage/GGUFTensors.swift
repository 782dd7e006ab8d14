// SPDX-License-Identifier: Apache-2.0

/// A GGUF file's weights by canonical name.
struct GGUFTensors: StoredTensorSource {
  let names: [String]
  private let gguf: GGUF
  private let places: [String: StoredTensor]
  private let shapes: [String: [Int]]

  init(_ gguf: GGUF, _ spec: TransformerSpec) throws {
    self.gguf = gguf
    (names, places) = try Checkpoint.places(
      spec, path: gguf.path, present: gguf.names,
      shape: { name in gguf.shape(of: name).map { (name, $0) } },
      stored: { spec.architecture.gguf($0, spec) })
    shapes = spec.shapesByName
  }

  func shape(of canonicalName: String) -> [Int]? {
    places[canonicalName] == nil ? nil : shapes[canonicalName]
  }

  func read(_ canonicalName: String, into buffer: UnsafeMutableBufferPointer<Float>) throws {
    let place = try place(canonicalName)
    precondition(
      buffer.count == shapes[canonicalName]?.reduce(1, *),
      "\(canonicalName): a buffer of wrong size")
    guard place.shape.count == 1 else {
      return try gguf.read(place.name, into: buffer, rows: place.source)
    }
    let whole = try gguf.read(place.name)
    let source = place.source
    for index in buffer.indices { buffer[index] = whole[source(index)] + place.shift }
  }

  func read(
    _ canonicalName: String, rows: Range<Int>, into buffer: UnsafeMutableBufferPointer<Float>
  ) throws {
    let place = try place(canonicalName)
    let source = place.source
    try gguf.read(place.name, into: buffer) { source(rows.lowerBound + $0) }
  }

  func form(of canonicalName: String) -> WeightForm {
    places[canonicalName].map { gguf.form(of: $0.name) } ?? .float32
  }

  func readStored(_ canonicalName: String, into output: UnsafeMutableRawPointer) throws {
    let place = try place(canonicalName)
    try gguf.readStored(
      place.name, into: output, count: shapes[canonicalName]?[0] ?? 0, rows: place.source)
  }

  private func place(_ canonicalName: String) throws -> StoredTensor {
    guard let place = places[canonicalName] else {
      throw EngineError(.badModel, "\(gguf.path): has no tensor \(canonicalName)")
    }
    return place
  }
}
