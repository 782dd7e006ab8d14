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
      return await read(request) { _ in .json(try await collector.progress().fields) }
    case (.get, "/api/guidelines"):
      return await read(request) { _ in
        .json([.init("html", collector.guidelines.map { .string($0) } ?? .null)])
      }
    case (.get, "/api/labels"): return await read(request) { try await labels($0, request) }
    case (.get, "/api/export"): return await read(request) { _ in try await export() }
    case (.post, "/api/again"):
      return await change(request, host) { name, body in
        let label = try await collector.label(try body.string("question", upTo: 400), of: name)
        return turn(.question(label.question), name, given: label.judgement)
      }
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
      .init("guidelines", .bool(collector.guidelines != nil)),
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
      guard let typed = Access.name(try body.string("name", upTo: 400)) else {
        return .failure(.badRequest, "a name has 1 to 64 characters that can be seen")
      }
      let name = collector.known(typed)
      guard access.admits(name, token: try body.optionalString("token", upTo: 400)) else {
        return .failure(
          .forbidden, access.token == nil ? "\(name) is not asked here" : "the link is not valid")
      }
      _ = collector.spelling(of: name)
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
        if let name = access.annotator(of: String(pair[1])) { return collector.known(name) }
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

  /// Answers a request that changes nothing and is of a session.
  private func read(_ request: Request, _ body: (String) async throws -> Reply) async -> Reply {
    guard let name = annotator(of: request) else { return Self.noSession }
    guard limiter.admits(name, at: now) else { return Self.tooMany }
    do { return try await body(name) } catch { return Self.reply(to: error) }
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

  private func next(_ name: String) -> Reply { turn(collector.turn(of: name, at: now), name) }

  private func turn(
    _ turn: Collector.Turn, _ name: String, given: StandingJudgement? = nil
  ) -> Reply {
    let view = TurnView(
      turn: turn, given: given, annotator: name, counts: collector.counts(for: name),
      settings: collector.settings)
    return .json(view.fields)
  }

  /// What somebody said, the latest first, a page of it.
  private func labels(_ name: String, _ request: Request) async throws -> Reply {
    var before: Int64?
    if let given = request.uri.queryParameters["before"] {
      guard let number = Int64(given) else { throw Body.Failure.bad("before must be a number") }
      before = number
    }
    let found = try await collector.labels(of: name, before: before, most: Self.labelsAtOnce + 1)
    let labels = found.prefix(Self.labelsAtOnce).map { label -> JSONValue in
      let shown = label.question.shown(to: name, seed: collector.settings.seed)
      return .object(
        [
          .init("question", .string(label.question.key)),
          .init("prompt", .string(Self.beginning(Self.asked(label.question.content)))),
          .init("answers", .array(shown.map { .string(Self.beginning($0.content.lastText)) })),
        ] + TurnView.verdict(label.judgement, of: shown.map(\.number)))
    }
    let more =
      found.count > labels.count ? found[labels.count - 1].judgement.number : nil
    return .json([
      .init("labels", .array(labels)), .init("before", more.map { .int(Int($0)) } ?? .null),
    ])
  }

  private static let labelsAtOnce = 50

  /// What a prompt asks: what its last turn of a person says.
  private static func asked(_ prompt: Content) -> String {
    guard case .messages(let messages) = prompt else { return prompt.lastText }
    return messages.last { $0.role == "user" }?.content ?? prompt.lastText
  }

  private static func beginning(_ text: String) -> String {
    text.count > 280 ? text.prefix(279) + "…" : text
  }

  private func export() async throws -> Reply {
    var reply = Reply(
      status: .ok, type: "application/jsonl; charset=utf-8",
      bytes: Array(try await collector.export()), headers: [(.cacheControl, "no-store")])
    if let disposition = HTTPField.Name("Content-Disposition") {
      reply.headers.append((disposition, "attachment; filename=\"labels.jsonl\""))
    }
    return reply
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
}
