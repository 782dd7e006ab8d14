// SPDX-License-Identifier: Apache-2.0

internal import CZlib
import Foundation

/// The bytes of a file in pieces, `.gz` files inflated on the way.
final class ByteSource {
  private let url: URL
  private let handle: FileHandle
  private var inflater: Inflater?
  private var isStart = true
  /// What was read to see how the file begins.
  private var ahead = Data()
  /// The file's size in bytes.
  let size: Int

  init(_ url: URL) throws {
    self.url = url
    var info = stat()
    guard stat(url.path, &info) == 0 else {
      let code = errno
      let reason = code == ENOENT ? "no such file" : String(cString: strerror(code))
      throw DataError(.file, "\(url.relativePath): \(reason)")
    }
    switch info.st_mode & S_IFMT {
    case S_IFREG: break
    case S_IFDIR: throw DataError(.file, "\(url.relativePath): is a folder, not a file")
    default:
      // A list is looked at twice, and a device may have no end.
      throw DataError(
        .file, "\(url.relativePath): is a device or a pipe; write the rows to a file first")
    }
    size = Int(info.st_size)
    do {
      handle = try FileHandle(forReadingFrom: url)
    } catch {
      throw DataError(.file, "\(url.relativePath): cannot be opened for reading")
    }
    if url.pathExtension.lowercased() == "gz" { inflater = try Inflater() }
  }

  deinit { try? handle.close() }

  /// Whether the file itself begins so; its bytes still come by ``next()``.
  func begins(with text: String) throws -> Bool {
    if ahead.isEmpty { ahead = try load(1 << 16) }
    return ahead.starts(with: text.utf8)
  }

  /// The next bytes, empty at the end of the file.
  ///
  /// - Throws: ``DataError`` if they can't be read, and at the start if they are no JSON.
  func next() throws -> [UInt8] {
    let bytes = try read()
    if isStart {
      isStart = false
      try FileKind.check(bytes, of: url)
    }
    return bytes
  }

  private func read() throws -> [UInt8] {
    while true {
      let data =
        ahead.isEmpty ? try load(inflater == nil && !isStart ? 1 << 20 : 1 << 16) : ahead
      ahead = Data()
      // A gzip file under another name.
      if isStart, inflater == nil, data.starts(with: [0x1F, 0x8B]) { inflater = try Inflater() }
      guard let inflater else { return Array(data) }
      if data.isEmpty {
        if inflater.isInsideStream {
          throw DataError(.badData, "\(url.relativePath): the gzip data end early; the file is cut")
        }
        return []
      }
      // 64 KB inflate to 64 MB at most, whatever the file claims.
      let inflated = try inflater.inflate(Array(data), of: url)
      if !inflated.isEmpty { return inflated }
    }
  }

  private func load(_ most: Int) throws -> Data {
    do {
      return try handle.read(upToCount: most) ?? Data()
    } catch {
      throw DataError(.file, "\(url.relativePath): reading failed: \(error.localizedDescription)")
    }
  }
}

/// zlib's inflate for a gzip file, which may hold several streams one after the other.
private final class Inflater {
  private var stream = z_stream()
  /// Whether a stream has begun and not ended.
  private(set) var isInsideStream = false
  private var output = [UInt8](repeating: 0, count: 1 << 18)

  init() throws {
    // 15 window bits, and 16 to ask for a gzip header.
    let code = inflateInit2_(
      &stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    guard code == Z_OK else { throw DataError(.file, "zlib cannot be started (code \(code))") }
  }

  deinit { inflateEnd(&stream) }

  func inflate(_ input: [UInt8], of url: URL) throws -> [UInt8] {
    var result: [UInt8] = []
    var input = input
    try input.withUnsafeMutableBufferPointer { bytes in
      stream.next_in = bytes.baseAddress
      stream.avail_in = UInt32(bytes.count)
      while stream.avail_in > 0 {
        if !isInsideStream {
          guard inflateReset(&stream) == Z_OK else { break }
          isInsideStream = true
        }
        var code = Z_OK
        repeat {
          let written = output.withUnsafeMutableBufferPointer { space -> Int in
            stream.next_out = space.baseAddress
            stream.avail_out = UInt32(space.count)
            code = CZlib.inflate(&stream, Z_NO_FLUSH)
            return space.count - Int(stream.avail_out)
          }
          result += output[..<written]
        } while code == Z_OK && (stream.avail_in > 0 || stream.avail_out == 0)
        switch code {
        case Z_STREAM_END: isInsideStream = false
        case Z_OK, Z_BUF_ERROR: break
        default:
          throw DataError(.badData, "\(url.relativePath): the gzip data are damaged")
        }
      }
    }
    return result
  }
}
