// SPDX-License-Identifier: Apache-2.0

import Foundation

extension JSONValue {
  /// Reads a JSON file of a tokenizer; nil if it is not there.
  ///
  /// - Throws: `DataError` that names the file and the line.
  static func tokenizerFile(_ file: URL) throws -> JSONValue? {
    guard var bytes = try contents(of: file) else { return nil }
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
    do throws(JSONParser.Failure) {
      return try bytes.withUnsafeBufferPointer { (all) throws(JSONParser.Failure) in
        try JSONParser.parse(all, allowsRepeatedKeys: true)
      }
    } catch {
      throw DataError(
        .badTokenizer,
        "\(file.path): line \(error.line + 1), column \(error.column): \(error.message); "
          + "is the file complete?")
    }
  }

  /// The bytes of a file; nil if it is not there.
  static func contents(of file: URL) throws -> [UInt8]? {
    guard FileManager.default.fileExists(atPath: file.path) else { return nil }
    do {
      return Array(try Data(contentsOf: file))
    } catch {
      throw DataError(.file, "\(file.path): cannot be read")
    }
  }

  /// Makes an object.
  static func object(_ fields: (String, JSONValue)...) -> JSONValue {
    .object(fields.map { Field($0.0, $0.1) })
  }

  /// This object without a field.
  func removing(_ key: String) -> JSONValue { .object(fields.filter { $0.key != key }) }
}
