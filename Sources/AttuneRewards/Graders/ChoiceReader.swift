// SPDX-License-Identifier: Apache-2.0

import AttuneData

/// Finds the letter that a text chooses.
struct ChoiceReader: Sendable {
  private let patterns: [RegularExpression]

  init() {
    do {
      patterns = try [
        // The answer begins with it, or is nothing else: B, (B), B) Paris, **B**.
        #"^\W*\K[A-J](?=\W*$)|^\W*\K[A-J](?=[).:\]])"#,
        #"(?i:answer|choice|option)(?i:\s+is|\s*:|\s+would\s+be)?\W*(?:(?i:option|choice)\s*)?\K\b[A-J]\b(?![’'])"#,
        #"\(\K[A-J](?=\))"#,
        #"\b[A-J](?=[).:](?:\s|$|\*))"#,
        #"\b[B-HJ]\b(?![’'])"#,
        #"^\W*\K[a-j](?=\W*$)"#,
      ].map { try RegularExpression($0) }
    } catch {
      preconditionFailure("\(error)")
    }
  }

  /// The letter, in upper case; nil where none is named.
  func letter(in text: String) -> Character? {
    for pattern in patterns {
      if let found = pattern.matches(in: text).last?.first { return Character(found.uppercased()) }
    }
    return nil
  }
}
