// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A column of a row group: its levels and the values that are there, decoded from its pages.
struct ParquetColumn {
  private(set) var repetitions: [UInt8] = []
  private(set) var definitions: [UInt8] = []
  private(set) var values: [JSONValue] = []

  private let file: ParquetFile
  private let node: ParquetFile.Node
  private var dictionary: [JSONValue] = []

  /// Reads a column.
  ///
  /// - Throws: ``DataError`` that names file and column.
  init(_ file: ParquetFile, _ node: ParquetFile.Node, _ chunk: ParquetFile.Chunk) throws {
    self.file = file
    self.node = node
    do {
      try read(chunk)
    } catch is ThriftReader.Damaged {
      throw failure("a page can't be read")
    }
  }

  private func failure(_ what: String) -> DataError {
    file.damaged("column \(node.name): \(what)")
  }

  private func refused(_ what: String) -> DataError {
    DataError(
      .badData,
      "\(file.url.relativePath): column \(node.name): \(what) is not read; write it again, with pandas: "
        + "pandas.read_parquet('\(file.url.relativePath)').to_parquet('NEW')")
  }

  private mutating func read(_ chunk: ParquetFile.Chunk) throws {
    let bytes = try file.bytes(chunk.range)
    var at = 0
    while definitions.count < chunk.values {
      var reader = ThriftReader(bytes[at...])
      let header = try reader.structure()
      guard let whole = header[2]?.int, let packed = header[3]?.int, whole >= 0, packed >= 0,
        whole <= 1 << 30, packed <= bytes.count - reader.at
      else { throw failure("a page is longer than the column") }
      let page = bytes[reader.at..<reader.at + packed]
      at = reader.at + packed
      switch header[1]?.int {
      case 0: try readPage(page, whole, header, chunk)
      case 2:
        guard let count = header[7]?[1]?.int, count >= 0 else {
          throw failure("a dictionary without size")
        }
        let plain = try unpack(page, whole, chunk.codec)
        dictionary = try PlainValues(plain[...], node).read(
          count, or: failure("its dictionary ends early"))
      case 3: try readPage2(page, whole, header, chunk)
      default: continue
      }
      guard definitions.count <= chunk.values else {
        throw failure("it has more values than it says")
      }
    }
  }

  private static let codecs = ["none", "snappy", "gzip", "LZO", "Brotli", "LZ4", "zstd", "LZ4"]

  private func unpack(_ bytes: ArraySlice<UInt8>, _ size: Int, _ codec: Int) throws -> [UInt8] {
    let plain: [UInt8]? =
      switch codec {
      case 0: Array(bytes)
      case 1: Snappy.decompress(bytes, size: size)
      case 2: Compression.gunzip(bytes, size: size)
      case 6: Compression.zstd(bytes, size: size)
      default:
        throw refused(
          "the compression \(Self.codecs.indices.contains(codec) ? Self.codecs[codec] : "\(codec)")"
        )
      }
    guard let plain, plain.count == size else { throw failure("a page can't be decompressed") }
    return plain
  }

  /// A page of the first version: levels with their lengths before them, all compressed together.
  private mutating func readPage(
    _ page: ArraySlice<UInt8>, _ whole: Int, _ header: ThriftValue, _ chunk: ParquetFile.Chunk
  ) throws {
    guard let data = header[5], let count = data[1]?.int, let encoding = data[2]?.int,
      (0...chunk.values - definitions.count).contains(count)
    else { throw failure("a page has more values than its column") }
    var rest = try unpack(page, whole, chunk.codec)[...]
    func levels(_ most: Int) throws -> [UInt8] {
      guard most > 0 else { return [UInt8](repeating: 0, count: count) }
      guard let length = rest.littleEndian(4), length <= rest.count - 4 else {
        throw failure("its levels end early")
      }
      defer { rest = rest.dropFirst(4 + length) }
      return try Self.levels(rest.dropFirst(4).prefix(length), most, count, failure)
    }
    let repetitions = try levels(node.repeats)
    let definitions = try levels(node.definition)
    try append(repetitions, definitions, rest, encoding)
  }

  /// A page of the second version: levels are never compressed.
  private mutating func readPage2(
    _ page: ArraySlice<UInt8>, _ whole: Int, _ header: ThriftValue, _ chunk: ParquetFile.Chunk
  ) throws {
    guard let data = header[8], let count = data[1]?.int, let encoding = data[4]?.int,
      let definitionBytes = data[5]?.int, let repetitionBytes = data[6]?.int,
      (0...chunk.values - definitions.count).contains(count), definitionBytes >= 0,
      repetitionBytes >= 0, definitionBytes + repetitionBytes <= min(page.count, whole)
    else { throw failure("a page has more values than its column") }
    let own = page.dropFirst(repetitionBytes + definitionBytes)
    let isPacked = if case .bool(let value)? = data[7] { value } else { true }
    let size = whole - repetitionBytes - definitionBytes
    let repetitions = try Self.levels(
      page.prefix(repetitionBytes), node.repeats, count, failure)
    let definitions = try Self.levels(
      page.dropFirst(repetitionBytes).prefix(definitionBytes), node.definition, count, failure)
    try append(
      repetitions, definitions, isPacked ? try unpack(own, size, chunk.codec)[...] : own, encoding)
  }

  private static func levels(
    _ bytes: ArraySlice<UInt8>, _ most: Int, _ count: Int, _ failure: (String) -> DataError
  ) throws -> [UInt8] {
    guard most > 0 else { return [UInt8](repeating: 0, count: count) }
    let width = Int.bitWidth - most.leadingZeroBitCount
    guard let levels = HybridRuns.read(bytes, width: width, count: count),
      levels.allSatisfy({ $0 <= most })
    else { throw failure("its levels end early") }
    return levels.map { UInt8($0) }
  }

  private mutating func append(
    _ repetitions: [UInt8], _ definitions: [UInt8], _ bytes: ArraySlice<UInt8>, _ encoding: Int
  ) throws {
    self.repetitions += repetitions
    self.definitions += definitions
    let present = definitions.count { Int($0) == node.definition }
    switch encoding {
    case 0:
      values += try PlainValues(bytes, node).read(present, or: failure("its values end early"))
    case 2, 8:
      guard present > 0 else { return }
      guard let width = bytes.first, width <= 32,
        let codes = HybridRuns.read(bytes.dropFirst(), width: Int(width), count: present)
      else { throw failure("its codes end early") }
      for code in codes {
        guard code < dictionary.count else { throw failure("a code is not in the dictionary") }
        values.append(dictionary[code])
      }
    case 3 where node.physical == .boolean:
      guard let length = bytes.littleEndian(4), length <= bytes.count - 4,
        let bits = HybridRuns.read(bytes.dropFirst(4).prefix(length), width: 1, count: present)
      else { throw failure("its values end early") }
      values += bits.map { .bool($0 == 1) }
    default:
      let names = [
        4: "BIT_PACKED", 5: "DELTA_BINARY_PACKED", 6: "DELTA_LENGTH_BYTE_ARRAY",
        7: "DELTA_BYTE_ARRAY",
        9: "BYTE_STREAM_SPLIT",
      ]
      throw refused("the encoding \(names[encoding] ?? "\(encoding)")")
    }
  }
}

extension ArraySlice<UInt8> {
  /// The whole number of the first bytes, the lowest first; nil where they are fewer.
  fileprivate func littleEndian(_ count: Int) -> Int? {
    self.count < count ? nil : prefix(count).reversed().reduce(0) { $0 << 8 | Int($1) }
  }
}

/// Numbers in runs of equal ones and in groups of eight of some bits each.
private enum HybridRuns {
  /// Reads so many numbers; nil where the bytes end early.
  static func read(_ bytes: ArraySlice<UInt8>, width: Int, count: Int) -> [Int]? {
    var numbers: [Int] = []
    numbers.reserveCapacity(count)
    if width == 0 { return [Int](repeating: 0, count: count) }
    var at = bytes.startIndex
    while numbers.count < count {
      var header = 0
      var shift = 0
      while true {
        guard at < bytes.endIndex, shift < 56 else { return nil }
        header |= Int(bytes[at] & 0x7F) << shift
        shift += 7
        at += 1
        if bytes[at - 1] < 0x80 { break }
      }
      let left = count - numbers.count
      if header & 1 == 0 {
        let size = (width + 7) / 8
        guard let value = bytes[at...].littleEndian(size) else { return nil }
        at += size
        numbers += repeatElement(value, count: min(left, header >> 1))
        if header >> 1 == 0 { return nil }
      } else {
        let size = (header >> 1).multipliedReportingOverflow(by: width)
        guard !size.overflow, size.partialValue > 0 else { return nil }
        // The last group may be cut where all that is needed is there.
        let there = bytes[at...].prefix(size.partialValue)
        let whole = min(left, (header >> 1) * 8, there.count * 8 / width)
        guard whole == min(left, (header >> 1) * 8) else { return nil }
        for index in 0..<whole {
          var value = 0
          for bit in index * width..<(index + 1) * width {
            value |=
              Int(there[there.startIndex + bit / 8] >> UInt8(bit % 8) & 1) << (bit - index * width)
          }
          numbers.append(value)
        }
        at += there.count
      }
    }
    return numbers
  }
}

/// Values one after another, as they are.
private struct PlainValues {
  private var rest: ArraySlice<UInt8>
  private let node: ParquetFile.Node

  init(_ bytes: ArraySlice<UInt8>, _ node: ParquetFile.Node) {
    rest = bytes
    self.node = node
  }

  func read(_ count: Int, or error: @autoclosure () -> DataError) throws -> [JSONValue] {
    var copy = self
    guard let values = copy.values(count) else { throw error() }
    return values
  }

  private mutating func values(_ count: Int) -> [JSONValue]? {
    if node.physical == .boolean {
      guard rest.count >= (count + 7) / 8 else { return nil }
      let start = rest.startIndex
      return (0..<count).map { .bool(rest[start + $0 / 8] >> UInt8($0 % 8) & 1 == 1) }
    }
    // An empty text still has its length.
    guard count <= rest.count || node.physical == .fixedByteArray && node.width == 0 else {
      return nil
    }
    var values: [JSONValue] = []
    values.reserveCapacity(count)
    for _ in 0..<count {
      guard let value = one() else { return nil }
      values.append(value)
    }
    return values
  }

  private mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
    guard count >= 0, count <= rest.count else { return nil }
    defer { rest = rest.dropFirst(count) }
    return rest.prefix(count)
  }

  private mutating func one() -> JSONValue? {
    switch node.physical {
    case .int32:
      return take(4).map {
        number(Int64(Int32(truncatingIfNeeded: $0.littleEndian(4) ?? 0)), bits: 32)
      }
    case .int64:
      return take(8).map { number(Int64($0.littleEndian(8) ?? 0), bits: 64) }
    case .float:
      return take(4).map {
        let value = Float(bitPattern: UInt32(truncatingIfNeeded: $0.littleEndian(4) ?? 0))
        return value.isFinite ? .double(Double("\(value)") ?? Double(value)) : .null
      }
    case .double:
      return take(8).map {
        .double(Double(bitPattern: UInt64(bitPattern: Int64($0.littleEndian(8) ?? 0))))
      }
    case .int96:
      // Nanoseconds of the day, then the Julian day.
      return take(12).map {
        let days = ($0.dropFirst(8).littleEndian(4) ?? 0) - 2_440_588
        return ParquetTime.text(
          Int64($0.littleEndian(8) ?? 0) + Int64(days) * 86_400_000_000_000, units: 1_000_000_000)
      }
    case .byteArray:
      guard let length = rest.littleEndian(4) else { return nil }
      rest = rest.dropFirst(4)
      return take(length).map(bytes)
    case .fixedByteArray: return take(node.width).map(bytes)
    case .boolean, nil: return nil
    }
  }

  private func number(_ value: Int64, bits: Int) -> JSONValue {
    switch node.meaning {
    case .unsigned:
      return .number(
        bits == 32 ? "\(UInt32(truncatingIfNeeded: value))" : "\(UInt64(bitPattern: value))")
    case .decimal(let scale): return .number(ParquetTime.decimal("\(value)", scale: scale))
    case .date: return ParquetTime.date(Int(value))
    case .time(let units): return ParquetTime.text(value, units: units)
    case .plain, .text: return .number("\(value)")
    }
  }

  /// A text; bytes that are none in base 64.
  private func bytes(_ bytes: ArraySlice<UInt8>) -> JSONValue {
    if case .decimal(let scale) = node.meaning, bytes.count <= 8 {
      // The highest byte first.
      let value = bytes.reduce(Int64(bytes.first.map { $0 >= 0x80 ? -1 : 0 } ?? 0)) {
        $0 << 8 | Int64($1)
      }
      return .number(ParquetTime.decimal("\(value)", scale: scale))
    }
    if let text = String(validating: bytes, as: UTF8.self) { return .string(text) }
    return .string(Data(bytes).base64EncodedString())
  }
}

/// Days, times and decimal numbers in words.
private enum ParquetTime {
  static func date(_ days: Int) -> JSONValue {
    let date = Date(timeIntervalSince1970: Double(days) * 86_400)
    return .string(date.formatted(.iso8601.year().month().day()))
  }

  static func text(_ value: Int64, units: Int) -> JSONValue {
    let (seconds, rest) = (
      value.quotientAndRemainder(dividingBy: Int64(units)).quotient,
      value.quotientAndRemainder(dividingBy: Int64(units)).remainder
    )
    let date = Date(timeIntervalSince1970: Double(seconds) + Double(rest) / Double(units))
    let style = Date.ISO8601FormatStyle(includingFractionalSeconds: rest != 0)
    return .string(date.formatted(style))
  }

  static func decimal(_ digits: String, scale: Int) -> String {
    guard scale > 0 else { return digits }
    let isNegative = digits.hasPrefix("-")
    let plain = String(digits.drop { $0 == "-" })
    let padded = String(repeating: "0", count: max(0, scale + 1 - plain.count)) + plain
    return (isNegative ? "-" : "") + padded.dropLast(scale) + "." + padded.suffix(scale)
  }
}
