// SPDX-License-Identifier: Apache-2.0

/// A token that is found in the text before words are split, as `tokenizer.json` describes it.
struct AddedToken: Sendable, Equatable {
  var id: Int
  var content: String
  /// Whether it controls: never read from data, skipped when text is decoded.
  var isSpecial = true
  /// Whether it takes the white space before it along.
  var stripsLeft = false
  /// Whether it takes the white space after it along.
  var stripsRight = false
  /// Whether it is looked for after normalisation, and not before.
  var isNormalized = false
  /// Whether it only counts between characters that are not of a word.
  var isSingleWord = false
}

/// Finds added tokens in a text: leftmost first, the longest of several.
struct AddedTokens: Sendable {
  /// A part of a text: an added token, or text between two.
  struct Part {
    var range: Range<Int>
    var id: Int32?
  }

  private let tokens: [(token: AddedToken, bytes: [UInt8])]
  /// Indices of tokens by first byte, the longest first.
  private let byFirstByte: [[Int]]

  var isEmpty: Bool { tokens.isEmpty }
  let hasSpecial: Bool

  /// Makes a finder.
  ///
  /// - Parameter normalize: Applied to the tokens' texts.
  init(_ tokens: [AddedToken], normalize: (String) -> String = { $0 }) {
    let all = tokens.map { (token: $0, bytes: Array(normalize($0.content).utf8)) }
      .filter { !$0.bytes.isEmpty }
    var index = [[Int]](repeating: [], count: 256)
    for (place, entry) in all.enumerated() { index[Int(entry.bytes[0])].append(place) }
    for byte in 0..<256 {
      index[byte].sort {
        (-all[$0].bytes.count, $0) < (-all[$1].bytes.count, $1)
      }
    }
    self.tokens = all
    self.byFirstByte = index
    self.hasSpecial = tokens.contains { $0.isSpecial }
  }

  /// Cuts a text at the added tokens in it.
  ///
  /// - Parameters:
  ///   - text: Well-formed UTF-8.
  ///   - control: Where special tokens may be.
  func split(_ text: UnsafeBufferPointer<UInt8>, control: ControlText) -> [Part] {
    var parts: [Part] = []
    var start = 0
    var position = 0
    while position < text.count {
      guard let (token, end) = match(in: text, at: position, control: control) else {
        position += 1
        continue
      }
      if token.isSingleWord, touchesWord(text, position, end) {
        position = end
        continue
      }
      let left = token.stripsLeft ? max(start, leftOfSpace(text, position)) : max(start, position)
      let right = token.stripsRight ? rightOfSpace(text, end) : end
      if start < left { parts.append(Part(range: start..<left, id: nil)) }
      parts.append(Part(range: left..<max(left, right), id: Int32(token.id)))
      start = max(left, right)
      position = end
    }
    if start < text.count { parts.append(Part(range: start..<text.count, id: nil)) }
    return parts
  }

  private func match(
    in text: UnsafeBufferPointer<UInt8>, at position: Int, control: ControlText
  ) -> (token: AddedToken, end: Int)? {
    for place in byFirstByte[Int(text[position])] {
      let (token, bytes) = tokens[place]
      let end = position + bytes.count
      guard end <= text.count, text[position..<end].elementsEqual(bytes) else { continue }
      if token.isSpecial {
        if !control.allows(position..<end) { continue }
      } else if control.crosses(position..<end),
        (position + 1..<end).contains(where: { isControl(in: text, at: $0, control: control) })
      {
        // Data must not swallow the start of a control token of the template.
        continue
      }
      return (token, end)
    }
    return nil
  }

  private func isControl(
    in text: UnsafeBufferPointer<UInt8>, at position: Int, control: ControlText
  ) -> Bool {
    byFirstByte[Int(text[position])].contains { place in
      let end = position + tokens[place].bytes.count
      return tokens[place].token.isSpecial && end <= text.count
        && control.allows(position..<end) && text[position..<end].elementsEqual(tokens[place].bytes)
    }
  }

  private func touchesWord(_ text: UnsafeBufferPointer<UInt8>, _ start: Int, _ end: Int) -> Bool {
    if start > 0, scalar(in: text, before: start).isOfWord { return true }
    return end < text.count && scalar(in: text, at: end).isOfWord
  }

  private func leftOfSpace(_ text: UnsafeBufferPointer<UInt8>, _ position: Int) -> Int {
    var left = position
    while left > 0 {
      let scalar = scalar(in: text, before: left)
      guard scalar.properties.isWhitespace else { break }
      left -= UTF8.width(scalar)
    }
    return left
  }

  private func rightOfSpace(_ text: UnsafeBufferPointer<UInt8>, _ position: Int) -> Int {
    var right = position
    while right < text.count {
      let scalar = scalar(in: text, at: right)
      guard scalar.properties.isWhitespace else { break }
      right += UTF8.width(scalar)
    }
    return right
  }

  private func scalar(in text: UnsafeBufferPointer<UInt8>, at position: Int) -> Unicode.Scalar {
    String(decoding: text[position..<min(position + 4, text.count)], as: UTF8.self)
      .unicodeScalars.first ?? "\u{FFFD}"
  }

  private func scalar(in text: UnsafeBufferPointer<UInt8>, before end: Int) -> Unicode.Scalar {
    var start = end - 1
    while start > 0, text[start] & 0xC0 == 0x80 { start -= 1 }
    return scalar(in: text, at: start)
  }
}

/// Which parts of a text may hold control tokens.
enum ControlText {
  case everywhere
  case nowhere
  /// Not where a byte came from data: one flag a byte.
  case outsideData([Bool])

  func allows(_ range: Range<Int>) -> Bool {
    switch self {
    case .everywhere: return true
    case .nowhere: return false
    case .outsideData(let isData): return !isData[range].contains(true)
    }
  }

  /// Whether the range holds both data and a template's text.
  func crosses(_ range: Range<Int>) -> Bool {
    guard case .outsideData(let isData) = self else { return false }
    return isData[range].contains(true) && isData[range].contains(false)
  }

  /// The same for a part of the text.
  func slice(_ range: Range<Int>) -> ControlText {
    guard case .outsideData(let isData) = self else { return self }
    return .outsideData(Array(isData[range]))
  }
}

extension Unicode.Scalar {
  /// Whether a regular expression's `\w` matches it (Unicode Technical Standard 18, annex C).
  fileprivate var isOfWord: Bool {
    if properties.isAlphabetic || properties.isJoinControl { return true }
    switch properties.generalCategory {
    case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation:
      return true
    default: return false
    }
  }
}
