// SPDX-License-Identifier: Apache-2.0

/// A JSON value that keeps what tokenizer files need: the order of members, members whose names are
/// canonically equivalent (`é` in one and in two scalars), and numbers as they were written.
///
/// `JSONSerialization` loses all three, and is slow on a vocabulary of 150,000 members.
enum JSONTree: Sendable, Equatable {
  case null
  case bool(Bool)
  /// The digits as written: `1000000000000000019884624838656` is a common maximum length.
  case number(String)
  case string(String)
  case array([JSONTree])
  case object([Member])

  /// One member of an object.
  struct Member: Sendable, Equatable {
    var name: String
    var value: JSONTree
  }

  /// Makes an object.
  static func object(_ members: (String, JSONTree)...) -> JSONTree {
    .object(members.map { Member(name: $0.0, value: $0.1) })
  }

  static func number(_ value: Int) -> JSONTree { .number(String(value)) }

  /// The member of that name (the last one, as other readers do), or nil.
  subscript(_ name: String) -> JSONTree? {
    guard case .object(let members) = self else { return nil }
    return members.last { $0.name.utf8.elementsEqual(name.utf8) }?.value
  }

  var string: String? {
    if case .string(let value) = self { return value }
    return nil
  }

  var bool: Bool? {
    if case .bool(let value) = self { return value }
    return nil
  }

  var int: Int? {
    if case .number(let text) = self { return Int(text) }
    return nil
  }

  var array: [JSONTree]? {
    if case .array(let values) = self { return values }
    return nil
  }

  var members: [Member]? {
    if case .object(let members) = self { return members }
    return nil
  }

  var isNull: Bool { self == .null }

  /// Sets or adds a member; a value that is not an object is left alone.
  mutating func set(_ name: String, _ value: JSONTree) {
    guard case .object(var members) = self else { return }
    members.removeAll { $0.name.utf8.elementsEqual(name.utf8) }
    members.append(Member(name: name, value: value))
    self = .object(members)
  }

  /// Removes a member.
  mutating func remove(_ name: String) {
    guard case .object(var members) = self else { return }
    members.removeAll { $0.name.utf8.elementsEqual(name.utf8) }
    self = .object(members)
  }
}

// MARK: - Reading

extension JSONTree {
  /// Reads one JSON text.
  ///
  /// - Throws: `DataError` of code `badTokenizer` that names the file and the line.
  init(parsing bytes: [UInt8], file: String) throws {
    self = try bytes.withUnsafeBufferPointer { buffer in
      var reader = JSONReader(bytes: buffer, file: file)
      return try reader.document()
    }
  }
}

private struct JSONReader {
  let bytes: UnsafeBufferPointer<UInt8>
  let file: String
  var position = 0
  var depth = 0

  init(bytes: UnsafeBufferPointer<UInt8>, file: String) {
    self.bytes = bytes
    self.file = file
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
  }

  mutating func document() throws -> JSONTree {
    let value = try value()
    skipSpace()
    if position < bytes.count { throw failure("text after the end of the JSON value") }
    return value
  }

  func failure(_ what: String) -> DataError {
    let line = 1 + bytes[..<min(position, bytes.count)].count { $0 == 0x0A }
    return DataError(.badTokenizer, "\(file): line \(line): \(what); is the file complete?")
  }

  mutating func skipSpace() {
    while position < bytes.count {
      switch bytes[position] {
      case 0x20, 0x09, 0x0A, 0x0D: position += 1
      default: return
      }
    }
  }

  mutating func value() throws -> JSONTree {
    skipSpace()
    guard position < bytes.count else { throw failure("the JSON text ends too early") }
    switch bytes[position] {
    case UInt8(ascii: "{"): return try nested { try $0.object() }
    case UInt8(ascii: "["): return try nested { try $0.array() }
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
    default: throw failure("not a JSON value")
    }
  }

  private mutating func nested(_ body: (inout JSONReader) throws -> JSONTree) throws -> JSONTree {
    depth += 1
    if depth > 100 { throw failure("more than 100 nested values") }
    defer { depth -= 1 }
    return try body(&self)
  }

  private mutating func word(_ word: String, _ value: JSONTree) throws -> JSONTree {
    guard bytes[position...].starts(with: word.utf8) else { throw failure("not a JSON value") }
    position += word.utf8.count
    return value
  }

  private mutating func number() throws -> JSONTree {
    let start = position
    while position < bytes.count {
      switch bytes[position] {
      case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "+"),
        UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"):
        position += 1
        continue
      default: break
      }
      break
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    guard Double(text) != nil else { throw failure("“\(text)” is not a number") }
    return .number(text)
  }

  private mutating func array() throws -> JSONTree {
    position += 1
    var values: [JSONTree] = []
    skipSpace()
    if take(UInt8(ascii: "]")) { return .array(values) }
    while true {
      values.append(try value())
      skipSpace()
      if take(UInt8(ascii: "]")) { return .array(values) }
      guard take(UInt8(ascii: ",")) else { throw failure("“,” or “]” is missing") }
    }
  }

  private mutating func object() throws -> JSONTree {
    position += 1
    var members: [JSONTree.Member] = []
    skipSpace()
    if take(UInt8(ascii: "}")) { return .object(members) }
    while true {
      skipSpace()
      guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else {
        throw failure("the name of a member is missing")
      }
      let name = try string()
      skipSpace()
      guard take(UInt8(ascii: ":")) else { throw failure("“:” is missing") }
      members.append(JSONTree.Member(name: name, value: try value()))
      skipSpace()
      if take(UInt8(ascii: "}")) { return .object(members) }
      guard take(UInt8(ascii: ",")) else { throw failure("“,” or “}” is missing") }
    }
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard position < bytes.count, bytes[position] == byte else { return false }
    position += 1
    return true
  }

  private mutating func string() throws -> String {
    position += 1
    let start = position
    // Most strings hold no escape: one copy.
    while position < bytes.count {
      let byte = bytes[position]
      if byte == UInt8(ascii: "\"") {
        let text = try checked(bytes[start..<position])
        position += 1
        return text
      }
      if byte == UInt8(ascii: "\\") { break }
      if byte < 0x20 { throw failure("a control character inside a string") }
      position += 1
    }
    var content = Array(bytes[start..<position])
    while position < bytes.count {
      let byte = bytes[position]
      position += 1
      switch byte {
      case UInt8(ascii: "\""): return try checked(content[...])
      case UInt8(ascii: "\\"): content.append(contentsOf: try escape())
      case 0..<0x20: throw failure("a control character inside a string")
      default: content.append(byte)
      }
    }
    throw failure("a string has no end")
  }

  private func checked(_ content: some Sequence<UInt8>) throws -> String {
    guard let text = String(validating: Array(content), as: UTF8.self) else {
      throw failure("a string is not UTF-8")
    }
    return text
  }

  private mutating func escape() throws -> [UInt8] {
    guard position < bytes.count else { throw failure("a string has no end") }
    let byte = bytes[position]
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
    case UInt8(ascii: "b"): return [0x08]
    case UInt8(ascii: "f"): return [0x0C]
    case UInt8(ascii: "n"): return [0x0A]
    case UInt8(ascii: "r"): return [0x0D]
    case UInt8(ascii: "t"): return [0x09]
    case UInt8(ascii: "u"):
      var code = try hexadecimal()
      if (0xD800..<0xDC00).contains(code) {
        guard take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else {
          throw failure("half a surrogate pair in a string")
        }
        let low = try hexadecimal()
        guard (0xDC00..<0xE000).contains(low) else {
          throw failure("half a surrogate pair in a string")
        }
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(code) else {
        throw failure("half a surrogate pair in a string")
      }
      return Array(UTF8.encode(scalar) ?? .init())
    default: throw failure("an unknown escape in a string")
    }
  }

  private mutating func hexadecimal() throws -> UInt32 {
    guard position + 4 <= bytes.count else { throw failure("a string has no end") }
    var code: UInt32 = 0
    for byte in bytes[position..<position + 4] {
      guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
        throw failure("an unknown escape in a string")
      }
      code = code << 4 | UInt32(digit)
    }
    position += 4
    return code
  }
}

// MARK: - Writing

extension JSONTree {
  /// The value as JSON text in UTF-8, two spaces a level, with a line feed at the end.
  func encoded() -> [UInt8] {
    var output: [UInt8] = []
    write(to: &output, indentation: 0)
    output.append(0x0A)
    return output
  }

  private func write(to output: inout [UInt8], indentation: Int) {
    func line(_ depth: Int) {
      output.append(0x0A)
      output.append(contentsOf: repeatElement(0x20, count: 2 * depth))
    }
    switch self {
    case .null: output.append(contentsOf: "null".utf8)
    case .bool(let value): output.append(contentsOf: (value ? "true" : "false").utf8)
    case .number(let text): output.append(contentsOf: text.utf8)
    case .string(let text): Self.write(text, to: &output)
    case .array(let values):
      output.append(UInt8(ascii: "["))
      for (index, value) in values.enumerated() {
        if index > 0 { output.append(UInt8(ascii: ",")) }
        line(indentation + 1)
        value.write(to: &output, indentation: indentation + 1)
      }
      if !values.isEmpty { line(indentation) }
      output.append(UInt8(ascii: "]"))
    case .object(let members):
      output.append(UInt8(ascii: "{"))
      for (index, member) in members.enumerated() {
        if index > 0 { output.append(UInt8(ascii: ",")) }
        line(indentation + 1)
        Self.write(member.name, to: &output)
        output.append(contentsOf: ": ".utf8)
        member.value.write(to: &output, indentation: indentation + 1)
      }
      if !members.isEmpty { line(indentation) }
      output.append(UInt8(ascii: "}"))
    }
  }

  private static func write(_ text: String, to output: inout [UInt8]) {
    output.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""): output.append(contentsOf: "\\\"".utf8)
      case UInt8(ascii: "\\"): output.append(contentsOf: "\\\\".utf8)
      case 0x0A: output.append(contentsOf: "\\n".utf8)
      case 0..<0x20:
        let digits = String(byte, radix: 16)
        output.append(contentsOf: "\\u00\(byte < 0x10 ? "0" : "")\(digits)".utf8)
      default: output.append(byte)
      }
    }
    output.append(UInt8(ascii: "\""))
  }
}
