// SPDX-License-Identifier: Apache-2.0

import AttuneServer
import Testing

@Suite struct MarkdownTests {
  @Test func `Markdown and code are shown as such`() {
    let html = Markdown.html(
      """
      # Title

      A *word*, a **strong** one, ~~gone~~ and `x < 1`.

      | a | b |
      | - | - |
      | 1 | 2 |

      - [x] done

      ```swift
      let x = "<b>"
      ```
      """)
    #expect(html.contains("<h1>Title</h1>"))
    #expect(html.contains("<em>word</em>") && html.contains("<strong>strong</strong>"))
    #expect(html.contains("<del>gone</del>") && html.contains("<code>x &lt; 1</code>"))
    #expect(html.contains("<td>1</td>") && html.contains("type=\"checkbox\""))
    #expect(html.contains("let x = &quot;&lt;b&gt;&quot;"))
  }

  @Test(arguments: [
    "<script>alert(1)</script>", "a <img src=x onerror=alert(1)> b", "<b onclick='x()'>bold</b>",
    "<!-- comment -->", "<![CDATA[x]]>", "<?php echo 1 ?>", "<style>*{display:none}</style>",
    "<svg/onload=alert(1)>", "- <iframe src=\"https://example.org\">", "> <form><input>",
    "| <script>x</script> |\n| - |\n| <i>y</i> |",
  ])
  func `HTML is shown as text, none of it is lost and none of it works`(text: String) {
    let html = Markdown.html(text)
    for tag in ["script", "img", "b ", "style", "svg", "iframe", "form", "i>", "!--", "![", "?"] {
      #expect(!html.contains("<\(tag)"), "\(html)")
    }
    // Each tag of the text is there for the annotator to read.
    for part in text.split(separator: "<").dropFirst() {
      let name = part.prefix { $0.isLetter || $0 == "/" || $0 == "!" || $0 == "?" }
      #expect(html.contains("&lt;\(name)"), "\(html)")
    }
  }

  @Test func `a link goes where it says and never into a script`() {
    #expect(Markdown.html("[a](https://example.org)").contains("href=\"https://example.org\""))
    for url in ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x"] {
      #expect(!Markdown.html("[a](\(url))").lowercased().contains(url.lowercased()))
    }
    let image = Markdown.html("see ![a *cat*](https://example.org/cat.png) and ![![x](y)](z)")
    #expect(!image.contains("<img"))
    #expect(image.contains("<a href=\"https://example.org/cat.png\">a <em>cat</em></a>"))
  }

  @Test(
    .timeLimit(.minutes(1)),
    arguments: ["[", "![", "*a_ ", "`a", "> ", "- ", "<", "[a](", "|", "~", "\u{0}", "a**b"])
  func `a text made to take long takes no more than a moment`(part: String) {
    let clock = ContinuousClock()
    for length in [Markdown.longest, Markdown.longest + 100] {
      let text = String(repeating: part, count: length / part.utf8.count)
      let took = clock.measure { #expect(!Markdown.html(text).isEmpty) }
      #expect(took < .seconds(3))
    }
    // Many lines of it, and tables of it.
    let lines = String(repeating: part + "\n", count: Markdown.longest / (part.utf8.count + 1))
    #expect(clock.measure { _ = Markdown.html(lines) } < .seconds(3))
    let table = "|a|b|\n|-|-|\n" + lines.prefix(Markdown.longest / 2)
    #expect(clock.measure { _ = Markdown.html(table) } < .seconds(3))
  }
}
