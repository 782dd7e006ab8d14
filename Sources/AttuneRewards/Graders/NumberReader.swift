// SPDX-License-Identifier: Apache-2.0

import AttuneData

/// A number that a text says, with or without a percent sign.
struct SaidNumber: Sendable, Hashable {
  /// The number before the sign.
  let value: Rational
  /// Whether a percent sign stands behind it.
  let isPercent: Bool

  /// Whether two say one number: 50 % is 50 %, and beside a number without the sign 50 and 1/2 both.
  static func areEqual(_ a: SaidNumber, _ b: SaidNumber) -> Bool {
    if a.value == b.value { return true }
    guard a.isPercent != b.isPercent else { return false }
    let (percent, plain) = a.isPercent ? (a, b) : (b, a)
    return percent.value == plain.value * Rational(100)
  }
}

/// Finds the numbers of a text: `1,234.50`, `-3`, `3/4`, `1 1/2`, `$5`, `5 km`, `\frac{3}{4}`, `2e3`, `50 %`.
///
/// A minus is a sign where no letter, digit or bracket stands before it. Thousands are set off by commas,
/// apostrophes or no-break spaces. Units are passed over.
struct NumberReader: Sendable {
  private let expression: RegularExpression

  init() {
    let digits =
      #"(?:[0-9]{1,3}(?:[,'’\x{A0}\x{202F}][0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+"#
    let whole = #"[0-9]+\s+[0-9]+\s?[/⁄]\s?[0-9]+"#
    let fraction = #"(?:\#(digits))(?:\s?[/⁄]\s?(?:\#(digits))(?![0-9]*/))?"#
    let power = #"(?:[eE][-+]?[0-9]+(?![0-9A-Za-z]))?"#
    let sign = #"(?:(?<![\w)\]}])[-−+]\s?)?"#
    do {
      expression = try RegularExpression(
        #"\#(sign)[$€£¥]?(?:\#(whole)|\#(fraction)\#(power))(?:\s?\\?%|\s?percent\b)?"#)
    } catch {
      preconditionFailure("\(error)")
    }
  }

  /// The first or the last number of a text; nil where there is none.
  func number(in text: String, first: Bool = false) -> SaidNumber? {
    // A text that is long beyond all answers is read from its end.
    let text = Self.plain(String(text.suffix(20_000)))
    let found = expression.matches(in: text)
    return (first ? found : found.reversed()).lazy.compactMap { Self.read(String($0)) }.first
  }

  /// LaTeX's fractions as slashes, its commas as commas.
  private static func plain(_ text: String) -> String {
    guard text.contains("\\") || text.contains("{,}") else { return text }
    return text.replacing("{,}", with: ",").replacing("\\!", with: "").replacing("\\$", with: "$")
      .replacing(/\\[dtc]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}/) { " \($0.output.1)/\($0.output.2)" }
      .replacing(/\\[dtc]?frac\s*([0-9])([0-9])/) { " \($0.output.1)/\($0.output.2)" }
  }

  private static func read(_ text: String) -> SaidNumber? {
    var text = text[...]
    let isPercent = text.hasSuffix("%") || text.hasSuffix("percent")
    if text.hasSuffix("percent") { text.removeLast(7) }
    var isNegative = false
    var plain = ""
    for character in text {
      switch character {
      case "-", "−":
        // Behind a digit it is that of a power.
        if plain.isEmpty { isNegative = true } else { plain.append("-") }
      case "E", "e": plain.append("e")
      case "⁄", "/": plain.append("/")
      case ".", "0"..."9": plain.append(character)
      case _ where character.isWhitespace && !"\u{A0}\u{202F}".contains(character):
        if plain.last?.isNumber == true { plain.append(" ") }
      default: break
      }
    }
    while plain.last == " " { plain.removeLast() }
    plain = plain.replacing(/\s*\/\s*/, with: "/")
    var whole = Rational(0)
    if let space = plain.lastIndex(of: " ") {
      guard
        let before = Rational(decimal: plain[..<space].trimmingPrefix(" ").replacing(" ", with: ""))
      else { return nil }
      whole = before
      plain = String(plain[plain.index(after: space)...])
    }
    let parts = plain.split(separator: "/")
    guard let above = parts.first.flatMap({ Rational(decimal: $0) }) else { return nil }
    var value = whole + above
    if parts.count == 2 {
      guard let below = Rational(decimal: parts[1]), !below.isZero else { return nil }
      value = whole + above * below.inverse
    }
    return SaidNumber(value: isNegative ? -value : value, isPercent: isPercent)
  }
}
