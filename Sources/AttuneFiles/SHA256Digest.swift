// SPDX-License-Identifier: Apache-2.0

import CLibCrypto

/// A SHA-256 digest in the making.
package struct SHA256Digest: ~Copyable {
  private let context: OpaquePointer?

  package init() {
    context = EVP_MD_CTX_new()
    precondition(
      EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1, "libcrypto has no SHA-256")
  }

  deinit { EVP_MD_CTX_free(context) }

  package mutating func update(_ bytes: UnsafeRawBufferPointer) {
    EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
  }

  package mutating func update(_ text: String) {
    var text = text
    text.withUTF8 { update(UnsafeRawBufferPointer($0)) }
  }

  package consuming func hexadecimal() -> String {
    var bytes = [UInt8](repeating: 0, count: 32)
    EVP_DigestFinal_ex(context, &bytes, nil)
    return AttuneFiles.hexadecimal(bytes)
  }

  /// The digest of a text's UTF-8, in hexadecimal.
  package static func of(_ text: String) -> String {
    var digest = SHA256Digest()
    digest.update(text)
    return digest.hexadecimal()
  }
}

/// Bytes as hexadecimal digits, two each.
package func hexadecimal(_ bytes: [UInt8]) -> String {
  let digits = Array("0123456789abcdef".utf8)
  return String(
    decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
}
