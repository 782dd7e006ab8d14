// SPDX-License-Identifier: Apache-2.0

package import AttuneData
import AttuneTraining
package import Foundation

/// A JSON schema, as far as answers need one: types, properties, items, bounds, choices and their
/// combinations (draft 2020-12). A keyword beyond that is refused, not passed over.
package struct JSONSchema: Sendable {
  private let schema: JSONValue
  private let patterns: [String: RegularExpression]

  private static let annotations: Set<String> = [
    "$schema", "$id", "title", "description", "default", "examples", "$comment", "deprecated",
    "readOnly", "writeOnly",
  ]
  private static let types: Set<String> = [
    "object", "array", "string", "number", "integer", "boolean", "null",
  ]

  /// Reads a schema.
  ///
  /// - Throws: `TrainingError` that names the file and what of it is not read.
  package init(file: URL) throws {
    let value: JSONValue
    do {
      value = try JSONValue(parsing: String(contentsOf: file, encoding: .utf8))
    } catch let error as DataError {
      throw TrainingError(.badData, "\(file.relativePath): is no JSON: \(error.message)")
    } catch {
      throw TrainingError(.badData, "\(file.relativePath): can't be read as a JSON schema")
    }
    do {
      try self.init(value)
    } catch let error as TrainingError {
      throw TrainingError(.badData, "\(file.relativePath): \(error.message)")
    }
  }

  /// Takes a schema.
  ///
  /// - Throws: `TrainingError` that names what of it is not read.
  package init(_ schema: JSONValue) throws {
    var patterns: [String: RegularExpression] = [:]
    try Self.check(schema, "#", &patterns)
    self.schema = schema
    self.patterns = patterns
  }

  private static func check(
    _ schema: JSONValue, _ path: String, _ patterns: inout [String: RegularExpression]
  ) throws {
    func refuse(_ what: String) -> TrainingError {
      TrainingError(.badData, "the schema at \(path) \(what)")
    }
    if schema.asBool != nil { return }
    guard let fields = schema.asFields else { throw refuse("must be an object, true or false") }
    for field in fields {
      let (key, value) = (field.key, field.value)
      let here = "\(path)/\(key)"
      switch key {
      case "type":
        let names = value.asArray ?? [value]
        for name in names where !(name.asString.map(types.contains) ?? false) {
          throw refuse("has the type \(name.text), which there is not")
        }
      case "properties":
        guard let parts = value.asFields else { throw refuse("must hold an object under \(key)") }
        for part in parts { try check(part.value, "\(here)/\(part.key)", &patterns) }
      case "required":
        guard let names = value.asArray, names.allSatisfy({ $0.asString != nil }) else {
          throw refuse("must hold a list of names under required")
        }
      case "additionalProperties", "items", "not", "propertyNames", "contains":
        try check(value, here, &patterns)
      case "anyOf", "oneOf", "allOf", "prefixItems":
        guard let parts = value.asArray, !parts.isEmpty else {
          throw refuse("must hold a list under \(key)")
        }
        for (i, part) in parts.enumerated() { try check(part, "\(here)/\(i)", &patterns) }
      case "enum":
        guard value.asArray != nil else { throw refuse("must hold a list under enum") }
      case "const": break
      case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf":
        guard value.asDouble != nil else { throw refuse("must hold a number under \(key)") }
      case "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties":
        guard let count = value.asInt, count >= 0 else {
          throw refuse("must hold a whole number under \(key)")
        }
      case "uniqueItems":
        guard value.asBool != nil else { throw refuse("must hold true or false under \(key)") }
      case "pattern":
        guard let pattern = value.asString else { throw refuse("must hold a string under pattern") }
        do {
          patterns[pattern] = try RegularExpression(pattern)
        } catch let error as DataError {
          throw refuse("has a pattern, and \(error.message)")
        }
      case _ where annotations.contains(key): break
      default: throw refuse("has \"\(key)\", which is not read here")
      }
    }
  }

  /// Whether a value is as the schema says.
  package func describes(_ value: JSONValue) -> Bool { describes(value, schema) }

  private func describes(_ value: JSONValue, _ schema: JSONValue) -> Bool {
    if let flag = schema.asBool { return flag }
    return schema.fields.allSatisfy { holds($0.key, $0.value, of: value, in: schema) }
  }

  private func holds(
    _ key: String, _ said: JSONValue, of value: JSONValue, in schema: JSONValue
  ) -> Bool {
    let (number, items, fields) = (value.asDouble, value.asArray, value.asFields)
    func bound(_ test: (Double, Double) -> Bool) -> Bool {
      number.map { test($0, said.asDouble ?? 0) } ?? true
    }
    func count(_ count: Int?, _ test: (Int, Int) -> Bool) -> Bool {
      count.map { test($0, said.asInt ?? 0) } ?? true
    }
    switch key {
    case "type":
      return (said.asArray ?? [said]).contains { Self.is(value, $0.asString ?? "") }
    case "properties":
      return said.fields.allSatisfy { field in
        value[field.key].map { describes($0, field.value) } ?? true
      }
    case "required":
      return fields == nil || (said.asArray ?? []).allSatisfy { value[$0.asString ?? ""] != nil }
    case "additionalProperties":
      let known = Set((schema["properties"]?.fields ?? []).map(\.key))
      return (fields ?? []).allSatisfy { known.contains($0.key) || describes($0.value, said) }
    case "propertyNames": return (fields ?? []).allSatisfy { describes(.string($0.key), said) }
    case "items":
      let first = schema["prefixItems"]?.asArray?.count ?? 0
      return (items ?? []).dropFirst(first).allSatisfy { describes($0, said) }
    case "prefixItems":
      return zip(items ?? [], said.asArray ?? []).allSatisfy { describes($0, $1) }
    case "contains": return items.map { $0.contains { describes($0, said) } } ?? true
    case "enum": return (said.asArray ?? []).contains { Self.areEqual($0, value) }
    case "const": return Self.areEqual(said, value)
    case "minimum": return bound { $0 >= $1 }
    case "maximum": return bound { $0 <= $1 }
    case "exclusiveMinimum": return bound { $0 > $1 }
    case "exclusiveMaximum": return bound { $0 < $1 }
    case "multipleOf":
      return bound { $1 != 0 && ($0 / $1).rounded() * $1 == $0 }
    case "minLength": return count(value.asString?.unicodeScalars.count, >=)
    case "maxLength": return count(value.asString?.unicodeScalars.count, <=)
    case "minItems": return count(items?.count, >=)
    case "maxItems": return count(items?.count, <=)
    case "minProperties": return count(fields?.count, >=)
    case "maxProperties": return count(fields?.count, <=)
    case "uniqueItems":
      let texts = (items ?? []).map { JSONFields($0).text }
      return said.asBool == false || Set(texts).count == texts.count
    case "pattern":
      return value.asString.map { patterns[said.asString ?? ""]?.isFound(in: $0) == true } ?? true
    case "anyOf": return (said.asArray ?? []).contains { describes(value, $0) }
    case "allOf": return (said.asArray ?? []).allSatisfy { describes(value, $0) }
    case "oneOf": return (said.asArray ?? []).count { describes(value, $0) } == 1
    case "not": return !describes(value, said)
    default: return true
    }
  }

  private static func areEqual(_ a: JSONValue, _ b: JSONValue) -> Bool {
    JSONFields(a).fields == JSONFields(b).fields
  }

  private static func `is`(_ value: JSONValue, _ type: String) -> Bool {
    switch value {
    case .null: type == "null"
    case .bool: type == "boolean"
    case .string: type == "string"
    case .array: type == "array"
    case .object: type == "object"
    case .number:
      type == "number"
        || type == "integer" && value.asDouble.map { $0.rounded() == $0 } == true
    }
  }
}
