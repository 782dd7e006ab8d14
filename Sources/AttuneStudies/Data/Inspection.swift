// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import AttuneTraining
import Foundation

/// A row of a data file as a model sees it: the object of `inspect --json`.
public struct Inspection: Codable, Sendable, Equatable {
  /// A token.
  public struct Token: Codable, Sendable, Equatable {
    /// Its id.
    public var id: Int32
    /// Its text.
    public var text: String
    /// Whether it carries a loss; of an answer in steps, whether a reward model is read after it.
    public var scored: Bool
  }

  /// A text that the row makes.
  public struct Text: Codable, Sendable, Equatable {
    /// The prompt's tokens.
    public var prompt: [Token]
    /// Each answer's tokens.
    public var answers: [[Token]]
    /// Whether the end of sequence is the last token of each answer.
    public var endsInEndOfSequence: [Bool]
  }

  /// Version of this object's format.
  public var formatVersion = 1
  /// What the file was taken for.
  public var summary: String
  /// The kind of data.
  public var kind: String
  /// Whether rows are made of messages.
  public var conversational: Bool
  /// Rows that can be used.
  public var rows: Int
  /// Rows that can't.
  public var skipped: Int
  /// The line of the row that is shown.
  public var line: Int
  /// The prompt's tokens.
  public var prompt: [Token]
  /// Each answer's tokens.
  public var answers: [[Token]]
  /// Whether the end of sequence is the last token of each answer.
  public var endsInEndOfSequence: [Bool]
  /// All texts of a row that makes several: one for each answer where the chat template writes earlier
  /// turns otherwise once others follow. The first one stands above too.
  public var texts: [Text]?
  /// Why trainers pass the row over; nil for a row of use.
  public var passedOver: String?

  /// Looks at a row.
  ///
  /// - Parameters:
  ///   - data: The file.
  ///   - loaded: The model.
  ///   - row: Which row that can be used, from 1.
  /// - Throws: An error that names the line at fault, or says how many rows there are.
  public init(_ data: DataFile, loaded: LoadedModel, row: Int) throws {
    guard data.rows.indices.contains(row - 1) else {
      throw TrainingError(
        .badSetting, "--row \(row): \(data.url.path) has the rows 1 to \(data.rows.count)")
    }
    let encoder = try TextEncoder(loaded)
    let shown = data.rows[row - 1]
    let groups: [EncodedGroup]
    do {
      if case .stepwise(let row) = shown.example {
        let separator = loaded.reward?.stepSeparator ?? RewardModelSettings().stepSeparator
        var group = try encoder.steps(row, separator: separator, line: shown.line)
        group.answers[0].scored = group.answers[0].steps.map { $0..<$0 + 1 }
        groups = [group]
      } else {
        groups = try encoder.learned(shown)
      }
    } catch let error as PassedOver {
      passedOver = error.reason
      let ids = try shown.example.prompt.map { try encoder.prompt($0) } ?? []
      groups = [EncodedGroup(line: shown.line, prompt: ids, promptCut: 0, answers: [])]
    } catch let error as TrainingError {
      throw TrainingError(error.code, "\(data.url.path), \(error.message)")
    }
    func tokens(_ ids: [Int32], scored: [Range<Int>]) -> [Token] {
      ids.enumerated().map { index, id in
        Token(
          id: id, text: loaded.tokenizer.text(of: id),
          scored: scored.contains { $0.contains(index) })
      }
    }
    summary = data.summary
    kind = data.kind.rawValue
    conversational = data.isConversational
    rows = data.rows.count
    skipped = data.skipped.count
    line = shown.line
    let made = groups.map { group in
      Text(
        prompt: tokens(group.prompt, scored: []),
        answers: group.answers.map { tokens($0.ids, scored: $0.scored) },
        endsInEndOfSequence: group.answers.map { $0.ids.last == encoder.endOfSequence })
    }
    (prompt, answers) = (made[0].prompt, made[0].answers)
    endsInEndOfSequence = made[0].endsInEndOfSequence
    texts = made.count > 1 ? made : nil
  }

  /// The same for people: a line a token, those that carry a loss marked with a bar.
  public var text: String {
    var lines = [summary, "line \(line):"]
    func add(_ title: String, _ tokens: [Token]) {
      lines.append("\(title), \(tokens.count) tokens")
      for token in tokens {
        let id = String(token.id)
        let space = String(repeating: " ", count: max(0, 8 - id.count))
        lines.append("  \(token.scored ? "|" : " ") \(space)\(id)  \(token.text.debugDescription)")
      }
    }
    let one = Text(prompt: prompt, answers: answers, endsInEndOfSequence: endsInEndOfSequence)
    for (place, text) in (texts ?? [one]).enumerated() {
      if let texts { lines.append("text \(place + 1) of \(texts.count)") }
      add("prompt", text.prompt)
      for (index, answer) in text.answers.enumerated() {
        add(text.answers.count == 1 ? "answer" : "answer \(index + 1)", answer)
        if !text.endsInEndOfSequence[index] { lines.append("  (without an end of sequence)") }
      }
    }
    if let passedOver { lines.append("trainers pass this row over: \(passedOver)") }
    let isStepwise = kind == DataKind.stepwise.rawValue
    lines.append(
      isStepwise
        ? "| marks the tokens that end a step, after which a reward model is read"
        : "| marks the tokens that carry a loss")
    return lines.joined(separator: "\n")
  }
}
