// SPDX-License-Identifier: Apache-2.0

import AttuneStore
import Dispatch
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import ServiceLifecycle
import Synchronization

/// The server of a page, on threads of its own.
public final class PageServer: Sendable {
  /// Where it listens and whom it lets in.
  public struct Address: Sendable {
    /// The address; 127.0.0.1 serves this machine alone.
    public var host = "127.0.0.1"
    /// The port; 0 takes one that is free.
    public var port = 0
    /// What annotators have to show; needed wherever others than this machine are served.
    public var token: String?
    /// The annotators that there are; anybody may take a name if empty.
    public var annotators: [String] = []

    /// This machine alone, at a free port.
    public init() {}

    /// Whether only this machine is served.
    public var isLocal: Bool { ["127.0.0.1", "localhost", "::1"].contains(host) }

    /// Checks it.
    ///
    /// - Throws: ``ServerError`` that names what is wrong.
    public func validate() throws {
      guard (0...65_535).contains(port) else {
        throw ServerError(.badSetting, "port \(port): give 0 to 65535")
      }
      guard isLocal || token != nil else {
        throw ServerError(.badSetting, "a token is needed to serve others than this machine")
      }
      if let token, token.utf8.count < 16 || token.utf8.count > 256 {
        throw ServerError(.badSetting, "the token must have 16 to 256 bytes")
      }
      var names = AnnotatorNames()
      for name in annotators {
        guard Access.name(name) == name else {
          throw ServerError(
            .badSetting, "annotator \"\(name)\": a name has 1 to 64 characters that can be seen")
        }
        if let other = names.known(name) {
          throw ServerError(
            .badSetting,
            "annotators \"\(other)\" and \"\(name)\" are one: names are compared without case")
        }
        _ = names.spelling(of: name)
      }
    }
  }

  /// The address that it listens on: `http://HOST:PORT/`.
  public let url: String
  /// A link for each annotator, with the name; one for all where no names were given.
  public let links: [(name: String?, url: String)]
  private let group: ServiceGroup
  private let running: Task<Void, Never>

  private init(
    url: String, links: [(name: String?, url: String)], group: ServiceGroup,
    running: Task<Void, Never>
  ) {
    self.url = url
    self.links = links
    self.group = group
    self.running = running
  }

  /// A token that nobody can guess.
  public static func makeToken() -> String { Access.makeToken() }

  /// Starts a server of the page where people compare answers; it listens when this returns.
  ///
  /// - Parameters:
  ///   - collector: What is asked, and where answers go.
  ///   - address: Where it listens.
  /// - Throws: ``ServerError`` if it can't listen there.
  public static func start(
    _ collector: Collector, at address: Address
  ) async throws -> PageServer {
    try await start(at: address, names: collector.names, collector.settings.connections) {
      sessions in
      let routes = Routes(collector: collector, sessions: sessions)
      return { await routes.reply(to: $0, from: $1.address).response }
    }
  }

  /// Starts a server of models; it listens when this returns.
  ///
  /// - Parameters:
  ///   - service: The models' requests, and where feedback goes.
  ///   - address: Where it listens; its token is the key.
  ///   - origins: Origins whose pages may ask; `*` is any.
  /// - Throws: ``ServerError`` if it can't listen there.
  public static func start(
    _ service: ModelService, at address: Address, origins: Set<String> = []
  ) async throws -> PageServer {
    try await start(at: address, names: service.names, service.settings.connections) { sessions in
      let routes = APIRoutes(service: service, sessions: sessions, origins: origins)
      return { await routes.respond(to: $0, from: $1) }
    }
  }

  private typealias Responder = @Sendable (Request, PageContext) async -> Response

  private static func start(
    at address: Address, names: NameBook, _ connections: Int,
    _ responder: @escaping @Sendable (Sessions) -> Responder
  ) async throws -> PageServer {
    try address.validate()
    let annotators = address.annotators.map { names.spelling(of: $0) }
    let access = Access(token: address.token, annotators: annotators)
    let start = Start()
    let logger = Logger(label: "attune") { _ in SwiftLogNoOpLogHandler() }
    let app = Application(
      responder: CallbackResponder<PageContext> { request, context in
        guard let respond = start.responder else {
          return Reply.failure(.serviceUnavailable, "not ready yet").response
        }
        return await respond(request, context)
      },
      server: .http1(
        configuration: .init(
          additionalChannelHandlers: [ClientWatch()], idleTimeout: .seconds(75),
          httpDecoderConfiguration: .init(
            maxHeaderFieldSize: 16_384, maxHeaderListSize: 32_768, maxHeaderFieldCount: 100))),
      configuration: .init(
        address: .hostname(address.host, port: address.port),
        availableConnectionsDelegate: .maximum(connections, logger: logger)),
      onServerRunning: { channel in
        // An error of a single connection would otherwise end the listening.
        try? await channel.eventLoop.submit {
          try channel.pipeline.syncOperations.addHandler(AcceptGuard(), position: .first)
        }.get()
        let port = channel.localAddress?.port ?? address.port
        let hosts: Set<String> = address.isLocal ? ["127.0.0.1", "localhost", "[::1]"] : []
        start.listens(responder(Sessions(access, names: names, hosts: hosts, port: port)), at: port)
      }, logger: logger)
    let group = ServiceGroup(configuration: .init(services: [app], logger: logger))
    let running = Task.detached {
      do {
        try await group.run()
        start.ends(.failure(ServerError(.address, "the server ended at once")))
      } catch {
        start.ends(.failure(error))
      }
    }
    let port: Int
    do {
      port = try await start.port
    } catch {
      throw ServerError(
        .address, "can't listen on \(address.host), port \(address.port): \(error)")
    }
    let host = address.host.contains(":") ? "[\(address.host)]" : address.host
    let url = "http://\(host):\(port)/"
    let links: [String?] = annotators.isEmpty ? [nil] : annotators
    return PageServer(
      url: url, links: links.map { ($0, url + access.fragment(for: $0)) }, group: group,
      running: running)
  }

  /// Ends it: takes no further request, answers those that are under way, and leaves what is open
  /// after three seconds.
  public func stop() async {
    await group.triggerGracefulShutdown()
    let running = running
    await withTaskGroup(of: Void.self) { tasks in
      tasks.addTask { await running.value }
      tasks.addTask {
        try? await Task.sleep(for: .seconds(3))
        running.cancel()
      }
      await tasks.next()
      tasks.cancelAll()
    }
  }

  /// Serves the page where people compare answers while a body runs on this thread, which is not to be
  /// one of the pool's: a command's main thread. The server has threads of its own.
  ///
  /// - Parameters:
  ///   - collector: What is asked, and where answers go.
  ///   - address: Where it listens.
  ///   - body: What is done meanwhile, until people are to be asked no more.
  /// - Throws: ``ServerError`` if it can't listen there, and what the body throws.
  public static func serve<Value>(
    _ collector: Collector, at address: Address, _ body: (PageServer) throws -> Value
  ) throws -> Value {
    try serve(body, release: { collector.release() }) { try await start(collector, at: address) }
  }

  /// Serves models while a body works on their requests on this thread.
  ///
  /// - Parameters:
  ///   - service: The models' requests, and where feedback goes.
  ///   - address: Where it listens; its token is the key.
  ///   - origins: Origins whose pages may ask; `*` is any.
  ///   - body: Answers the requests, until there are to be no more.
  /// - Throws: ``ServerError`` if it can't listen there, and what the body throws.
  public static func serve<Value>(
    _ service: ModelService, at address: Address, origins: Set<String> = [],
    _ body: (PageServer) throws -> Value
  ) throws -> Value {
    try serve(
      { server in
        // What waits is not waited for.
        defer { service.queue.close() }
        return try body(server)
      }, release: { service.release() }
    ) {
      try await start(service, at: address, origins: origins)
    }
  }

  private static func serve<Value>(
    _ body: (PageServer) throws -> Value, release: () -> Void,
    start: @escaping @Sendable () async throws -> PageServer
  ) throws -> Value {
    let server = try blocking(start)
    // Now, not when the last task that knows the collector has ended: the process may end before.
    defer {
      _ = try? blocking { await server.stop() }
      release()
    }
    return try body(server)
  }

  private static func blocking<Value: Sendable>(
    _ body: @escaping @Sendable () async throws -> Value
  ) throws -> Value {
    let (done, result) = (DispatchSemaphore(value: 0), Box<Value>())
    Task.detached {
      do {
        let value = try await body()
        result.value.withLock { $0 = .success(value) }
      } catch {
        result.value.withLock { $0 = .failure(error) }
      }
      done.signal()
    }
    done.wait()
    guard let result = result.value.withLock({ $0 }) else { preconditionFailure("no result came") }
    return try result.get()
  }

  private final class Box<Value: Sendable>: Sendable {
    let value = Mutex<Result<Value, any Error>?>(nil)
  }
}

/// Who asks, beside the request.
struct PageContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  let address: String
  private let channel: any Channel

  init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    channel = source.channel
    address = channel.remoteAddress?.ipAddress ?? ""
  }

  /// What tells when the client goes.
  func watch() async -> ClientWatch? {
    try? await channel.pipeline.handler(type: ClientWatch.self).get()
  }
}

/// A server that is being started: the port comes once, or what hindered it.
private final class Start: Sendable {
  typealias Responder = @Sendable (Request, PageContext) async -> Response

  private let state = Mutex<(responder: Responder?, port: Result<Int, any Error>?)>((nil, nil))
  private let (stream, continuation) = AsyncStream.makeStream(of: Void.self)

  var responder: Responder? { state.withLock { $0.responder } }

  func listens(_ responder: @escaping Responder, at port: Int) {
    state.withLock { $0.responder = responder }
    ends(.success(port))
  }

  /// Only the first time counts.
  func ends(_ result: Result<Int, any Error>) {
    state.withLock { if $0.port == nil { $0.port = result } }
    continuation.finish()
  }

  var port: Int {
    get async throws {
      for await _ in stream {}
      guard let port = state.withLock({ $0.port }) else { throw CancellationError() }
      return try port.get()
    }
  }
}
