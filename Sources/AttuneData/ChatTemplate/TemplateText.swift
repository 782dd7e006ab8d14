// SPDX-License-Identifier: Apache-2.0

/// A text that remembers which parts of it came from data, through joining, cutting and replacing.
/// Lengths and places are in Unicode scalars, as in Python, where a template was written for.
struct TemplateText: Sendable {
  /// The parts: none empty, no two neighbours of one origin.
  private(set) var pieces: [TemplatePiece] = []
  /// The length in bytes of UTF-8.
  private(set) var size = 0

  init() {}

  init(_ text: String, isData: Bool = false) { append(text, isData: isData) }

  mutating func append(_ text: String, isData: Bool) {
    if text.isEmpty { return }
    size += text.utf8.count
    if let last = pieces.indices.last, pieces[last].isData == isData {
      pieces[last].text += text
    } else {
      pieces.append(TemplatePiece(text: text, isData: isData))
    }
  }

  mutating func append(_ other: TemplateText) {
    for piece in other.pieces { append(piece.text, isData: piece.isData) }
  }

  static func + (a: TemplateText, b: TemplateText) -> TemplateText {
    var result = a
    result.append(b)
    return result
  }

  var isEmpty: Bool { pieces.isEmpty }

  var string: String {
    pieces.count == 1 ? pieces[0].text : pieces.map(\.text).joined()
  }

  var utf8: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(size)
    for piece in pieces { bytes += Array(piece.text.utf8) }
    return bytes
  }

  /// Whether both have the same scalars, whatever their origin.
  func equals(_ other: TemplateText) -> Bool { size == other.size && utf8 == other.utf8 }

  /// The bytes of a range, which must begin and end between scalars.
  func slice(_ range: Range<Int>) -> TemplateText {
    if range == 0..<size { return self }
    var result = TemplateText()
    var start = 0
    for piece in pieces {
      let utf8 = piece.text.utf8
      let end = start + utf8.count
      let low = max(range.lowerBound, start)
      let high = min(range.upperBound, end)
      if low < high {
        let from = utf8.index(utf8.startIndex, offsetBy: low - start)
        let to = utf8.index(from, offsetBy: high - low)
        result.append(String(piece.text[from..<to]), isData: piece.isData)
      }
      start = end
    }
    return result
  }

  /// Each part's text rewritten by itself.
  func mapped(_ rewrite: (String) -> String) -> TemplateText {
    var result = TemplateText()
    for piece in pieces { result.append(rewrite(piece.text), isData: piece.isData) }
    return result
  }

  /// The scalars one by one, each with its origin.
  var scalars: [(scalar: Unicode.Scalar, isData: Bool)] {
    pieces.flatMap { piece in piece.text.unicodeScalars.map { ($0, piece.isData) } }
  }

  init(_ scalars: [(scalar: Unicode.Scalar, isData: Bool)]) {
    var run = String.UnicodeScalarView()
    for (i, one) in scalars.enumerated() {
      run.append(one.scalar)
      if i + 1 == scalars.count || scalars[i + 1].isData != one.isData {
        append(String(run), isData: one.isData)
        run = String.UnicodeScalarView()
      }
    }
  }
}

extension TemplateText {
  /// The byte offsets at which a text occurs, from the left, without overlap.
  static func matches(of needle: [UInt8], in text: [UInt8], limit: Int = .max) -> [Int] {
    guard let first = needle.first, needle.count <= text.count else { return [] }
    var found: [Int] = []
    var at = 0
    while at + needle.count <= text.count, found.count < limit {
      if text[at] == first, text[at..<(at + needle.count)].elementsEqual(needle) {
        found.append(at)
        at += needle.count
      } else {
        at += 1
      }
    }
    return found
  }

  /// Python's `strip`: white space, or the given scalars, off the ends.
  func stripped(
    _ characters: String? = nil, left: Bool = true, right: Bool = true
  ) -> TemplateText {
    let set = characters.map { Set($0.unicodeScalars) }
    func goes(_ scalar: Unicode.Scalar) -> Bool {
      set.map { $0.contains(scalar) } ?? scalar.isPythonSpace
    }
    let all = string.unicodeScalars
    var start = 0
    var end = size
    if left {
      for scalar in all {
        guard goes(scalar) else { break }
        start += UTF8.width(scalar)
      }
    }
    if right, start < end {
      for scalar in all.reversed() {
        guard goes(scalar) else { break }
        end -= UTF8.width(scalar)
      }
    }
    return slice(start..<max(start, end))
  }

  /// Python's `split` at a separator.
  func split(at separator: TemplateText, limit: Int) -> [TemplateText] {
    var parts: [TemplateText] = []
    var start = 0
    for at in Self.matches(of: separator.utf8, in: utf8, limit: limit) {
      parts.append(slice(start..<at))
      start = at + separator.size
    }
    parts.append(slice(start..<size))
    return parts
  }

  /// Python's `split` at runs of white space.
  func splitAtSpace(limit: Int) -> [TemplateText] {
    var parts: [TemplateText] = []
    var start: Int?
    var at = 0
    for scalar in string.unicodeScalars {
      if scalar.isPythonSpace {
        if let from = start {
          parts.append(slice(from..<at))
          start = nil
        }
      } else if start == nil {
        start = at
        if parts.count == limit {
          parts.append(slice(at..<size).stripped(left: false))
          return parts
        }
      }
      at += UTF8.width(scalar)
    }
    if let from = start { parts.append(slice(from..<size)) }
    return parts
  }

  func replacing(_ old: TemplateText, with new: TemplateText, limit: Int) -> TemplateText {
    if old.isEmpty { return self }
    var result = TemplateText()
    for (i, part) in split(at: old, limit: limit).enumerated() {
      if i > 0 { result.append(new) }
      result.append(part)
    }
    return result
  }

  func hasPrefix(_ other: TemplateText) -> Bool { utf8.starts(with: other.utf8) }

  func hasSuffix(_ other: TemplateText) -> Bool {
    utf8.reversed().starts(with: other.utf8.reversed())
  }
}

extension Unicode.Scalar {
  /// What Python's `str.isspace` and `\s` take for white space.
  var isPythonSpace: Bool { properties.isWhitespace || (0x1C...0x1F).contains(value) }
}
