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
  /// How many numbered things it is about, each of which an option answers; of more than one a server alone
  /// can be asked.
  var count = 1
  /// What asks for the form of the answer, where that is not an option alone.
  var ending: String?
  /// What it is about, for errors; no part of what is asked.
  var subject: String?

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
  static let affirmation = ["Yes", "No"]

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
      messages: [user(text)], options: letters(2), lead: "The better answer is (")
  }

  /// How well an answer follows a principle, by a grade of a scale.
  package static func grade(
    _ prompt: Content, _ answer: String, principle: String, scale: GradeScale = GradeScale()
  ) -> JudgeQuestion {
    let text = """
      An answer to a conversation is to be graded under one principle.

      Conversation:
      \(transcript(prompt))

      Principle: \(principle)

      Answer: \(answer)

      How well does the answer follow the principle, \(scale.words)?
      """
    return JudgeQuestion(messages: [user(text)], options: scale.options, lead: "Grade: ")
  }

  /// The same of several answers to one conversation.
  static func grades(
    _ prompt: Content, _ answers: [String], principle: String, scale: GradeScale
  ) -> JudgeQuestion {
    let list = answers.enumerated().map { "Answer (\($0 + 1)): \($1)" }
    let text = """
      \(answers.count) answers to a conversation are to be graded under one principle, each by itself.

      Conversation:
      \(transcript(prompt))

      Principle: \(principle)

      \(list.joined(separator: "\n\n"))

      How well does each answer follow the principle, \(scale.words)?
      """
    return several(text, options: scale.options, count: answers.count)
  }

  /// Whether an answer meets a criterion.
  static func criterion(_ prompt: Content, _ answer: String, _ criterion: String) -> JudgeQuestion {
    let text = """
      An answer to a conversation is to be checked against one criterion.

      Conversation:
      \(transcript(prompt))

      Answer: \(answer)

      Criterion: \(criterion)

      Does the answer meet the criterion?
      """
    return JudgeQuestion(messages: [user(text)], options: affirmation)
  }

  /// The same of several criteria.
  static func criteria(_ prompt: Content, _ answer: String, _ criteria: [String]) -> JudgeQuestion {
    let list = criteria.enumerated().map { "Criterion (\($0 + 1)): \($1)" }
    let text = """
      An answer to a conversation is to be checked against \(criteria.count) criteria, each by itself.

      Conversation:
      \(transcript(prompt))

      Answer: \(answer)

      \(list.joined(separator: "\n"))

      Does the answer meet each criterion?
      """
    return several(text, options: affirmation, count: criteria.count)
  }

  private static func several(_ text: String, options: [String], count: Int) -> JudgeQuestion {
    var question = JudgeQuestion(messages: [user(text)], options: options)
    question.count = count
    question.ending =
      "Write \(count) lines and nothing else, one for each: its number, a colon, and "
      + "\(Self.list(options))."
    return question
  }

  /// Letters, one an answer that is to be put in order.
  static func letters(_ count: Int) -> [String] {
    (0..<count).map { String(UnicodeScalar(UInt8(ascii: "A") + UInt8($0))) }
  }

  /// In which order several answers follow a principle, the best first.
  static func order(_ prompt: Content, _ answers: [String], principle: String) -> JudgeQuestion {
    let names = letters(answers.count)
    let list = zip(names, answers).map { "Answer (\($0)): \($1)" }
    let text = """
      \(answers.count) answers to a conversation are to be put in order under one principle.

      Conversation:
      \(transcript(prompt))

      Principle: \(principle)

      \(list.joined(separator: "\n\n"))

      In which order do the answers follow the principle, the best one first?
      """
    var question = JudgeQuestion(
      messages: [user(text)], options: names, lead: "From best to worst: ")
    question.ending =
      "Write all \(names.count) letters on one line, the best answer's first, with > between them, and "
      + "nothing else."
    return question
  }

  /// The question for the next letter of an order, those of the first places being known.
  func next(after places: [Int]) -> JudgeQuestion {
    var question = self
    question.lead = lead + places.map { options[$0] + " > " }.joined()
    question.options = options.indices.filter { !places.contains($0) }.map { options[$0] }
    return question
  }

  /// The question put once more, to a judge whose answer could not be read.
  ///
  /// - Parameter time: Which time it is, from 2.
  func again(_ time: Int) -> JudgeQuestion {
    var question = self
    question.ending =
      form + " An answer in another form can't be read. (This is asked for the \(time). time.)"
    return question
  }

  /// The request to think before the question is answered.
  var askingForReasons: [Message] {
    ending("Think it through in a few sentences, without giving the final choice yet.")
  }

  /// The question, to be answered by an option alone.
  package var askingForOption: [Message] { ending(form) }

  /// What asks for the form of the answer.
  private var form: String { ending ?? "Answer with \(Self.list(options)) alone." }

  private static func list(_ options: [String]) -> String {
    options.count == 2
      ? options.joined(separator: " or ") : "\(options[0]) to \(options[options.count - 1])"
  }

  /// The question after the judge has thought aloud.
  func after(reasons: String) -> JudgeQuestion {
    var question = self
    question.messages =
      askingForReasons + [
        Message(role: "assistant", content: reasons), Self.user("What is your choice, then?"),
      ]
    return question
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
