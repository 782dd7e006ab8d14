// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
public import Foundation

/// The safetensors format: eight bytes with the length of a JSON header that names types, shapes
/// and places, then the numbers.
public enum Safetensors {
  /// Types of numbers that are written.
  public enum ElementType: String, Codable, Sendable, CaseIterable {
    /// Four bytes.
    case float32
    /// The upper half of a float32.
    case bfloat16
    /// IEEE half precision.
    case float16
    /// A whole number from 0 to 255: a code, no weight.
    case uint8

    /// Those that weights are written as.
    public static let allCases: [ElementType] = [.float32, .bfloat16, .float16]

    /// Bytes an element.
    public var size: Int {
      switch self {
      case .float32: 4
      case .bfloat16, .float16: 2
      case .uint8: 1
      }
    }

    /// The header's name.
    package var tag: String {
      switch self {
      case .float32: "F32"
      case .bfloat16: "BF16"
      case .float16: "F16"
      case .uint8: "U8"
      }
    }
  }

  /// Bytes an element of each of the format's types, also of those that are not read.
  private static let sizes: [String: Int] = [
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2,
    "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
  ]

  struct Entry: Sendable {
    var tag: String
    var shape: [Int]
    /// Bytes, from the start of the file.
    var range: Range<Int>
  }

  /// A safetensors file open for reading. All its sizes are checked when it is opened.
  public struct File: Sendable {
    let storage: StorageFile
    let entries: [String: Entry]
    /// Names of the tensors, sorted.
    public let names: [String]
    /// What the writer noted, `__metadata__`.
    public let metadata: [String: String]

    /// The file, for errors.
    public var path: String { storage.path }

    /// Opens a file.
    ///
    /// - Parameter url: The file.
    /// - Throws: `EngineError` that names the file and, where it is one, the tensor at fault.
    public init(_ url: URL) throws {
      storage = try StorageFile(url)
      (entries, metadata) = try Safetensors.header(storage)
      names = entries.keys.sorted()
    }

    /// The shape of a tensor; nil if it is not there.
    ///
    /// - Parameter name: Its name in the file.
    public func shape(of name: String) -> [Int]? { entries[name]?.shape }

    /// The header's name of a tensor's type; nil if it is not there.
    func tag(of name: String) -> String? { entries[name]?.tag }

    /// Reads bytes of a tensor as they lie in the file, little-endian, `from` the first of them as many
    /// as the buffer holds.
    func readBytes(
      _ name: String, from first: Int, into buffer: UnsafeMutableRawBufferPointer
    ) throws {
      guard let entry = entries[name], first + buffer.count <= entry.range.count else {
        throw EngineError(.badModel, "\(path): has no such part of a tensor \(name)")
      }
      try storage.read(buffer, at: entry.range.lowerBound + first)
    }

    /// Reads a tensor as float32.
    ///
    /// - Parameter name: Its name in the file.
    /// - Returns: Its elements, row-major.
    /// - Throws: `EngineError` that names the file and the tensor.
    public func read(_ name: String) throws -> [Float] {
      let count = (shape(of: name) ?? []).reduce(1, *)
      return try [Float](count: count) { try read(name, into: $0) }
    }

    /// Whether a tensor is of codes.
    ///
    /// - Parameter name: Its name in the file.
    package func isCodes(_ name: String) -> Bool {
      entries[name]?.tag == ElementType.uint8.tag
    }

    /// Reads codes, which are no numbers to be taken for weights.
    ///
    /// - Parameter name: Its name in the file.
    /// - Returns: Its elements, row-major, from 0 to 255.
    /// - Throws: `EngineError` that names the file and the tensor.
    package func readCodes(_ name: String) throws -> [Float] {
      guard let entry = entries[name], isCodes(name) else {
        throw EngineError(.badModel, "\(path): has no tensor \(name) of codes")
      }
      return try storage.read(count: entry.range.count, at: entry.range.lowerBound).map {
        Float($0)
      }
    }

    /// Reads a tensor as float32 into a buffer of exactly its elements.
    ///
    /// - Parameters:
    ///   - name: Its name in the file.
    ///   - buffer: Where its elements go, row-major.
    /// - Throws: `EngineError` that names the file and the tensor.
    public func read(_ name: String, into buffer: UnsafeMutableBufferPointer<Float>) throws {
      try read(name, from: 0, into: buffer, whole: true)
    }

    /// Reads elements of a tensor as float32, `from` the first of them as many as the buffer holds.
    package func read(
      _ name: String, from first: Int, into buffer: UnsafeMutableBufferPointer<Float>,
      whole: Bool = false
    ) throws {
      guard let entry = entries[name] else {
        throw EngineError(.badModel, "\(path): has no tensor \(name)")
      }
      guard let type = StoredType(rawValue: entry.tag) else {
        throw EngineError(
          .badModel, "\(path): tensor \(name) is of type \(entry.tag), not F32, F16, BF16 or F64")
      }
      let count = entry.range.count / type.size
      guard whole ? buffer.count == count : buffer.count <= count - first else {
        throw EngineError(
          .badModel, "\(path): tensor \(name) has \(count) elements, not \(buffer.count)")
      }
      guard let base = buffer.baseAddress else { return }
      nonisolated(unsafe) let output = base
      let start = entry.range.lowerBound + first * type.size
      try ElementConversion.parts(buffer.count, of: 1 << 20) { part in
        try Safetensors.read(storage, type, at: start, part, into: output)
      }
    }
  }

  /// The types of numbers that are read, by the header's names.
  private enum StoredType: String {
    case float32 = "F32"
    case float64 = "F64"
    case bfloat16 = "BF16"
    case float16 = "F16"

    var size: Int {
      switch self {
      case .float32: 4
      case .float64: 8
      case .bfloat16, .float16: 2
      }
    }
  }

  /// Reads elements `part` of the numbers that begin at byte `start`.
  private static func read(
    _ storage: StorageFile, _ type: StoredType, at start: Int, _ part: Range<Int>,
    into output: UnsafeMutablePointer<Float>
  ) throws {
    let place = output + part.lowerBound
    let offset = start + part.lowerBound * type.size
    if type == .float32 {
      try storage.read(
        UnsafeMutableRawBufferPointer(start: place, count: part.count * 4), at: offset)
      return
    }
    if type == .float64 {
      let bytes = try storage.read(count: part.count * 8, at: offset)
      bytes.withUnsafeBytes { raw in
        for index in 0..<part.count {
          let bits = raw.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self)
          place[index] = Float(Double(bitPattern: UInt64(littleEndian: bits)))
        }
      }
      return
    }
    // The halves are read into the second half of the room and widened from the front.
    let raw = UnsafeMutableRawPointer(place)
    let halves = raw + part.count * 2
    try storage.read(
      UnsafeMutableRawBufferPointer(start: halves, count: part.count * 2), at: offset)
    for index in 0..<part.count {
      let bits = halves.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self)
      place[index] =
        type == .bfloat16
        ? ElementConversion.float(brain: bits) : ElementConversion.float(half: bits)
    }
  }

  private static func header(
    _ storage: StorageFile
  ) throws -> (entries: [String: Entry], metadata: [String: String]) {
    let path = storage.path
    guard storage.size >= 8 else {
      throw EngineError(.badModel, "\(path): \(storage.size) bytes are no safetensors file")
    }
    let length = try storage.read(count: 8, at: 0).withUnsafeBytes {
      UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self))
    }
    // The format itself allows headers of up to 100 MB.
    guard length <= 100_000_000, Int(length) <= storage.size - 8 else {
      throw EngineError(
        .badModel,
        "\(path): the header claims \(length) bytes of a file of \(storage.size): "
          + "it is truncated or no safetensors file")
    }
    let data = Data(try storage.read(count: Int(length), at: 8))
    guard let fields = try? JSONDecoder().decode([String: JSONTree].self, from: data)
    else {
      throw EngineError(.badModel, "\(path): the header is no JSON object")
    }
    var entries: [String: Entry] = [:]
    var metadata: [String: String] = [:]
    let begin = 8 + Int(length)
    for (name, value) in fields {
      if name == "__metadata__", case .object(let notes) = value {
        for case (let key, .string(let note)) in notes { metadata[key] = note }
      } else {
        entries[name] = try entry(name, value, path: path, begin: begin, end: storage.size)
      }
    }
    var end = begin
    let covered = entries.values.reduce(0) { $0 + $1.range.count }
    for (name, entry) in entries.sorted(by: {
      ($0.value.range.lowerBound, $0.value.range.upperBound, $0.key) < (
        $1.value.range.lowerBound, $1.value.range.upperBound, $1.key
      )
    }) {
      guard entry.range.lowerBound >= end else {
        throw EngineError(.badModel, "\(path): tensor \(name) overlaps the one before it")
      }
      end = entry.range.upperBound
    }
    // As the format's own reader: a byte that no tensor has is damage, or not a model at all.
    guard covered == storage.size - begin else {
      throw EngineError(
        .badModel,
        "\(path): \(storage.size - begin - covered) bytes of the file belong to no tensor of its "
          + "header: it is damaged")
    }
    return (entries, metadata)
  }

  private static func entry(
    _ name: String, _ value: JSONTree, path: String, begin: Int, end: Int
  ) throws -> Entry {
    func bad(_ why: String) -> EngineError {
      EngineError(.badModel, "\(path): tensor \(name): \(why)")
    }
    guard case .object(let fields) = value, case .string(let tag)? = fields["dtype"],
      case .array(let dimensions)? = fields["shape"],
      case .array(let offsets)? = fields["data_offsets"], offsets.count == 2,
      case .int(let first) = offsets[0], case .int(let last) = offsets[1]
    else { throw bad("the header lacks its dtype, shape or data_offsets") }
    guard let size = sizes[tag] else { throw bad("the type \(tag) is not known") }
    var shape: [Int] = []
    var bytes = size
    for dimension in dimensions {
      guard case .int(let count) = dimension, count >= 0 else { throw bad("a bad shape") }
      let (product, overflow) = bytes.multipliedReportingOverflow(by: count)
      guard !overflow else { throw bad("the shape \(dimensions.count) long overflows") }
      bytes = product
      shape.append(count)
    }
    guard first >= 0, first <= last, last - first == bytes else {
      throw bad("data_offsets \(first) to \(last) do not fit its shape of \(bytes) bytes")
    }
    guard last <= end - begin else {
      throw bad("ends \(last - (end - begin)) bytes after the file: it is truncated")
    }
    return Entry(tag: tag, shape: shape, range: begin + first..<begin + last)
  }
}
