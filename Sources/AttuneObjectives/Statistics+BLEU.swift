// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

extension Statistics {
  /// BLEU of one text against references (Papineni et al. 2002), between 0 and 1.
  ///
  /// The geometric mean of the clipped n-gram precisions times the brevity penalty
  /// exp(min(0, 1 − r/c)), c the text's length, r that of the reference nearest in length (the
  /// shorter of two). Texts shorter than `order` are held to the n-grams that they have; the k-th
  /// precision that is 0 counts as 1/(2^k·n-grams) (NIST's smoothing, Chen & Cherry 2014, method 3).
  /// These are sacreBLEU's choices for sentences. A text without any token is equal to a reference
  /// (1) or has nothing in common with them (0).
  ///
  /// - Parameters:
  ///   - text: The tokens.
  ///   - references: What it is compared with, at least one.
  ///   - order: The longest n-grams.
  public static func bleu<Token: Hashable>(
    _ text: [Token], references: [[Token]], order: Int = 4
  ) -> Double {
    bleu(NGramCounts(text, order: order), references: references.map { .init($0, order: order) })
  }

  /// Self-BLEU (Zhu et al. 2018): the mean of each text's BLEU against all others. 1 where all are
  /// alike; the lower, the more they differ.
  ///
  /// - Parameters:
  ///   - texts: The tokens of each text.
  ///   - order: The longest n-grams.
  /// - Returns: Nil for fewer than two texts.
  public static func selfBLEU<Token: Hashable>(_ texts: [[Token]], order: Int = 4) -> Double? {
    guard texts.count > 1 else { return nil }
    let counts = texts.map { NGramCounts($0, order: order) }
    return mean(
      counts.indices.map { i in
        bleu(counts[i], references: Array(counts[..<i] + counts[(i + 1)...]))
      })
  }

  /// How many different values there are, over how many values; nil of fewer than two.
  public static func distinctShare<Value: Hashable>(_ values: [Value]) -> Double? {
    values.count > 1 ? Double(Set(values).count) / Double(values.count) : nil
  }

  /// How often a text has each n-gram of each length.
  private struct NGramCounts<Token: Hashable> {
    let length: Int
    /// For n − 1 the counts of n-grams.
    let counts: [[ArraySlice<Token>: Int]]

    init(_ text: [Token], order: Int) {
      precondition(order > 0, "n-grams have at least one token")
      length = text.count
      counts = (1...order).map { n in
        var counts: [ArraySlice<Token>: Int] = [:]
        if text.count >= n {
          for start in 0...(text.count - n) { counts[text[start..<start + n], default: 0] += 1 }
        }
        return counts
      }
    }
  }

  private static func bleu<Token>(
    _ text: NGramCounts<Token>, references: [NGramCounts<Token>]
  ) -> Double {
    precondition(!references.isEmpty, "BLEU needs a reference")
    guard text.length > 0 else { return references.contains { $0.length == 0 } ? 1 : 0 }
    let orders = min(text.counts.count, text.length)
    var logarithms = 0.0
    var smoothing = 1.0
    for n in 0..<orders {
      let matches = text.counts[n].reduce(0) { sum, gram in
        let most = references.reduce(0) { max($0, $1.counts[n][gram.key] ?? 0) }
        return sum + min(gram.value, most)
      }
      // Without a word in common there is nothing to smooth.
      if n == 0, matches == 0 { return 0 }
      if matches == 0 { smoothing *= 2 }
      let total = Double(text.length - n)
      logarithms += log(matches > 0 ? Double(matches) / total : 1 / (smoothing * total))
    }
    let nearest = references.map(\.length).min {
      (abs($0 - text.length), $0) < (abs($1 - text.length), $1)
    }
    let penalty = min(0, 1 - Double(nearest ?? 0) / Double(text.length))
    return exp(penalty + logarithms / Double(orders))
  }
}
