// SPDX-License-Identifier: Apache-2.0

import Foundation

#if canImport(FoundationNetworking)
  import FoundationNetworking
#endif

/// Somebody with a browser, but without its help: what the page's requests look like.
public final class PageClient {
  /// What came back.
  public struct Response: Sendable {
    /// The status code.
    public let status: Int
    /// Names in lower case.
    public let headers: [String: String]
    /// What followed the headers.
    public let data: Data

    /// The body as JSON.
    public var object: [String: Any] {
      (try? JSONSerialization.jsonObject(with: data)) as? [String: Any] ?? [:]
    }

    /// What the server says is wrong.
    public var error: String { object["error"] as? String ?? "" }
  }

  /// The address of the page, with a slash at its end.
  public let address: String
  /// The session.
  public var cookie = ""
  /// What goes with requests that change something.
  public var seal = ""
  private let session: URLSession

  /// Knows a page and has no session yet.
  public init(_ address: String) {
    self.address = address
    let configuration = URLSessionConfiguration.ephemeral
    configuration.httpShouldSetCookies = false
    configuration.httpCookieStorage = nil
    session = URLSession(configuration: configuration)
  }

  deinit { session.finishTasksAndInvalidate() }

  /// Makes a request.
  public func ask(
    _ method: String, _ path: String, _ body: Data? = nil, headers: [String: String] = [:]
  ) async throws -> Response {
    guard let url = URL(string: address + path) else { throw URLError(.badURL) }
    var request = URLRequest(url: url)
    request.httpMethod = method
    request.httpBody = body
    if body != nil { request.setValue("application/json", forHTTPHeaderField: "Content-Type") }
    if !cookie.isEmpty { request.setValue(cookie, forHTTPHeaderField: "Cookie") }
    if method == "POST" { request.setValue(seal, forHTTPHeaderField: "X-Attune-Seal") }
    for (name, value) in headers { request.setValue(value, forHTTPHeaderField: name) }
    let (data, response) = try await session.data(for: request)
    let fields = (response as? HTTPURLResponse)?.allHeaderFields ?? [:]
    var headers: [String: String] = [:]
    for case (let name as String, let value as String) in fields {
      headers[name.lowercased()] = value
    }
    return Response(
      status: (response as? HTTPURLResponse)?.statusCode ?? 0, headers: headers, data: data)
  }

  /// Makes a GET request.
  public func get(_ path: String, headers: [String: String] = [:]) async throws -> Response {
    try await ask("GET", path, headers: headers)
  }

  /// Makes a POST request.
  public func post(
    _ path: String, _ body: [String: Any] = [:], headers: [String: String] = [:]
  ) async throws -> Response {
    try await ask("POST", path, JSONSerialization.data(withJSONObject: body), headers: headers)
  }

  /// Begins a session.
  @discardableResult
  public func begin(_ name: String, token: String? = nil) async throws -> Response {
    var body: [String: Any] = ["name": name]
    if let token { body["token"] = token }
    let answer = try await post("api/session", body)
    if let set = answer.headers["set-cookie"] {
      cookie = String(set.split(separator: ";").first ?? "")
    }
    seal = answer.object["seal"] as? String ?? ""
    return answer
  }

  /// The next question's key.
  public func next() async throws -> String? {
    try await post("api/next").object["question"] as? String
  }

  /// Answers a question.
  public func label(
    _ question: String, ranks: [Int], key: String = UUID().uuidString, _ more: [String: Any] = [:]
  ) async throws -> Response {
    try await post(
      "api/label",
      ["key": key, "question": question, "ranks": ranks].merging(more) { $1 })
  }
}
