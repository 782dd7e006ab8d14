// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives

/// What can be counted about an answer's words without a model.
package enum TextStatistics {
  /// Words as most people count them: runs between white space.
  package static func words(_ text: String) -> [Substring] {
    text.split(whereSeparator: \.isWhitespace)
  }

  /// Different n-grams of words over n-grams, all texts together (Li et al. 2016); 0 where there is
  /// none.
  ///
  /// - Parameters:
  ///   - n: Words in an n-gram, at least 1.
  ///   - texts: The answers.
  package static func distinct(_ n: Int, in texts: [String]) -> Double {
    precondition(n >= 1, "an n-gram has a word at least")
    var seen: Set<[Substring]> = []
    var count = 0
    for text in texts {
      let words = words(text)
      guard words.count >= n else { continue }
      for start in 0...(words.count - n) { seen.insert(Array(words[start..<start + n])) }
      count += words.count - n + 1
    }
    return count == 0 ? 0 : Double(seen.count) / Double(count)
  }

  /// Share of a text's word 4-grams that it had before; 0 where it has none.
  package static func repetition(_ text: String) -> Double {
    words(text).count < 4 ? 0 : 1 - distinct(4, in: [text])
  }

  /// Self-BLEU of the answers to one prompt over their words, to 4-grams (`Statistics.selfBLEU`); nil
  /// of fewer than two.
  package static func selfBLEU(_ texts: [String]) -> Double? {
    Statistics.selfBLEU(texts.map(words))
  }

  /// The words that carry a text's matter: lower case, letters and digits alone, at least three
  /// characters, common function words and words of instruction left out.
  static func contentWords(_ text: String) -> Set<String> {
    Set(tokens(text).filter { $0.count >= 3 && !functionWords.contains($0) }.map(stem))
  }

  /// Share of the prompt's content words that the answer takes up, whatever their endings; nil
  /// where the prompt has none.
  package static func takenUp(prompt: String, answer: String) -> Double? {
    let asked = contentWords(prompt)
    guard !asked.isEmpty else { return nil }
    let said = Set(tokens(answer).map(stem))
    return Double(asked.intersection(said).count) / Double(asked.count)
  }

  /// Share of the answer's content words that the prompt has not, whatever their endings; nil where it
  /// has none.
  package static func added(prompt: String, answer: String) -> Double? {
    let said = contentWords(answer)
    guard !said.isEmpty else { return nil }
    let asked = Set(tokens(prompt).map(stem))
    return Double(said.subtracting(asked).count) / Double(said.count)
  }

  private static func tokens(_ text: String) -> [String] {
    // An apostrophe belongs to its word ("don't"), or else "don" and "t" would count.
    text.lowercased().replacing("’", with: "'")
      .split { !($0.isLetter || $0.isNumber || $0 == "'") }.map(String.init)
  }

  /// A word without the commonest English endings, so that "painting" takes up "paint".
  private static func stem(_ word: String) -> String {
    var word = word.hasSuffix("'s") ? String(word.dropLast(2)) : word
    for (ending, replacement) in [
      ("ies", "y"), ("ing", ""), ("ed", ""), ("es", ""), ("ly", ""), ("s", ""),
    ] where word.hasSuffix(ending) && word.count - ending.count >= 3 && !word.hasSuffix("ss") {
      word = word.dropLast(ending.count) + replacement
      break
    }
    return word.count > 3 && word.hasSuffix("e") ? String(word.dropLast()) : word
  }

  private static let functionWords: Set<String> = Set(
    """
    about above after again all also and any are aren't because been before being below between
    both but can can't could couldn't did didn't does doesn't doing don't down during each few for
    from further give had hadn't has hasn't have haven't having her here hers herself him himself
    his how i'd i'll i'm i've into isn't it's its itself just let let's like list make many may me
    might more most much must mustn't myself name need nor not now off once one only other ought our
    ours ourselves out over own please same say shall she should shouldn't some such tell than that
    that's the their theirs them themselves then there these they this those through too two under
    until up upon use very want was wasn't way we're were weren't what what's when where which while
    who whom whose why will with without won't would wouldn't write yes you you'd you'll you're
    you've your yours yourself yourselves explain describe suggest sentence sentences short briefly
    """.split(whereSeparator: \.isWhitespace).map(String.init))
}
