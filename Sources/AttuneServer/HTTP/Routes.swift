// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneStore
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// What every request of the page is answered with.
struct Routes: Sendable {
  /// Longest body of a request, in bytes.
  static let longestBody = 65_536

  let collector: Collector
  let access: Access
  /// The names under which this machine may be asked; any where a token protects it.
  let hosts: Set<String>
  /// The session's cookie; it names the port, for cookies know none.
  let cookie: String
  private let limiter: RateLimiter
  /// Attempts to begin a session, by address.
  private let attempts = RateLimiter(perSecond: 0.5, burst: 30)
  private let clock = ContinuousClock()
  private let start = ContinuousClock.now

  init(collector: Collector, access: Access, hosts: Set<String>, port: Int) {
    self.collector = collector
    self.access = access
    self.hosts = hosts
    cookie = "attune-\(port)"
    limiter = RateLimiter(
      perSecond: collector.settings.requestsPerSecond, burst: collector.settings.requestBurst)
  }

  /// Seconds since the server was made, which no setting of the clock changes.
  private var now: Double { (clock.now - start) / .seconds(1) }

  /// Answers a request.
  ///
  /// - Parameter address: Who asks.
  func reply(to request: Request, from address: String) async -> Reply {
    guard let host = request.head.authority, isHere(host) else {
      return .failure(.misdirectedRequest, "this page is served at another address")
    }
    let path = request.uri.path
    if request.method == .get || request.method == .head, let file = PageFile.all[path] {
      return Reply(
        status: .ok, type: file.type, bytes: file.bytes, headers: [(.cacheControl, "no-cache")])
    }
    guard path.hasPrefix("/api/") else { return .failure(.notFound, "there is no such page") }
    switch (request.method, path) {
    case (.get, "/api/session"):
      return annotator(of: request).map(session) ?? session(of: nil)
    case (.post, "/api/session"): return await beginSession(request, host: host, from: address)
    case (.get, "/api/progress"):
      guard let name = annotator(of: request) else { return Self.noSession }
      guard limiter.admits(name, at: now) else { return Self.tooMany }
      return await progress()
    case (.post, "/api/next"): return await change(request, host) { name, _ in next(name) }
    case (.post, "/api/label"): return await change(request, host, label)
    case (.post, "/api/skip"):
      return await change(request, host) { name, body in
        try await collector.skip(try body.string("question", upTo: 400), by: name)
        return next(name)
      }
    case (.post, "/api/undo"):
      return await change(request, host) { name, body in
        let key = try body.string("key", upTo: 100)
        guard try await collector.undo(by: name, key: key, at: now) else {
          return .failure(.conflict, "there is nothing to undo")
        }
        return next(name)
      }
    default: return .failure(.notFound, "there is no such request")
    }
  }

  // MARK: Sessions

  private static let noSession = Reply.failure(.unauthorized, "begin with your name")
  private static var tooMany: Reply {
    var reply = Reply.failure(.tooManyRequests, "too many requests; wait a moment")
    reply.headers.append((.retryAfter, "2"))
    return reply
  }

  private func session(of name: String?) -> Reply {
    let settings = collector.settings
    var fields = [
      JSONValue.Field("name", name.map { .string($0) } ?? .null),
      .init("needs_token", .bool(access.token != nil)),
      .init("annotators", .array(access.token == nil ? access.annotators.map { .string($0) } : [])),
      .init("shape", .string(settings.shape.rawValue)),
      .init("strengths", .int(settings.shape == .pairs ? settings.strengths : 0)),
      .init("reason_length", .int(settings.reasons ? settings.reasonLength : 0)),
    ]
    if let name { fields.append(.init("seal", .string(access.seal(of: name)))) }
    return .json(fields)
  }

  private func beginSession(
    _ request: Request, host: String, from address: String
  ) async -> Reply {
    guard isOwnPage(request, host) else { return Self.foreign }
    guard attempts.admits(address, at: now) else { return Self.tooMany }
    do {
      let body = try await Body(request)
      guard let name = Access.name(try body.string("name", upTo: 400)) else {
        return .failure(.badRequest, "a name has 1 to 64 characters that can be seen")
      }
      guard access.admits(name, token: try body.optionalString("token", upTo: 400)) else {
        return .failure(
          .forbidden, access.token == nil ? "\(name) is not asked here" : "the link is not valid")
      }
      var reply = session(of: name)
      reply.headers.append(
        (
          .setCookie,
          "\(cookie)=\(access.session(of: name)); Path=/; HttpOnly; SameSite=Strict; "
            + "Max-Age=2592000"
        ))
      return reply
    } catch {
      return Self.reply(to: error)
    }
  }

  private func annotator(of request: Request) -> String? {
    for field in request.headers[values: .cookie] {
      for part in field.split(separator: ";") {
        let pair = part.split(separator: "=", maxSplits: 1)
        guard pair.count == 2, pair[0].drop(while: { $0 == " " }) == cookie else { continue }
        if let name = access.annotator(of: String(pair[1])) { return name }
      }
    }
    return nil
  }

  // MARK: Guards

  private static let foreign = Reply.failure(
    .forbidden, "this request did not come from Attune's page")

  /// Whether the browser believes to speak with this machine by one of its names: a page of another
  /// site whose name was made to point here (DNS rebinding) has another.
  private func isHere(_ authority: String) -> Bool {
    hosts.isEmpty || hosts.contains(Self.hostName(authority))
  }

  /// The host of `host:port`.
  private static func hostName(_ authority: String) -> String {
    if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") {
      return authority[...end].lowercased()
    }
    return (authority.split(separator: ":").first ?? "").lowercased()
  }

  /// Whether a request that changes something came from our own page, as far as headers tell.
  private func isOwnPage(_ request: Request, _ host: String) -> Bool {
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

  /// Answers a request that changes something: of a session, from our page, with the session's seal.
  private func change(
    _ request: Request, _ host: String, _ body: (String, Body) async throws -> Reply
  ) async -> Reply {
    guard let name = annotator(of: request) else { return Self.noSession }
    let seal = HTTPField.Name("X-Attune-Seal").flatMap { request.headers[$0] } ?? ""
    guard isOwnPage(request, host), Access.equal(seal, access.seal(of: name)) else {
      return Self.foreign
    }
    guard limiter.admits(name, at: now) else { return Self.tooMany }
    do {
      return try await body(name, try await Body(request))
    } catch {
      return Self.reply(to: error)
    }
  }

  private static func reply(to error: any Error) -> Reply {
    switch error {
    case Collector.Refusal.bad(let why): .failure(.badRequest, why)
    case Collector.Refusal.busy: .failure(.conflict, "your last answer is being saved")
    case let error as Body.Failure: .failure(error.status, error.message)
    case let error as StoreError where error.code == .badRequest:
      .failure(.badRequest, error.message)
    case is StoreError: .failure(.internalServerError, "it can't be saved; ask who runs Attune")
    default: .failure(.internalServerError, "it failed; ask who runs Attune")
    }
  }

  // MARK: What is asked and answered

  private func next(_ name: String) -> Reply {
    .json(
      TurnView(
        collector.turn(of: name, at: now), for: name, counts: collector.counts(for: name),
        settings: collector.settings
      ).fields)
  }

  private func label(_ name: String, _ body: Body) async throws -> Reply {
    let settings = collector.settings
    let reason = try body.optionalString("reason", upTo: settings.reasonLength * 4) ?? ""
    guard reason.isEmpty || settings.reasons, reason.count <= settings.reasonLength else {
      throw Collector.Refusal.bad("the reason is longer than \(settings.reasonLength) characters")
    }
    let judgement = Collector.Judgement(
      key: try body.string("key", upTo: 100), question: try body.string("question", upTo: 400),
      verdict: try body.verdict(settings), reason: reason,
      milliseconds: try body.optionalInt("milliseconds", in: 0...86_400_000))
    try await collector.judge(judgement, by: name, at: now)
    return next(name)
  }

  private func progress() async -> Reply {
    do {
      return Reply(
        status: .ok, type: "application/json",
        bytes: Array(try await collector.progress().text.utf8),
        headers: [(.cacheControl, "no-store")])
    } catch {
      return Self.reply(to: error)
    }
  }
}
