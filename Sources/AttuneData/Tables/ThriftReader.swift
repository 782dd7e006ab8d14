// SPDX-License-Identifier: Apache-2.0

/// A value in Thrift's compact protocol, in which Parquet files describe themselves.
enum ThriftValue {
  case bool(Bool)
  case int(Int64)
  case double(Double)
  case bytes(ArraySlice<UInt8>)
  case list([ThriftValue])
  /// Fields by their numbers.
  case structure([Int: ThriftValue])

  subscript(field: Int) -> ThriftValue? {
    if case .structure(let fields) = self { fields[field] } else { nil }
  }
  var int: Int? { if case .int(let value) = self { Int(value) } else { nil } }
  var list: [ThriftValue]? { if case .list(let values) = self { values } else { nil } }
  var text: String? {
    if case .bytes(let bytes) = self { String(validating: bytes, as: UTF8.self) } else { nil }
  }
}

/// Reads one structure after another from bytes.
struct ThriftReader {
  /// That the bytes are no such structure, or end early.
  struct Damaged: Error {}

  private let bytes: ArraySlice<UInt8>
  /// The place of the next byte.
  private(set) var at: Int

  init(_ bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
    at = bytes.startIndex
  }

  private mutating func byte() throws(Damaged) -> UInt8 {
    guard at < bytes.endIndex else { throw Damaged() }
    defer { at += 1 }
    return bytes[at]
  }

  private mutating func varint() throws(Damaged) -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 64, by: 7) {
      let next = try byte()
      value |= UInt64(next & 0x7F) << shift
      if next < 0x80 { return value }
    }
    throw Damaged()
  }

  private mutating func zigzag() throws(Damaged) -> Int64 {
    let value = try varint()
    return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
  }

  /// Reads a structure.
  mutating func structure(depth: Int = 0) throws(Damaged) -> ThriftValue {
    guard depth < 32 else { throw Damaged() }
    var fields: [Int: ThriftValue] = [:]
    var last = 0
    while true {
      let header = try byte()
      if header == 0 { return .structure(fields) }
      let delta = Int(header >> 4)
      last = delta == 0 ? Int(truncatingIfNeeded: try zigzag()) : last + delta
      switch header & 15 {
      case 1: fields[last] = .bool(true)
      case 2: fields[last] = .bool(false)
      case let type: fields[last] = try value(type, depth: depth)
      }
    }
  }

  private mutating func value(_ type: UInt8, depth: Int) throws(Damaged) -> ThriftValue {
    switch type {
    // In lists a truth value has a byte of its own.
    case 1, 2: return .bool(try byte() == 1)
    case 3: return .int(Int64(Int8(bitPattern: try byte())))
    case 4, 5, 6: return .int(try zigzag())
    case 7:
      var bits: UInt64 = 0
      for shift in stride(from: UInt64(0), to: 64, by: 8) { bits |= UInt64(try byte()) << shift }
      return .double(Double(bitPattern: bits))
    case 8:
      let count = try varint()
      guard count <= UInt64(bytes.endIndex - at) else { throw Damaged() }
      defer { at += Int(count) }
      return .bytes(bytes[at..<at + Int(count)])
    case 9, 10:
      let header = try byte()
      let count = header >> 4 == 15 ? try varint() : UInt64(header >> 4)
      // Every element takes a byte at least.
      guard count <= UInt64(bytes.endIndex - at) else { throw Damaged() }
      var values: [ThriftValue] = []
      for _ in 0..<count { values.append(try value(header & 15, depth: depth + 1)) }
      return .list(values)
    case 11:
      let count = try varint()
      guard count <= UInt64(bytes.endIndex - at) else { throw Damaged() }
      guard count > 0 else { return .list([]) }
      let types = try byte()
      var values: [ThriftValue] = []
      for _ in 0..<count {
        values.append(try value(types >> 4, depth: depth + 1))
        values.append(try value(types & 15, depth: depth + 1))
      }
      return .list(values)
    case 12: return try structure(depth: depth + 1)
    default: throw Damaged()
    }
  }
}
