// SPDX-License-Identifier: Apache-2.0

/// The printable characters that byte-level tokenizers write for the 256 bytes (GPT-2's table).
///
/// The 188 bytes that are printable in Latin-1 stand for themselves; the others, in order, are
/// U+0100 and on, so that a space is `Ġ` and a line feed is `Ċ`.
enum ByteAlphabet {
  /// The scalar of each byte.
  static let scalars: [Unicode.Scalar] = {
    var next: UInt32 = 0x100
    return (0..<256).map { byte in
      switch byte {
      case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return Unicode.Scalar(UInt8(byte))
      default:
        defer { next += 1 }
        return Unicode.Scalar(next) ?? "?"
      }
    }
  }()

  /// The byte of each scalar below U+0144; −1 where there is none.
  private static let inverse: [Int16] = {
    var table = [Int16](repeating: -1, count: 0x144)
    for (byte, scalar) in scalars.enumerated() { table[Int(scalar.value)] = Int16(byte) }
    return table
  }()

  /// The bytes that a token of the vocabulary stands for, or nil if it holds a character that is
  /// not of the alphabet.
  static func bytes(of token: String) -> [UInt8]? {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(token.utf8.count)
    for scalar in token.unicodeScalars {
      guard scalar.value < 0x144, inverse[Int(scalar.value)] >= 0 else { return nil }
      bytes.append(UInt8(inverse[Int(scalar.value)]))
    }
    return bytes
  }

  /// How the vocabulary writes some bytes.
  static func token(of bytes: some Sequence<UInt8>) -> String {
    var token = String.UnicodeScalarView()
    for byte in bytes { token.append(scalars[Int(byte)]) }
    return String(token)
  }
}
