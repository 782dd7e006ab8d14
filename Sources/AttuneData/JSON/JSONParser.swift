// SPDX-License-Identifier: Apache-2.0

/// Reads JSON as RFC 8259 has it, from bytes that may hold anything: no `NaN`, no `Infinity`, no
/// trailing commas, valid UTF-8 only, nesting up to ``deepest`` levels.
package struct JSONParser {
  /// How deep arrays and objects may be nested.
  static let deepest = 128

  /// What was wrong, where, and in which line counted from the start of the text.
  package struct Failure: Error {
    let message: String
    let column: Int
    let line: Int
  }

  private let bytes: UnsafeBufferPointer<UInt8>
  private var at = 0
  /// The line that the parser stands in, from 0, counted only by ``skipSpace()``: inside a string a
  /// line feed is an error anyway.
  private(set) var line = 0
  private var lineStart = 0
  /// Whether a key may stand twice in an object, as in vocabularies that nobody wrote by hand.
  private let allowsRepeatedKeys: Bool

  init(_ bytes: UnsafeBufferPointer<UInt8>, allowsRepeatedKeys: Bool = false) {
    self.bytes = bytes
    self.allowsRepeatedKeys = allowsRepeatedKeys
  }

  /// Parses a text that holds one value and nothing else.
  package static func parse(
    _ bytes: UnsafeBufferPointer<UInt8>, allowsRepeatedKeys: Bool = false
  ) throws(Failure) -> JSONValue {
    var parser = JSONParser(bytes, allowsRepeatedKeys: allowsRepeatedKeys)
    let value = try parser.value(depth: 0)
    try parser.end()
    return value
  }

  /// Fails unless nothing but white space is left.
  mutating func end() throws(Failure) {
    skipSpace()
    if at < bytes.count { throw failure("text goes on after the end of the value") }
  }

  /// Reads the start of a list, and says whether there was one.
  mutating func opensList() -> Bool {
    skipSpace()
    guard at < bytes.count, bytes[at] == UInt8(ascii: "[") else { return false }
    at += 1
    return true
  }

  /// Moves to the next element of a list that was opened; false, past its end, where none is left.
  mutating func nextElement(first: Bool) throws(Failure) -> Bool {
    skipSpace()
    guard at < bytes.count else { throw failure("the text ends inside a list") }
    if bytes[at] == UInt8(ascii: "]") {
      at += 1
      return false
    }
    if !first {
      guard bytes[at] == UInt8(ascii: ",") else { throw failure("expected , or ] in a list") }
      at += 1
      skipSpace()
    }
    return true
  }

  /// Reads one value.
  mutating func value(depth: Int = 0) throws(Failure) -> JSONValue {
    skipSpace()
    guard at < bytes.count else { throw failure("the text ends where a value is expected") }
    if depth > Self.deepest { throw failure("nested deeper than \(Self.deepest) levels") }
    switch bytes[at] {
    case UInt8(ascii: "{"): return try object(depth: depth)
    case UInt8(ascii: "["):
      at += 1
      var values: [JSONValue] = []
      while try nextElement(first: values.isEmpty) { values.append(try value(depth: depth + 1)) }
      return .array(values)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try literal("true", .bool(true))
    case UInt8(ascii: "f"): return try literal("false", .bool(false))
    case UInt8(ascii: "n"): return try literal("null", .null)
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number(try number())
    case UInt8(ascii: "N"), UInt8(ascii: "I"):
      throw failure("NaN and Infinity are not JSON; write null or leave the key out")
    default: throw failure("expected a value")
    }
  }

  private mutating func object(depth: Int) throws(Failure) -> JSONValue {
    at += 1
    var fields: [JSONValue.Field] = []
    var keys: Set<[UInt8]> = []
    while true {
      skipSpace()
      guard at < bytes.count else { throw failure("the text ends inside an object") }
      if bytes[at] == UInt8(ascii: "}"), fields.isEmpty { break }
      guard bytes[at] == UInt8(ascii: "\"") else { throw failure("expected a key in quotes") }
      let key = try string()
      // Bytes: to Swift, strings are equal that differ in how accents are written.
      if !allowsRepeatedKeys, !keys.insert(Array(key.utf8)).inserted {
        throw failure("the key \"\(key)\" stands twice in one object")
      }
      skipSpace()
      guard at < bytes.count else { throw failure("the text ends after the key \"\(key)\"") }
      guard bytes[at] == UInt8(ascii: ":") else {
        throw failure("expected : after the key \"\(key)\"")
      }
      at += 1
      fields.append(JSONValue.Field(key, try value(depth: depth + 1)))
      skipSpace()
      guard at < bytes.count else { throw failure("the text ends inside an object") }
      if bytes[at] == UInt8(ascii: "}") { break }
      guard bytes[at] == UInt8(ascii: ",") else { throw failure("expected , or } in an object") }
      at += 1
    }
    at += 1
    return .object(fields)
  }

  private mutating func literal(
    _ word: StaticString, _ value: JSONValue
  ) throws(Failure) -> JSONValue {
    let count = word.utf8CodeUnitCount
    guard at + count <= bytes.count else { throw failure("the text ends inside a word") }
    for i in 0..<count where bytes[at + i] != word.utf8Start[i] {
      throw failure("expected a value")
    }
    at += count
    return value
  }

  private mutating func number() throws(Failure) -> String {
    let start = at
    if bytes[at] == UInt8(ascii: "-") { at += 1 }
    if at < bytes.count, bytes[at] == UInt8(ascii: "I") {
      throw failure("Infinity is not JSON; write null or leave the key out")
    }
    let zero = at < bytes.count && bytes[at] == UInt8(ascii: "0")
    let whole = digits()
    var good = whole > 0 && !(zero && whole > 1)
    if good, at < bytes.count, bytes[at] == UInt8(ascii: ".") {
      at += 1
      good = digits() > 0
    }
    if good, at < bytes.count, bytes[at] | 0x20 == UInt8(ascii: "e") {
      at += 1
      if at < bytes.count, bytes[at] == UInt8(ascii: "+") || bytes[at] == UInt8(ascii: "-") {
        at += 1
      }
      good = digits() > 0
    }
    guard good else { throw failure("a number is cut or not as JSON writes it") }
    return String(decoding: bytes[start..<at], as: UTF8.self)
  }

  private mutating func digits() -> Int {
    let start = at
    while at < bytes.count, bytes[at] &- 48 < 10 { at += 1 }
    return at - start
  }

  private mutating func string() throws(Failure) -> String {
    at += 1
    let start = at
    while at < bytes.count, bytes[at] != 34, bytes[at] != 92, bytes[at] >= 0x20 { at += 1 }
    if at < bytes.count, bytes[at] == 34 {
      at += 1
      return try text(UnsafeBufferPointer(rebasing: bytes[start..<(at - 1)]))
    }
    var decoded = Array(bytes[start..<at])
    while at < bytes.count {
      let byte = bytes[at]
      if byte == 34 {
        at += 1
        return try decoded.withUnsafeBufferPointer { (all) throws(Failure) in try text(all) }
      }
      if byte < 0x20 {
        throw failure("a string holds a raw control character; write \\n, \\t or \\u00XX")
      }
      at += 1
      if byte == 92 { try escape(into: &decoded) } else { decoded.append(byte) }
    }
    throw failure("the text ends inside a string")
  }

  private func text(_ utf8: UnsafeBufferPointer<UInt8>) throws(Failure) -> String {
    guard let text = String(validating: utf8, as: UTF8.self) else {
      throw failure("a string is not valid UTF-8")
    }
    return text
  }

  private mutating func escape(into decoded: inout [UInt8]) throws(Failure) {
    guard at < bytes.count else { throw failure("the text ends inside a string") }
    let byte = bytes[at]
    at += 1
    switch byte {
    case UInt8(ascii: "n"): decoded.append(10)
    case UInt8(ascii: "t"): decoded.append(9)
    case UInt8(ascii: "r"): decoded.append(13)
    case UInt8(ascii: "b"): decoded.append(8)
    case UInt8(ascii: "f"): decoded.append(12)
    case 34, 92, UInt8(ascii: "/"): decoded.append(byte)
    case UInt8(ascii: "u"):
      var code = try hexadecimal()
      if code & 0xFC00 == 0xD800, at + 1 < bytes.count, bytes[at] == 92,
        bytes[at + 1] == UInt8(ascii: "u")
      {
        at += 2
        let low = try hexadecimal()
        guard low & 0xFC00 == 0xDC00 else { throw failure("half of a surrogate pair") }
        code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw failure("half of a surrogate pair") }
      decoded += Array(String(scalar).utf8)
    default: throw failure("an unknown escape in a string")
    }
  }

  private mutating func hexadecimal() throws(Failure) -> UInt32 {
    guard at + 4 <= bytes.count else { throw failure("the text ends inside a string") }
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard let digit = Character(Unicode.Scalar(bytes[at])).hexDigitValue else {
        throw failure("\\u needs four hexadecimal digits")
      }
      code = code << 4 | UInt32(digit)
      at += 1
    }
    return code
  }

  private mutating func skipSpace() {
    while at < bytes.count {
      switch bytes[at] {
      case 32, 9, 13: at += 1
      case 10:
        at += 1
        line += 1
        lineStart = at
      default: return
      }
    }
  }

  private func failure(_ message: String) -> Failure {
    Failure(message: message, column: at - lineStart + 1, line: line)
  }
}

extension JSONValue {
  /// Parses one JSON value; of two fields of one name the caller sees both.
  ///
  /// - Parameters:
  ///   - text: The JSON text.
  ///   - place: What the text is, for the error's message.
  /// - Throws: ``DataError`` with the column and what was expected.
  public init(parsing text: String, place: String = "JSON") throws {
    do throws(JSONParser.Failure) {
      self = try Array(text.utf8).withUnsafeBufferPointer { (bytes) throws(JSONParser.Failure) in
        try JSONParser.parse(bytes, allowsRepeatedKeys: true)
      }
    } catch {
      throw DataError(
        .badData, "\(place): line \(error.line + 1), column \(error.column): \(error.message)")
    }
  }
}
