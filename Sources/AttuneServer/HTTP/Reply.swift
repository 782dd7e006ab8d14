// SPDX-License-Identifier: Apache-2.0

import AttuneData
import HTTPTypes
import Hummingbird

/// An answer to a request.
struct Reply {
  var status: HTTPResponse.Status
  var type: String
  var bytes: [UInt8]
  var headers: [(HTTPField.Name, String)] = []

  /// A JSON object.
  static func json(
    _ fields: [JSONValue.Field], status: HTTPResponse.Status = .ok
  ) -> Reply {
    Reply(
      status: status, type: "application/json",
      bytes: Array(JSONValue.object(fields).text.utf8),
      headers: [(.cacheControl, "no-store")])
  }

  /// What went wrong, in words for the annotator.
  static func failure(_ status: HTTPResponse.Status, _ message: String) -> Reply {
    .json([.init("error", .string(message))], status: status)
  }

  /// The response with the headers that all have.
  var response: Response { response(ResponseBody(byteBuffer: ByteBuffer(bytes: bytes))) }

  /// The same with another body, which may come piece by piece.
  func response(_ body: ResponseBody) -> Response {
    var fields = HTTPFields()
    fields[.contentType] = type
    fields[.contentSecurityPolicy] = Self.policy
    fields[.xContentTypeOptions] = "nosniff"
    for case (let name?, let value) in Self.fixed { fields[name] = value }
    for (name, value) in headers { fields.append(HTTPField(name: name, value: value)) }
    return Response(status: status, headers: fields, body: body)
  }

  /// Nothing is loaded from anywhere but from here, no page of another site shows this one, and no
  /// script or style stands in the HTML.
  static let policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

  private static let fixed: [(HTTPField.Name?, String)] = [
    (HTTPField.Name("Referrer-Policy"), "no-referrer"),
    (HTTPField.Name("Cross-Origin-Opener-Policy"), "same-origin"),
    (HTTPField.Name("Cross-Origin-Resource-Policy"), "same-origin"),
    (HTTPField.Name("Permissions-Policy"), "camera=(), microphone=(), geolocation=()"),
    (HTTPField.Name("X-Frame-Options"), "DENY"),
  ]
}
