// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
import AttuneTraining
import Dispatch
import Foundation
import Synchronization

#if canImport(FoundationNetworking)
  import FoundationNetworking
#endif

/// Why a request did not come back.
struct ExchangeFailure: Error {
  /// What the system says, for what is not told in words here.
  var reason: String
  /// What kind of failure it was, if that is known.
  var code: URLError.Code?

  /// Takes what the system says; it has no code of its own for much of what can fail in TLS.
  init(reason: String, code: URLError.Code? = nil) {
    self.reason = reason
    // Not a connection that broke while something was read or written, which may pass.
    let isBroken = ["SSL_read", "SSL_write", "errno"].contains { reason.contains($0) }
    let isSecure = reason.contains("SSL") || reason.contains("certificate")
    self.code = isSecure && !isBroken ? .secureConnectionFailed : code
  }

  /// Whether a later try may go better.
  var mayPass: Bool {
    switch code {
    case .secureConnectionFailed?, .serverCertificateHasBadDate?, .serverCertificateUntrusted?,
      .serverCertificateHasUnknownRoot?, .serverCertificateNotYetValid?, .badURL?,
      .unsupportedURL?:
      false
    default: true
    }
  }

  /// What happened and what to do, in words.
  ///
  /// - Parameters:
  ///   - base: The address.
  ///   - timeout: Seconds that the server may be silent.
  ///   - timeoutOption: How a person gives it more time.
  func words(_ base: URL, _ timeout: Double, _ timeoutOption: String) -> String {
    let host = base.host() ?? ""
    let place = "\(host):\(base.port ?? (base.scheme == "https" ? 443 : 80))"
    return switch code {
    case .timedOut?:
      "\(place) said nothing for \(timeout.formatted()) s (more time: \(timeoutOption))"
    case .cannotFindHost?, .dnsLookupFailed?:
      "there is no host \(host): check the address and the network"
    case .cannotConnectToHost?:
      "nothing accepts connections at \(place): start the server, or check host and port"
    case .networkConnectionLost?:
      "\(place) closed the connection before its answer was whole"
    case .badServerResponse?, .cannotParseResponse?:
      "\(place) ended the connection without an answer in HTTP: check the port, and whether the "
        + "server still runs"
    case .secureConnectionFailed?, .serverCertificateHasBadDate?, .serverCertificateUntrusted?,
      .serverCertificateHasUnknownRoot?, .serverCertificateNotYetValid?:
      "no secure connection to \(place) (TLS, or a certificate that this machine does not trust): "
        + "a server without TLS is http://…; \(reason)"
    case .unsupportedURL?, .badURL?:
      "\(base.absoluteString) is no address: write http://HOST:PORT/v1"
    default: "the connection to \(place) failed: \(reason)"
    }
  }
}

/// Requests that are under way; their answers wait here until they are fetched.
final class Exchange: NSObject, URLSessionDataDelegate, Sendable {
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
        result = .failure(
          ExchangeFailure(
            reason: reason(error), code: URLError.Code(rawValue: (error as NSError).code)))
      } else if let response {
        let after = response.value(forHTTPHeaderField: "Retry-After").flatMap { Double($0) }
        result = .success(
          ChatServer.Reply(status: response.statusCode, data: data, retryAfter: after))
      } else {
        result = .failure(ExchangeFailure(reason: "no answer in HTTP", code: .badServerResponse))
      }
      state.finished.append((task.taskIdentifier, result))
    }
    signal.signal()
  }
}
