// SPDX-License-Identifier: Apache-2.0

import AttuneServer
import Testing

@Suite struct AccessTests {
  private let token = "a token of many characters"

  @Test func `a session is the annotator's and can't be made up`() {
    let access = Access(token: token, annotators: [])
    let session = access.session(of: "Zoë")
    #expect(access.annotator(of: session) == "Zoë")
    // The same token makes the same sessions, another one others.
    #expect(Access(token: token, annotators: []).annotator(of: session) == "Zoë")
    #expect(Access(token: token + "!", annotators: []).annotator(of: session) == nil)
    #expect(Access(token: nil, annotators: []).annotator(of: session) == nil)
    let mark = access.session(of: "bert").split(separator: ".")[1]
    let name = session.split(separator: ".")[0]
    for forged in [
      "\(name).\(mark)", "\(name).", "\(name)", ".", "", "zz.\(mark)", "\(session)0", "\(session).",
      String(repeating: "a", count: 5000) + ".\(mark)", "ff.\(mark)",
    ] {
      #expect(access.annotator(of: forged) == nil, "\(forged.prefix(80))")
    }
    #expect(access.seal(of: "Zoë") != access.seal(of: "bert"))
    #expect(access.seal(of: "Zoë") != access.ownToken(of: "Zoë"))
  }

  @Test func `a link of one's own lets nobody else in`() {
    let access = Access(token: token, annotators: ["anna", "bert"])
    #expect(access.admits("anna", token: token))
    #expect(access.admits("anna", token: access.ownToken(of: "anna")))
    #expect(!access.admits("anna", token: access.ownToken(of: "bert")))
    #expect(!access.admits("carl", token: token))
    #expect(!access.admits("anna", token: nil) && !access.admits("anna", token: ""))
    #expect(access.annotator(of: access.session(of: "carl")) == nil)
    let link = access.fragment(for: "anna")
    #expect(link.contains("name=anna") && !link.contains(token))
    #expect(Access(token: token, annotators: []).fragment(for: nil).contains("a%20token"))
  }

  @Test func `this machine alone needs no token`() {
    let access = Access(token: nil, annotators: [])
    #expect(access.admits("anybody", token: nil))
    #expect(access.fragment(for: nil) == "")
  }

  @Test func `a name can be seen`() {
    #expect(Access.name("  Anna Ω ") == "Anna Ω")
    #expect(Access.name("Zoe\u{308}").map { Array($0.utf8) } == Array("Zo\u{EB}".utf8))
    for bad in [
      "", "   ", "a\nb", "a\u{0}", "a\u{202E}b", "\u{200B}", String(repeating: "x", count: 65),
    ] {
      #expect(Access.name(bad) == nil)
    }
  }

  @Test func `texts are compared whole`() {
    #expect(Access.equal("abc", "abc") && Access.equal("", ""))
    #expect(!Access.equal("abc", "abd") && !Access.equal("abc", "ab") && !Access.equal("", "a"))
  }

  @Test func `tokens differ`() {
    let made = Set((0..<100).map { _ in PageServer.makeToken() })
    #expect(made.count == 100 && made.allSatisfy { $0.utf8.count == 32 })
  }
}

@Suite struct RateLimiterTests {
  @Test func `a burst, then the steady rate`() {
    let limiter = RateLimiter(perSecond: 10, burst: 5)
    #expect((0..<8).count { _ in limiter.admits("a", at: 0) } == 5)
    #expect(limiter.admits("b", at: 0), "everybody has a bucket of their own")
    #expect((0..<8).count { _ in limiter.admits("a", at: 0.25) } == 2)
    #expect((0..<8).count { _ in limiter.admits("a", at: 100) } == 5)
  }

  @Test func `many names fill no memory and lock nobody out for long`() {
    let limiter = RateLimiter(perSecond: 10, burst: 5, remembering: 100)
    for i in 0..<1000 { _ = limiter.admits("\(i)", at: 0) }
    #expect(!limiter.admits("new", at: 0), "all buckets are in use")
    #expect(limiter.admits("new", at: 1))
  }
}
