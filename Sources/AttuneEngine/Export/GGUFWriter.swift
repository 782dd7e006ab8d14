// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
package import Foundation

extension GGUF {
  /// Writes a file (version 3) tensor by tensor, under the final name only once all are on the disk.
  package final class Writer {
    /// What a file has of a tensor: its shape is row-major.
    package typealias Layout = (name: String, shape: [Int], type: GGUFType)

    private static let alignment = 32
    private let file: AtomicFile
    private let layout: [Layout]
    private var written = 0

    /// Starts a file.
    ///
    /// - Parameters:
    ///   - url: Its place; the folder must exist.
    ///   - metadata: Keys with their values, in order.
    ///   - layout: The tensors in the order in which they will be written; rows are whole blocks.
    /// - Throws: `FileError` that names the file.
    package init(
      _ url: URL, metadata: [(key: String, value: GGUFValue)], layout: [Layout]
    ) throws {
      self.layout = layout
      var header = GGUFHeader()
      header.number(UInt32(0x4655_4747))
      header.number(UInt32(3))
      header.number(UInt64(layout.count))
      header.number(UInt64(metadata.count))
      for (key, value) in metadata {
        header.text(key)
        header.number(GGUFHeader.type(of: value))
        header.append(value)
      }
      var offset = 0
      for (name, shape, type) in layout {
        header.text(name)
        header.number(UInt32(shape.count))
        for size in shape.reversed() { header.number(UInt64(size)) }
        header.number(type.rawValue)
        header.number(UInt64(offset))
        offset += Self.padded(Self.bytes(shape, type))
      }
      header.bytes += [UInt8](
        repeating: 0, count: Self.padded(header.bytes.count) - header.bytes.count)
      file = try AtomicFile(url)
      try header.bytes.withUnsafeBytes { try file.write($0) }
    }

    private static func padded(_ count: Int) -> Int {
      (count + alignment - 1) / alignment * alignment
    }

    private static func bytes(_ shape: [Int], _ type: GGUFType) -> Int {
      shape.reduce(1, *) / type.blockElements * type.blockBytes
    }

    /// Writes the next tensor of the layout, on all cores.
    ///
    /// - Parameters:
    ///   - name: Its name, the next of the layout.
    ///   - values: Its elements, row-major, finite.
    /// - Throws: `FileError`, the disk being full for instance; nothing is left behind.
    package func write(_ name: String, _ values: UnsafeBufferPointer<Float>) throws {
      precondition(written < layout.count, "there are more tensors than the layout has")
      let (expected, shape, type) = layout[written]
      precondition(
        name == expected && values.count == shape.reduce(1, *),
        "\(name) of \(values.count) elements is not the layout's \(expected)")
      written += 1
      guard let source = values.baseAddress else { return }
      // As many elements as fill a few megabytes, in whole blocks.
      let piece = 1 << 20
      var start = 0
      while start < values.count {
        let count = min(piece, values.count - start)
        let size = count / type.blockElements * type.blockBytes
        try withUnsafeTemporaryAllocation(byteCount: size, alignment: 16) { room in
          guard let base = room.baseAddress else { return }
          nonisolated(unsafe) let (room, from) = (base, source + start)
          try ElementConversion.parts(count, of: 1 << 14) { part in
            type.quantise(
              from + part.lowerBound,
              into: room + part.lowerBound / type.blockElements * type.blockBytes,
              count: part.count)
          }
          try file.write(UnsafeRawBufferPointer(start: room, count: size))
        }
        start += count
      }
      let size = Self.bytes(shape, type)
      try [UInt8](repeating: 0, count: Self.padded(size) - size).withUnsafeBytes {
        try file.write($0)
      }
    }

    /// Puts the file under its name.
    ///
    /// - Throws: `FileError`; what was there before is then still there.
    package func finish() throws {
      precondition(written == layout.count, "\(layout.count - written) tensors are not written")
      try file.finish()
    }
  }
}

/// The bytes of a file before its tensors, little-endian.
private struct GGUFHeader {
  var bytes: [UInt8] = []

  mutating func number<Value: FixedWidthInteger>(_ value: Value) {
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  mutating func text(_ text: String) {
    number(UInt64(text.utf8.count))
    bytes.append(contentsOf: text.utf8)
  }

  /// The number of a value's type. Whole numbers have 32 bits where they fit, as llama.cpp's own files
  /// have them; other numbers are float32.
  static func type(of value: GGUFValue) -> UInt32 {
    switch value {
    case .unsigned(let number): UInt32(exactly: number) == nil ? 10 : 4
    case .signed(let number): Int32(exactly: number) == nil ? 11 : 5
    case .float: 6
    case .bool: 7
    case .string: 8
    case .array: 9
    }
  }

  mutating func append(_ value: GGUFValue) {
    switch value {
    case .unsigned(let whole):
      if let short = UInt32(exactly: whole) { number(short) } else { number(whole) }
    case .signed(let whole):
      if let short = Int32(exactly: whole) { number(short) } else { number(whole) }
    case .float(let value): number(Float(value).bitPattern)
    case .bool(let value): number(UInt8(value ? 1 : 0))
    case .string(let value): text(value)
    case .array(let values):
      // One type for all: an empty list is one of texts.
      number(values.first.map(Self.type) ?? 8)
      number(UInt64(values.count))
      for value in values { append(value) }
    }
  }
}
