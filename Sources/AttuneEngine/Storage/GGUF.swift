// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// A GGUF file (versions 2 and 3, little-endian) open for reading: metadata and tensors, whose
/// numbers are given back as float32, dequantised exactly as llama.cpp's reference does.
public struct GGUF: Sendable {
  /// A tensor of the file.
  package struct Tensor: Sendable {
    package var type: GGUFType
    /// Row-major: the file's dimensions reversed.
    package var shape: [Int]
    /// Bytes, from the start of the file.
    package var range: Range<Int>

    package var columns: Int { shape.last ?? 1 }
    package var count: Int { shape.reduce(1, *) }
  }

  let storage: StorageFile
  /// All metadata by key.
  public let metadata: [String: GGUFValue]
  package let tensors: [String: Tensor]
  /// Names of the tensors, sorted.
  public let names: [String]

  /// The file, for errors.
  public var path: String { storage.path }

  /// Opens a file and checks every size in it.
  ///
  /// - Parameter url: The file.
  /// - Throws: `EngineError` that names the file and the key or tensor at fault.
  public init(_ url: URL) throws {
    storage = try StorageFile(url)
    let path = storage.path
    func bad(_ why: String) -> EngineError { EngineError(.badModel, "\(path): \(why)") }

    var cursor = GGUFCursor(storage)
    guard storage.size >= 24, try cursor.number(UInt32.self, "the magic") == 0x4655_4747 else {
      throw bad("is no GGUF file")
    }
    let version = try cursor.number(UInt32.self, "the version")
    guard version == 2 || version == 3 else {
      throw bad(
        version.byteSwapped <= 3
          ? "is big-endian, which is not read"
          : "is GGUF of version \(version); 2 and 3 are read")
    }
    // A tensor takes at least 8 + 4 + 4 + 8 bytes, a key 8 + 4 + 1.
    let tensorCount = try cursor.items("the number of tensors", ofAtLeast: 24)
    let keyCount = try cursor.items("the number of keys", ofAtLeast: 13)
    var metadata: [String: GGUFValue] = [:]
    for index in 0..<keyCount {
      let key = try cursor.string("the name of key \(index)")
      let type = try cursor.number(UInt32.self, key)
      guard metadata.updateValue(try cursor.value(type: type, key), forKey: key) == nil else {
        throw bad("the key \(key) is there twice")
      }
    }
    let alignment = metadata["general.alignment"].map { $0.int ?? 0 } ?? 32
    guard (1...1 << 20).contains(alignment), alignment & (alignment - 1) == 0 else {
      throw bad("general.alignment is no power of two")
    }

    var listed: [(name: String, tensor: Tensor, offset: Int)] = []
    for index in 0..<tensorCount {
      listed.append(try Self.tensor(&cursor, index, path: path))
    }
    let begin = (cursor.offset + alignment - 1) / alignment * alignment
    var tensors: [String: Tensor] = [:]
    var end = begin
    for (name, tensor, offset) in listed.sorted(by: { $0.offset < $1.offset }) {
      var tensor = tensor
      let size = tensor.range.count
      guard offset % alignment == 0 else { throw bad("tensor \(name): its place is not aligned") }
      guard offset <= storage.size - size, offset + size <= storage.size - begin else {
        throw bad(
          "tensor \(name) needs \(size) bytes from byte \(offset) of the data, which the file "
            + "does not have: it is truncated")
      }
      guard size == 0 || begin + offset >= end else {
        throw bad("tensor \(name) overlaps the one before it")
      }
      tensor.range = begin + offset..<begin + offset + size
      end = max(end, tensor.range.upperBound)
      guard tensors.updateValue(tensor, forKey: name) == nil else {
        throw bad("tensor \(name) is there twice")
      }
    }
    guard storage.size - end <= 1 << 20 else {
      throw bad(
        "\(storage.size - end) bytes after its last tensor belong to nothing: it is damaged")
    }
    self.metadata = metadata
    self.tensors = tensors
    names = tensors.keys.sorted()
  }

  /// Reads the description of one tensor; its range begins at 0 yet.
  private static func tensor(
    _ cursor: inout GGUFCursor, _ index: Int, path: String
  ) throws -> (name: String, tensor: Tensor, offset: Int) {
    let name = try cursor.string("the name of tensor \(index)")
    func bad(_ why: String) -> EngineError {
      EngineError(.badModel, "\(path): tensor \(name): \(why)")
    }
    let dimensions = try cursor.number(UInt32.self, name)
    guard dimensions <= 4 else { throw bad("\(dimensions) dimensions are more than 4") }
    var shape: [Int] = []
    var count = 1
    for _ in 0..<dimensions {
      guard let size = Int(exactly: try cursor.number(UInt64.self, name)) else {
        throw bad("its size overflows")
      }
      let (product, overflow) = count.multipliedReportingOverflow(by: size)
      // Even the widest type has room for 8 bytes an element then.
      guard !overflow, product < Int.max / 8 else { throw bad("its size overflows") }
      count = product
      shape.insert(size, at: 0)
    }
    let number = try cursor.number(UInt32.self, name)
    guard let type = GGUFType(rawValue: number) else {
      throw bad(
        "is stored as \(GGUFType.name(number)); read are "
          + GGUFType.allCases.map { "\($0)" }.joined(separator: ", "))
    }
    guard (shape.last ?? 1) % type.blockElements == 0 else {
      throw bad("rows of \(shape.last ?? 1) are not whole blocks of \(type.blockElements)")
    }
    guard let offset = Int(exactly: try cursor.number(UInt64.self, name)) else {
      throw bad("its place overflows")
    }
    let bytes = count / type.blockElements * type.blockBytes
    return (name, Tensor(type: type, shape: shape, range: 0..<bytes), offset)
  }

  /// The shape of a tensor, row-major; nil if it is not there.
  ///
  /// - Parameter name: Its name in the file.
  public func shape(of name: String) -> [Int]? { tensors[name]?.shape }

  /// Reads a tensor as float32, as it lies in the file.
  ///
  /// - Parameter name: Its name in the file.
  /// - Returns: Its elements, row-major.
  /// - Throws: `EngineError` that names the file and the tensor.
  public func read(_ name: String) throws -> [Float] {
    let count = tensors[name]?.count ?? 0
    return try [Float](count: count) { try read(name, into: $0) { $0 } }
  }

  /// The smallest form that keeps a tensor's numbers.
  package func form(of name: String) -> WeightForm {
    tensors[name]?.type.weightForm ?? .float32
  }

  /// Reads rows of a tensor: row i of the buffer is row `source(i)` of the file's tensor.
  package func read(
    _ name: String, into buffer: UnsafeMutableBufferPointer<Float>,
    rows source: @Sendable (Int) -> Int
  ) throws {
    guard let tensor = tensors[name] else {
      throw EngineError(.badModel, "\(path): has no tensor \(name)")
    }
    let columns = tensor.columns
    guard let base = buffer.baseAddress, columns > 0 else { return }
    precondition(buffer.count % columns == 0, "\(name): the buffer holds no whole rows")
    nonisolated(unsafe) let output = base
    try forEachRow(of: tensor, name, rows: buffer.count / columns, source) { row, bytes in
      tensor.type.dequantise(bytes, into: output + row * columns, count: columns)
    }
  }

  /// The same in the tensor's `form`, to room for all `rows`.
  package func readStored(
    _ name: String, into output: UnsafeMutableRawPointer, count rows: Int,
    rows source: @Sendable (Int) -> Int
  ) throws {
    guard let tensor = tensors[name] else {
      throw EngineError(.badModel, "\(path): has no tensor \(name)")
    }
    let columns = tensor.columns
    let stride = tensor.type.weightForm.bytes(columns)
    nonisolated(unsafe) let output = output
    try forEachRow(of: tensor, name, rows: rows, source) { row, bytes in
      tensor.type.compact(bytes, into: output + row * stride, count: columns)
    }
  }

  private func forEachRow(
    of tensor: Tensor, _ name: String, rows: Int, _ source: @Sendable (Int) -> Int,
    _ body: @Sendable (Int, UnsafeRawBufferPointer) -> Void
  ) throws {
    let columns = tensor.columns
    let rowBytes = columns / tensor.type.blockElements * tensor.type.blockBytes
    // Parts of about a megabyte. `source` moves rows by little, so that what a part needs lies close
    // together and is read at once.
    let size = max(1, (1 << 20) / max(rowBytes, 1))
    try ElementConversion.parts(rows, of: size) { part in
      let needed = part.map(source)
      guard let first = needed.min(), let last = needed.max() else { return }
      precondition(first >= 0 && last < tensor.count / columns, "\(name): has no row \(last)")
      let scratch = UnsafeMutableRawBufferPointer.allocate(
        byteCount: (last - first + 1) * rowBytes, alignment: 64)
      defer { scratch.deallocate() }
      try storage.read(scratch, at: tensor.range.lowerBound + first * rowBytes)
      for (row, place) in zip(part, needed) {
        let start = (place - first) * rowBytes
        body(row, UnsafeRawBufferPointer(rebasing: scratch[start..<start + rowBytes]))
      }
    }
  }
}
