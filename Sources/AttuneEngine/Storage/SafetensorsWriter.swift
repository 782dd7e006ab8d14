// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
public import Foundation

extension Safetensors {
  /// Writes tensors one after another, under the final name only once all are on the disk.
  public final class Writer {
    private let file: AtomicFile
    private let path: String
    private let layout: [(name: String, shape: [Int], type: ElementType)]
    private var written = 0

    /// Starts a file.
    ///
    /// - Parameters:
    ///   - url: Its place; the folder must exist.
    ///   - layout: Names, shapes and types in the order in which they will be written.
    ///   - metadata: Notes for readers.
    /// - Throws: `FileError` that names the file.
    public init(
      _ url: URL, layout: [(name: String, shape: [Int], type: ElementType)],
      metadata: [String: String] = [:]
    ) throws {
      path = url.path
      self.layout = layout
      var fields: [String: JSONTree] = [:]
      if !metadata.isEmpty { fields["__metadata__"] = .object(metadata.mapValues { .string($0) }) }
      var offset = 0
      for (name, shape, type) in layout {
        let end = offset + shape.reduce(1, *) * type.size
        precondition(fields[name] == nil, "the tensor \(name) is listed twice")
        fields[name] = .object([
          "dtype": .string(type.tag), "shape": .array(shape.map { .int($0) }),
          "data_offsets": .array([.int(offset), .int(end)]),
        ])
        offset = end
      }
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
      var header = try encoder.encode(fields)
      header.append(contentsOf: repeatElement(0x20, count: (8 - header.count % 8) % 8))
      file = try AtomicFile(url)
      try withUnsafeBytes(of: UInt64(header.count).littleEndian) { try file.write($0) }
      try file.write(header)
    }

    /// Writes the next tensor of the layout.
    ///
    /// - Parameters:
    ///   - name: Its name, the next of the layout.
    ///   - values: Its elements, row-major.
    /// - Throws: `FileError`, the disk being full for instance; nothing is left behind.
    public func write(_ name: String, _ values: UnsafeBufferPointer<Float>) throws {
      precondition(written < layout.count, "there are more tensors than the layout has")
      let expected = layout[written]
      precondition(
        name == expected.name && values.count == expected.shape.reduce(1, *),
        "\(name) of \(values.count) elements is not the layout's \(expected.name)")
      written += 1
      if expected.type == .float32 { return try file.write(UnsafeRawBufferPointer(values)) }
      if expected.type == .uint8 {
        return try values.map { UInt8($0) }.withUnsafeBytes { try file.write($0) }
      }
      var halves = [UInt16](repeating: 0, count: min(values.count, 1 << 18))
      var start = 0
      while start < values.count {
        let count = min(halves.count, values.count - start)
        if expected.type == .bfloat16 {
          for index in 0..<count {
            halves[index] = ElementConversion.brain(values[start + index]).littleEndian
          }
        } else {
          for index in 0..<count {
            halves[index] = ElementConversion.half(values[start + index]).littleEndian
          }
        }
        try halves.withUnsafeBytes {
          try file.write(UnsafeRawBufferPointer(rebasing: $0[..<(count * 2)]))
        }
        start += count
      }
    }

    /// Puts the file under its name.
    ///
    /// - Throws: `FileError`; what was there before is then still there.
    public func finish() throws {
      precondition(written == layout.count, "\(layout.count - written) tensors are not written")
      try file.finish()
    }
  }

  /// Writes a file: the old one or the whole new one is under the name, never a part.
  ///
  /// - Parameters:
  ///   - tensors: Names, shapes and elements, row-major.
  ///   - metadata: Notes for readers.
  ///   - url: Its place; the folder must exist.
  ///   - type: What the elements are stored as, rounded to nearest even.
  /// - Throws: `FileError` that names the file; nothing is left behind.
  public static func write(
    _ tensors: [(name: String, shape: [Int], values: [Float])],
    metadata: [String: String] = [:], to url: URL, as type: ElementType = .float32
  ) throws {
    let writer = try Writer(
      url, layout: tensors.map { ($0.name, $0.shape, type) }, metadata: metadata)
    for tensor in tensors {
      try tensor.values.withUnsafeBufferPointer { try writer.write(tensor.name, $0) }
    }
    try writer.finish()
  }
}
