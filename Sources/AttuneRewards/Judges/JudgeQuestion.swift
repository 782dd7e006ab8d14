// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneTraining

/// A question to a judge that one of a few words answers.
public struct JudgeQuestion: Sendable, Hashable {
  /// What the judge reads.
  public var messages: [Message]
  /// The words to choose from: `A` and `B`, or `1` to `5`.
  public var options: [String]
  /// What a local judge's answer is made to begin with, an option following. Chosen without labels, by
  /// how much of SmolLM2's probability the options then have together.
  public var lead: String

  /// Makes a question.
  ///
  /// - Parameters:
  ///   - messages: What the judge reads.
  ///   - options: The words to choose from.
  ///   - lead: What a local judge's answer is made to begin with.
  public init(messages: [Message], options: [String], lead: String = "Answer: ") {
    self.messages = messages
    self.options = options
    self.lead = lead
  }
}

extension JudgeQuestion {
  static let letters = ["A", "B"]
  static let grades = ["1", "2", "3", "4", "5"]

  /// Which of two answers follows a principle better.
  ///
  /// The answers come last, so that both orders share all tokens before them.
  static func comparison(
    _ prompt: Content, _ first: String, _ second: String, principle: String
  ) -> JudgeQuestion {
    let text = """
      Two answers to a conversation are to be compared under one principle.

      Conversation:
      \(transcript(prompt))

      Principle: \(principle)

      Answer (A): \(first)

      Answer (B): \(second)

      Which answer follows the principle better?
      """
    return JudgeQuestion(
      messages: [user(text)], options: letters, lead: "The better answer is (")
  }

  /// How well an answer follows a principle, from 1 to 5.
  package static func grade(_ prompt: Content, _ answer: String, principle: String) -> JudgeQuestion
  {
    let text = """
      An answer to a conversation is to be graded under one principle.

      Conversation:
      \(transcript(prompt))

      Principle: \(principle)

      Answer: \(answer)

      How well does the answer follow the principle, from 1 (not at all) to 5 (fully)?
      """
    return JudgeQuestion(messages: [user(text)], options: grades, lead: "Grade: ")
  }

  /// The request to think before the question is answered.
  var askingForReasons: [Message] {
    ending("Think it through in a few sentences, without giving the final choice yet.")
  }

  /// The question, to be answered by an option alone.
  package var askingForOption: [Message] {
    let list =
      options.count == 2
      ? options.joined(separator: " or ") : "\(options[0]) to \(options[options.count - 1])"
    return ending("Answer with \(list) alone.")
  }

  /// The question after the judge has thought aloud.
  func after(reasons: String) -> JudgeQuestion {
    JudgeQuestion(
      messages: askingForReasons + [
        Message(role: "assistant", content: reasons), Self.user("What is your choice, then?"),
      ], options: options, lead: lead)
  }

  private func ending(_ words: String) -> [Message] {
    var messages = messages
    messages[messages.count - 1].content += " " + words
    return messages
  }

  /// What is wrong with an answer under a principle.
  static func critique(_ prompt: Content, _ answer: String, principle: String) -> [Message] {
    [
      user(
        """
        Here are a conversation and an assistant's answer to it.

        Conversation:
        \(transcript(prompt))

        Answer: \(answer)

        Principle: \(principle)

        In what does the answer fall short of the principle? Be specific and brief.
        """)
    ]
  }

  /// The request to write an answer anew after its critique.
  static func revision(after critique: [Message], saying words: String) -> [Message] {
    critique + [
      Message(role: "assistant", content: words),
      user(
        "Now rewrite the answer so that it follows the principle better and still does what was asked. "
          + "Write the new answer alone, without any words about it."),
    ]
  }

  private static func user(_ text: String) -> Message { Message(role: "user", content: text) }

  /// A prompt as a judge reads it. What people call a conversation is one for the judge too, without
  /// the judge's own template around it.
  private static func transcript(_ prompt: Content) -> String {
    guard case .messages(let messages) = prompt else { return prompt.readable }
    let names = ["user": "Person", "assistant": "Assistant", "system": "Instructions"]
    return messages.map { "\(names[$0.role] ?? $0.role): \($0.readable)" }.joined(separator: "\n")
  }
}
