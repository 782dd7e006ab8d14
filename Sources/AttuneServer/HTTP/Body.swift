// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneStore
import HTTPTypes
import Hummingbird
import NIOCore

/// The JSON object that a request brings.
struct Body {
  /// Why it is not taken.
  struct Failure: Error {
    var status: HTTPResponse.Status
    var message: String

    static func bad(_ message: String) -> Failure { .init(status: .badRequest, message: message) }
  }

  let json: JSONValue

  /// Reads a request's body.
  ///
  /// - Parameter length: Its most bytes.
  init(_ request: Request, upTo length: Int = Routes.longestBody) async throws {
    let type = request.headers[.contentType]?.split(separator: ";").first ?? ""
    guard type == "application/json" else {
      throw Failure(status: .unsupportedMediaType, message: "a request's body is JSON")
    }
    let buffer: ByteBuffer
    do {
      buffer = try await request.body.collect(upTo: length)
    } catch is NIOTooManyBytesError {
      throw Failure(
        status: .contentTooLarge,
        message: "a request's body has at most \(length) bytes")
    } catch {
      // Chunks that are none, or a connection that ends before its body.
      throw Failure.bad("the request's body does not come as its headers say")
    }
    guard let text = String(validating: buffer.readableBytesView, as: UTF8.self),
      let value = try? JSONValue(parsing: text), case .object = value
    else { throw Failure.bad("the request's body is no JSON object") }
    json = value
  }

  func string(_ key: String, upTo length: Int) throws -> String {
    guard let text = try optionalString(key, upTo: length), !text.isEmpty else {
      throw Failure.bad("\(key) is missing")
    }
    return text
  }

  func optionalString(_ key: String, upTo length: Int) throws -> String? {
    guard let value = json.present(key) else { return nil }
    guard let text = value.asString, text.utf8.count <= length else {
      throw Failure.bad("\(key) must be a text of at most \(length) bytes")
    }
    return text
  }

  func optionalInt(_ key: String, in range: ClosedRange<Int>) throws -> Int? {
    guard let value = json.present(key) else { return nil }
    guard let number = value.asInt, range.contains(number) else {
      throw Failure.bad("\(key) must be a whole number of \(range)")
    }
    return number
  }

  /// The judgement, in the shape that people are asked for.
  func verdict(_ settings: CollectSettings) throws -> Submission.Verdict {
    if settings.shape == .thumbs {
      guard let isGood = json["good"]?.asBool else {
        throw Failure.bad("good must be true or false")
      }
      return .thumb(isGood: isGood)
    }
    let most = settings.shape == .pairs ? 2 : 9
    guard case .array(let values)? = json["ranks"], (2...most).contains(values.count) else {
      throw Failure.bad("ranks must be a list with a rank for each answer")
    }
    let given = try values.map { value -> Int in
      guard let rank = value.asInt, (1...values.count).contains(rank) else {
        throw Failure.bad("ranks are 1 to \(values.count)")
      }
      return rank
    }
    // The best have rank 1, and a rank is one more than the answers before it.
    let ranks = given.map { rank in 1 + given.count { $0 < rank } }
    let isTie = Set(ranks).count == 1
    if json["both_bad"] == .bool(true) {
      guard isTie else { throw Failure.bad("answers that are all bad have one rank") }
      return .comparison(.bothBad, ranks: ranks, strength: nil)
    }
    let strength =
      settings.shape == .pairs
      ? try optionalInt("strength", in: 1...max(1, settings.strengths)) : nil
    guard strength == nil || (settings.strengths > 0 && !isTie) else {
      throw Failure.bad("a strength is not asked for here")
    }
    return .comparison(isTie ? .tie : .preferred, ranks: ranks, strength: strength)
  }
}
