// SPDX-License-Identifier: Apache-2.0

/// A word of the template language, or a stretch of text between its tags.
struct TemplateToken: Sendable {
  enum Kind: Sendable, Equatable {
    /// Text to be put out as it is.
    case text(String)
    /// `{{` and `}}`.
    case outputStart, outputEnd
    /// `{%` and `%}`.
    case blockStart, blockEnd
    case name(String)
    case string(String)
    case integer(Int)
    case float(Double)
    /// `+`, `==`, `(`, `|` and the like.
    case symbol(String)
    case end
  }

  var kind: Kind
  var line: Int
}

/// Splits a template into tokens as Jinja does with `trim_blocks` and `lstrip_blocks`, which is how
/// chat templates are rendered everywhere: the line feed after a tag and the white space before
/// one that begins a line belong to the tag.
struct TemplateLexer {
  private let source: [Unicode.Scalar]
  private var at = 0
  private var line = 1
  private var tokens: [TemplateToken] = []
  /// Whether the text that follows begins a line.
  private var atLineStart = true
  /// Whether the tag before asked for the white space after it to go (`-%}`).
  private var dropsSpace = false

  private init(_ source: String) {
    var text = source.unicodeScalars.map { $0 }
    // Line ends are normalised, and one line feed at the end of the file is not part of it.
    var normal: [Unicode.Scalar] = []
    normal.reserveCapacity(text.count)
    var i = 0
    while i < text.count {
      if text[i] == "\r" {
        normal.append("\n")
        if i + 1 < text.count, text[i + 1] == "\n" { i += 1 }
      } else {
        normal.append(text[i])
      }
      i += 1
    }
    text = normal
    if text.last == "\n" { text.removeLast() }
    self.source = text
  }

  static func tokens(of source: String) throws -> [TemplateToken] {
    var lexer = TemplateLexer(source)
    try lexer.run()
    return lexer.tokens
  }

  private func fail(_ message: String, line: Int? = nil) -> DataError {
    DataError(.badTemplate, "chat template line \(line ?? self.line): \(message)")
  }

  private func looking(at text: StaticString, from start: Int? = nil) -> Bool {
    let start = start ?? at
    let count = text.utf8CodeUnitCount
    guard start + count <= source.count else { return false }
    for i in 0..<count where source[start + i].value != UInt32(text.utf8Start[i]) { return false }
    return true
  }

  private mutating func advance(_ count: Int) {
    for i in at..<(at + count) where source[i] == "\n" { line += 1 }
    at += count
  }

  private mutating func run() throws {
    while at < source.count {
      let textStart = at
      var end = at
      while end < source.count, !(source[end] == "{" && isTag(end)) { end += 1 }
      emitText(textStart..<end)
      if at >= source.count { break }
      if looking(at: "{#") {
        try comment()
      } else if looking(at: "{{") {
        try tag(isOutput: true)
      } else {
        try tag(isOutput: false)
      }
    }
    tokens.append(TemplateToken(kind: .end, line: line))
  }

  private func isTag(_ i: Int) -> Bool {
    i + 1 < source.count && (source[i + 1] == "{" || source[i + 1] == "%" || source[i + 1] == "#")
  }

  /// Puts out the text up to a tag or the end, less what the tags on both sides take.
  private mutating func emitText(_ range: Range<Int>) {
    var text = source[range]
    let startLine = line
    let isLast = range.upperBound >= source.count
    advance(range.count)
    if dropsSpace {
      text = text.drop(while: \.isPythonSpace)
      dropsSpace = false
    }
    if !isLast {
      let mark = range.upperBound + 2 < source.count ? source[range.upperBound + 2] : " "
      if mark == "-" {
        while let last = text.last, last.isPythonSpace { text.removeLast() }
      } else if mark != "+", source[range.upperBound + 1] != "{" {
        // lstrip_blocks: white space from the start of the line up to the tag.
        var blank = text.endIndex
        while blank > text.startIndex, text[blank - 1] != "\n", text[blank - 1].isPythonSpace {
          blank -= 1
        }
        let reachesStart = blank == text.startIndex
        if reachesStart ? atLineStart : text[blank - 1] == "\n" { text = text[..<blank] }
      }
    }
    if !text.isEmpty {
      var string = String.UnicodeScalarView()
      string.append(contentsOf: text)
      tokens.append(TemplateToken(kind: .text(String(string)), line: startLine))
    }
  }

  /// After `-%}`, `%}` and their like: what of the text that follows belongs to the tag.
  private mutating func close(dropsSpace drops: Bool, trimsLine: Bool) {
    dropsSpace = drops
    atLineStart = false
    if drops {
      // The tag takes the white space with it, so what follows begins a line if that ended one.
      var end = at
      while end < source.count, source[end].isPythonSpace { end += 1 }
      if end > at { atLineStart = source[end - 1] == "\n" }
    } else if trimsLine, at < source.count, source[at] == "\n" {
      advance(1)
      atLineStart = true
    }
  }

  private mutating func comment() throws {
    let start = line
    advance(2)
    while at < source.count, !looking(at: "#}") { advance(1) }
    guard at < source.count else { throw fail("a comment is not closed", line: start) }
    let mark = source[at - 1]
    advance(2)
    close(dropsSpace: mark == "-", trimsLine: mark != "+")
  }

  private mutating func tag(isOutput: Bool) throws {
    let start = line
    tokens.append(TemplateToken(kind: isOutput ? .outputStart : .blockStart, line: line))
    advance(2)
    if at < source.count, source[at] == "-" || source[at] == "+" { advance(1) }
    let first = tokens.count
    var isRaw = false
    var open: [Unicode.Scalar] = []
    while true {
      while at < source.count, source[at].isPythonSpace { advance(1) }
      guard at < source.count else { throw fail("a tag is not closed", line: start) }
      if open.isEmpty {
        let skip = source[at] == "-" || source[at] == "+" ? 1 : 0
        let isEnd =
          isOutput ? looking(at: "}}", from: at + skip) : looking(at: "%}", from: at + skip)
        if isEnd, !(isOutput && source[at] == "+") {
          let mark = source[at]
          tokens.append(TemplateToken(kind: isOutput ? .outputEnd : .blockEnd, line: line))
          advance(2 + skip)
          isRaw = !isOutput && tokens.count == first + 2 && tokens[first].kind == .name("raw")
          close(dropsSpace: mark == "-", trimsLine: !isOutput && !isRaw && mark != "+")
          break
        }
      }
      try word(&open)
    }
    if isRaw {
      tokens.removeLast(3)
      try raw(start)
    }
  }

  /// The text of `{% raw %} … {% endraw %}`.
  private mutating func raw(_ start: Int) throws {
    let from = at
    while at < source.count {
      if looking(at: "{%") {
        var i = at + 2
        if i < source.count, source[i] == "-" || source[i] == "+" { i += 1 }
        while i < source.count, source[i].isPythonSpace { i += 1 }
        if looking(at: "endraw", from: i) {
          i += 6
          while i < source.count, source[i].isPythonSpace { i += 1 }
          let marked = i < source.count && (source[i] == "-" || source[i] == "+")
          let skip = marked ? 1 : 0
          if looking(at: "%}", from: i + skip) {
            let end = at
            let mark = source[i]
            at = from
            emitText(from..<end)
            advance(i + skip + 2 - end)
            close(dropsSpace: mark == "-", trimsLine: mark != "+")
            return
          }
        }
      }
      at += 1
    }
    throw fail("raw is not closed by endraw", line: start)
  }

  private mutating func word(_ open: inout [Unicode.Scalar]) throws {
    let scalar = source[at]
    let start = line
    if scalar == "'" || scalar == "\"" {
      let text = try string(quote: scalar)
      tokens.append(TemplateToken(kind: .string(text), line: start))
    } else if scalar.properties.isXIDStart || scalar == "_" {
      let from = at
      while at < source.count, source[at].properties.isXIDContinue { at += 1 }
      tokens.append(TemplateToken(kind: .name(text(from..<at)), line: start))
    } else if scalar.properties.numericType == .decimal {
      try number()
    } else {
      for symbol in Self.symbols where looking(at: symbol) {
        let text = "\(symbol)"
        switch scalar {
        case "(": open.append(")")
        case "[": open.append("]")
        case "{": open.append("}")
        case ")", "]", "}":
          guard open.popLast() == scalar else { throw fail("unexpected \(text)") }
        default: break
        }
        advance(symbol.utf8CodeUnitCount)
        tokens.append(TemplateToken(kind: .symbol(text), line: start))
        return
      }
      throw fail("unexpected character \(scalar.debugDescription)")
    }
  }

  private static let symbols: [StaticString] = [
    "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", ".", ":",
    "|", ",", ";", "(", ")", "[", "]", "{", "}",
  ]

  private func text(_ range: Range<Int>) -> String {
    var view = String.UnicodeScalarView()
    view.append(contentsOf: source[range])
    return String(view)
  }

  private mutating func number() throws {
    let start = at
    while at < source.count, source[at].properties.numericType == .decimal || source[at] == "_" {
      at += 1
    }
    var isFloat = false
    if at + 1 < source.count, source[at] == ".",
      source[at + 1].properties.numericType == .decimal
    {
      isFloat = true
      at += 1
      while at < source.count, source[at].properties.numericType == .decimal { at += 1 }
    }
    if at + 1 < source.count, source[at] == "e" || source[at] == "E",
      source[at + 1].properties.numericType == .decimal
    {
      isFloat = true
      at += 1
      while at < source.count, source[at].properties.numericType == .decimal { at += 1 }
    }
    let digits = text(start..<at).filter { $0 != "_" }
    if isFloat, let value = Double(digits) {
      tokens.append(TemplateToken(kind: .float(value), line: line))
    } else if let value = Int(digits) {
      tokens.append(TemplateToken(kind: .integer(value), line: line))
    } else {
      throw fail("the number \(digits) is too large or damaged")
    }
  }

  private mutating func string(quote: Unicode.Scalar) throws -> String {
    let start = line
    advance(1)
    var view = String.UnicodeScalarView()
    while at < source.count, source[at] != quote {
      let scalar = source[at]
      advance(1)
      guard scalar == "\\" else {
        view.append(scalar)
        continue
      }
      guard at < source.count else { break }
      let escaped = source[at]
      advance(1)
      switch escaped {
      case "n": view.append("\n")
      case "t": view.append("\t")
      case "r": view.append("\r")
      case "b": view.append("\u{8}")
      case "f": view.append("\u{C}")
      case "0": view.append("\0")
      case "\\", "'", "\"": view.append(escaped)
      case "\n": break
      case "x", "u", "U":
        let count = escaped == "x" ? 2 : escaped == "u" ? 4 : 8
        guard at + count <= source.count, let code = UInt32(text(at..<(at + count)), radix: 16),
          let decoded = Unicode.Scalar(code)
        else { throw fail("a \\\(escaped) escape is damaged") }
        view.append(decoded)
        advance(count)
      default:
        view.append("\\")
        view.append(escaped)
      }
    }
    guard at < source.count else { throw fail("a string is not closed", line: start) }
    advance(1)
    return String(view)
  }
}
