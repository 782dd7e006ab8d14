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
      return try gguf.read(place.name, into: buffer, rows: source(place))
    }
    let whole = try gguf.read(place.name)
    let source = source(place)
    for index in buffer.indices { buffer[index] = whole[source(index)] }
  }

  func read(
    _ canonicalName: String, rows: Range<Int>, into buffer: UnsafeMutableBufferPointer<Float>
  ) throws {
    let place = try place(canonicalName)
    let source = source(place)
    try gguf.read(place.name, into: buffer) { source(rows.lowerBound + $0) }
  }

  func form(of canonicalName: String) -> WeightForm {
    places[canonicalName].map { gguf.form(of: $0.name) } ?? .float32
  }

  func readStored(_ canonicalName: String, into output: UnsafeMutableRawPointer) throws {
    let place = try place(canonicalName)
    try gguf.readStored(
      place.name, into: output, count: shapes[canonicalName]?[0] ?? 0, rows: source(place))
  }

  private func place(_ canonicalName: String) throws -> StoredTensor {
    guard let place = places[canonicalName] else {
      throw EngineError(.badModel, "\(gguf.path): has no tensor \(canonicalName)")
    }
    return place
  }

  /// The row of the file's tensor that a canonical row is.
  private func source(_ place: StoredTensor) -> @Sendable (Int) -> Int {
    switch place.layout {
    case .plain: return { $0 }
    case .rows(let rows):
      let first = rows.lowerBound
      return { first + $0 }
    case .rotaryPairs(let heads):
      // llama.cpp rotates neighbours, so its converter interleaves the two halves of each head.
      let width = place.shape[0] / heads
      return { row in
        let (head, inside) = row.quotientAndRemainder(dividingBy: width)
        let half = width / 2
        return head * width + (inside < half ? 2 * inside : 2 * (inside - half) + 1)
      }
    case .transposed:
      preconditionFailure("\(place.name): no GGUF file has transposed weights")
    }
  }
}
