// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Expressions of courtesy.
enum Courtesy {
  private static let all: [String] = [
    "please", "thank you", "thanks", "you're welcome", "you are welcome", "happy to help",
    "glad to help", "glad you asked", "happy to", "pleasure", "hope this helps", "hope that helps",
    "feel free", "of course", "certainly", "good question", "great question", "take care",
    "good luck", "best wishes", "i'm sorry", "i am sorry", "i appreciate", "kindly", "enjoy",
    "don't hesitate", "let me know", "if you like", "if you'd like", "would you like",
  ]

  /// How many different ones a text has.
  static func expressions(in text: String) -> Int {
    let words = text.lowercased().replacing("’", with: "'")
      .split { !($0.isLetter || $0.isNumber || $0 == "'") }.joined(separator: " ")
    let padded = " \(words) "
    return all.count { padded.contains(" \($0) ") }
  }
}
