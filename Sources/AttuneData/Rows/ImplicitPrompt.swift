// SPDX-License-Identifier: Apache-2.0

/// Finds the prompt that two answers share when a row does not give it, as TRL's `extract_prompt`
/// does: the turns, or the text, in which both begin alike.
///
/// Differs from TRL: a text is parted in front of white space, not inside a word, so that "The sky
/// is blue" and "The sky is black" share "The sky is" and not "The sky is bl".
enum ImplicitPrompt {
  static func split(chosen: Content, rejected: Content) throws -> Preference {
    switch (chosen, rejected) {
    case (.messages(let a), .messages(let b)):
      let shared = zip(a, b).prefix { $0 == $1 }.count
      guard shared < a.count, shared < b.count else {
        throw UnusableRow(reason: "chosen and rejected are the same, or one continues the other")
      }
      guard shared > 0 else {
        throw UnusableRow(reason: "chosen and rejected share no turn that could be the prompt")
      }
      return Preference(
        prompt: .messages(Array(a[..<shared])), chosen: .messages(Array(a[shared...])),
        rejected: .messages(Array(b[shared...])))
    case (.text(let a), .text(let b)):
      let at = boundary(Array(a.unicodeScalars), Array(b.unicodeScalars))
      guard a != b else { throw UnusableRow(reason: "chosen and rejected are the same text") }
      func parts(_ text: String) -> (Substring, Substring) {
        let index = text.unicodeScalars.index(text.startIndex, offsetBy: at)
        return (text[..<index], text[index...])
      }
      return Preference(
        prompt: .text(String(parts(a).0)), chosen: .text(String(parts(a).1)),
        rejected: .text(String(parts(b).1)))
    default:
      throw UnusableRow(reason: "one of chosen and rejected is a string, the other is messages")
    }
  }

  /// How many scalars of two texts are the prompt.
  private static func boundary(_ a: [Unicode.Scalar], _ b: [Unicode.Scalar]) -> Int {
    var at = 0
    while at < a.count, at < b.count, a[at] == b[at] { at += 1 }
    func isSpace(_ i: Int, _ text: [Unicode.Scalar]) -> Bool {
      i < text.count && text[i].properties.isWhitespace
    }
    // Both go on with a new word: the prompt ends here.
    if at == a.count || isSpace(at, a), at == b.count || isSpace(at, b) { return at }
    var start = at
    while start > 0, !a[start - 1].properties.isWhitespace { start -= 1 }
    // A script without spaces: part where the texts do.
    guard start > 0 else { return at }
    // The space belongs to the word that follows it, as tokenizers have it; a line feed does not.
    return a[start - 1] == " " ? start - 1 : start
  }
}
