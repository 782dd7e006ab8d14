// SPDX-License-Identifier: Apache-2.0

/// Rows that a tiny model learns from.
public enum TestRows {
  /// Prompts of four rows.
  public static let prompts = (0..<4).map { #"{"prompt": "say \#($0)"}"# }

  /// Completions that are known from their prompts.
  public static let completions = (0..<12).map { i in
    let word = ["red", "green", "blue", "grey"][i % 4]
    return #"{"prompt": "\#(i) is ", "completion": "\#(word)\#(i % 3)."}"#
  }

  /// Answers with more of the letter e are better.
  public static func pairs(_ count: Int) -> [String] {
    (0..<count).map { i in
      let good = ["bee", "eel", "see me", "eye", "tree"][i % 5]
      let bad = ["cat", "dog", "sun is", "oak", "bird"][(i / 5) % 5]
      return #"{"prompt": "Word \#(i): ", "chosen": "\#(good)", "rejected": "\#(bad)"}"#
    }
  }

  /// Rows with answers: one prompt with two answers, one of them twice, and two others.
  public static let answered = [
    #"{"prompt":"say 1","answer":1.50}"#, #"{"prompt":"say 1","answer":2e0}"#,
    #"{"prompt":"say 1","answer":1.50}"#, #"{"prompt":"say 2","answer":[3]}"#,
    #"{"prompt":"say 3","answer":"4"}"#,
  ]
  /// Their prompts, answers and lines.
  public static let answeredPrompts: Set<[String]> = [
    ["say 1", "1.50", "1"], ["say 1", "2e0", "2"], ["say 2", "[3]", "4"],
    ["say 3", #""4""#, "5"],
  ]
}
