// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// Reads files of one JSON object a line (`.jsonl`, `.jsonl.gz`), or of one list of objects
/// (`.json`), piece by piece: a file larger than the memory is no trouble while its rows are few.
public enum JSONLines {
  /// The longest line that is read, in bytes.
  static let longestLine = 1 << 28

  /// Calls `row` for every object of a file, with the line on which it begins.
  ///
  /// Lines are split at `\n` alone; lines of white space are passed over, but counted.
  ///
  /// - Throws: ``DataError`` that names file and line, and whatever `row` throws.
  public static func forEach(
    in url: URL, _ row: (_ value: JSONValue, _ place: DataPlace) throws -> Void
  ) throws {
    try forEach(in: url, isList: isList(ByteSource(url)), row)
  }

  /// The same for a file of which it is known whether it is a list.
  static func forEach(
    in url: URL, isList: Bool, _ row: (_ value: JSONValue, _ place: DataPlace) throws -> Void
  ) throws {
    var rows = 0
    if isList {
      try forEachElement(in: url) { value, place in
        rows += 1
        try row(value, place)
      }
    } else {
      try forEachLine(in: url) { bytes, place in
        guard bytes.contains(where: { !FileKind.isSpace($0) }) else { return }
        rows += 1
        try row(try object(bytes, at: place), place)
      }
    }
    if rows == 0 {
      throw DataError(
        .badData, "\(url.relativePath): the file is empty; expected one JSON object a line")
    }
  }

  /// Calls `line` for every line of a file, split at `\n` alone, without it. What follows the last
  /// `\n` is a line if there is anything.
  public static func forEachLine(
    in url: URL, _ line: (_ bytes: UnsafeBufferPointer<UInt8>, _ place: DataPlace) throws -> Void
  ) throws {
    let source = try ByteSource(url)
    var number = 0
    var rest: [UInt8] = []
    var isStart = true
    while true {
      var bytes = try source.next()
      if bytes.isEmpty { break }
      if isStart {
        // The mark that some editors put before UTF-8.
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
        isStart = false
      }
      try bytes.withUnsafeBufferPointer { all in
        var start = 0
        let linesBefore = number
        while start < all.count, let length = firstLineFeed(all, from: start) {
          number += 1
          let part = UnsafeBufferPointer(rebasing: all[start..<(start + length)])
          if rest.isEmpty {
            try line(part, DataPlace(url, line: number))
          } else {
            rest += part
            try rest.withUnsafeBufferPointer { try line($0, DataPlace(url, line: number)) }
            rest.removeAll(keepingCapacity: true)
          }
          start += length + 1
        }
        rest += all[start...]
        // No JSON holds one: a sparse or damaged file is told before it is read whole.
        if let base = all.baseAddress, let hit = memchr(base, 0, all.count) {
          let above = all[..<(UnsafeRawPointer(hit) - UnsafeRawPointer(base))].count { $0 == 10 }
          throw DataPlace(url, line: linesBefore + above + 1)
            .error("a NUL byte; the file is damaged or no text")
        }
        if rest.count > longestLine {
          throw DataPlace(url, line: number + 1).error("the line is longer than 256 MB")
        }
      }
    }
    if !rest.isEmpty {
      try rest.withUnsafeBufferPointer { try line($0, DataPlace(url, line: number + 1)) }
    }
  }

  private static func firstLineFeed(
    _ bytes: UnsafeBufferPointer<UInt8>, from start: Int
  ) -> Int? {
    guard let base = bytes.baseAddress, let hit = memchr(base + start, 10, bytes.count - start)
    else { return nil }
    return UnsafeRawPointer(hit) - UnsafeRawPointer(base + start)
  }

  static func object(
    _ bytes: UnsafeBufferPointer<UInt8>, at place: DataPlace
  ) throws -> JSONValue {
    let value: JSONValue
    do throws(JSONParser.Failure) {
      value = try JSONParser.parse(bytes)
    } catch {
      throw place.error("not valid JSON at column \(error.column): \(error.message)")
    }
    guard case .object = value else {
      throw place.error("expected a JSON object, not \(value.kindName)")
    }
    return value
  }

  /// Whether the file holds one list: its first byte that is not white space is `[`.
  static func isList(_ source: ByteSource) throws -> Bool {
    while true {
      let bytes = try source.next()
      if bytes.isEmpty { return false }
      let start = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
      if let first = bytes[start...].first(where: { !FileKind.isSpace($0) }) {
        return first == UInt8(ascii: "[")
      }
    }
  }

  private static func forEachElement(
    in url: URL, _ row: (_ value: JSONValue, _ place: DataPlace) throws -> Void
  ) throws {
    let source = try ByteSource(url)
    var all: [UInt8] = []
    while true {
      let bytes = try source.next()
      if bytes.isEmpty { break }
      all += bytes
      if bytes.contains(0) {
        throw DataError(
          .badData, "\(url.relativePath): holds a NUL byte; the file is damaged or no text")
      }
      if max(all.count, source.size) > 1 << 32 {
        throw DataError(.badData, "\(url.relativePath): a list this long must be JSON lines")
      }
    }
    if all.starts(with: [0xEF, 0xBB, 0xBF]) { all.removeFirst(3) }
    try all.withUnsafeBufferPointer { bytes in
      var parser = JSONParser(bytes)
      _ = parser.opensList()
      var first = true
      func element() throws(JSONParser.Failure) -> (JSONValue, Int)? {
        guard try parser.nextElement(first: first) else {
          try parser.end()
          return nil
        }
        first = false
        let line = parser.line + 1
        return (try parser.value(depth: 1), line)
      }
      while true {
        let next: (JSONValue, Int)?
        do throws(JSONParser.Failure) {
          next = try element()
        } catch {
          throw DataPlace(url, line: error.line + 1)
            .error("not valid JSON at column \(error.column): \(error.message)")
        }
        guard let (value, line) = next else { return }
        let place = DataPlace(url, line: line)
        guard case .object = value else {
          throw place.error("expected a JSON object, not \(value.kindName)")
        }
        try row(value, place)
      }
    }
  }
}
