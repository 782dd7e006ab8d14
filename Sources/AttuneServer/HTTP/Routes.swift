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
  let sessions: Sessions
  private let limiter: RateLimiter

  init(collector: Collector, sessions: Sessions) {
    self.collector = collector
    self.sessions = sessions
    limiter = RateLimiter(
      perSecond: collector.settings.requestsPerSecond, burst: collector.settings.requestBurst)
  }

  private var now: Double { sessions.now }
  private var access: Access { sessions.access }

  /// Answers a request.
  ///
  /// - Parameter address: Who asks.
  func reply(to request: Request, from address: String) async -> Reply {
    guard let host = request.head.authority, sessions.isHere(host) else {
      return .failure(.misdirectedRequest, "this page is served at another address")
    }
    let path = request.uri.path
    if request.method == .get || request.method == .head, let file = PageFile.all[path] {
      return file.reply
    }
    guard path.hasPrefix("/api/") else { return .failure(.notFound, "there is no such page") }
    switch (request.method, path) {
    case (.get, "/api/session"):
      return .json(session(of: sessions.annotator(of: request)))
    case (.post, "/api/session"):
      do {
        return try await sessions.begin(request, host: host, from: address) { session(of: $0) }
      } catch {
        return Self.reply(to: error)
      }
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

  private func session(of name: String?) -> [JSONValue.Field] {
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
    return fields
  }

  // MARK: Guards

  /// Answers a request that changes nothing and is of a session.
  private func read(_ request: Request, _ body: (String) async throws -> Reply) async -> Reply {
    guard let name = sessions.annotator(of: request) else { return Sessions.none }
    guard limiter.admits(name, at: now) else { return Sessions.tooMany }
    do { return try await body(name) } catch { return Self.reply(to: error) }
  }

  /// Answers a request that changes something: of a session, from our page, with the session's seal.
  private func change(
    _ request: Request, _ host: String, _ body: (String, Body) async throws -> Reply
  ) async -> Reply {
    guard let name = sessions.annotator(of: request) else { return Sessions.none }
    guard sessions.isSealed(request, host, by: name) else { return Sessions.foreign }
    guard limiter.admits(name, at: now) else { return Sessions.tooMany }
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
