// SPDX-License-Identifier: Apache-2.0

package import Foundation

/// JSON as Attune writes it, and reads again: names in snake case, keys sorted, slashes as they are.
public enum JSONText {
  /// One object a line, for rows and for `--json`.
  ///
  /// - Parameter value: What to write.
  /// - Returns: One line without its end.
  /// - Throws: What the encoder throws on a number that is not finite.
  public static func line(_ value: some Encodable) throws -> String {
    String(decoding: try encoded(value), as: UTF8.self)
  }

  /// Indented, for files that people open.
  package static func pretty(_ value: some Encodable) throws -> Data {
    try indented(value) + Data("\n".utf8)
  }

  /// The same without the end of the last line.
  package static func indented(_ value: some Encodable) throws -> Data {
    try encoded(value, .prettyPrinted)
  }

  private static func encoded(
    _ value: some Encodable, _ formatting: JSONEncoder.OutputFormatting = []
  ) throws -> Data {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = formatting.union([.sortedKeys, .withoutEscapingSlashes])
    return try encoder.encode(value)
  }

  /// What was written so.
  package static func read<Value: Decodable>(_: Value.Type, from data: Data) throws -> Value {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(Value.self, from: data)
  }
}
