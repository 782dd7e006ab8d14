// SPDX-License-Identifier: Apache-2.0

internal import CZlib
internal import CZstd

/// Blocks of known size, decompressed by zlib and libzstd.
enum Compression {
  /// A gzip block; nil where it is damaged or of another size.
  static func gunzip(_ bytes: ArraySlice<UInt8>, size: Int) -> [UInt8]? {
    var stream = z_stream()
    // 15 window bits, and 32 to take gzip's header or zlib's.
    guard
      inflateInit2_(&stream, 15 + 32, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK
    else { return nil }
    defer { inflateEnd(&stream) }
    var input = Array(bytes)
    // A byte more: a longer block is told.
    var output = [UInt8](repeating: 0, count: size + 1)
    let isWhole = input.withUnsafeMutableBufferPointer { source in
      output.withUnsafeMutableBufferPointer { target in
        stream.next_in = source.baseAddress
        stream.avail_in = UInt32(source.count)
        stream.next_out = target.baseAddress
        stream.avail_out = UInt32(target.count)
        return inflate(&stream, Z_FINISH) == Z_STREAM_END
      }
    }
    guard isWhole, Int(stream.total_out) == size else { return nil }
    output.removeLast()
    return output
  }

  /// A zstd block; nil where it is damaged or of another size.
  static func zstd(_ bytes: ArraySlice<UInt8>, size: Int) -> [UInt8]? {
    var output = [UInt8](repeating: 0, count: max(size, 1))
    let written = bytes.withUnsafeBytes { source in
      output.withUnsafeMutableBytes { target in
        ZSTD_decompress(target.baseAddress, size, source.baseAddress, source.count)
      }
    }
    guard ZSTD_isError(written) == 0, written == size else { return nil }
    output.removeLast(output.count - size)
    return output
  }
}

/// Snappy's format, which Parquet's blocks have without a frame.
enum Snappy {
  /// A block; nil where it is damaged or of another size.
  static func decompress(_ bytes: ArraySlice<UInt8>, size: Int) -> [UInt8]? {
    var at = bytes.startIndex
    func number(_ count: Int) -> Int? {
      guard count <= bytes.endIndex - at else { return nil }
      defer { at += count }
      return bytes[at..<at + count].reversed().reduce(0) { $0 << 8 | Int($1) }
    }
    var (length, shift) = (0, 0)
    while true {
      guard let byte = number(1), shift < 35 else { return nil }
      length |= (byte & 0x7F) << shift
      shift += 7
      if byte < 0x80 { break }
    }
    guard length == size else { return nil }
    var output: [UInt8] = []
    output.reserveCapacity(size)
    while at < bytes.endIndex {
      guard let tag = number(1) else { return nil }
      var (count, distance) = (0, 0)
      switch tag & 3 {
      case 0:
        count = tag >> 2
        if count >= 60 {
          guard let long = number(count - 59) else { return nil }
          count = long
        }
        count += 1
        guard count <= bytes.endIndex - at, count <= size - output.count else { return nil }
        output += bytes[at..<at + count]
        at += count
        continue
      case 1:
        count = 4 + (tag >> 2 & 7)
        guard let low = number(1) else { return nil }
        distance = (tag >> 5) << 8 | low
      case let kind:
        count = 1 + (tag >> 2)
        guard let far = number(kind == 2 ? 2 : 4) else { return nil }
        distance = far
      }
      guard distance > 0, distance <= output.count, count <= size - output.count else { return nil }
      // What is copied may be what was just written.
      for _ in 0..<count { output.append(output[output.count - distance]) }
    }
    return output.count == size ? output : nil
  }
}
