// SPDX-License-Identifier: Apache-2.0

/// Splits a text into the words that byte-pair encoding works on, as the `pre_tokenizer` section of
/// `tokenizer.json` says: any sequence of Split, Digits and Metaspace steps, which ends in ByteLevel where
/// words are bytes.
struct PreTokenizer: Sendable {
  /// What becomes of the matches of a pattern.
  enum Behavior: String, Sendable {
    case removed = "Removed"
    case isolated = "Isolated"
    case mergedWithPrevious = "MergedWithPrevious"
    case mergedWithNext = "MergedWithNext"
    case contiguous = "Contiguous"
  }

  enum Step: Sendable {
    /// Splits every part at the matches of a pattern.
    case split(Pattern, Behavior, inverted: Bool)
    /// Puts a space before every part that does not start with one.
    case prefixSpace
    /// Writes a mark for each space, puts one before a text, and splits at the marks.
    case metaspace(mark: [UInt8], MetaspaceScheme, splitsAt: Pattern?)
  }

  private let steps: [Step]
  /// Whether words are encoded byte by byte.
  let isByteLevel: Bool

  /// GPT-2's pattern, which ByteLevel applies unless told not to.
  static let gpt2Pattern =
    #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  /// Reads a `pre_tokenizer` section.
  ///
  /// - Throws: `DataError` that names the step or pattern that is not read.
  init(_ section: JSONValue) throws {
    var steps: [Step] = []
    var isByteLevel = false
    for step in try Self.flattened(section) {
      if isByteLevel {
        throw DataError(.badTokenizer, "pre_tokenizer: a step follows ByteLevel; it must be last")
      }
      let type = step["type"]?.asString ?? ""
      switch type {
      case "Split": steps.append(try Self.split(step))
      case "Digits":
        let pattern = try Pattern(
          members: (PatternTranslation.members(of: "N") ?? "") + UnicodeAdditions.digits)
        let each = step["individual_digits"]?.asBool ?? false
        steps.append(.split(pattern, each ? .isolated : .contiguous, inverted: false))
      case "ByteLevel":
        isByteLevel = true
        if step["add_prefix_space"]?.asBool ?? true { steps.append(.prefixSpace) }
        if step["use_regex"]?.asBool ?? true {
          steps.append(.split(try Pattern(Self.gpt2Pattern), .isolated, inverted: false))
        }
      case "Metaspace":
        let mark = step["replacement"]?.asString ?? "▁"
        let splits = step["split"]?.asBool ?? true
        steps.append(
          .metaspace(
            mark: Array(mark.utf8), try MetaspaceScheme(step),
            splitsAt: splits ? try Pattern(literal: mark) : nil))
      default:
        throw DataError(
          .badTokenizer,
          "pre_tokenizer step “\(type)” is not read; Split, Digits, Metaspace and ByteLevel are")
      }
    }
    self.steps = steps
    self.isByteLevel = isByteLevel
  }

  private static func flattened(_ section: JSONValue) throws -> [JSONValue] {
    guard section["type"]?.asString == "Sequence" else { return section == .null ? [] : [section] }
    guard let steps = section["pretokenizers"]?.asArray else {
      throw DataError(.badTokenizer, "pre_tokenizer: a Sequence without “pretokenizers”")
    }
    return try steps.flatMap { try flattened($0) }
  }

  private static func split(_ step: JSONValue) throws -> Step {
    let pattern: Pattern
    if let source = step["pattern"]?["Regex"]?.asString {
      pattern = try Pattern(source)
    } else if let literal = step["pattern"]?["String"]?.asString {
      pattern = try Pattern(literal: literal)
    } else {
      throw DataError(.badTokenizer, "pre_tokenizer: a Split without a Regex or String pattern")
    }
    let name = step["behavior"]?.asString ?? ""
    guard let behavior = Behavior(rawValue: name) else {
      throw DataError(.badTokenizer, "pre_tokenizer: Split behavior “\(name)” is not known")
    }
    return .split(pattern, behavior, inverted: step["invert"]?.asBool ?? false)
  }

  /// Calls `body` with each word of a text, in order.
  ///
  /// - Parameters:
  ///   - text: Well-formed UTF-8.
  ///   - isStart: Whether the whole text starts here, not after an added token.
  ///   - body: Is given each word.
  func words(
    of text: UnsafeBufferPointer<UInt8>, isStart: Bool, body: (UnsafeBufferPointer<UInt8>) -> Void
  ) {
    run(steps[...], on: text, parts: [0..<text.count], isStart: isStart, body: body)
  }

  private func run(
    _ steps: ArraySlice<Step>, on text: UnsafeBufferPointer<UInt8>, parts: [Range<Int>],
    isStart: Bool, body: (UnsafeBufferPointer<UInt8>) -> Void
  ) {
    guard let step = steps.first else {
      for part in parts where !part.isEmpty { body(UnsafeBufferPointer(rebasing: text[part])) }
      return
    }
    switch step {
    case .split(let pattern, let behavior, let inverted):
      run(
        steps.dropFirst(), on: text,
        parts: Self.split(text, parts, at: pattern, behavior, inverted: inverted),
        isStart: isStart, body: body)
    case .prefixSpace:
      var spaced: [UInt8] = []
      spaced.reserveCapacity(text.count + parts.count)
      var moved: [Range<Int>] = []
      for part in parts where !part.isEmpty {
        let start = spaced.count
        if text[part.lowerBound] != 0x20 { spaced.append(0x20) }
        spaced.append(contentsOf: text[part])
        moved.append(start..<spaced.count)
      }
      spaced.withUnsafeBufferPointer {
        run(steps.dropFirst(), on: $0, parts: moved, isStart: isStart, body: body)
      }
    case .metaspace(let mark, let scheme, let pattern):
      var marked: [UInt8] = []
      var moved: [Range<Int>] = []
      for (index, part) in parts.enumerated() where !part.isEmpty {
        let start = marked.count
        for byte in text[part] {
          if byte == 0x20 { marked += mark } else { marked.append(byte) }
        }
        let prepends = scheme == .always || scheme == .first && isStart && index == 0
        if prepends, !marked[start...].starts(with: mark) {
          marked.insert(contentsOf: mark, at: start)
        }
        moved.append(start..<marked.count)
      }
      marked.withUnsafeBufferPointer { marked in
        let words =
          pattern.map { Self.split(marked, moved, at: $0, .mergedWithNext, inverted: false) }
          ?? moved
        run(steps.dropFirst(), on: marked, parts: words, isStart: isStart, body: body)
      }
    }
  }

  private static func split(
    _ text: UnsafeBufferPointer<UInt8>, _ parts: [Range<Int>], at pattern: Pattern,
    _ behavior: Behavior, inverted: Bool
  ) -> [Range<Int>] {
    var splitter = Splitter(behavior: behavior, inverted: inverted, expecting: text.count / 4)
    var part = -1
    func close() {
      if part >= 0 { splitter.finish(at: parts[part].upperBound) }
    }
    func open(_ index: Int) {
      while part < index {
        close()
        part += 1
        splitter.begin(at: parts[part].lowerBound)
      }
    }
    pattern.matches(in: text, ranges: parts) { index, match in
      open(index)
      splitter.match(match)
    }
    open(parts.count - 1)
    close()
    return splitter.pieces
  }
}

/// Gathers the pieces between and at the matches of a pattern.
private struct Splitter {
  let behavior: PreTokenizer.Behavior
  let inverted: Bool
  var pieces: [Range<Int>] = []
  private var end = 0
  /// Where the pieces of this part begin in `pieces`, and whether the last one was a match.
  private var first = 0
  private var afterMatch = false

  init(behavior: PreTokenizer.Behavior, inverted: Bool, expecting count: Int) {
    self.behavior = behavior
    self.inverted = inverted
    pieces.reserveCapacity(count)
  }

  mutating func begin(at start: Int) {
    end = start
    first = pieces.count
    afterMatch = false
  }

  mutating func match(_ range: Range<Int>) {
    if end < range.lowerBound { add(end..<range.lowerBound, isMatch: inverted) }
    add(range, isMatch: !inverted)
    end = range.upperBound
  }

  mutating func finish(at upperBound: Int) {
    if end < upperBound { add(end..<upperBound, isMatch: inverted) }
  }

  private mutating func add(_ range: Range<Int>, isMatch: Bool) {
    defer { afterMatch = isMatch }
    let joins: Bool
    switch behavior {
    case .removed:
      if !isMatch { pieces.append(range) }
      return
    case .isolated: joins = false
    case .contiguous: joins = isMatch == afterMatch
    case .mergedWithPrevious: joins = isMatch && !afterMatch
    // A run of matches before a text: only the last match joins it.
    case .mergedWithNext: joins = afterMatch && !isMatch
    }
    if joins, pieces.count > first {
      pieces[pieces.count - 1] = pieces[pieces.count - 1].lowerBound..<range.upperBound
    } else {
      pieces.append(range)
    }
  }
}
