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

  var asString: String? {
    if case .string(let value) = self { return value }
    return nil
  }

  var asBool: Bool? {
    if case .bool(let value) = self { return value }
    return nil
  }

  var asInt: Int? {
    if case .number(let text) = self { return Int(text) }
    return nil
  }

  var asArray: [JSONValue]? {
    if case .array(let values) = self { return values }
    return nil
  }

  var asFields: [Field]? {
    if case .object(let fields) = self { return fields }
    return nil
  }

  /// This object without a field.
  func removing(_ key: String) -> JSONValue { .object(fields.filter { $0.key != key }) }

  /// The value in lines, two spaces a level, with a line feed at the end: people read these files.
  func lines() -> [UInt8] {
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
    case .array(let values) where !values.isEmpty:
      output.append(UInt8(ascii: "["))
      for (index, value) in values.enumerated() {
        if index > 0 { output.append(UInt8(ascii: ",")) }
        line(indentation + 1)
        value.write(to: &output, indentation: indentation + 1)
      }
      line(indentation)
      output.append(UInt8(ascii: "]"))
    case .object(let fields) where !fields.isEmpty:
      output.append(UInt8(ascii: "{"))
      for (index, field) in fields.enumerated() {
        if index > 0 { output.append(UInt8(ascii: ",")) }
        line(indentation + 1)
        JSONValue.string(field.key).write(into: &output)
        output.append(contentsOf: ": ".utf8)
        field.value.write(to: &output, indentation: indentation + 1)
      }
      line(indentation)
      output.append(UInt8(ascii: "}"))
    default: write(into: &output)
    }
  }
}
