// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneServer
import AttuneStore
import AttuneTestSupport
import Foundation
import Testing

/// The chat page in a real browser.
@Suite(.serialized, .timeLimit(.minutes(5))) struct ChatPageTests {
  private func withPage(
    _ body: (ServiceBench, BrowserPage) async throws -> Void
  ) async throws {
    try await withService { bench in
      let browser = try Browser()
      defer { browser.close() }
      let page = try await browser.open(bench.server.url)
      try await page.wait("document.activeElement?.id === 'name'")
      try await page.type("anna")
      try await page.press("Enter")
      try await page.wait("document.activeElement?.id === 'words'")
      try await body(bench, page)
    }
  }

  private func ask(_ words: String, _ page: BrowserPage) async throws {
    try await page.type(words)
    try await page.press("Enter")
    try await page.wait("!document.body.classList.contains('busy')")
  }

  @Test func `an answer comes, is rated, with a reason, and edited`() async throws {
    try await withPage { bench, page in
      try await ask("say **this**", page)
      #expect(
        try await page.text("document.querySelector('.turn.model .body').innerHTML").contains(
          "<strong>"))
      try await page.click(button: "Good")
      try await page.wait(for: "Saved: good.", in: "#status")
      try await page.wait("document.activeElement?.getAttribute('aria-label') === 'Why?'")
      try await page.type("It says it.")
      try await page.click(button: "Save the reason")
      try await page.wait(for: "Saved: your reason.", in: "#status")
      var thumbs = try await bench.rows(.unpaired)
      #expect(thumbs.count == 1 && thumbs[0]["label"] == .bool(true))
      #expect(thumbs[0]["rationale"] == .string("It says it."))
      #expect(thumbs[0]["labeller"] == .string("anna"))
      try await page.click(button: "Good")
      try await page.wait(for: "Saved: taken back.", in: "#status")
      thumbs = try await bench.rows(.unpaired)
      #expect(thumbs.isEmpty)

      try await page.click(button: "Edit")
      try await page.wait("document.activeElement?.tagName === 'TEXTAREA'")
      _ = try await page.text("document.activeElement.value = 'Say that.'")
      try await page.click(button: "Save the edit")
      try await page.wait(for: "Saved: the answer as you wrote it.", in: "#status")
      let pairs = try await bench.rows(.preference)
      #expect(pairs.count == 1)
      #expect(pairs[0]["chosen"]?.text.contains("Say that.") == true)
      // The next turn goes on from what was written.
      try await page.wait(for: "Say that.", in: ".turn.model")
      _ = try await page.text("document.getElementById('words').focus()")
      try await ask("next", page)
      #expect(try bench.store.counts()["prompt"] == 2)
      let asked = try bench.store.export(.preference)
      #expect(asked.report.converted == 1)
    }
  }

  @Test func `of two drafts one is chosen before the conversation goes on`() async throws {
    try await withPage { bench, page in
      _ = try await page.text("document.getElementById('drafts').click()")
      _ = try await page.text("document.getElementById('words').focus()")
      try await ask("one", page)
      #expect(try await page.text("document.querySelectorAll('.pair .answer').length") == "2")
      #expect(try await page.text("document.getElementById('send').disabled") == "true")
      try await page.click(button: "B is better")
      try await page.wait(for: "Saved: B is better.", in: "#status")
      try await page.wait("!document.getElementById('send').disabled")
      let pairs = try await bench.rows(.preference)
      #expect(pairs.count == 1 && pairs[0]["chosen"]?.text.contains("one again") == true)
      // The page is told nothing of who gave which draft.
      #expect(try await !page.text("document.body.innerHTML").contains("echo@"))
    }
  }

  @Test func `what can't be answered is said, and the words stay`() async throws {
    try await withPage { bench, page in
      bench.service.setModels([])
      _ = try await page.text("document.getElementById('model').firstChild.value = 'gone'")
      try await page.type("are you there?")
      try await page.press("Enter")
      try await page.wait(for: "No answer: there is no model gone", in: "#problem")
      #expect(try await page.text("document.getElementById('words').value") == "are you there?")
    }
  }
}
