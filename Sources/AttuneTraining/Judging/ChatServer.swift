// SPDX-License-Identifier: Apache-2.0

import AttuneData
import Dispatch
import Foundation
import Synchronization

#if canImport(FoundationNetworking)
  import FoundationNetworking
#endif

/// An OpenAI-compatible server (vLLM, llama.cpp, Ollama and the like): many requests at once up to a
/// limit, each tried again with growing pauses.
///
/// The key comes from the environment, goes into one header, and is taken out of whatever is said
/// about a failure. Redirections are not followed, so it reaches no other host.
final class ChatServer {
  /// A request for `chat/completions`.
  struct Call {
    /// What it belongs to.
    var place: Int
    /// Which request of its place it is.
    var kind: Int
    /// The JSON object.
    var body: AttuneData.JSONValue
  }

  /// What the server said.
  struct Reply {
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
  /// The name of the model that answers.
  let model: String
  /// Address and model.
  var name: String { "\(base.absoluteString)#\(model)" }

  /// Reaches a server.
  ///
  /// - Parameters:
  ///   - address: `http://HOST:PORT` or with the path that `chat/completions` follows.
  ///   - settings: The knobs.
  ///   - modelOption: How a person says which model is meant, for errors.
  /// - Throws: `TrainingError` for an address that is none, a server that does not answer, or one
  ///   that has several models of which none is named.
  init(
    _ address: String, settings: JudgeSettings, modelOption: String = "--judge-model"
  ) throws {
    guard var parts = URLComponents(string: address), parts.host?.isEmpty == false,
      parts.query == nil, parts.fragment == nil
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
    let found = ProcessInfo.processInfo.environment[settings.keyVariable] ?? ""
    key = found.isEmpty ? nil : found
    exchange = Exchange(settings)
    if settings.serverModel.isEmpty {
      model = try Self.onlyModel(
        base, Self.get(base, exchange, key: found, settings), key: found, modelOption)
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
  ///   - answered: Given every answer that is no reason to try again; returns what is to be asked
  ///     next because of it.
  /// - Throws: What `answered` throws; `TrainingError.unavailable` if a request failed too often;
  ///   `interrupted` after Ctrl-C.
  func send(_ calls: [Call], answered: (Call, Reply) throws -> [Call]) throws {
    var waiting = calls.map { (call: $0, tries: 0, from: ContinuousClock.now) }[...]
    var flying: [Int: (call: Call, tries: Int)] = [:]
    defer { for id in flying.keys { exchange.forget(id) } }
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
          waiting.append(try again(item, failure.reason, nil))
        }
      }
    }
  }

  /// What is sent of a turn beside its words: some servers refuse fields that the protocol lacks.
  private static let sentFields: Set<String> = [
    "name", "tool_calls", "tool_call_id", "reasoning_content",
  ]

  /// The body of a request that every server understands.
  func body(_ messages: [Message], _ more: [AttuneData.JSONValue.Field]) -> AttuneData.JSONValue {
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

  /// The error for an answer that no further try will change.
  func refusal(_ reply: Reply) -> TrainingError {
    let advice =
      switch reply.status {
      case 401, 403: "; put the key into the environment variable \(settings.keyVariable)"
      case 404: "; check address and model (\(modelOption))"
      default: ""
      }
    return TrainingError(
      .unavailable, "\(name): answers with status \(reply.status)\(said(reply))\(advice)")
  }

  // MARK: Parts

  /// Whether a later try may succeed.
  private static func isPassing(_ status: Int) -> Bool {
    [408, 409, 425, 429].contains(status) || status >= 500
  }

  private func again(
    _ item: (call: Call, tries: Int), _ why: String, _ retryAfter: Double?
  ) throws -> (call: Call, tries: Int, from: ContinuousClock.Instant) {
    guard item.tries < settings.retries else {
      throw TrainingError(
        .unavailable,
        "\(name): failed \(item.tries + 1) times, the last time with \(why); what it has answered is "
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
    _ base: URL, _ exchange: Exchange, key: String, _ settings: JudgeSettings
  ) throws -> Reply {
    var last = ""
    for attempt in 0...settings.retries {
      if attempt > 0 {
        Thread.sleep(forTimeInterval: min(60, settings.retrySeconds * Double(1 << min(attempt, 6))))
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
      case .failure(let failure)?: last = failure.reason
      case nil: break
      }
    }
    throw TrainingError(
      .unavailable, "\(base.absoluteString): does not answer: \(last)")
  }

  /// The model of a server that has one.
  private static func onlyModel(
    _ base: URL, _ reply: Reply, key: String, _ modelOption: String
  ) throws -> String {
    struct List: Decodable {
      struct Model: Decodable { var id: String }
      var data: [Model]
    }
    guard reply.status == 200, let list = try? JSONDecoder().decode(List.self, from: reply.data)
    else {
      throw TrainingError(
        .unavailable,
        "\(base.absoluteString): answers to a request for its models with status \(reply.status)"
          + "\(said(reply.data, key: key)); name the model with \(modelOption)")
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

/// Why a request did not come back.
struct ExchangeFailure: Error {
  var reason: String
}

/// Requests that are under way; their answers wait here until they are fetched.
private final class Exchange: NSObject, URLSessionDataDelegate, Sendable {
  private struct State {
    var data: [Int: Data] = [:]
    var finished: [(Int, Result<ChatServer.Reply, ExchangeFailure>)] = []
  }

  /// No answer of a judge is longer.
  private static let longest = 1 << 24

  private let state = Mutex(State())
  private let signal = DispatchSemaphore(value: 0)
  private let configuration: URLSessionConfiguration
  let sessionBox = Mutex<URLSession?>(nil)

  init(_ settings: JudgeSettings) {
    configuration = URLSessionConfiguration.ephemeral
    configuration.timeoutIntervalForRequest = settings.timeout
    configuration.httpMaximumConnectionsPerHost = settings.parallel
    configuration.httpShouldSetCookies = false
    super.init()
  }

  var session: URLSession {
    sessionBox.withLock { box in
      if let session = box { return session }
      let session = URLSession(configuration: configuration, delegate: self, delegateQueue: nil)
      box = session
      return session
    }
  }

  /// Sends a request.
  func start(_ request: URLRequest) -> Int {
    let task = session.dataTask(with: request)
    state.withLock { $0.data[task.taskIdentifier] = Data() }
    task.resume()
    return task.taskIdentifier
  }

  /// Stops caring about a request.
  func forget(_ id: Int) { state.withLock { $0.data[id] = nil } }

  /// What has come back since the last time; waits a moment if nothing has.
  func finished(
    waiting time: DispatchTimeInterval
  ) -> [(Int, Result<ChatServer.Reply, ExchangeFailure>)] {
    _ = signal.wait(timeout: .now() + time)
    return state.withLock { state in
      defer { state.finished.removeAll() }
      return state.finished
    }
  }

  func urlSession(_ session: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
    state.withLock { state in
      // What is too long is not kept; its request fails when it ends.
      if state.data[dataTask.taskIdentifier]?.count ?? 0 <= Self.longest {
        state.data[dataTask.taskIdentifier]?.append(data)
      }
    }
  }

  func urlSession(
    _ session: URLSession, task: URLSessionTask,
    willPerformHTTPRedirection response: HTTPURLResponse, newRequest request: URLRequest,
    completionHandler: @escaping @Sendable (URLRequest?) -> Void
  ) {
    completionHandler(nil)
  }

  func urlSession(
    _ session: URLSession, task: URLSessionTask, didCompleteWithError error: (any Error)?
  ) {
    let response = task.response as? HTTPURLResponse
    state.withLock { state in
      guard let data = state.data.removeValue(forKey: task.taskIdentifier) else { return }
      let result: Result<ChatServer.Reply, ExchangeFailure>
      if data.count > Self.longest {
        result = .failure(ExchangeFailure(reason: "an answer of more than 16 MB"))
      } else if let error {
        result = .failure(ExchangeFailure(reason: reason(error)))
      } else if let response {
        let after = response.value(forHTTPHeaderField: "Retry-After").flatMap { Double($0) }
        result = .success(
          ChatServer.Reply(status: response.statusCode, data: data, retryAfter: after))
      } else {
        result = .failure(ExchangeFailure(reason: "no answer in HTTP"))
      }
      state.finished.append((task.taskIdentifier, result))
    }
    signal.signal()
  }
}
