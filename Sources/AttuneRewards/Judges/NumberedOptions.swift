// SPDX-License-Identifier: Apache-2.0

/// Finds in a judge's words the option of each of several numbered things: a line for each, its number
/// and the option.
struct NumberedOptions {
  private let options: OptionReader
  private let count: Int

  init(_ question: JudgeQuestion) {
    options = OptionReader(question.options)
    count = question.count
  }

  /// The option of each thing, and where it begins, in bytes of the text.
  ///
  /// - Returns: Nil where a thing has no line of its own, has two, or something else stands on its line.
  func places(in text: String) -> [(option: Int, offset: Int)]? {
    guard let said = OptionReader.afterThoughts(text) else { return nil }
    var found: [Int: (option: Int, offset: Int)] = [:]
    for line in said.split(whereSeparator: \.isNewline) {
      let words = line.split { !$0.isLetter && !$0.isNumber }
      guard !words.isEmpty else { continue }
      // “Answer (2): 4” and “Criterion 2: Yes” name the thing before its number.
      let own = words[0].allSatisfy(\.isNumber) ? words[...] : words.dropFirst()
      guard own.count == 2, let number = own.first.flatMap({ Int($0) }),
        (1...count).contains(number), found[number] == nil, let word = own.last,
        let option = options.option(named: String(word))
      else { return nil }
      found[number] = (option, text.utf8.distance(from: text.startIndex, to: word.startIndex))
    }
    return found.count == count ? (1...count).compactMap { found[$0] } : nil
  }
}
