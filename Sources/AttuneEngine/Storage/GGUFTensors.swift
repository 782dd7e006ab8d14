// SPDX-License-Identifier: Apache-2.0

/// A GGUF file's weights by canonical name.
struct GGUFTensors: TensorSource {
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
    guard let place = places[canonicalName], let shape = shapes[canonicalName] else {
      throw EngineError(.badModel, "\(gguf.path): has no tensor \(canonicalName)")
    }
    precondition(buffer.count == shape.reduce(1, *), "\(canonicalName): a buffer of wrong size")
    switch place.layout {
    case .plain:
      try gguf.read(place.name, into: buffer) { $0 }
    case .rotaryPairs(let heads):
      try readPairs(place, heads: heads, into: buffer)
    case .rows(let rows) where place.shape.count == 1:
      let whole = try gguf.read(place.name)
      for (index, row) in rows.enumerated() { buffer[index] = whole[row] }
    case .rows(let rows):
      let first = rows.lowerBound
      try gguf.read(place.name, into: buffer) { first + $0 }
    case .transposed:
      preconditionFailure("\(canonicalName): no GGUF file has transposed weights")
    }
  }

  /// llama.cpp rotates neighbours, so its converter interleaves the two halves of each head.
  private func readPairs(
    _ place: StoredTensor, heads: Int, into buffer: UnsafeMutableBufferPointer<Float>
  ) throws {
    let width = place.shape[0] / heads
    let source: @Sendable (Int) -> Int = { row in
      let (head, inside) = row.quotientAndRemainder(dividingBy: width)
      let half = width / 2
      return head * width + (inside < half ? 2 * inside : 2 * (inside - half) + 1)
    }
    if place.shape.count == 1 {
      let whole = try gguf.read(place.name)
      for row in 0..<whole.count { buffer[row] = whole[source(row)] }
    } else {
      try gguf.read(place.name, into: buffer, rows: source)
    }
  }
}
