// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneServer
import AttuneStore
import AttuneTestSupport
import Foundation
import Testing

/// What stands beside the question: guidelines, own labels, the switch of keys, the progress page's tables.
extension BrowserTests {
  /// Loads the page anew and waits for its question.
  private func reload(_ page: BrowserPage) async throws {
    _ = try await page.text("window.isOld = true")
    try await page.call("Page.reload")
    try await page.wait("!window.isOld && document.getElementById('prompt')?.innerText")
  }

  @Test func `letter keys can be turned off, for the session`() async throws {
    let bench = try await ServerBench(ServerBench.rows(4)) { $0.strengths = 3 }
    try await withBrowser { browser in
      let page = try await begin(browser, bench, "anna")
      try await page.click(button: "Letter keys: on")
      try await page.wait(for: "Letter keys: off", in: "#letters")
      #expect(try await page.shown("#undo") == "Undo", "no key is promised")
      let first = try await page.shown("#prompt")
      for key in ["x", "s", "u", "r", "1", "g"] { try await page.press(key) }
      #expect(try await page.shown("#prompt") == first)
      #expect(try await page.text("document.activeElement.id") != "reason")
      #expect(try bench.store.counts()["comparison"] == 0)
      try await press(["ArrowDown"], page, ["Saved: tie."])
      try await reload(page)
      try await page.wait(for: "Letter keys: off", in: "#letters")
      try await page.click(button: "Letter keys: off")
      try await press(["x"], page, ["Saved: both bad."])
    }
  }

  @Test func `guidelines stand beside the question and stay closed`() async throws {
    let bench = try await ServerBench(
      ServerBench.rows(2),
      guidelines: "# What counts\n\n- Be **kind**.\n\n| a | b |\n| - | - |\n| 1 | 2 |")
    try await withBrowser { browser in
      let page = try await begin(browser, bench, "anna")
      try await page.wait(for: "Be kind.", in: "#guidelines")
      let boxes = try await page.text(
        """
        ['#guidelines', '#question'].map(s => document.querySelector(s).getBoundingClientRect())
          .map(r => `${r.left} ${r.top}`).join(' ')
        """
      ).split(separator: " ").compactMap { Double($0) }
      #expect(boxes.count == 4 && boxes[0] > boxes[2] && abs(boxes[1] - boxes[3]) < 40, "\(boxes)")
      try await page.press("g")
      // The page keeps the choice in an event that comes after the change itself.
      try await page.wait("sessionStorage.getItem('attune-guidelines') === 'closed'")
      #expect(try await page.text("document.getElementById('guidelines').open") == "false")
      try await reload(page)
      try await page.wait("document.getElementById('guidelines').checkVisibility()")
      #expect(try await page.text("document.getElementById('guidelines').open") == "false")
    }
  }

  @Test func `what was said is looked through and changed`() async throws {
    let bench = try await ServerBench(ServerBench.rows(3))
    try await withBrowser { browser in
      let page = try await begin(browser, bench, "anna")
      let first = try await page.shown("#prompt")
      try await page.press("r")
      try await page.type("because")
      try await page.press("Escape")
      try await press(["ArrowLeft", "ArrowDown"], page, ["Saved: A is better.", "Saved: tie."])
      let third = try await page.shown("#prompt")
      try await page.go(bench.server.url + "labels")
      try await page.wait("document.querySelectorAll('#labels li').length === 2")
      let listed = try await page.shown("#labels")
      #expect(listed.contains("Tie") && listed.contains("A is better"))
      #expect(listed.contains("Reason: because"))
      _ = try await page.text("(document.querySelectorAll('#labels a')[1].click(), 1)")
      try await page.wait(for: "You said: A is better. Answer again to change that.", in: "#given")
      #expect(try await page.shown("#prompt") == first)
      #expect(try await page.text("document.getElementById('reason').value") == "because")
      #expect(try await page.shown("#choices [aria-pressed=true]").contains("A is better"))
      try await press(["ArrowRight"], page, ["Saved: B is better."])
      #expect(try await page.shown("#prompt") == third)
      #expect(try await page.text("document.getElementById('given').hidden") == "true")
      let counts = try bench.store.counts()
      #expect(counts["comparison"] == 3 && counts["critique"] == 2)
      #expect(try bench.store.statistics().outcomes == ["preferred": 1, "tie": 1])
      // Shown again and left.
      try await page.go(bench.server.url + "labels")
      try await page.wait("document.querySelectorAll('#labels li').length === 2")
      _ = try await page.text("(document.querySelectorAll('#labels a')[0].click(), 1)")
      try await page.wait(for: "You said: B is better.", in: "#given")
      try await page.click(button: "Leave it as it is")
      try await page.wait("document.getElementById('given').hidden")
      #expect(try await page.shown("#prompt") == third)
      #expect(try bench.store.counts()["comparison"] == 3)
    }
  }

  @Test func `a ranking is shown again as it was given`() async throws {
    let bench = try await ServerBench([ServerBench.row("p", ["one", "two", "three"])]) {
      $0.shape = .rankings
    }
    let client = PageClient(bench.server.url)
    try await client.begin("anna")
    let question = try #require(try await client.next())
    _ = try await client.label(question, ranks: [3, 1, 1])
    try await withBrowser { browser in
      let page = try await browser.open(
        bench.server.url + "#name=anna&again=\(question)", width: 1280)
      try await page.wait(for: "You said: B = C > A.", in: "#given")
      let letters = "[...document.querySelectorAll('.answer')].map(e => e.dataset.letter).join('')"
      #expect(try await page.text(letters) == "BCA")
      #expect(try await page.text("document.querySelectorAll('.answer.tied').length") == "1")
    }
  }

  @Test func `a call of a tool is no empty box`() async throws {
    let row =
      #"{"prompt":[{"role":"user","content":"Rain?"},{"role":"assistant","content":null,"tool_calls":"#
      + #"[{"id":"c","function":{"name":"weather","arguments":{"city":"Oslo"}}}]},"#
      + #"{"role":"tool","tool_call_id":"c","content":"rain"}],"completions":["#
      + #"{"text":"Yes","finish_reason":"stop"},{"text":"No","finish_reason":"stop"}]}"#
    let bench = try await ServerBench([row])
    try await withBrowser { browser in
      let page = try await begin(browser, bench, "anna")
      let shown = try await page.shown("#prompt")
      #expect(shown.contains("Calls weather\n") && shown.contains("\"city\": \"Oslo\""), "\(shown)")
      #expect(shown.contains("Tool: weather"), "\(shown)")
    }
  }

  @Test(arguments: [1280, 375])
  func `tables scroll by themselves, have heads, and hasty labels are flagged`(
    width: Int
  ) async throws {
    let bench = try await ServerBench(ServerBench.rows(3)) { $0.votes = 2 }
    for (name, time) in [("anna", 300), ("an annotator of a rather long name", 5000)] {
      let client = PageClient(bench.server.url)
      try await client.begin(name)
      while let question = try await client.next() {
        _ = try await client.label(question, ranks: [1, 2], ["milliseconds": time])
      }
    }
    try await withBrowser { browser in
      let page = try await browser.open(
        bench.server.url + "progress#name=anna", width: width, isDark: width < 600)
      try await page.wait(for: "Labels faster than a second", in: "#figures")
      let pace = try await page.shown("[aria-labelledby=panel-labels-faster-than-a-second]")
      #expect(pace.contains("⚠ 3 (100.0 %)") && pace.contains("none"), "\(pace)")
      let headless = "[...document.querySelectorAll('th')].filter(e => !e.scope).length"
      #expect(try await page.text(headless) == "0")
      #expect(try await page.text("document.querySelectorAll('tbody th').length") != "0")
      let overflow = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
      #expect(try await page.text(overflow) == "false")
      let scrolls = """
        [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth).length
        """
      let scrolling = try await page.text(scrolls)
      #expect(width > 600 || scrolling != "0")
      #expect(try await page.text("document.getElementById('export').hidden") == "false")
      try await page.wait(
        "window.rows = fetch('/api/export').then(a => a.text()).then(t => window.count = t.trim().split('\\n').length)"
      )
      try await page.wait("window.count")
      #expect(try await page.text("window.count") == "6")
    }
  }

  @Test func `the sides differ in colour, and not in colour alone`() async throws {
    let bench = try await ServerBench(ServerBench.rows(1))
    try await withBrowser { browser in
      for isDark in [false, true] {
        let page = try await begin(browser, bench, "anna", isDark: isDark)
        let colours = try await page.text(
          "[...document.querySelectorAll('#choices button')].map(e => getComputedStyle(e).borderBottomColor).join(';')"
        ).split(separator: ";")
        #expect(Set(colours).count == 4, "\(colours)")
        let words = try await page.shown("#choices")
        for part in ["A is better", "Tie", "Both bad", "B is better", "←", "→"] {
          #expect(words.contains(part))
        }
      }
    }
  }
}
