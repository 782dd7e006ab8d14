// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

/// A small HTTP server for tests, on a free port of this machine, a thread a connection.
public final class HTTPServerStub: Sendable {
  /// What came in.
  public struct Request: Sendable {
    /// The path, from its slash.
    public var path: String
    /// Names in lower case.
    public var headers: [String: String]
    /// What came after the headers.
    public var body: Data

    /// The body as JSON.
    public var object: [String: Any] {
      (try? JSONSerialization.jsonObject(with: body)) as? [String: Any] ?? [:]
    }

    /// The text of the last message of a chat completion.
    public var lastMessage: String {
      let messages = object["messages"] as? [[String: Any]]
      return messages?.last?["content"] as? String ?? ""
    }
  }

  /// What goes out.
  public struct Response: Sendable {
    /// The status code.
    public var status: Int
    /// Headers beside those that every answer has.
    public var headers: [String: String]
    /// What follows the headers.
    public var body: String

    /// Makes an answer.
    public init(status: Int = 200, headers: [String: String] = [:], body: String = "{}") {
      self.status = status
      self.headers = headers
      self.body = body
    }
  }

  private let listener: Int32
  private let answer: @Sendable (Request) -> Response
  private let state = Mutex((open: 0, most: 0, requests: [Request]()))
  /// `http://127.0.0.1:PORT`.
  public let address: String

  /// The requests that came in, in their order.
  public var requests: [Request] { state.withLock { $0.requests } }
  /// Most requests that were under way at once.
  public var mostAtOnce: Int { state.withLock { $0.most } }

  struct Failure: Error {}

  /// Starts.
  public init(_ answer: @escaping @Sendable (Request) -> Response) throws {
    self.answer = answer
    #if canImport(Darwin)
      listener = socket(AF_INET, SOCK_STREAM, 0)
    #else
      listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    #endif
    var place = sockaddr_in()
    place.sin_family = sa_family_t(AF_INET)
    place.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let descriptor = listener
    let isBound = withUnsafeMutablePointer(to: &place) { place in
      place.withMemoryRebound(to: sockaddr.self, capacity: 1) { place in
        bind(descriptor, place, length) == 0 && listen(descriptor, 64) == 0
          && getsockname(descriptor, place, &length) == 0
      }
    }
    guard isBound else { throw Failure() }
    address = "http://127.0.0.1:\(UInt16(bigEndian: place.sin_port))"
    signal(SIGPIPE, SIG_IGN)
    Thread.detachNewThread { [weak self] in
      while true {
        let connection = accept(descriptor, nil, nil)
        guard connection >= 0, let self else { return }
        Thread.detachNewThread { self.serve(connection) }
      }
    }
  }

  deinit {
    shutdown(listener, Int32(SHUT_RDWR))
    close(listener)
  }

  private func serve(_ connection: Int32) {
    defer { close(connection) }
    guard let request = Self.read(connection) else { return }
    state.withLock { state in
      state.open += 1
      state.most = max(state.most, state.open)
      state.requests.append(request)
    }
    let response = answer(request)
    state.withLock { $0.open -= 1 }
    var text = "HTTP/1.1 \(response.status) Said\r\nContent-Length: \(response.body.utf8.count)\r\n"
    text += "Content-Type: application/json\r\nConnection: close\r\n"
    for (name, value) in response.headers { text += "\(name): \(value)\r\n" }
    let bytes = Array((text + "\r\n" + response.body).utf8)
    var done = 0
    while done < bytes.count {
      let count = bytes[done...].withUnsafeBytes { write(connection, $0.baseAddress, $0.count) }
      guard count > 0 else { return }
      done += count
    }
  }

  private static func read(_ connection: Int32) -> Request? {
    var data = Data()
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    func more() -> Bool {
      let count = buffer.withUnsafeMutableBytes {
        Foundation.read(connection, $0.baseAddress, $0.count)
      }
      guard count > 0 else { return false }
      data.append(contentsOf: buffer[..<count])
      return true
    }
    let blank = Data("\r\n\r\n".utf8)
    while data.range(of: blank) == nil { guard more() else { return nil } }
    guard let end = data.range(of: blank) else { return nil }
    let lines = String(decoding: data[..<end.lowerBound], as: UTF8.self).components(
      separatedBy: "\r\n")
    let first = lines[0].split(separator: " ")
    guard first.count > 1 else { return nil }
    var headers: [String: String] = [:]
    for line in lines.dropFirst() {
      let parts = line.split(separator: ":", maxSplits: 1)
      guard parts.count == 2 else { continue }
      headers[parts[0].lowercased()] = parts[1].trimmingCharacters(in: .whitespaces)
    }
    let length = headers["content-length"].flatMap { Int($0) } ?? 0
    while data.count < end.upperBound + length { guard more() else { return nil } }
    return Request(
      path: String(first[1]), headers: headers, body: Data(data[end.upperBound...]))
  }

  /// A chat completion with a text and, where given, log-probabilities of its first token.
  public static func completion(_ text: String, top: [(String, Double)]? = nil) -> Response {
    var choice: [String: Any] = ["message": ["role": "assistant", "content": text]]
    if let top {
      let list = top.map { ["token": $0.0, "logprob": $0.1] as [String: Any] }
      choice["logprobs"] = [
        "content": [["token": text, "logprob": top[0].1, "top_logprobs": list] as [String: Any]]
      ]
    }
    let data = try? JSONSerialization.data(withJSONObject: ["choices": [choice]])
    return Response(body: String(decoding: data ?? Data(), as: UTF8.self))
  }

  /// The list of one model.
  public static let models = Response(body: "{\"data\":[{\"id\":\"tiny\"}]}")
}
