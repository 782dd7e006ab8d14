// SPDX-License-Identifier: Apache-2.0

package import Foundation

/// JSON as Attune writes it: names in snake case, keys sorted, slashes as they are.
public enum JSONText {
  /// One object a line, for rows and for `--json`.
  ///
  /// - Parameter value: What to write.
  /// - Returns: One line without its end.
  /// - Throws: What the encoder throws on a number that is not finite.
  public static func line(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }

  /// Indented, for files that people open.
  package static func pretty(_ value: some Encodable) throws -> Data {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
    return try encoder.encode(value) + Data("\n".utf8)
  }
}
