// SPDX-License-Identifier: Apache-2.0

import AttuneData

/// A JSON value as its leaves by their paths, so that equal values have equal fields, whatever the order
/// of keys and the way that numbers are written.
struct JSONFields {
  private(set) var fields: [String: String] = [:]

  init(_ value: JSONValue) { add(value, "") }

  /// All of it in one order.
  var text: String {
    fields.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }.joined(separator: ", ")
  }

  private mutating func add(_ value: JSONValue, _ path: String) {
    switch value {
    case .object(let parts) where !parts.isEmpty:
      // Of two fields of one name the later one counts.
      for part in parts { add(part.value, path + "/" + part.key.replacing("/", with: "~1")) }
    case .array(let parts) where !parts.isEmpty:
      for (i, part) in parts.enumerated() { add(part, "\(path)/\(i)") }
    case .number(let digits):
      let isNegative = digits.hasPrefix("-")
      let number = Rational(decimal: isNegative ? String(digits.dropFirst()) : digits)
      fields[path] = number.map { "\(isNegative ? -$0 : $0)" } ?? digits
    default: fields[path] = value.text
    }
  }
}
