// SPDX-License-Identifier: Apache-2.0

import AttuneServer
import AttuneStore
import AttuneTestSupport
import Foundation
import Testing

@Suite(.timeLimit(.minutes(2))) struct SecurityTests {
  private func bench(
    _ token: String? = nil, annotators: [String] = [],
    _ change: (inout CollectSettings) -> Void = { _ in }
  ) async throws -> ServerBench {
    try await ServerBench(ServerBench.rows(3), annotators: annotators, token: token, change)
  }

  @Test func `every answer carries the policy, and nothing stands in line`() async throws {
    let bench = try await bench()
    let client = PageClient(bench.server.url)
    for path in [
      "", "progress", "labels", "page.css", "label.js", "icon.svg", "api/session", "nothing",
    ] {
      let answer = try await client.get(path)
      let policy = answer.headers["content-security-policy"] ?? ""
      #expect(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"))
      #expect(!policy.contains("unsafe"))
      #expect(answer.headers["x-content-type-options"] == "nosniff")
      #expect(answer.headers["referrer-policy"] == "no-referrer")
    }
    for path in ["", "progress", "labels"] {
      let text = String(decoding: try await client.get(path).data, as: UTF8.self)
      #expect(!text.contains("style=") && !text.contains("<style") && !text.contains("onclick"))
      #expect(!text.contains("//"), "nothing comes from elsewhere")
    }
  }

  @Test func `the session's cookie is for the page alone`() async throws {
    let bench = try await bench()
    let client = PageClient(bench.server.url)
    let cookie = try await client.begin("anna").headers["set-cookie"] ?? ""
    #expect(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"))
  }

  @Test func `a request of another site's page changes nothing`() async throws {
    let bench = try await bench()
    let client = PageClient(bench.server.url)
    try await client.begin("anna")
    let question = try #require(try await client.next())
    let seal = client.seal
    for (headers, seal) in [
      (["Origin": "https://evil.example"], seal), (["Origin": "null"], seal),
      (["Sec-Fetch-Site": "cross-site"], seal), (["Sec-Fetch-Site": "same-site"], seal),
      ([:], ""), ([:], String(seal.reversed())),
    ] {
      client.seal = seal
      let body = ["key": "k", "question": question, "ranks": [1, 2]] as [String: Any]
      let answer = try await client.post("api/label", body, headers: headers)
      #expect(answer.status == 403, "\(headers)")
    }
    #expect(
      try await PageClient(bench.server.url).post(
        "api/session", ["name": "eve"], headers: ["Origin": "https://evil.example"]
      ).status == 403)
    // A form's content type, with which no browser asks first whether it may.
    client.seal = seal
    let answer = try await client.ask(
      "POST", "api/next", Data("{}".utf8), headers: ["Content-Type": "text/plain"])
    #expect(answer.status == 415)
    #expect(try bench.store.counts()["comparison"] == 0)
    #expect(try await client.label(question, ranks: [1, 2]).status == 200)
  }

  @Test func `a name that was made to point here is not served`() async throws {
    let bench = try await bench()
    let port = bench.server.url.split(separator: ":").last?.dropLast() ?? ""
    for (host, status) in [
      ("127.0.0.1:\(port)", "200"), ("localhost:\(port)", "200"), ("evil.example", "421"),
      ("127.0.0.1.evil.example:\(port)", "421"),
    ] {
      let answer = try await RawConnection.ask(
        bench.server.url, "GET /api/session HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n")
      #expect(answer.hasPrefix("HTTP/1.1 \(status)"), "\(host): \(answer.prefix(60))")
    }
  }

  @Test func `with a token nobody gets in without it`() async throws {
    let token = "0123456789abcdef"
    let bench = try await bench(token)
    let client = PageClient(bench.server.url)
    for wrong in [nil, "", "0123456789abcdeF", "0123456789abcde", token + "0"] {
      #expect(try await client.begin("anna", token: wrong).status == 403)
      #expect(try await client.post("api/next").status == 401)
    }
    #expect(try await client.begin("anna", token: token).status == 200)
    #expect(try await client.post("api/next").status == 200)
    #expect(bench.server.links.first?.url.hasSuffix("#token=\(token)") == true)
  }

  @Test func `tokens can't be tried at will`() async throws {
    let bench = try await bench("0123456789abcdef")
    let url = bench.server.url
    // All at once: one after another, a slow machine would be forgiven each before the next.
    let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
      for i in 0..<100 {
        group.addTask { try await PageClient(url).begin("a", token: "\(i)").status }
      }
      return try await group.reduce(into: [Int]()) { $0.append($1) }
    }
    #expect(Set(statuses) == [403, 429], "\(statuses)")
  }

  @Test func `others than this machine are not served without a token`() {
    for host in ["0.0.0.0", "::", "192.168.1.2"] {
      var address = PageServer.Address()
      address.host = host
      #expect(throws: ServerError.self) { try address.validate() }
      address.token = "short"
      #expect(throws: ServerError.self) { try address.validate() }
      address.token = PageServer.makeToken()
      #expect(throws: Never.self) { try address.validate() }
    }
  }

  @Test func `only named annotators answer, each by their own link`() async throws {
    let bench = try await bench("0123456789abcdef", annotators: ["anna", "bert"])
    let links = bench.server.links
    #expect(links.compactMap(\.name) == ["anna", "bert"])
    let token = String(links[0].url.split(separator: "=").last ?? "")
    let client = PageClient(bench.server.url)
    #expect(try await client.begin("anna", token: token).status == 200)
    #expect(try await client.begin("bert", token: token).status == 403)
    #expect(try await client.begin("carl", token: "0123456789abcdef").status == 403)
  }

  @Test func `too many requests wait`() async throws {
    let bench = try await bench {
      $0.requestsPerSecond = 0.001
      $0.requestBurst = 5
    }
    let client = PageClient(bench.server.url)
    try await client.begin("anna")
    var statuses: [Int] = []
    for _ in 0..<8 { statuses.append(try await client.post("api/next").status) }
    #expect(statuses.prefix(5).allSatisfy { $0 == 200 } && statuses.last == 429)
    let other = PageClient(bench.server.url)
    try await other.begin("bert")
    #expect(try await other.post("api/next").status == 200)
  }

  @Test func `a body that is too long or makes no sense is refused`() async throws {
    let bench = try await bench()
    let client = PageClient(bench.server.url)
    try await client.begin("anna")
    let question = try #require(try await client.next())
    let long = try await client.label(
      question, ranks: [1, 2], ["reason": String(repeating: "x", count: 70_000)])
    #expect(long.status == 413)
    let reason = try await client.label(
      question, ranks: [1, 2], ["reason": String(repeating: "x", count: 4001)])
    #expect(reason.status == 400)
    for body in [
      "", "{", "[]", "null", "\u{0}", String(repeating: "[", count: 60_000), "{\"key\":1}",
      "{\"key\":\"k\",\"question\":\"\(question)\"}",
      "{\"key\":\"k\",\"question\":\"\(question)\",\"ranks\":[]}",
      "{\"key\":\"k\",\"question\":\"\(question)\",\"ranks\":[1,2,3]}",
      "{\"key\":\"k\",\"question\":\"\(question)\",\"ranks\":[0,99999999999999999999]}",
      "{\"key\":\"k\",\"question\":\"\(question)\",\"ranks\":[1,2],\"strength\":1}",
      "{\"key\":\"k\",\"question\":\"\(question)\",\"ranks\":[1,2],\"both_bad\":true}",
      "{\"key\":\"k\",\"question\":\"\(question)\",\"ranks\":[1,2],\"milliseconds\":-1}",
      "{\"key\":\"k\",\"question\":\"no such\",\"ranks\":[1,2]}",
      "{\"key\":\"k\",\"question\":\"\(question)\",\"ranks\":[1,2],\"reason\":7}",
    ] {
      let answer = try await client.ask("POST", "api/label", Data(body.utf8))
      #expect(answer.status == 400, "\(body.prefix(80))")
    }
    let invalid = try await client.ask("POST", "api/label", Data([0xFF, 0xFE, 0x00]))
    #expect(invalid.status == 400)
    #expect(try bench.store.counts()["comparison"] == 0)
  }

  @Test(arguments: [
    ("Transfer-Encoding: chunked", "zz\r\n{}\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked", "2\r\n{}garbage\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked", "-2\r\n{}\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked", "fffffffffffffffff\r\n{}"),
    ("Transfer-Encoding: chunked\r\nContent-Length: 2", "2\r\n{}\r\n0\r\n\r\n"),
    ("Content-Length: -1", "{}"), ("Content-Length: two", "{}"),
    ("Content-Length: 99999999999999999999", "{}"),
    ("Content-Length: 2\r\nContent-Length: 3", "{}x"), ("Content-Length: 3", "{}\u{0}"),
    ("Content-Length: 15", "{\"name\": \"a\"} x"), ("Content-Length: 9", "{\"name\":}"),
  ])
  func `a body that is no body is the sender's fault`(header: String, body: String) async throws {
    let bench = try await bench()
    let answer = try await RawConnection.ask(
      bench.server.url,
      "POST /api/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        + "Connection: close\r\n\(header)\r\n\r\n\(body)", patience: 30)
    #expect(answer.hasPrefix("HTTP/1.1 400"), "\(header): \(answer.prefix(80))")
    #expect(try await PageClient(bench.server.url).get("").status == 200)
  }

  @Test func `no path leaves the page's own files`() async throws {
    let bench = try await bench()
    for path in [
      "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/page.css/../../x",
      "/.", "/page.css%00.html", "/file:///etc/passwd", "/api/../label.js", "/Page/label.html",
      "http://127.0.0.1/etc/passwd", "*",
    ] {
      let answer = try await RawConnection.ask(
        bench.server.url, "GET \(path) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
      #expect(answer.hasPrefix("HTTP/1.1 40"), "\(path): \(answer.prefix(60))")
      #expect(!answer.contains("root:"))
    }
  }

  @Test func `no request ends the server`() async throws {
    let bench = try await bench()
    var random = SystemRandomNumberGenerator()
    var requests = [
      "\r\n\r\n", "GET", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
      "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / HTTP/1.1\r\nHost: [\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
      "POST /api/next HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
      "POST /api/next HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
      "POST /api/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx",
      "POST /api/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
      "GET /\(String(repeating: "a", count: 40_000)) HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: localhost\r\nX: \(String(repeating: "a", count: 100_000))\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: localhost\r\n\(String(repeating: "X: y\r\n", count: 5000))\r\n",
      "GET / HTTP/1.1\r\nHost: localhost\r\nCookie: attune=;;;==;attune-1=\u{1F600}.\r\n\r\n",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\u{0}",
      "CONNECT a:1 HTTP/1.1\r\n\r\n",
      "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ]
    for _ in 0..<40 {
      requests.append(
        String(
          (0..<200).map { _ in Character(UnicodeScalar(UInt8.random(in: 0...255, using: &random))) }
        ))
    }
    for request in requests {
      _ = try await RawConnection.ask(bench.server.url, request, patience: 0.05)
    }
    #expect(try await PageClient(bench.server.url).get("").status == 200)
  }
}
