// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
import CLibCrypto
import Foundation

/// Who may do what: a token for all, a link for each annotator, a session in a cookie.
///
/// A session is not stored: the cookie holds the annotator's name and a code (HMAC-SHA-256) of it
/// under a key that follows from the token, so that sessions outlive a restart with the same token.
package struct Access: Sendable {
  /// What everybody has to know; nil where the page serves this machine alone.
  let token: String?
  /// The annotators that there are; anybody if empty.
  let annotators: [String]
  private let key: [UInt8]

  package init(token: String?, annotators: [String]) {
    self.token = token
    self.annotators = annotators
    key = Self.code(
      "attune collect", under: token.map { Array($0.utf8) } ?? Self.random(32))
  }

  /// A token of 128 random bits.
  package static func makeToken() -> String { hexadecimal(random(16)) }

  /// An annotator's name as it was typed, composed (NFC) and without space around it; nil if it is none: empty, of
  /// more than 64 characters, or with characters that do not show.
  package static func name(_ typed: String) -> String? {
    let name = typed.trimmingCharacters(in: .whitespacesAndNewlines)
      .precomposedStringWithCanonicalMapping
    let isFine =
      !name.isEmpty && name.count <= 64 && name.utf8.count <= 256
      && name.unicodeScalars.allSatisfy {
        switch $0.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
          .paragraphSeparator:
          false
        default: true
        }
      }
    return isFine ? name : nil
  }

  /// Whether somebody who shows a token may be an annotator: the token of all, or the annotator's
  /// own.
  package func admits(_ name: String, token shown: String?) -> Bool {
    guard annotators.isEmpty || annotators.contains(name) else { return false }
    guard let token else { return true }
    guard let shown else { return false }
    // Both are compared, whichever fits.
    let isOfAll = Self.equal(shown, token)
    let isOwn = Self.equal(shown, ownToken(of: name))
    return isOfAll || isOwn
  }

  /// The token of one annotator, of no use to another; the same for all where there is none.
  package func ownToken(of name: String) -> String { code("link", name) }

  /// What follows the address in a link: after a `#`, which browsers send to nobody.
  package func fragment(for name: String?) -> String {
    var parts: [String] = []
    if let name { parts.append("name=\(Self.percentEncoded(name))") }
    if let token { parts.append("token=\(Self.percentEncoded(name.map(ownToken) ?? token))") }
    return parts.isEmpty ? "" : "#" + parts.joined(separator: "&")
  }

  /// A session's cookie for an annotator.
  package func session(of name: String) -> String {
    hexadecimal(Array(name.utf8)) + "." + code("session", name)
  }

  /// Whose session a cookie is; nil if it is none.
  package func annotator(of session: String) -> String? {
    let parts = session.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 2, let bytes = Self.bytes(parts[0]),
      let name = String(validating: bytes, as: UTF8.self),
      Self.equal(String(parts[1]), code("session", name)),
      annotators.isEmpty || annotators.contains(name)
    else { return nil }
    return name
  }

  /// What a request that changes something has to show beside the cookie, so that no other site's
  /// page can make it.
  package func seal(of name: String) -> String { code("seal", name) }

  /// Whether two texts are equal, in a time that says nothing of where they differ.
  package static func equal(_ a: String, _ b: String) -> Bool {
    let (a, b) = (Array(a.utf8), Array(b.utf8))
    return a.count == b.count && CRYPTO_memcmp(a, b, a.count) == 0
  }

  private func code(_ purpose: String, _ name: String) -> String {
    hexadecimal(Self.code("\(purpose)\n\(name)", under: key))
  }

  private static func code(_ text: String, under key: [UInt8]) -> [UInt8] {
    var out = [UInt8](repeating: 0, count: 32)
    var length: UInt32 = 32
    let bytes = Array(text.utf8)
    let done = HMAC(EVP_sha256(), key, Int32(key.count), bytes, bytes.count, &out, &length)
    precondition(done != nil && length == 32, "libcrypto has no HMAC-SHA-256")
    return out
  }

  private static func random(_ count: Int) -> [UInt8] {
    var generator = SystemRandomNumberGenerator()
    return (0..<count).map { _ in generator.next() }
  }

  private static func bytes(_ hexadecimal: Substring) -> [UInt8]? {
    let digits = hexadecimal.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
    guard digits.count == hexadecimal.utf8.count, digits.count % 2 == 0, digits.count <= 1024 else {
      return nil
    }
    return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
  }

  private static func percentEncoded(_ text: String) -> String {
    var allowed = CharacterSet.alphanumerics.intersection(
      CharacterSet(charactersIn: "\0"..."\u{7F}"))
    allowed.insert(charactersIn: "-._~")
    return text.addingPercentEncoding(withAllowedCharacters: allowed) ?? ""
  }
}
