// SPDX-License-Identifier: Apache-2.0

import AttuneData

extension String {
  /// Whether it has letters with a case, all of them upper: Python's `isupper`.
  var isUpper: Bool { hasOneCase(\.isUppercase, other: \.isLowercase) }
  /// Whether it has letters with a case, all of them lower.
  var isLower: Bool { hasOneCase(\.isLowercase, other: \.isUppercase) }

  private func hasOneCase(
    _ wanted: KeyPath<Unicode.Scalar.Properties, Bool>,
    other: KeyPath<Unicode.Scalar.Properties, Bool>
  ) -> Bool {
    var hasOne = false
    for scalar in unicodeScalars {
      let properties = scalar.properties
      if properties[keyPath: other] || properties.generalCategory == .titlecaseLetter {
        return false
      }
      if properties[keyPath: wanted] { hasOne = true }
    }
    return hasOne
  }
}

/// Sentences by plain rules: one ends at `.`, `!`, `?` or `…` (and what closes behind them) before a space
/// or the end; not at a full stop behind an abbreviation, an initial or a number that lists.
enum Sentences {
  private static let abbreviations: Set<String> = [
    "mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "vs", "etc", "inc", "ltd", "co", "corp",
    "e.g",
    "i.e", "fig", "no", "dept", "est", "gen", "col", "capt", "lt", "rev", "hon", "jan", "feb",
    "mar",
    "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "approx", "al", "u.s", "u.k",
    "a.m",
    "p.m", "ph.d",
  ]

  static func count(in text: String) -> Int {
    var (count, isOpen) = (0, false)
    let words = text.split(whereSeparator: \.isWhitespace)
    for (place, word) in words.enumerated() {
      isOpen = isOpen || word.contains { $0.isLetter || $0.isNumber }
      guard isOpen else { continue }
      var bare = word
      while let last = bare.last, "\"'”’)]*_".contains(last) { bare.removeLast() }
      guard let last = bare.last, ".!?…。！？".contains(last) else { continue }
      if last == ".", place + 1 < words.count {
        let stem = bare.dropLast()
        if stem.count == 1 && stem.allSatisfy(\.isUppercase) || stem.allSatisfy(\.isNumber) {
          continue
        }
        let isShort = abbreviations.contains(
          stem.drop { !$0.isLetter && !$0.isNumber }.lowercased())
        let goesOn = words[place + 1].first.map { $0.isLowercase || $0.isNumber } ?? false
        if isShort, goesOn || stem.first?.isUppercase == true { continue }
        if goesOn, isShort { continue }
      }
      count += 1
      isOpen = false
    }
    return count + (isOpen ? 1 : 0)
  }
}

/// Words in capitals, as NLTK's tokenizer parts words: at brackets, quotes and signs, at commas and
/// colons that no digit follows, before `'s` and its like, and before `n't`.
enum CapitalWords {
  private static let signs: Set<Character> = Set("[](){}<>;@#$%&?!\"“”«»‘’…")
  private static let endings = ["'S", "'M", "'D", "'LL", "'RE", "'VE", "N'T"]

  static func count(in text: String) -> Int {
    text.split(whereSeparator: \.isWhitespace).flatMap(parts).count(where: \.isUpper)
  }

  private static func parts(_ word: Substring) -> [String] {
    var parts = [""]
    let characters = Array(word.replacing("--", with: "…").replacing("...", with: "…"))
    for (place, character) in characters.enumerated() {
      let next = place + 1 < characters.count ? characters[place + 1] : nil
      let parting =
        signs.contains(character)
        || ",:".contains(character) && !(next?.isNumber ?? false)
      if parting { parts.append("") } else { parts[parts.count - 1].append(character) }
    }
    return parts.flatMap { part -> [String] in
      for ending in endings where part.count > ending.count {
        let cut = part.index(part.endIndex, offsetBy: -ending.count)
        if part[cut...].uppercased() == ending {
          return [String(part[..<cut]), String(part[cut...])]
        }
      }
      return [part]
    }
  }
}
