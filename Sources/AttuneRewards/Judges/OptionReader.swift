// SPDX-License-Identifier: Apache-2.0

import AttuneTraining
import Foundation

/// Finds the one place in a judge's words at which it names the option that it chose.
///
/// Letters and numbers stand everywhere in a text: "A common mistake", "on a scale of 1 to 5", in
/// thoughts. What counts is an option that stands alone, begins the answer with a mark behind it, or
/// follows a word of choosing and ends its sentence. A text in which that can't be told gives nothing: it
/// is never taken for an option because it is not another one.
struct OptionReader {
  /// A word of the text.
  private struct Word {
    var text: Substring
    var option: Int?
    var range: Range<String.Index> { text.startIndex..<text.endIndex }
  }

  private let options: [String]

  init(_ options: [String]) { self.options = options }

  /// The option that a text names as its answer.
  ///
  /// - Parameters:
  ///   - said: The text.
  ///   - isWhole: Whether it ended by itself: where one was cut, nobody knows how its sentence ends.
  /// - Returns: The option, and where it stands; nil if it can't be told.
  func answer(
    in said: String, isWhole: Bool
  ) -> (option: Int, range: Range<String.Index>)? {
    guard let text = Self.afterThoughts(said) else { return nil }
    let words = self.words(text)
    let named = words.indices.filter { words[$0].option != nil }
    guard let first = named.first else { return nil }
    func found(_ place: Int) -> (option: Int, range: Range<String.Index>)? {
      words[place].option.map { ($0, words[place].range) }
    }
    if words.count == 1 || isGradeAlone(words) { return found(first) }
    let marked = named.filter { isMarked(words[$0].range, in: text) }
    guard Set(marked.map { words[$0].option }).count < 2 else { return nil }
    if first == 0, begins(text, words) { return found(0) }
    let isOnly = Set(named.map { words[$0].option }).count == 1
    let places = named.filter { place in
      let isMarked = marked.contains(place)
      return (isMarked || isOnly)
        && isChosen(
          place, words, in: text, isMarked: isMarked, isWhole: isWhole)
    }
    return Set(places.map { words[$0].option }).count == 1 ? found(places[0]) : nil
  }

  // MARK: Parts

  /// What follows a judge's thoughts; nil if they do not end.
  static func afterThoughts(_ text: String) -> Substring? {
    let names = "think|thinking|thought|thoughts|reasoning|analysis"
    guard let open = try? Regex("(?i)<(?:\(names))>|\\[THINK\\]"),
      let close = try? Regex("(?i)</(?:\(names))>|\\[/THINK\\]")
    else { return nil }
    let start = text.matches(of: close).last?.range.upperBound ?? text.startIndex
    let rest = text[start...]
    return rest.firstMatch(of: open) == nil ? rest : nil
  }

  /// The option of that name. A letter is one in capitals alone, a word in any.
  func option(named word: String) -> Int? {
    options.firstIndex { $0 == word || $0.count > 1 && $0.lowercased() == word.lowercased() }
  }

  private func words(_ text: Substring) -> [Word] {
    text.split { !$0.isLetter && !$0.isNumber }.map { word in
      let option = option(named: String(word))
      let isPart = isPart(of: text, word)
      return Word(text: word, option: isPart ? nil : option)
    }
  }

  /// Whether a word is part of another number, a range or a longer name: "4.5", "1-5", "-1", "A's".
  private func isPart(of text: Substring, _ word: Substring) -> Bool {
    func digit(_ character: Character?) -> Bool { character?.isNumber == true }
    let before = text[..<word.startIndex].suffix(2)
    let after = text[word.endIndex...].prefix(2)
    let isNumber = digit(word.first)
    if let mark = after.first {
      if "'’%".contains(mark) { return true }
      if "-–—.,/".contains(mark), digit(after.dropFirst().first), !(mark == "/" && isNumber) {
        return true
      }
    }
    guard isNumber, let mark = before.last else { return false }
    if "-–−+".contains(mark) { return true }
    return ".,".contains(mark) && digit(before.first)
  }

  /// "4/5", "4 out of 5": a grade with the best one beside it.
  private func isGradeAlone(_ words: [Word]) -> Bool {
    guard words.first?.option != nil, words[0].text.first?.isNumber == true,
      let best = options.last, words.last?.text == best[...]
    else { return false }
    let between = words.dropFirst().dropLast().map { $0.text.lowercased() }
    return words.count > 1 && (between.isEmpty || between == ["out", "of"] || between == ["of"])
  }

  /// "(A)", "[A]", "**A**".
  private func isMarked(_ range: Range<String.Index>, in text: Substring) -> Bool {
    guard let before = text[..<range.lowerBound].last, let after = text[range.upperBound...].first
    else { return false }
    return before == "(" && after == ")" || before == "[" && after == "]"
      || before == "*" && after == "*"
  }

  /// "A: because …", "(B) it is kind", but not "A better answer …", "A, B" or the first of a list.
  private func begins(_ text: Substring, _ words: [Word]) -> Bool {
    let marks = Set<Character>("*([\"“'#_`")
    guard text[..<words[0].range.lowerBound].allSatisfy({ $0.isWhitespace || marks.contains($0) })
    else { return false }
    guard let next = text[words[0].range.upperBound...].first, ".:,;)]\n*\"”`".contains(next)
    else { return false }
    if words.count > 1,
      words[1].option != nil || ["or", "and"].contains(words[1].text.lowercased())
    {
      return false
    }
    // A list begins at 1.
    if words[0].text == "1", next == "." { return false }
    return !words.dropFirst().contains { word in
      guard word.option != nil, let mark = text[word.range.upperBound...].first else {
        return false
      }
      return ".):".contains(mark) && text[..<word.range.lowerBound].last { $0 != " " } == "\n"
    }
  }

  private static let choosing: Set<String> = [
    "choose", "chose", "chosen", "choice", "pick", "picked", "prefer", "select", "selected", "is",
    "be", "grade", "rating", "score", "verdict", "with", "say", "rate",
  ]
  private static let naming: Set<String> = ["option", "answer", "response"]
  private static let reasons: Set<String> = ["because", "since", "as", "for", "due"]
  private static let negations: Set<String> = [
    "not", "t", "neither", "nor", "never", "no", "cannot",
  ]

  /// Whether an option follows a word of choosing and nothing goes on to say something of it.
  private func isChosen(
    _ place: Int, _ words: [Word], in text: Substring, isMarked: Bool, isWhole: Bool
  ) -> Bool {
    let before = words[..<place].suffix(4).map { $0.text.lowercased() }
    guard !before.contains(where: { Self.negations.contains($0) }) else { return false }
    let rest = text[words[place].range.upperBound...].drop { "*)]\"”`".contains($0) }
    let next = words[(place + 1)...].prefix(2).map { $0.text.lowercased() }
    let isLast = next.isEmpty && isWhole
    let endsSentence = rest.first.map { ".!;\n".contains($0) } ?? isWhole
    let hasReason =
      rest.drop(while: { $0 == " " || $0 == "," }).first?.isLetter == true
      && next.first.map { Self.reasons.contains($0) } == true
    let previous = before.last ?? ""
    let givesIt =
      previous == "it"
      && ["give", "gives", "rate", "grade", "score"].contains(before.dropLast().last)
    if Self.choosing.contains(previous) || givesIt {
      return isLast || endsSentence || hasReason || rest.first == ","
    }
    if Self.naming.contains(previous) {
      return isLast || endsSentence || hasReason || next == ["is", "better"]
        || next == ["is", "best"]
    }
    return isMarked && isLast
  }
}
