// SPDX-License-Identifier: Apache-2.0

import CMarkGFM
import Foundation

/// Turns a model's Markdown into HTML that is safe whatever the model wrote.
///
/// cmark-gfm parses and writes it, unsafe HTML off. What the text holds of HTML is shown as text,
/// and an image as a link to it: the page loads nothing from anywhere.
package enum Markdown {
  /// Longer texts are shown as they are: some texts take cmark-gfm time that grows with the square
  /// of their length.
  package static let longest = 32_768

  /// The extensions of GitHub's Markdown that are read.
  private static let extensions: [String] = {
    cmark_gfm_core_extensions_ensure_registered()
    return ["table", "strikethrough", "tasklist"]
  }()

  /// HTML of a text.
  ///
  /// - Parameters:
  ///   - text: The text.
  ///   - length: Longer ones, in bytes, are shown as they are.
  package static func html(_ text: String, upTo length: Int = longest) -> String {
    guard text.utf8.count <= length, let parser = cmark_parser_new(options) else {
      return "<pre>\(escaped(text))</pre>"
    }
    defer { cmark_parser_free(parser) }
    for name in extensions {
      if let found = cmark_find_syntax_extension(name) {
        cmark_parser_attach_syntax_extension(parser, found)
      }
    }
    var hidden = LiteralMarks.hide(in: text)
    hidden.withUTF8 { bytes in
      bytes.withMemoryRebound(to: CChar.self) {
        cmark_parser_feed(parser, $0.baseAddress, $0.count)
      }
    }
    guard let document = cmark_parser_finish(parser) else { return "<pre>\(escaped(text))</pre>" }
    defer { cmark_node_free(document) }
    disarm(document)
    guard
      let html = cmark_render_html(document, options, cmark_parser_get_syntax_extensions(parser))
    else { return "<pre>\(escaped(text))</pre>" }
    defer { free(html) }
    return LiteralMarks.show(in: String(cString: html))
      // The text's own tags are shown as text by now: these are cmark-gfm's.
      .replacing("<th", with: "<th scope=\"col\"").replacing("<th scope=\"col\"ead", with: "<thead")
      .replacing("<table>", with: "<div class=\"scroll\" role=\"group\" tabindex=\"0\"><table>")
      .replacing("</table>", with: "</table></div>")
  }

  /// A text as HTML that shows it.
  static func escaped(_ text: String) -> String {
    var out = ""
    for character in text.unicodeScalars {
      switch character {
      case "&": out += "&amp;"
      case "<": out += "&lt;"
      case ">": out += "&gt;"
      case "\"": out += "&quot;"
      case "\0": out += "\u{FFFD}"
      default: out.unicodeScalars.append(character)
      }
    }
    return out
  }

  /// Lines end where the text ends them: prompts and poems are written so.
  private static let options =
    CMARK_OPT_DEFAULT | CMARK_OPT_VALIDATE_UTF8 | CMARK_OPT_HARDBREAKS

  /// Makes text of every piece of HTML, and links of images.
  private static func disarm(_ document: OpaquePointer) {
    var raw: [OpaquePointer] = []
    guard let walk = cmark_iter_new(document) else { return }
    while true {
      let event = cmark_iter_next(walk)
      if event == CMARK_EVENT_DONE { break }
      guard event == CMARK_EVENT_ENTER, let node = cmark_iter_get_node(walk) else { continue }
      let type = cmark_node_get_type(node)
      if type == CMARK_NODE_HTML_BLOCK || type == CMARK_NODE_HTML_INLINE
        || type == CMARK_NODE_IMAGE
      {
        raw.append(node)
      }
    }
    cmark_iter_free(walk)
    // Only now: nodes are not to be replaced while they are walked over.
    for node in raw {
      let type = cmark_node_get_type(node)
      let isBlock = type == CMARK_NODE_HTML_BLOCK
      let isImage = type == CMARK_NODE_IMAGE
      guard
        let other = cmark_node_new(
          isBlock ? CMARK_NODE_CODE_BLOCK : isImage ? CMARK_NODE_LINK : CMARK_NODE_TEXT)
      else { continue }
      if isImage {
        cmark_node_set_url(other, cmark_node_get_url(node))
        while let child = cmark_node_first_child(node) {
          guard cmark_node_append_child(other, child) == 1 else { break }
        }
      } else {
        cmark_node_set_literal(other, cmark_node_get_literal(node))
      }
      // Without a parent it is the document itself, which none of these is.
      if cmark_node_replace(node, other) == 1 {
        cmark_node_free(node)
      } else {
        cmark_node_free(other)
      }
    }
  }
}
