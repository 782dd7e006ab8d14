// SPDX-License-Identifier: Apache-2.0

/// Marks of a text that Markdown would take for its own though they are meant as they stand: in
/// formulas, between letters and digits (`2*3*4`, `x**2`), and the tags that models think in.
///
/// They are put out of the parser's sight as characters that no text has (U+FDD0 and following, which
/// Unicode keeps for such use), and put back into its HTML, where code shows them too.
enum LiteralMarks {
  private static let marks = Array("\\*_[]~|<>&#+-=!".utf8)
  /// The place of each mark among ``marks``, 255 for other bytes.
  private static let place: [UInt8] = {
    var places = [UInt8](repeating: 255, count: 256)
    for (i, mark) in marks.enumerated() { places[Int(mark)] = UInt8(i) }
    return places
  }()
  /// Formulas are looked for no further than this, in bytes.
  private static let longestFormula = 2000

  /// A text in which these marks are hidden.
  static func hide(in text: String) -> String {
    let bytes = Array(text.utf8)
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count)
    var at = 0
    func put(_ end: Int) {
      while at < end {
        let mark = place[Int(bytes[at])]
        if mark < 255 { out += [0xEF, 0xB7, 0x90 + mark] } else { out.append(bytes[at]) }
        at += 1
      }
    }
    while at < bytes.count {
      switch bytes[at] {
      case UInt8(ascii: "\\"):
        if let end = bracketed(bytes, at) {
          put(end)
        } else {
          // What it escapes is no mark either way.
          out.append(bytes[at])
          at += 1
          if at < bytes.count, bytes[at] < 0x80, bytes[at] != 10 {
            out.append(bytes[at])
            at += 1
          }
        }
      case UInt8(ascii: "$"):
        if let end = dollars(bytes, at) {
          put(end)
        } else {
          out.append(bytes[at])
          at += 1
        }
      case UInt8(ascii: "*"):
        let end = bytes[at...].firstIndex { $0 != UInt8(ascii: "*") } ?? bytes.count
        if end - at <= 2, isJoined(bytes, at, end) {
          put(end)
        } else {
          out += bytes[at..<end]
          at = end
        }
      case UInt8(ascii: "<") where isTag(bytes, at): put(at + 1)
      case 0xEF
      where at + 2 < bytes.count && bytes[at + 1] == 0xB7 && (0x90...0xAF).contains(bytes[at + 2]):
        out += [0xEF, 0xBF, 0xBD]
        at += 3
      default:
        out.append(bytes[at])
        at += 1
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  /// HTML in which the marks stand again.
  static func show(in html: String) -> String {
    let bytes = Array(html.utf8)
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count)
    let escaped = Array("%EF%B7%9".utf8)
    var at = 0
    while at < bytes.count {
      if bytes[at] == 0xEF, at + 2 < bytes.count, bytes[at + 1] == 0xB7, bytes[at + 2] >= 0x90,
        Int(bytes[at + 2]) - 0x90 < marks.count
      {
        switch marks[Int(bytes[at + 2]) - 0x90] {
        case UInt8(ascii: "<"): out += Array("&lt;".utf8)
        case UInt8(ascii: ">"): out += Array("&gt;".utf8)
        case UInt8(ascii: "&"): out += Array("&amp;".utf8)
        case let mark: out.append(mark)
        }
        at += 3
      } else if bytes[at] == UInt8(ascii: "%"), at + escaped.count < bytes.count,
        bytes[at..<at + escaped.count].elementsEqual(escaped),
        let digit = Character(UnicodeScalar(bytes[at + escaped.count])).hexDigitValue,
        digit < marks.count
      {
        // In the address of a link.
        let hex = String(marks[digit], radix: 16, uppercase: true)
        out += Array("%\(hex)".utf8)
        at += escaped.count + 1
      } else {
        out.append(bytes[at])
        at += 1
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  /// The end of a formula in `\(…\)` or `\[…\]` that begins here.
  private static func bracketed(_ bytes: [UInt8], _ start: Int) -> Int? {
    guard start + 1 < bytes.count else { return nil }
    let close: UInt8
    switch bytes[start + 1] {
    case UInt8(ascii: "("): close = UInt8(ascii: ")")
    case UInt8(ascii: "["): close = UInt8(ascii: "]")
    default: return nil
    }
    var at = start + 2
    while at + 1 < bytes.count, at - start < longestFormula, !ends(bytes, at) {
      if bytes[at] == UInt8(ascii: "\\") {
        if bytes[at + 1] == close {
          // `\[a\](b)` are brackets that some writer of Markdown escaped.
          let isLink =
            close == UInt8(ascii: "]") && at + 2 < bytes.count
            && bytes[at + 2] == UInt8(ascii: "(")
          return isLink ? nil : at + 2
        }
        at += 1
      }
      at += 1
    }
    return nil
  }

  /// The end of a formula in `$$…$$`, or in `$…$` as Pandoc has it: no space inside the dollars and no
  /// digit behind them, so that prices are none.
  private static func dollars(_ bytes: [UInt8], _ start: Int) -> Int? {
    let dollar = UInt8(ascii: "$")
    guard start + 1 < bytes.count else { return nil }
    let isDouble = bytes[start + 1] == dollar
    var at = start + (isDouble ? 2 : 1)
    guard at < bytes.count, isDouble || !isSpace(bytes[at]) else { return nil }
    while at < bytes.count, at - start < longestFormula, !ends(bytes, at) {
      if bytes[at] == dollar {
        if isDouble {
          if at + 1 < bytes.count, bytes[at + 1] == dollar { return at + 2 }
        } else {
          let isFollowed = at + 1 < bytes.count && (0x30...0x39).contains(bytes[at + 1])
          return isSpace(bytes[at - 1]) || isFollowed ? nil : at + 1
        }
      }
      at += bytes[at] == UInt8(ascii: "\\") ? 2 : 1
    }
    return nil
  }

  /// Whether no formula goes on beyond this place: code begins, or a line is empty.
  private static func ends(_ bytes: [UInt8], _ at: Int) -> Bool {
    bytes[at] == UInt8(ascii: "`")
      || (bytes[at] == 10 && at + 1 < bytes.count && (bytes[at + 1] == 10 || bytes[at + 1] == 13))
  }

  private static func isSpace(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }

  /// Whether stars stand between letters, digits or brackets: an operator. Letters of Asia don't count:
  /// there words stand side by side, and emphasis between them.
  private static func isJoined(_ bytes: [UInt8], _ start: Int, _ end: Int) -> Bool {
    guard start > 0, end < bytes.count else { return false }
    let (before, after) = (bytes[start - 1], bytes[end])
    let isBefore =
      isWord(before) || before == UInt8(ascii: ")") || before == UInt8(ascii: "]")
      || (before >= 0x80 && start > 1 && (0xC3...0xD3).contains(bytes[start - 2]))
    return isBefore
      && (isWord(after) || after == UInt8(ascii: "(") || (0xC3...0xD3).contains(after))
  }

  private static func isWord(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
    default: false
    }
  }

  /// Whether `<name>` or `</name>` begins here and no HTML has that name: `<think>`.
  private static func isTag(_ bytes: [UInt8], _ start: Int) -> Bool {
    var at = start + 1
    if at < bytes.count, bytes[at] == UInt8(ascii: "/") { at += 1 }
    var name = ""
    while at < bytes.count, name.utf8.count < 32,
      isWord(bytes[at]) || bytes[at] == UInt8(ascii: "_") || bytes[at] == UInt8(ascii: "|")
    {
      name.unicodeScalars.append(UnicodeScalar(bytes[at] | (isWord(bytes[at]) ? 0x20 : 0)))
      at += 1
    }
    return !name.isEmpty && at < bytes.count && bytes[at] == UInt8(ascii: ">")
      && !elements.contains(name)
  }

  private static let elements = Set(
    """
    a abbr acronym address area article aside audio b base bdi bdo big blockquote body br button canvas
    caption center cite code col colgroup data datalist dd del details dfn dialog dir div dl dt em embed
    fieldset figcaption figure font footer form frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr
    html i iframe img input ins kbd label legend li link main map mark math menu meta meter nav noframes
    noscript object ol optgroup option output p param picture pre progress q rp rt ruby s samp script
    search section select slot small source span strike strong style sub summary sup svg table tbody td
    template textarea tfoot th thead time title tr track tt u ul var video wbr
    """.split(whereSeparator: \.isWhitespace).map(String.init))
}
