// SPDX-License-Identifier: Apache-2.0

package import AttuneData
import AttuneTraining
import Foundation

#if canImport(FoundationNetworking)
  import FoundationNetworking
#endif

/// An OpenAI-compatible server (vLLM, llama.cpp, Ollama and the like): many requests at once up to a
/// limit, each tried again with growing pauses.
///
/// The key comes from the environment, goes into one header, and is taken out of whatever is said
/// about a failure. Redirections are not followed, so it reaches no other host.
package final class ChatServer {
  /// A request for `chat/completions`.
  package struct Call {
    /// What it belongs to.
    package var place: Int
    /// Which request of its place it is.
    package var kind: Int
    /// The JSON object.
    var body: JSONValue

    package init(place: Int, kind: Int, body: JSONValue) {
      self.place = place
      self.kind = kind
      self.body = body
    }
  }

  /// What the server said.
  package struct Reply {
    var status: Int
    var data: Data
    var retryAfter: Double?
  }

  private let base: URL
  private let key: String?
  private let settings: JudgeSettings
  private let exchange: Exchange
  /// How a person says which model is meant.
  private let modelOption: String
  /// How a person gives it more time.
  private let timeoutOption: String
  /// The name of the model that answers.
  let model: String
  /// Address and model.
  package var name: String { "\(base.absoluteString)#\(model)" }

  /// Reaches a server.
  ///
  /// - Parameters:
  ///   - address: `http://HOST:PORT` or with the path that `chat/completions` follows.
  ///   - settings: The knobs.
  ///   - modelOption: How a person says which model is meant, for errors.
  ///   - timeoutOption: How a person gives it more time, for errors.
  /// - Throws: `TrainingError` for an address that is none, a server that does not answer, or one
  ///   that has several models of which none is named.
  package init(
    _ address: String, settings: JudgeSettings, modelOption: String = "--judge-model",
    timeoutOption: String = "--set timeout=SECONDS"
  ) throws {
    guard var parts = URLComponents(string: address), parts.host?.isEmpty == false,
      parts.query == nil, parts.fragment == nil, (1...65535).contains(parts.port ?? 80)
    else {
      throw TrainingError(
        .badSetting, "the server's address is no URL: write http://HOST:PORT/v1")
    }
    guard parts.user == nil, parts.password == nil else {
      throw TrainingError(
        .badSetting,
        "a server's address must hold no user or password: put the key into the environment variable "
          + settings.keyVariable)
    }
    while parts.path.hasSuffix("/") { parts.path.removeLast() }
    if parts.path.isEmpty { parts.path = "/v1" }
    guard let base = parts.url else {
      throw TrainingError(.badSetting, "\(address): is no URL; write http://HOST:PORT/v1")
    }
    self.base = base
    self.settings = settings
    self.modelOption = modelOption
    self.timeoutOption = timeoutOption
    let found = ProcessInfo.processInfo.environment[settings.keyVariable] ?? ""
    key = found.isEmpty ? nil : found
    exchange = Exchange(settings)
    if settings.serverModel.isEmpty {
      model = try Self.onlyModel(
        base, Self.get(base, exchange, key: found, settings, timeoutOption), key: found,
        settings.keyVariable, modelOption)
    } else {
      model = settings.serverModel
    }
  }

  // Cancelling is left out everywhere: FoundationNetworking of Swift 6.3 ends the process where it
  // cancels a task that has just finished.
  deinit { exchange.session.finishTasksAndInvalidate() }

  /// Sends requests, as many at once as allowed, until all are answered.
  ///
  /// - Parameters:
  ///   - calls: The requests.
  ///   - subject: What a request is about, for the error where it fails too often.
  ///   - answered: Given every answer that is no reason to try again; returns what is to be asked
  ///     next because of it.
  /// - Throws: What `answered` throws; `TrainingError.unavailable` if a request failed too often;
  ///   `interrupted` after Ctrl-C.
  package func send(
    _ calls: [Call], about subject: (Call) -> String? = { _ in nil },
    answered: (Call, Reply) throws -> [Call]
  ) throws {
    var waiting = calls.map { (call: $0, tries: 0, from: ContinuousClock.now) }[...]
    var flying: [Int: (call: Call, tries: Int)] = [:]
    defer { for id in flying.keys { exchange.forget(id) } }
    var told: Set<String> = []
    func again(
      _ item: (call: Call, tries: Int), _ why: String, _ retryAfter: Double?
    ) throws -> (call: Call, tries: Int, from: ContinuousClock.Instant) {
      let next: (call: Call, tries: Int, from: ContinuousClock.Instant)
      do {
        next = try waitingAgain(item, why, retryAfter)
      } catch let error as TrainingError {
        throw Self.naming(subject(item.call), in: error)
      }
      if told.insert(why).inserted {
        standardError("warning: \(name): \(why); trying again, up to \(settings.retries) times")
      }
      return next
    }
    while !waiting.isEmpty || !flying.isEmpty {
      guard !Interrupt.isRequested else {
        throw TrainingError(
          .interrupted, "stopped; what the server has answered is kept, the same command goes on")
      }
      let now = ContinuousClock.now
      while flying.count < settings.parallel,
        let ready = waiting.firstIndex(where: { $0.from <= now })
      {
        let item = waiting.remove(at: ready)
        var request = try request("chat/completions")
        request.httpMethod = "POST"
        request.setValue("application/json", forHTTPHeaderField: "Content-Type")
        request.httpBody = Data(item.call.body.text.utf8)
        flying[exchange.start(request)] = (item.call, item.tries)
      }
      for (id, result) in exchange.finished(waiting: .milliseconds(100)) {
        guard let item = flying.removeValue(forKey: id) else { continue }
        switch result {
        case .success(let reply) where !Self.isPassing(reply.status):
          waiting += try answered(item.call, reply).map { ($0, 0, now) }
        case .success(let reply):
          let why = "status \(reply.status)\(said(reply))"
          waiting.append(try again(item, why, reply.retryAfter))
        case .failure(let failure):
          let why = failure.words(base, settings.timeout, timeoutOption)
          guard failure.mayPass else { throw TrainingError(.unavailable, "\(name): \(why)") }
          waiting.append(try again(item, why, nil))
        }
      }
    }
  }

  /// What is sent of a turn beside its words: some servers refuse fields that the protocol lacks.
  private static let sentFields: Set<String> = [
    "name", "tool_calls", "tool_call_id", "reasoning_content",
  ]

  /// The body of a request that every server understands.
  package func body(_ messages: [Message], _ more: [JSONValue.Field])
    -> JSONValue
  {
    .object(
      [
        .init("model", .string(model)),
        .init(
          "messages",
          .array(
            messages.map {
              .object(
                [.init("role", .string($0.role)), .init("content", .string($0.content))]
                  + $0.fields.filter { Self.sentFields.contains($0.key) })
            })),
      ] + more)
  }

  /// What a server answered, read as a chat completion.
  ///
  /// - Throws: `TrainingError` for a refusal, or for what is none.
  package func completion(_ reply: Reply) throws -> ChatCompletion {
    guard reply.status == 200 else { throw refusal(reply) }
    if let completion = ChatCompletion(reply.data) { return completion }
    throw TrainingError(
      .unavailable,
      "\(name): what \(asked) gives is no chat completion\(said(reply)); check the address, which "
        + "mostly ends in /v1")
  }

  /// The address of chat completions.
  private var asked: String { base.appending(path: "chat/completions").absoluteString }

  /// The error for an answer that no further try will change.
  func refusal(_ reply: Reply) -> TrainingError {
    let advice =
      switch reply.status {
      case 401, 403: "; put the key into the environment variable \(settings.keyVariable)"
      case 404, 405: "; check the address, which mostly ends in /v1, and the model (\(modelOption))"
      case 300..<400: "; redirections are not followed: give the address that it leads to"
      default: ""
      }
    return TrainingError(
      .unavailable,
      "\(name): \(asked) answers with status \(reply.status)\(said(reply))\(advice)")
  }

  /// An error with what was asked about, if anything is said of it.
  static func naming(_ subject: String?, in error: TrainingError) -> TrainingError {
    subject.map { TrainingError(error.code, "\(error.message) (asked about \($0))") } ?? error
  }

  // MARK: Parts

  /// Whether a later try may succeed.
  private static func isPassing(_ status: Int) -> Bool {
    [408, 409, 425, 429].contains(status) || status >= 500
  }

  private func waitingAgain(
    _ item: (call: Call, tries: Int), _ why: String, _ retryAfter: Double?
  ) throws -> (call: Call, tries: Int, from: ContinuousClock.Instant) {
    guard item.tries < settings.retries else {
      throw TrainingError(
        .unavailable,
        "\(name): failed \(item.tries + 1) times, the last time: \(why); what it has answered is "
          + "kept, the same command goes on")
    }
    // Doubling pauses, spread so that requests that failed together do not come back together.
    let spread = 1 + 0.25 * Double(item.call.place % 5)
    let pause = settings.retrySeconds * Double(1 << min(item.tries, 10)) * spread
    return (
      item.call, item.tries + 1,
      ContinuousClock.now + .seconds(max(min(pause, 60), min(retryAfter ?? 0, 300)))
    )
  }

  /// What the server says about a failure, short, on one line and without the key.
  private func said(_ reply: Reply) -> String { Self.said(reply.data, key: key ?? "") }

  private static func said(_ data: Data, key: String) -> String {
    struct Told: Decodable {
      struct Inner: Decodable { var message: String? }
      var error: Inner?
      var message: String?
    }
    let told = try? JSONDecoder().decode(Told.self, from: data)
    var text = told?.error?.message ?? told?.message ?? String(decoding: data, as: UTF8.self)
    if text.drop(while: \.isWhitespace).hasPrefix("<") {
      text = "a page: " + text.replacing(#/<[^>]*>/#, with: " ")
    }
    if !key.isEmpty { text = text.replacing(key, with: "…") }
    let line = text.split(whereSeparator: { $0.isWhitespace }).joined(separator: " ")
    return line.isEmpty ? "" : ": \(line.prefix(200))"
  }

  private func request(_ path: String) throws -> URLRequest {
    Self.request(base, path, key: key ?? "")
  }

  private static func request(_ base: URL, _ path: String, key: String) -> URLRequest {
    var request = URLRequest(url: base.appending(path: path))
    if !key.isEmpty { request.setValue("Bearer \(key)", forHTTPHeaderField: "Authorization") }
    return request
  }

  private static func get(
    _ base: URL, _ exchange: Exchange, key: String, _ settings: JudgeSettings,
    _ timeoutOption: String
  ) throws -> Reply {
    var last = ""
    for attempt in 0...settings.retries {
      if attempt > 0 {
        if attempt == 1 {
          standardError(
            "warning: \(base.absoluteString): \(last); trying again, up to \(settings.retries) times"
          )
        }
        let until =
          ContinuousClock.now
          + .seconds(min(60, settings.retrySeconds * Double(1 << min(attempt - 1, 6))))
        while ContinuousClock.now < until {
          try Interrupt.check()
          Thread.sleep(forTimeInterval: 0.05)
        }
      }
      let id = exchange.start(request(base, "models", key: key))
      var result: Result<Reply, ExchangeFailure>?
      while result == nil {
        try Interrupt.check()
        result = exchange.finished(waiting: .milliseconds(100)).first { $0.0 == id }?.1
      }
      switch result {
      case .success(let reply)? where !isPassing(reply.status): return reply
      case .success(let reply)?: last = "status \(reply.status)\(said(reply.data, key: key))"
      case .failure(let failure)?:
        last = failure.words(base, settings.timeout, timeoutOption)
        // A name that is none is mostly misspelt.
        guard failure.mayPass, failure.code != .cannotFindHost else {
          throw TrainingError(.unavailable, "\(base.absoluteString): \(last)")
        }
      case nil: break
      }
    }
    throw TrainingError(
      .unavailable,
      "\(base.absoluteString): failed \(settings.retries + 1) times, the last time: \(last)")
  }

  /// The model of a server that has one.
  private static func onlyModel(
    _ base: URL, _ reply: Reply, key: String, _ keyVariable: String, _ modelOption: String
  ) throws -> String {
    struct List: Decodable {
      struct Model: Decodable { var id: String }
      var data: [Model]
    }
    guard reply.status == 200, let list = try? JSONDecoder().decode(List.self, from: reply.data)
    else {
      throw TrainingError(
        .unavailable,
        "\(base.appending(path: "models").absoluteString): answers with status \(reply.status)"
          + "\(said(reply.data, key: key)), which is no list of its models; check the address, which "
          + "mostly ends in /v1, or name the model with \(modelOption)"
          + ([401, 403].contains(reply.status)
            ? "; put the key into the environment variable \(keyVariable)" : ""))
    }
    guard list.data.count == 1 else {
      let names = list.data.prefix(8).map(\.id).joined(separator: ", ")
      throw TrainingError(
        .badSetting,
        "\(base.absoluteString): has \(list.data.count) models (\(names)); name one with "
          + modelOption)
    }
    return list.data[0].id
  }
}
