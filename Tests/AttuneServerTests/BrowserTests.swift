// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneServer
import AttuneStore
import AttuneTestSupport
import Foundation
import Testing

/// The page in a real browser: one after the other, for a browser is much for a small machine.
@Suite(.serialized, .timeLimit(.minutes(5))) struct BrowserTests {
  /// Begins with a name and waits for the first question.
  func begin(
    _ browser: Browser, _ bench: ServerBench, _ name: String, width: Int = 1280,
    isDark: Bool = false
  ) async throws -> BrowserPage {
    let page = try await browser.open(bench.server.url, width: width, isDark: isDark)
    try await page.wait("document.activeElement?.id === 'name'")
    try await page.type(name)
    try await page.press("Enter")
    try await page.wait("!document.getElementById('question').hidden")
    return page
  }

  /// Presses keys, each once what the one before it said is saved.
  func press(_ keys: [String], _ page: BrowserPage, _ done: [String]) async throws {
    for (key, done) in zip(keys, done) {
      try await page.press(key)
      try await page.wait(for: done, in: "#status")
    }
  }

  func withBrowser(_ body: (Browser) async throws -> Void) async throws {
    let browser = try Browser()
    defer { browser.close() }
    try await body(browser)
  }

  @Test func `labelling by keyboard, undo and skip`() async throws {
    let bench = try await ServerBench(ServerBench.rows(6))
    try await withBrowser { browser in
      let page = try await begin(browser, bench, "anna")
      #expect(try await page.text("document.activeElement.id") == "task")
      let first = try await page.shown("#prompt")
      let left = try await page.shown(".answer")
      try await press(["ArrowLeft"], page, ["Saved: A is better."])
      // What was chosen is what stood on the left.
      let row = try JSONValue(
        parsing: String(decoding: try bench.store.export(.preference).data, as: UTF8.self))
      guard case .string(let chosen)? = row["chosen"] else {
        throw Browser.Failure(description: "")
      }
      #expect(left.contains(chosen))
      #expect(row["shown_first"] == .string("chosen"))
      #expect(try await page.shown("#prompt") != first)
      try await press(
        ["ArrowDown", "x", "ArrowRight"], page,
        ["Saved: tie.", "Saved: both bad.", "Saved: B is better."])
      let fifth = try await page.shown("#prompt")
      try await press(["u"], page, ["Undone. Answer again."])
      #expect(try await page.shown("#prompt") != fifth)
      try await press(["ArrowLeft", "s"], page, ["Saved: A is better.", "Skipped."])
      #expect(try await page.shown("#counts").contains("4 given"))
      // A key of a browser's own command is no answer, and none is given twice by holding it.
      try await page.call(
        "Input.dispatchKeyEvent",
        ["type": "keyDown", "key": "ArrowLeft", "modifiers": 2, "windowsVirtualKeyCode": 37])
      try await page.call(
        "Input.dispatchKeyEvent",
        [
          "type": "keyDown", "key": "ArrowLeft", "autoRepeat": true, "windowsVirtualKeyCode": 37,
        ])
      try await press(["ArrowLeft"], page, ["Saved: A is better."])
      try await page.wait(for: "All done", in: "#rest")
      let statistics = try bench.store.statistics()
      #expect(statistics.comparisons == 5)
      #expect(statistics.outcomes == ["preferred": 3, "tie": 1, "both_bad": 1])
      #expect(try bench.store.counts()["comparison"] == 7)
    }
  }

  @Test func `strength by a second key and a reason`() async throws {
    let bench = try await ServerBench(ServerBench.rows(3)) { $0.strengths = 3 }
    try await withBrowser { browser in
      let page = try await begin(browser, bench, "anna")
      try await page.press("r")
      try await page.wait("document.activeElement.id === 'reason'")
      try await page.type("x marks s u r")
      try await page.press("Escape")
      try await page.press("ArrowRight")
      try await page.wait("!document.getElementById('strengths').hidden")
      try await press(["3"], page, ["Saved: B is better, strength 3."])
      #expect(try await page.text("document.getElementById('reason').value") == "")
      try await page.press("ArrowLeft")
      try await page.wait("!document.getElementById('strengths').hidden")
      try await press(["ArrowLeft", "ArrowDown"], page, ["Saved: A is better.", "Saved: tie."])
      let rows = String(decoding: try bench.store.export(.preference).data, as: UTF8.self)
        .split(separator: "\n").map { try? JSONValue(parsing: String($0)) }
      #expect(rows.count == 3)
      #expect(rows[0]?["strength"] == .int(3) && rows[1]?["strength"] == nil)
      #expect(rows[0]?["rationale"] == .string("x marks s u r"))
    }
  }

  @Test func `two annotators at once, and a reload in the middle`() async throws {
    let bench = try await ServerBench(ServerBench.rows(4)) { $0.votes = 2 }
    try await withBrowser { browser in
      let anna = try await begin(browser, bench, "anna")
      let bert = try await begin(browser, bench, "bert")
      try await press(["ArrowLeft"], anna, ["Saved"])
      let before = try await anna.shown("#question")
      try await press(["ArrowRight"], bert, ["Saved"])
      _ = try await anna.text("window.isOld = true")
      try await anna.call("Page.reload")
      try await anna.wait("!window.isOld && document.getElementById('prompt')?.innerText")
      // The same question with the same sides, and no name asked for again.
      #expect(try await anna.shown("#question") == before)
      #expect(try await anna.shown("#counts").contains("anna · 1 given"))
      for page in [anna, bert] {
        for _ in 0..<3 {
          try await page.wait("!document.getElementById('question').hidden")
          let old = try await page.shown("#counts")
          try await page.press("ArrowDown")
          try await page.wait("document.getElementById('counts').innerText !== '\(old)'")
        }
        try await page.wait(for: "All done", in: "#rest")
      }
      let statistics = try bench.store.statistics()
      #expect(statistics.comparisons == 8 && statistics.items == 4)
      #expect(Set(statistics.annotators.map(\.name)) == ["anna", "bert"])
    }
  }

  @Test func `a label on its way when the page is left is sent by the next one, once`() async throws
  {
    let bench = try await ServerBench(ServerBench.rows(3))
    try await withBrowser { browser in
      let page = try await begin(browser, bench, "anna")
      try await page.call("Network.enable")
      try await page.call(
        "Network.emulateNetworkConditions",
        ["offline": true, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0])
      try await page.press("ArrowLeft")
      try await page.wait(for: "Not saved yet", in: "#problem")
      #expect(try bench.store.counts()["comparison"] == 0)
      #expect(try await !page.shown("#status").contains("Saved"))
      try await page.call(
        "Network.emulateNetworkConditions",
        ["offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1])
      try await page.wait(for: "Saved", in: "#status")
      #expect(try bench.store.counts()["comparison"] == 1)
      #expect(try await page.shown("#problem") == "")
    }
  }

  @Test func `an answer full of HTML and script is shown as text`() async throws {
    let nasty =
      "<script>window.broken = 1</script>\n\n<img src=x onerror=\"window.broken = 2\"> and "
      + "[a link](javascript:window.broken=3) ![i](https://example.org/i.png)\n\n"
      + "<svg onload=\"window.broken=4\"><style>*{display:none}</style>\n\n</div></main></body>\n\n"
      + "`code` and **bold**"
    let bench = try await ServerBench([ServerBench.row(nasty, [nasty, "plain & simple"])])
    try await withBrowser { browser in
      let page = try await begin(browser, bench, "<b>anna</b>")
      for selector in ["#prompt", "#answers"] {
        let shown = try await page.shown(selector)
        #expect(shown.contains("<script>window.broken = 1</script>"))
        #expect(shown.contains("onerror=\"window.broken = 2\""))
        #expect(shown.contains("</div></main></body>"))
        #expect(shown.contains("bold") && !shown.contains("**bold**"))
        let tags =
          "document.querySelectorAll('\(selector) :is(script, img, svg, style, iframe)').length"
        #expect(try await page.text(tags) == "0")
      }
      #expect(try await page.shown("#counts").contains("<b>anna</b>"))
      // The link that would run a script goes nowhere.
      let links = try await page.text(
        "[...document.querySelectorAll('.message a')].map(a => a.getAttribute('href')).join(' ')")
      #expect(!links.contains("javascript"))
      // Even a script that got in would not run.
      _ = try await page.text(
        "(document.body.insertAdjacentHTML('beforeend', '<img src=/none onerror=\"window.broken=5\">'), 1)"
      )
      try await Task.sleep(for: .milliseconds(300))
      #expect(try await page.text("window.broken") == "undefined")
      #expect(try await page.shown(".choices").contains("Both bad"))
      try await press(["x"], page, ["Saved: both bad."])
    }
  }

  @Test func `a ranking by keys and by dragging`() async throws {
    let rows = (0..<2).map { ServerBench.row("p\($0)", ["one", "two", "three", "four"]) }
    let bench = try await ServerBench(rows) { $0.shape = .rankings }
    try await withBrowser { browser in
      let page = try await begin(browser, bench, "anna")
      func order() async throws -> [String] {
        try await page.text(
          "[...document.querySelectorAll('.answer .message')].map(e => e.innerText.trim()).join(' ')"
        )
        .split(separator: " ").map(String.init)
      }
      let shown = try await order()
      // The third one to the top, the second one made equal to the first.
      for key in ["3", "ArrowUp", "ArrowUp", "2", "="] { try await page.press(key) }
      let wanted = try await order()
      #expect(wanted == [shown[2], shown[0], shown[1], shown[3]])
      try await press(["Enter"], page, ["Saved: this order."])
      var (data, _) = try bench.store.export(.ranking)
      var row = try JSONValue(parsing: String(decoding: data, as: UTF8.self))
      guard case .array(let completions)? = row["completions"],
        case .array(let scores)? = row["scores"]
      else { throw Browser.Failure(description: "no ranking") }
      let stored = Dictionary(
        uniqueKeysWithValues: zip(completions, scores).map { ($0.text, $1.text) })
      #expect(stored["\"\(shown[2])\""] == "3" && stored["\"\(shown[3])\""] == "0")
      #expect(stored["\"\(shown[0])\""] == "2" && stored["\"\(shown[1])\""] == "2")

      // The last one, by its handle, above the first one.
      let before = try await order()
      let boxes = try await page.text(
        """
        [...document.querySelectorAll('.handle')].map(e => e.getBoundingClientRect())
          .map(r => `${r.x + r.width / 2} ${r.y + r.height / 2}`).join(' ')
        """
      ).split(separator: " ").compactMap { Double($0) }
      try await page.mouse("mousePressed", x: boxes[6], y: boxes[7])
      try await page.mouse("mouseMoved", x: boxes[0], y: boxes[1] + 40)
      try await page.mouse("mouseMoved", x: boxes[0], y: boxes[1] - 30)
      try await page.mouse("mouseReleased", x: boxes[0], y: boxes[1] - 30)
      #expect(try await order() == [before[3], before[0], before[1], before[2]])
      try await press(["Enter"], page, ["Saved: this order."])
      (data, _) = try bench.store.export(.ranking)
      row = try JSONValue(
        parsing: String(String(decoding: data, as: UTF8.self).split(separator: "\n")[1]))
      #expect(row["scores"] != nil)
    }
  }

  @Test func `thumbs by keys`() async throws {
    let bench = try await ServerBench([ServerBench.row("p", ["one", "two"])]) { $0.shape = .thumbs }
    try await withBrowser { browser in
      let page = try await begin(browser, bench, "anna")
      try await press(["ArrowUp", "ArrowDown"], page, ["Saved: good.", "Saved: bad."])
      #expect(try bench.store.statistics().thumbs == 2)
    }
  }

  @Test func `everything that can be done has a name and a key to reach it`() async throws {
    let bench = try await ServerBench(ServerBench.rows(2)) { $0.strengths = 3 }
    try await withBrowser { browser in
      let page = try await begin(browser, bench, "anna")
      let nameless = """
        [...document.querySelectorAll('button, textarea, input, a, section')].filter(e =>
          e.offsetParent && !(e.ariaLabel || e.innerText?.trim() || e.labels?.[0]?.innerText
            || document.getElementById(e.getAttribute('aria-labelledby')))).length
        """
      #expect(try await page.text(nameless) == "0")
      #expect(try await page.text("document.querySelector('#status').ariaLive") == "polite")
      // By Tab alone to the choice, and pressed by Enter.
      for _ in 0..<12 where try await page.shown(":focus").contains("A is better") == false {
        try await page.press("Tab")
      }
      #expect(try await page.shown(":focus").contains("A is better"))
      try await page.press("Enter")
      try await page.wait("!document.getElementById('strengths').hidden")
      try await press(["2"], page, ["Saved: A is better, strength 2."])
    }
  }

  /// Pictures for people, where `ATTUNE_PICTURES` names a folder; without it nothing overflows.
  @Test(arguments: [(1280, false), (1280, true), (390, false), (390, true)])
  func `the page fits light and dark, wide and narrow`(width: Int, isDark: Bool) async throws {
    let answers = [
      """
      Here is a **short** plan:

      1. Read the file.
      2. Count the words, e.g. with `wc -w notes.txt`.

      ```python
      def count(path):
          with open(path) as file:
              return sum(len(line.split()) for line in file)  # a comment that makes this line long
      ```

      | words | files |
      | ----- | ----- |
      | 1,024 | 3     |
      """,
      "I would just open it in an editor and look.\n\n> Simple things should be simple.\n\n"
        + String(repeating: "averylongwordwithoutanyspace", count: 6),
    ]
    var rows = [ServerBench.row("How do I count the words of a file?", answers)]
    rows += ServerBench.rows(3)
    let folder = ProcessInfo.processInfo.environment["ATTUNE_PICTURES"]
    func keep(_ page: BrowserPage, _ name: String) async throws {
      let overflow = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
      #expect(try await page.text(overflow) == "false", "\(name) at \(width)")
      guard let folder else { return }
      let file = "\(name)-\(width)-\(isDark ? "dark" : "light").png"
      try await page.picture().write(to: URL(filePath: folder).appending(path: file))
    }
    try await withBrowser { browser in
      for shape in CollectSettings.Shape.allCases {
        let bench = try await ServerBench(shape == .pairs ? rows : Array(rows.prefix(1))) {
          $0.shape = shape
          if shape == .pairs { $0.strengths = 3 }
        }
        if shape == .pairs {
          let door = try await browser.open(bench.server.url, width: width, isDark: isDark)
          try await door.wait("document.activeElement?.id === 'name'")
          try await keep(door, "welcome")
        }
        let page = try await begin(browser, bench, "anna", width: width, isDark: isDark)
        // The long question is not always the first one.
        for _ in 0..<4 where try await page.shown("#prompt").contains("count") == false {
          try await press(["s"], page, ["Skipped"])
        }
        try await keep(page, shape.rawValue)
        guard shape == .pairs else { continue }
        try await page.press("ArrowLeft")
        try await page.wait("!document.getElementById('strengths').hidden")
        try await keep(page, "strength")
        try await press(["2"], page, ["Saved"])
        for name in ["bert", "carl"] {
          let client = PageClient(bench.server.url)
          try await client.begin(name)
          while let question = try await client.next() {
            _ = try await client.label(question, ranks: [1, 2])
          }
        }
        bench.collector.setPolicies(
          PolicyProgress(
            policies: [
              .init(number: 0, name: "secret-one", fingerprint: "f-secret-one"),
              .init(
                number: 1, name: "secret-two", fingerprint: "f-secret-two", previous: 0, labels: 32,
                accuracy: 0.75, heldOut: 4),
            ], current: 1, nextRound: 64, training: isDark ? 2 : nil))
        try await page.go(bench.server.url + "progress")
        try await page.wait(for: "Annotators", in: "#figures")
        let policies = try await page.shown("[aria-labelledby=panel-policies]")
        #expect(policies.contains("1 – answers now") && policies.contains("75.0 % of 4"))
        #expect(
          policies.contains(isDark ? "Policy 2 is being trained" : "after 61 further comparisons"),
          "\(policies)")
        try await keep(page, "progress")
      }
    }
  }
}
