// SPDX-License-Identifier: Apache-2.0

/// SentencePiece's unigram model (Kudo 2018, arXiv:1804.10959): of all ways to cut a word into tokens the
/// one whose scores, log-probabilities, have the greatest sum.
struct UnigramEncoder: Sendable {
  private struct Piece {
    var bytes: [UInt8]
    var id: Int32
    var score: Double
  }

  /// In the order of their bytes.
  private let pieces: [Piece]
  private let byteTokens: [Int32]
  private let unknown: Int32?
  /// What a character without a token costs.
  private let unknownScore: Double

  /// Makes an encoder.
  ///
  /// - Parameters:
  ///   - vocabulary: The tokens; control tokens are none of a word's.
  ///   - scores: By id.
  ///   - bytes: The token of each byte, −1 for none, that a text without a token is.
  ///   - unknown: What else stands for such a text; without one it is dropped.
  init(_ vocabulary: Vocabulary, _ scores: [Int: Double], bytes: [Int32], unknown: Int32?) {
    pieces = scores.compactMap { id, score in
      guard vocabulary.kinds[id] != .special, Int32(id) != unknown else { return nil }
      return Piece(bytes: Array(vocabulary.tokens[id].utf8), id: Int32(id), score: score)
    }
    .filter { !$0.bytes.isEmpty }
    .sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
    byteTokens = bytes
    self.unknown = unknown
    unknownScore = (scores.values.min() ?? 0) - 10
  }

  /// Appends the tokens of one word.
  func encode(_ word: UnsafeBufferPointer<UInt8>, into ids: inout [Int32]) {
    // For each end of a text from the word's start: the best sum, its last token and where that begins.
    var best = [(score: Double, id: Int32, start: Int)](
      repeating: (0, -1, -1), count: word.count + 1)
    func offer(_ score: Double, _ id: Int32, from start: Int, to end: Int) {
      if best[end].start < 0 || score > best[end].score { best[end] = (score, id, start) }
    }
    var start = 0
    while start < word.count {
      let lead = word[start]
      let width = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4
      let before = best[start].score
      var hasCharacter = false
      eachPiece(at: start, in: word) { piece in
        offer(before + piece.score, piece.id, from: start, to: start + piece.bytes.count)
        hasCharacter = hasCharacter || piece.bytes.count == width
      }
      let next = min(start + width, word.count)
      if !hasCharacter { offer(before + unknownScore, -1, from: start, to: next) }
      start = next
    }
    append(best.map { ($0.id, $0.start) }, word, to: &ids)
  }

  /// Appends the best cut's tokens; characters without one that follow one another are one text.
  private func append(
    _ best: [(id: Int32, start: Int)], _ word: UnsafeBufferPointer<UInt8>, to ids: inout [Int32]
  ) {
    var parts: [(id: Int32, range: Range<Int>)] = []
    var end = word.count
    while end > 0 {
      let (id, start) = best[end]
      if id < 0, let last = parts.last, last.id < 0 {
        parts[parts.count - 1].range = start..<last.range.upperBound
      } else {
        parts.append((id, start..<end))
      }
      end = start
    }
    for (id, range) in parts.reversed() {
      if id >= 0 {
        ids.append(id)
        continue
      }
      let bytes = word[range].map { byteTokens[Int($0)] }
      if bytes.allSatisfy({ $0 >= 0 }) {
        ids.append(contentsOf: bytes)
      } else if let unknown {
        ids.append(unknown)
      }
    }
  }

  /// Calls `body` with every token that the word goes on with, the shortest first.
  private func eachPiece(
    at start: Int, in word: UnsafeBufferPointer<UInt8>, _ body: (Piece) -> Void
  ) {
    var range = 0..<pieces.count
    var depth = 0
    while start + depth < word.count {
      let byte = word[start + depth]
      let low = bound(in: range) { $0.count <= depth || $0[depth] < byte }
      range = low..<bound(in: low..<range.upperBound) { $0[depth] == byte }
      depth += 1
      guard !range.isEmpty else { return }
      if pieces[range.lowerBound].bytes.count == depth { body(pieces[range.lowerBound]) }
    }
  }

  /// The first place of a range from which a condition, true before it, no longer holds.
  private func bound(in range: Range<Int>, while holds: ([UInt8]) -> Bool) -> Int {
    var (low, high) = (range.lowerBound, range.upperBound)
    while low < high {
      let middle = (low + high) / 2
      if holds(pieces[middle].bytes) { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
