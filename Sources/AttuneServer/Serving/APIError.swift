// SPDX-License-Identifier: Apache-2.0

import AttuneData
import HTTPTypes

/// Why a request of the interface is not answered, in OpenAI's shape.
struct APIError: Error {
  var status: HTTPResponse.Status
  var message: String
  /// `invalid_request_error`, `rate_limit_error` or `server_error`.
  var type = "invalid_request_error"
  /// The field at fault.
  var field: String?
  var code: String?

  /// A request that is not as it should be.
  static func bad(_ field: String?, _ message: String, code: String? = nil) -> APIError {
    APIError(status: .badRequest, message: message, field: field, code: code)
  }

  /// What came of a request that a model was asked for.
  init(_ failure: GenerationFailure) {
    message = failure.message
    switch failure.kind {
    case .badRequest(let field): (status, self.field) = (.badRequest, field)
    case .noModel: (status, field, code) = (.notFound, "model", "model_not_found")
    case .server: (status, type) = (.internalServerError, "server_error")
    }
  }

  init(
    status: HTTPResponse.Status, message: String, type: String = "invalid_request_error",
    field: String? = nil, code: String? = nil
  ) {
    self.status = status
    self.message = message
    self.type = type
    self.field = field
    self.code = code
  }

  var json: JSONValue {
    .object([
      .init(
        "error",
        .object([
          .init("message", .string(message)), .init("type", .string(type)),
          .init("param", field.map { .string($0) } ?? .null),
          .init("code", code.map { .string($0) } ?? .null),
        ]))
    ])
  }

  var reply: Reply {
    var reply = Reply.json(json.fields, status: status)
    if status == .tooManyRequests { reply.headers.append((.retryAfter, "1")) }
    if status == .unauthorized { reply.headers.append((.wwwAuthenticate, "Bearer")) }
    return reply
  }
}

/// The fields of a request, each of which is read or refused by name.
struct RequestFields {
  private let json: JSONValue
  private var read: Set<String> = []
  /// What stands before names, in a field's own object.
  private let path: String

  init(_ json: JSONValue, in path: String = "") throws {
    guard case .object = json else {
      throw APIError.bad(
        path.isEmpty ? nil : String(path.dropLast()),
        "\(path.isEmpty ? "the request's body" : String(path.dropLast())) must be an object, not "
          + json.kindName)
    }
    self.json = json
    self.path = path
  }

  /// A field's value; nil where it is absent or null.
  mutating func take(_ name: String) -> JSONValue? {
    read.insert(name)
    return json.present(name)
  }

  mutating func string(_ name: String, upTo length: Int = 1 << 22) throws -> String? {
    try take(name).map { value in
      guard let text = value.asString, text.utf8.count <= length else {
        throw bad(name, "must be a string of at most \(length) bytes")
      }
      return text
    }
  }

  mutating func flag(_ name: String) throws -> Bool? {
    try take(name).map { value in
      guard let flag = value.asBool else { throw bad(name, "must be true or false") }
      return flag
    }
  }

  mutating func whole(_ name: String, _ range: ClosedRange<Int>) throws -> Int? {
    try take(name).map { value in
      // 1.0 is a whole number too.
      guard let number = value.asInt ?? value.asDouble.flatMap({ Int(exactly: $0) }),
        range.contains(number)
      else {
        throw bad(
          name,
          "must be a whole number "
            + (range.upperBound == .max
              ? "of at least \(range.lowerBound)"
              : "of \(range.lowerBound) to \(range.upperBound)"))
      }
      return number
    }
  }

  mutating func number(_ name: String, _ range: ClosedRange<Double>) throws -> Double? {
    try take(name).map { value in
      guard let number = value.asDouble, range.contains(number) else {
        throw bad(name, "must be a number of \(range.lowerBound) to \(range.upperBound)")
      }
      return number
    }
  }

  /// A text or several.
  mutating func texts(_ name: String, most: Int) throws -> [String] {
    guard let value = take(name) else { return [] }
    let all = value.asString.map { [$0] } ?? value.asArray?.compactMap(\.asString)
    guard let all, all.count == value.asArray?.count ?? 1, all.count <= most,
      all.allSatisfy({ !$0.isEmpty && $0.utf8.count <= 1024 })
    else {
      throw bad(name, "must be a text or a list of at most \(most), none empty or above 1024 bytes")
    }
    return all
  }

  /// Refuses a field whose only values that say nothing are these.
  mutating func refuse(_ name: String, unless plain: [JSONValue], _ why: String) throws {
    guard let value = take(name), !plain.contains(value) else { return }
    // 0.0 is 0.
    if let number = value.asDouble, plain.contains(where: { $0.asDouble == number }) { return }
    let others =
      plain.isEmpty ? "" : ", or say " + plain.map(\.text).joined(separator: " or ")
    throw bad(name, "is not honoured here: \(why); leave it out\(others)")
  }

  /// Refuses fields that nobody has asked for.
  func end() throws {
    for field in json.fields where !read.contains(field.key) && field.value != .null {
      throw bad(field.key, "is not honoured here; leave it out")
    }
  }

  func bad(_ name: String, _ words: String) -> APIError {
    .bad(path + name, "\(path + name) \(words)")
  }
}
