// SPDX-License-Identifier: Apache-2.0

import AttuneServer
import Foundation
import Testing

/// Two characters that no text should have, U+FDD0 and U+FDD1.
private let noncharacters = String(
  decoding: [0xEF, 0xB7, 0x90, 0xEF, 0xB7, 0x91] as [UInt8], as: UTF8.self)

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

  /// What a reader sees of HTML.
  private func seen(_ html: String) -> String {
    html.replacing(/<br \/>\n?/, with: "\n").replacing(/<[^>]+>/, with: "")
      .replacing("&lt;", with: "<").replacing("&gt;", with: ">").replacing("&quot;", with: "\"")
      .replacing("&amp;", with: "&").trimmingCharacters(in: .whitespacesAndNewlines)
  }

  @Test(arguments: [
    "2*3*4 and a*b*c", "x**2 + y**2", "f(x)*g(y)*h(z)", "π*r*r", "snake_case_name and _x",
    #"\(y_1 * y_2 * z\) and \[a_i^* + b_i^*\]"#, #"$x_{1}*y_{2}*z$"#, "$$a < b > c & d$$",
    #"$\frac{a}{b} \\ \{x\}$"#, "<think>", "</think>", "<tool_call>", "<|im_start|>",
    "It costs $5 or $6*2*3.", "\\[\na\n+ b\n- c\n= d\n\\]", "$$\nx\n---\ny\n$$", "2 * 3 * 4",
  ])
  func `formulas, operators and tags of no HTML are shown as written`(text: String) {
    #expect(seen(Markdown.html(text)) == text)
  }

  @Test(arguments: [
    ("a *word* here", "a word here"), ("中文**强调**中文", "中文强调中文"), ("**2**", "2"),
    (#"\*plain\*"#, "*plain*"), ("`2*3*4` and `\\(x\\)`", "2*3*4 and \\(x\\)"),
    ("costs $5 *or* $6", "costs $5 or $6"), (#"\[a\](b)"#, "[a](b)"),
    ("```\n<think> 2*3*4 $a_b$\n```", "<think> 2*3*4 $a_b$"),
    ("<think>\nI *should* think\n</think>\nfinal", "<think>\nI should think\n</think>\nfinal"),
    ("one\ntwo", "one\ntwo"), (noncharacters + "x", "\u{FFFD}\u{FFFD}x"),
  ])
  func `what is Markdown is read as such beside them`(text: String, shown: String) {
    #expect(seen(Markdown.html(text)) == shown)
  }

  @Test func `a link keeps its marks, and a table its columns`() {
    #expect(Markdown.html("[a](https://x.org/2*3*4)").contains("href=\"https://x.org/2%2A3%2A4\""))
    let table = Markdown.html("| a | $|x|$ |\n| - | - |\n| 1 | 2*3*4 |")
    #expect(table.contains("<th scope=\"col\">a</th>") && table.contains("<thead>"))
    #expect(table.contains("<th scope=\"col\">$|x|$</th>") && table.contains("<td>2*3*4</td>"))
    #expect(table.contains("<div class=\"scroll\" role=\"group\" tabindex=\"0\"><table>"))
  }

  @Test(
    .timeLimit(.minutes(1)),
    arguments: [
      "[", "![", "*a_ ", "`a", "> ", "- ", "<", "[a](", "|", "~", "\u{0}", "a**b",
      "$", "$a", "\\(", "\\[x", "<a_", "$$", "a*b", noncharacters,
    ])
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
