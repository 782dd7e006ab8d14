// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneStore
import Foundation
import HTTPTypes
import Hummingbird
import Synchronization

/// Who is who: a name counts as it was first written.
package final class NameBook: Sendable {
  private let names: Mutex<AnnotatorNames>

  init(_ names: AnnotatorNames) { self.names = Mutex(names) }

  /// The name under which somebody's judgements are stored: the first spelling of it that there was.
  package func spelling(of name: String) -> String { names.withLock { $0.spelling(of: name) } }

  /// The same for a name that is only asked about.
  func known(_ name: String) -> String { names.withLock { $0.known(name) } ?? name }
}

/// Who is at a page, and whether a request came from it.
struct Sessions: Sendable {
  let access: Access
  /// The names under which this machine may be asked; any where a token protects it.
  let hosts: Set<String>
  /// The session's cookie; it names the port, for cookies know none.
  let cookie: String
  let names: NameBook
  /// Attempts to begin a session, by address.
  private let attempts = RateLimiter(perSecond: 0.5, burst: 30)
  private let clock = ContinuousClock()
  private let start = ContinuousClock.now

  init(_ access: Access, names: NameBook, hosts: Set<String>, port: Int) {
    self.access = access
    self.names = names
    self.hosts = hosts
    cookie = "attune-\(port)"
  }

  /// Seconds since the server was made, which no setting of the clock changes.
  var now: Double { (clock.now - start) / .seconds(1) }

  static let none = Reply.failure(.unauthorized, "begin with your name")
  static let foreign = Reply.failure(.forbidden, "this request did not come from Attune's page")
  static var tooMany: Reply {
    var reply = Reply.failure(.tooManyRequests, "too many requests; wait a moment")
    reply.headers.append((.retryAfter, "2"))
    return reply
  }

  /// Begins a session, or says why not.
  ///
  /// - Parameters:
  ///   - request: With a name and, where it is needed, a token.
  ///   - host: The host that the browser believes to speak with.
  ///   - address: Who asks.
  ///   - fields: What the page is told.
  func begin(
    _ request: Request, host: String, from address: String,
    _ fields: (String) -> [JSONValue.Field]
  ) async throws -> Reply {
    guard isOwnPage(request, host) else { return Self.foreign }
    guard attempts.admits(address, at: now) else { return Self.tooMany }
    let body = try await Body(request)
    guard let typed = Access.name(try body.string("name", upTo: 400)) else {
      return .failure(.badRequest, "a name has 1 to 64 characters that can be seen")
    }
    let name = names.known(typed)
    guard access.admits(name, token: try body.optionalString("token", upTo: 400)) else {
      return .failure(
        .forbidden, access.token == nil ? "\(name) is not asked here" : "the link is not valid")
    }
    _ = names.spelling(of: name)
    var reply = Reply.json(fields(name))
    reply.headers.append(
      (
        .setCookie,
        "\(cookie)=\(access.session(of: name)); Path=/; HttpOnly; SameSite=Strict; "
          + "Max-Age=2592000"
      ))
    return reply
  }

  /// Whose session a request is of.
  func annotator(of request: Request) -> String? {
    for field in request.headers[values: .cookie] {
      for part in field.split(separator: ";") {
        let pair = part.split(separator: "=", maxSplits: 1)
        guard pair.count == 2, pair[0].drop(while: { $0 == " " }) == cookie else { continue }
        if let name = access.annotator(of: String(pair[1])) { return names.known(name) }
      }
    }
    return nil
  }

  /// Whether a request that changes something is of a session's own page: it shows the session's seal.
  func isSealed(_ request: Request, _ host: String, by name: String) -> Bool {
    let seal = HTTPField.Name("X-Attune-Seal").flatMap { request.headers[$0] } ?? ""
    return isOwnPage(request, host) && Access.equal(seal, access.seal(of: name))
  }

  /// Whether the browser believes to speak with this machine by one of its names: a page of another
  /// site whose name was made to point here (DNS rebinding) has another.
  func isHere(_ authority: String) -> Bool {
    hosts.isEmpty || hosts.contains(Self.hostName(authority))
  }

  /// The host of `host:port`.
  private static func hostName(_ authority: String) -> String {
    if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") {
      return authority[...end].lowercased()
    }
    return (authority.split(separator: ":").first ?? "").lowercased()
  }

  /// Whether a request came from our own page, as far as headers tell.
  func isOwnPage(_ request: Request, _ host: String) -> Bool {
    if let origin = request.headers[.origin] {
      guard let mark = origin.range(of: "://"),
        origin[mark.upperBound...].lowercased() == host.lowercased()
      else { return false }
    }
    if let name = HTTPField.Name("Sec-Fetch-Site"), let site = request.headers[name],
      site != "same-origin"
    {
      return false
    }
    return true
  }
}
