// SPDX-License-Identifier: Apache-2.0

/// Reads a GGUF header from front to back through a window of the file. Every count is held
/// against what is left of the file before anything is allocated for it.
struct GGUFCursor {
  /// Vocabularies and their merges take tens of megabytes; a sparse file may claim any size.
  private static let longestHeader = 1 << 30
  /// The most values of an array, keys or tensors.
  private static let mostItems = 1 << 22
  private let storage: StorageFile
  private var window: [UInt8] = []
  private var windowStart = 0
  /// Place of the next byte.
  private(set) var offset = 0

  init(_ storage: StorageFile) { self.storage = storage }

  private var left: Int { storage.size - offset }

  private func truncated(_ what: String) -> EngineError {
    EngineError(
      .badModel, "\(storage.path): \(what) at byte \(offset) does not fit the file: it is truncated"
    )
  }

  /// Place in the window of the next `count` bytes.
  private mutating func take(_ count: Int, _ what: String) throws -> Int {
    guard count <= left else { throw truncated(what) }
    guard count <= Self.longestHeader - offset else {
      throw EngineError(
        .badModel,
        "\(storage.path): \(what) takes the header beyond \(Self.longestHeader >> 20) MB: it is "
          + "damaged")
    }
    if offset < windowStart || offset + count > windowStart + window.count {
      window = try storage.read(count: min(left, max(count, 1 << 18)), at: offset)
      windowStart = offset
    }
    defer { offset += count }
    return offset - windowStart
  }

  mutating func number<Value: FixedWidthInteger>(
    _ type: Value.Type, _ what: String
  ) throws -> Value {
    let place = try take(MemoryLayout<Value>.size, what)
    return window.withUnsafeBytes {
      Value(littleEndian: $0.loadUnaligned(fromByteOffset: place, as: Value.self))
    }
  }

  /// A count of things that take at least `size` bytes each.
  mutating func count(_ what: String, ofAtLeast size: Int) throws -> Int {
    let value = try number(UInt64.self, what)
    guard value <= UInt64(left / size) else {
      throw EngineError(
        .badModel,
        "\(storage.path): \(what) claims \(value), but only \(left) bytes are left: "
          + "it is truncated or damaged")
    }
    return Int(value)
  }

  /// A count of things that are kept one by one.
  mutating func items(_ what: String, ofAtLeast size: Int) throws -> Int {
    let count = try count(what, ofAtLeast: size)
    guard count <= Self.mostItems else {
      throw EngineError(
        .badModel,
        "\(storage.path): \(what) claims \(count) items, more than \(Self.mostItems): it is damaged"
      )
    }
    return count
  }

  mutating func string(_ what: String) throws -> String {
    let length = try count("the length of \(what)", ofAtLeast: 1)
    let place = try take(length, what)
    return String(decoding: window[place..<place + length], as: UTF8.self)
  }

  /// A value of the type with that number. Arrays of arrays are part of the format; deep nests are
  /// refused.
  mutating func value(type: UInt32, _ what: String, depth: Int = 0) throws -> GGUFValue {
    switch type {
    case 0: return .unsigned(UInt64(try number(UInt8.self, what)))
    case 1: return .signed(Int64(try number(Int8.self, what)))
    case 2: return .unsigned(UInt64(try number(UInt16.self, what)))
    case 3: return .signed(Int64(try number(Int16.self, what)))
    case 4: return .unsigned(UInt64(try number(UInt32.self, what)))
    case 5: return .signed(Int64(try number(Int32.self, what)))
    case 6: return .float(Double(Float(bitPattern: try number(UInt32.self, what))))
    case 7: return .bool(try number(UInt8.self, what) != 0)
    case 8: return .string(try string(what))
    case 9:
      let element = try number(UInt32.self, what)
      guard depth < 4 else {
        throw EngineError(.badModel, "\(storage.path): \(what) nests too deep")
      }
      let sizes: [Int] = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8]
      guard Int(element) < sizes.count else { throw unknown(element, what) }
      let count = try items(what, ofAtLeast: sizes[Int(element)])
      var values: [GGUFValue] = []
      values.reserveCapacity(count)
      for _ in 0..<count { values.append(try value(type: element, what, depth: depth + 1)) }
      return .array(values)
    case 10: return .unsigned(try number(UInt64.self, what))
    case 11: return .signed(try number(Int64.self, what))
    case 12: return .float(Double(bitPattern: try number(UInt64.self, what)))
    default: throw unknown(type, what)
    }
  }

  private func unknown(_ type: UInt32, _ what: String) -> EngineError {
    EngineError(.badModel, "\(storage.path): \(what) has the unknown type \(type)")
  }
}
