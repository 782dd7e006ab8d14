// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneFiles
import AttuneStore
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// What every request of `attune serve` is answered with: OpenAI's interface, and the chat page.
struct APIRoutes: Sendable {
  /// Longest body of a request, in bytes: a prompt as long as models read, as ids, a hundred times.
  static let longestBody = 16 << 20

  let service: ModelService
  let sessions: Sessions
  /// Origins whose pages may ask; `*` is any.
  let origins: Set<String>

  /// Who asks, as far as that is known.
  private struct Caller {
    /// The name of a session of the chat page.
    var annotator: String?
  }

  /// Answers a request.
  func respond(to request: Request, from connection: PageContext) async -> Response {
    guard let host = request.head.authority, sessions.isHere(host) else {
      return Reply.failure(.misdirectedRequest, "this is served at another address").response
    }
    let path = request.uri.path
    let isRead = request.method == .get || request.method == .head
    if isRead, let file = PageFile.chat[path] { return file.reply.response }
    if isRead, path == "/health" { return health.response }
    if path.hasPrefix("/api/") {
      return await pageReply(to: request, host: host, from: connection.address).response
    }
    guard path.hasPrefix("/v1/") else {
      return APIError(status: .notFound, message: "there is no \(path)").reply.response
    }
    let origin = request.headers[.origin]
    if request.method == .options { return preflight(origin) }
    var response: Response
    do {
      let caller = try caller(request, host)
      response = try await answer(request, path, caller, connection)
    } catch {
      response = Self.failure(error).reply.response
    }
    if let origin, isAllowed(origin) { allow(origin, &response) }
    return response
  }

  private var health: Reply {
    let counts = service.queue.counts
    return .json([
      .init("status", .string("ok")), .init("running", .int(counts.running)),
      .init("waiting", .int(counts.waiting)),
    ])
  }

  static func failure(_ error: any Error) -> APIError {
    switch error {
    case let error as APIError: error
    case let error as GenerationFailure: APIError(error)
    case let error as Body.Failure: APIError(status: error.status, message: error.message)
    case let error as StoreError where error.code == .badRequest: .bad(nil, error.message)
    case let error as StoreError:
      APIError(status: .internalServerError, message: error.message, type: "server_error")
    default: APIError(status: .internalServerError, message: "it failed", type: "server_error")
    }
  }

  // MARK: Who may ask

  private func isAllowed(_ origin: String) -> Bool {
    origins.contains("*") || origins.contains(origin)
  }

  private func allow(_ origin: String, _ response: inout Response) {
    if let name = HTTPField.Name("Access-Control-Allow-Origin") { response.headers[name] = origin }
    response.headers[.vary] = "Origin"
  }

  private func preflight(_ origin: String?) -> Response {
    guard let origin, isAllowed(origin) else {
      return APIError(
        status: .forbidden, message: "pages of other sites may not ask here (--cors allows some)"
      ).reply.response
    }
    var response = Reply(status: .noContent, type: "application/json", bytes: []).response
    allow(origin, &response)
    for (name, value) in [
      ("Access-Control-Allow-Methods", "GET, POST"),
      ("Access-Control-Allow-Headers", "Authorization, Content-Type"),
      ("Access-Control-Max-Age", "600"),
    ] {
      if let name = HTTPField.Name(name) { response.headers[name] = value }
    }
    return response
  }

  /// Lets in whoever shows the key, the chat page's sessions, and this machine where there is no key.
  private func caller(_ request: Request, _ host: String) throws -> Caller {
    let origin = request.headers[.origin]
    if let name = sessions.annotator(of: request), sessions.isSealed(request, host, by: name) {
      return Caller(annotator: name)
    }
    guard origin.map({ isAllowed($0) || sessions.isOwnPage(request, host) }) ?? true else {
      throw APIError(
        status: .forbidden, message: "pages of other sites may not ask here (--cors allows some)")
    }
    guard let key = sessions.access.token else { return Caller() }
    let words = (request.headers[.authorization] ?? "").split(separator: " ", maxSplits: 1)
    guard words.count == 2, words[0].lowercased() == "bearer",
      Access.equal(String(words[1]), key)
    else {
      throw APIError(
        status: .unauthorized,
        message: "the key is missing or wrong: send it as Authorization: Bearer KEY",
        code: "invalid_api_key")
    }
    return Caller()
  }

  // MARK: The interface

  private func answer(
    _ request: Request, _ path: String, _ caller: Caller, _ connection: PageContext
  ) async throws -> Response {
    let known: [String: HTTPRequest.Method] = [
      "/v1/models": .get, "/v1/policies": .get, "/v1/chat/completions": .post,
      "/v1/completions": .post, "/v1/feedback": .post,
    ]
    if let method = known[path], method != request.method {
      throw APIError(status: .methodNotAllowed, message: "\(path) is asked by \(method.rawValue)")
    }
    switch path {
    case "/v1/models":
      return Reply.json([
        .init("object", .string("list")), .init("data", .array(service.models.map(Self.model))),
      ]).response
    case "/v1/policies":
      guard let progress = try service.alignment() else {
        throw APIError(status: .notFound, message: "no policies are trained here (--align)")
      }
      return Reply.json(try JSONValue(parsing: JSONText.line(progress)).fields).response
    case "/v1/chat/completions": return try await complete(.chat, request, caller, connection)
    case "/v1/completions": return try await complete(.text, request, caller, connection)
    case "/v1/feedback": return try await feedback(request, caller)
    default:
      let name = path.dropFirst("/v1/models/".count).removingPercentEncoding
      guard request.method == .get, path.hasPrefix("/v1/models/"), let name else {
        throw APIError(status: .notFound, message: "there is no \(path)")
      }
      guard let model = service.models.first(where: { $0.name == name }) else {
        throw APIError(.init(.noModel, "there is no model \(name)"))
      }
      return Reply.json(Self.model(model).fields).response
    }
  }

  private static func model(_ model: ServedModel) -> JSONValue {
    .object(
      [
        .init("id", .string(model.name)), .init("object", .string("model")),
        .init("created", .int(model.created)), .init("owned_by", .string("attune")),
        .init("fingerprint", .string(model.fingerprint)),
      ] + (model.context.map { [.init("max_model_len", .int($0))] } ?? []))
  }

  private func complete(
    _ kind: CompletionCall.Kind, _ request: Request, _ caller: Caller, _ connection: PageContext
  ) async throws -> Response {
    let body = try await Body(request, upTo: Self.longestBody)
    let call = try CompletionCall(kind, body.json, most: service.settings.answers)
    let keeper = try keeper(of: call, caller)
    let job = GenerationJob(call.request)
    guard service.queue.add(job) else {
      throw APIError(
        status: .tooManyRequests,
        message: "\(service.settings.queue) requests wait already; come again",
        type: "rate_limit_error", code: "queue_full")
    }
    let client = ClientConnection(await connection.watch(), job)
    let reply = CompletionReply(call)
    guard !call.streams else { return try await stream(job, reply, keeper, client) }
    var whole = reply
    for await event in job.events {
      if case .failed(let failure) = event { throw APIError(failure) }
      _ = whole.take(event)
    }
    guard !job.isCancelled else { throw CancellationError() }
    client.forget()
    try await keeper?.keep(whole)
    return Reply.json(whole.whole().fields).response
  }

  /// An answer as server-sent events.
  private func stream(
    _ job: GenerationJob, _ start: CompletionReply, _ keeper: ResponseKeeper?,
    _ client: ClientConnection
  ) async throws -> Response {
    // What can't be answered has a status of its own.
    var reply = start
    for await event in job.events {
      if case .failed(let failure) = event { throw APIError(failure) }
      _ = reply.take(event)
      break
    }
    let begun = reply
    let body = ResponseBody { writer in
      var reply = begun
      defer { client.forget() }
      do {
        for await event in job.events {
          var pieces = reply.take(event)
          if case .failed(let failure) = event { pieces.append(APIError(failure).json) }
          if case .done = event {
            do { try await keeper?.keep(reply) } catch { pieces.append(Self.failure(error).json) }
            if let usage = reply.usagePiece { pieces.append(usage) }
          }
          var lines = pieces.map { "data: \($0.text)\n\n" }.joined()
          if case .done = event { lines += "data: [DONE]\n\n" }
          if !lines.isEmpty { try await writer.write(ByteBuffer(string: lines)) }
        }
        try await writer.finish(nil)
      } catch {
        job.cancel()
        throw error
      }
    }
    return Reply(
      status: .ok, type: "text/event-stream; charset=utf-8", bytes: [],
      headers: [(.cacheControl, "no-store")]
    ).response(body)
  }

  /// What keeps the answers of a request so that they can be rated; nil where they are not kept.
  private func keeper(of call: CompletionCall, _ caller: Caller) throws -> ResponseKeeper? {
    if let user = call.user, let annotator = caller.annotator, user != annotator {
      throw APIError.bad("user", "user is not the session's name; leave it out")
    }
    guard let store = service.store else {
      guard call.keeps != true else {
        throw APIError.bad("store", "store is of no use here: nothing is kept without --store")
      }
      return nil
    }
    guard call.keeps ?? !call.request.echo else { return nil }
    if call.keeps == true,
      call.request.inputs.contains(where: { if case .ids = $0 { true } else { false } })
    {
      throw APIError.bad("store", "prompts that are given as ids are not kept: give texts")
    }
    return ResponseKeeper(store: store, call: call, user: caller.annotator ?? call.user)
  }

  private func feedback(_ request: Request, _ caller: Caller) async throws -> Response {
    let call = try FeedbackCall(try await Body(request, upTo: Self.longestBody).json)
    guard let store = service.store else {
      throw APIError(
        status: .notFound, message: "no feedback is kept here: attune serve --store FILE keeps it")
    }
    if let user = call.user, let annotator = caller.annotator, user != annotator {
      throw APIError.bad("user", "user is not the session's name; leave it out")
    }
    guard let name = Access.name(caller.annotator ?? call.user ?? "user") else {
      throw APIError.bad("user", "user must be a name of 1 to 64 characters that can be seen")
    }
    let isNew = try await store.add(call, by: service.names.spelling(of: name))
    return Reply.json([
      .init("object", .string("feedback")), .init("id", .string(call.id)),
      .init("key", .string(call.key)), .init("stored", .bool(isNew)),
    ]).response
  }

  // MARK: The page

  private func session(of name: String?) -> [JSONValue.Field] {
    let access = sessions.access
    var fields = [
      JSONValue.Field("name", name.map { .string($0) } ?? .null),
      .init("needs_token", .bool(access.token != nil)), .init("annotators", .array([])),
      .init("rates", .bool(service.store != nil)),
    ]
    if let name { fields.append(.init("seal", .string(access.seal(of: name)))) }
    return fields
  }

  private func pageReply(
    to request: Request, host: String, from address: String
  ) async -> Reply {
    do {
      switch (request.method, request.uri.path) {
      case (.get, "/api/session"): return .json(session(of: sessions.annotator(of: request)))
      case (.post, "/api/session"):
        return try await sessions.begin(request, host: host, from: address) { session(of: $0) }
      case (.post, "/api/markdown"):
        guard let name = sessions.annotator(of: request) else { return Sessions.none }
        guard sessions.isSealed(request, host, by: name) else { return Sessions.foreign }
        let text = try await Body(request, upTo: Self.longestBody)
          .optionalString("text", upTo: Self.longestBody)
        return .json([.init("html", .string(Markdown.html(text ?? "")))])
      default: return .failure(.notFound, "there is no such request")
      }
    } catch {
      let failure = Self.failure(error)
      return .failure(failure.status, failure.message)
    }
  }
}

/// A client that waits for a job, which ends when it goes.
private struct ClientConnection: Sendable {
  let watch: ClientWatch?
  let number: Int

  init(_ watch: ClientWatch?, _ job: GenerationJob) {
    self.watch = watch
    number = watch?.whenGone { job.cancel() } ?? 0
  }

  func forget() { watch?.forget(number) }
}

/// Keeps a response's answers in the store, so that they are known when they are rated.
private struct ResponseKeeper: Sendable {
  let store: FeedbackStore
  let call: CompletionCall
  let user: String?

  func keep(_ reply: CompletionReply) async throws {
    let rows = reply.finished.enumerated().compactMap { choice, end -> (Int, SampleRow)? in
      guard let prompt = end.prompt else { return nil }
      return (
        choice,
        SampleRow(
          prompt: prompt,
          completions: [
            .init(text: end.text, ids: nil, logProbability: nil, finishReason: end.reason)
          ], model: end.model, sampling: end.sampling)
      )
    }
    guard !rows.isEmpty else { return }
    try await store.addResponse(
      reply.id, rows.map { (choice: $0.0, row: $0.1) }, user: user,
      time: Date().timeIntervalSince1970)
  }
}
