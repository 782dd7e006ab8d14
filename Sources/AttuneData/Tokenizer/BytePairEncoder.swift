// SPDX-License-Identifier: Apache-2.0

/// Byte-pair encoding of one word (Sennrich, Haddow and Birch 2016, arXiv:1508.07909), over bytes or over
/// characters.
struct BytePairEncoder: Sendable {
  /// What a word is made of before its merges.
  enum Alphabet: Sendable {
    /// The token of each of the 256 bytes; −1 where the vocabulary has none.
    case bytes([Int32])
    /// The tokens of characters by scalar value, and those of the bytes that stand for a character that
    /// has none (SentencePiece's byte fallback), −1 where the vocabulary has none.
    case characters([UInt32: Int32], bytes: [Int32])
  }

  /// Two tokens that become one, in order of rank.
  struct Merge: Sendable {
    var left: Int32
    var right: Int32
    var result: Int32
  }

  private let alphabet: Alphabet
  private let table: MergeTable
  /// Words that are a token as they are, if merges are ignored for those (Llama-3).
  private let wholeWords: [[UInt8]: Int32]
  /// What stands for a byte or character that has no token; without one such are dropped.
  private let unknown: Int32?
  private let joinsUnknown: Bool

  /// Makes an encoder.
  ///
  /// - Parameters:
  ///   - alphabet: What a word is made of.
  ///   - merges: In order of rank; if a pair occurs twice, the later one counts.
  ///   - wholeWords: Words that are a token as they are; empty to go by merges alone.
  ///   - unknown: What stands for a byte or character that has no token.
  ///   - joinsUnknown: Whether neighbouring unknown ones become one unknown token.
  init(
    _ alphabet: Alphabet, merges: [Merge], wholeWords: [[UInt8]: Int32], unknown: Int32?,
    joinsUnknown: Bool
  ) {
    self.alphabet = alphabet
    self.table = MergeTable(merges)
    self.wholeWords = wholeWords
    self.unknown = unknown
    self.joinsUnknown = joinsUnknown
  }

  /// Appends the tokens of one word.
  ///
  /// - Complexity: O(n²) steps on a few dozen bytes, O(n log n) on longer words.
  func encode(_ word: UnsafeBufferPointer<UInt8>, into ids: inout [Int32]) {
    if word.count == 1, case .bytes(let tokens) = alphabet, tokens[Int(word[0])] >= 0 {
      ids.append(tokens[Int(word[0])])
      return
    }
    if !wholeWords.isEmpty, let id = wholeWords[Array(word)] {
      ids.append(id)
      return
    }
    let start = ids.count
    switch alphabet {
    case .bytes(let tokens): appendBytes(of: word, tokens, to: &ids)
    case .characters(let tokens, let bytes):
      appendCharacters(of: word, tokens, bytes, to: &ids)
    }
    let count = ids.count - start
    if count < 2 { return }
    if count <= 48 {
      mergeShort(&ids, from: start)
    } else {
      mergeLong(&ids, from: start)
    }
  }

  private func appendBytes(
    of word: UnsafeBufferPointer<UInt8>, _ tokens: [Int32], to ids: inout [Int32]
  ) {
    var afterUnknown = false
    for byte in word {
      let id = tokens[Int(byte)]
      if id >= 0 {
        ids.append(id)
        afterUnknown = false
      } else if let unknown {
        if !(afterUnknown && joinsUnknown) { ids.append(unknown) }
        afterUnknown = true
      }
    }
  }

  private func appendCharacters(
    of word: UnsafeBufferPointer<UInt8>, _ tokens: [UInt32: Int32], _ byteTokens: [Int32],
    to ids: inout [Int32]
  ) {
    var isUnknownDue = false
    for scalar in String(decoding: word, as: UTF8.self).unicodeScalars {
      if let id = tokens[scalar.value] {
        if isUnknownDue, let unknown { ids.append(unknown) }
        isUnknownDue = false
        ids.append(id)
        continue
      }
      let bytes = UTF8.encode(scalar).map { $0.map { byteTokens[Int($0)] } } ?? []
      if !bytes.isEmpty, bytes.allSatisfy({ $0 >= 0 }) {
        // As Hugging Face's library: an unknown before them is written after them.
        ids.append(contentsOf: bytes)
      } else {
        if isUnknownDue, !joinsUnknown, let unknown { ids.append(unknown) }
        isUnknownDue = true
      }
    }
    if isUnknownDue, let unknown { ids.append(unknown) }
  }

  /// The lowest rank wins, the leftmost of equals; pairs beside a merge are looked up again.
  private func mergeShort(_ ids: inout [Int32], from start: Int) {
    let count = ids.count - start
    let left: Int = withUnsafeTemporaryAllocation(of: UInt64.self, capacity: count) { pairs in
      ids.withUnsafeMutableBufferPointer { all in
        let symbols = UnsafeMutableBufferPointer(rebasing: all[start...])
        var count = count
        for i in 0..<count - 1 { pairs[i] = table.find(symbols[i], symbols[i + 1]) }
        while count > 1 {
          var best = UInt64.max
          var place = 0
          for i in 0..<count - 1 where pairs[i] < best {
            best = pairs[i]
            place = i
          }
          if best == UInt64.max { break }
          symbols[place] = Int32(truncatingIfNeeded: best)
          var i = place + 1
          while i < count - 1 {
            symbols[i] = symbols[i + 1]
            pairs[i - 1] = pairs[i]
            i += 1
          }
          count -= 1
          if place < count - 1 {
            pairs[place] = table.find(symbols[place], symbols[place + 1])
          }
          if place > 0 { pairs[place - 1] = table.find(symbols[place - 1], symbols[place]) }
        }
        return count
      }
    }
    ids.removeLast(count - left)
  }

  /// The same result with a heap of candidate pairs over a linked list of symbols.
  private func mergeLong(_ ids: inout [Int32], from start: Int) {
    var symbols = Array(ids[start...])
    let count = symbols.count
    var next = (0..<count).map { $0 + 1 }
    var previous = (0..<count).map { $0 - 1 }
    var heap = CandidateHeap()
    func propose(_ i: Int) {
      let found = table.find(symbols[i], symbols[next[i]])
      if found != UInt64.max { heap.push(CandidateHeap.Candidate(pair: found, position: i)) }
    }
    for i in 0..<count - 1 { propose(i) }
    while let candidate = heap.pop() {
      let i = candidate.position
      // A symbol that was merged away is −1; a pair that has changed is looked up again.
      guard symbols[i] >= 0, next[i] < count,
        table.find(symbols[i], symbols[next[i]]) == candidate.pair
      else { continue }
      let merged = next[i]
      symbols[i] = Int32(truncatingIfNeeded: candidate.pair)
      symbols[merged] = -1
      next[i] = next[merged]
      if next[i] < count {
        previous[next[i]] = i
        propose(i)
      }
      if previous[i] >= 0 { propose(previous[i]) }
    }
    ids.removeLast(count)
    ids.append(contentsOf: symbols.lazy.filter { $0 >= 0 })
  }
}

/// Ranks and results of merges by pair: open addressing in one flat array, since this look-up is
/// nearly all the time of encoding.
private struct MergeTable: Sendable {
  private var keys: [UInt64]
  private var values: [UInt64]
  private let mask: Int

  /// No pair has this key: ids are not negative.
  private static let free = UInt64.max

  init(_ merges: [BytePairEncoder.Merge]) {
    var capacity = 16
    while capacity < 2 * merges.count { capacity *= 2 }
    mask = capacity - 1
    keys = [UInt64](repeating: Self.free, count: capacity)
    values = [UInt64](repeating: UInt64.max, count: capacity)
    for (rank, merge) in merges.enumerated() {
      let key = Self.key(merge.left, merge.right)
      var slot = Self.hash(key) & mask
      while keys[slot] != Self.free, keys[slot] != key { slot = (slot + 1) & mask }
      keys[slot] = key
      values[slot] = UInt64(rank) << 32 | UInt64(UInt32(bitPattern: merge.result))
    }
  }

  private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }

  private static func hash(_ key: UInt64) -> Int {
    Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 29)
  }

  /// Rank in the upper half, resulting token in the lower; all ones if the pair does not merge.
  @inline(__always)
  func find(_ left: Int32, _ right: Int32) -> UInt64 {
    let key = Self.key(left, right)
    var slot = Self.hash(key) & mask
    while true {
      if keys[slot] == key { return values[slot] }
      if keys[slot] == Self.free { return UInt64.max }
      slot = (slot + 1) & mask
    }
  }
}

/// A binary heap of pairs that may be merged: lowest rank first, then leftmost.
private struct CandidateHeap {
  struct Candidate {
    var pair: UInt64
    var position: Int

    func precedes(_ other: Candidate) -> Bool {
      pair != other.pair ? pair < other.pair : position < other.position
    }
  }

  private var candidates: [Candidate] = []

  mutating func push(_ candidate: Candidate) {
    candidates.append(candidate)
    var child = candidates.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard candidates[child].precedes(candidates[parent]) else { return }
      candidates.swapAt(child, parent)
      child = parent
    }
  }

  mutating func pop() -> Candidate? {
    guard let first = candidates.first, let last = candidates.popLast() else { return nil }
    if candidates.isEmpty { return first }
    candidates[0] = last
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < candidates.count {
        if candidates[child].precedes(candidates[least]) { least = child }
      }
      if least == parent { return first }
      candidates.swapAt(parent, least)
      parent = least
    }
  }
}
