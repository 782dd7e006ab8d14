// SPDX-License-Identifier: Apache-2.0

/// The shapes of rows that are read, tried in this order; the first one that a file's first row
/// fits is the shape of the whole file.
public enum RowFormat: String, Sendable, CaseIterable {
  /// OpenAI's comparisons of summaries: `{"info","summaries","choice"}`.
  case summarizeFromFeedback = "summarize-from-feedback"
  /// Anthropic's dialogues: `\n\nHuman: …\n\nAssistant: …` in `chosen` and `rejected`.
  case hhRLHF = "HH-RLHF"
  /// Models' answers: `{"prompt","completions":[{"text","ids","finish_reason", …}]}`.
  case samples
  /// TRL's steps of one answer: `{"prompt","completions","labels"}`.
  case stepwise
  /// `{"prompt","completions","scores"}`, UltraFeedback's `{"instruction","completions"}` and
  /// Nectar's `{"prompt","answers"}` too.
  case ranking
  /// `{"conversations":[{"from","value"}]}`, with `chosen`/`rejected` or a label.
  case shareGPT = "ShareGPT"
  /// Two numbered answers and which is better: AlpacaEval, Label Studio, the arena.
  case pairwise
  /// `{"instruction","input","output"}`, with `chosen`/`rejected` or a label.
  case instruction
  /// `{"prompt","chosen","rejected"}`, the prompt may be implicit or under `messages`, `question` or
  /// `input`.
  case preference
  /// `{"prompt","completion","label"}`, or `messages` that end in the answer, and `label`.
  case unpaired
  /// `{"prompt","completion"}`.
  case promptCompletion = "prompt–completion"
  /// `{"question","answer"}`.
  case questionAnswer = "question–answer"
  /// `{"prompt"}`.
  case prompt = "prompt-only"
  /// `{"messages"}`, with `rejected_response` or `rejected_messages` too.
  case messages
  /// `{"text"}`.
  case text

  /// Whether a row has the keys of this shape; what they hold is checked when it is read.
  func fits(_ row: JSONValue) -> Bool {
    func has(_ keys: String...) -> Bool { keys.allSatisfy { row.present($0) != nil } }
    func firstCompletionHas(_ key: String) -> Bool {
      guard case .array(let values)? = row["completions"] else { return false }
      return values.first?[key] != nil
    }
    switch self {
    case .summarizeFromFeedback: return has("info", "summaries", "choice")
    case .hhRLHF:
      guard case .string(let chosen)? = row["chosen"], row.present("prompt") == nil else {
        return false
      }
      return chosen.utf8.starts(with: "\n\nHuman:".utf8)
    case .samples:
      // A server's answers have no ids.
      return has("prompt", "completions")
        && (firstCompletionHas("ids")
          || firstCompletionHas("finish_reason") && !firstCompletionHas("score") && !has("scores"))
    case .stepwise: return StepwiseRow.fits(row)
    case .ranking: return RankingRow.fits(row)
    case .shareGPT: return has("conversations")
    case .pairwise:
      guard let pair = PairwiseChoice(row), !has("chosen", "rejected") else { return false }
      return pair.holdsPrompt || has("prompt") || has("instruction") || has("question")
        || has("messages")
    case .instruction: return has("instruction")
    case .preference: return has("chosen", "rejected")
    case .unpaired:
      return (has("prompt", "completion") || has("messages")) && ThumbColumn.name(in: row) != nil
    case .promptCompletion: return has("prompt", "completion")
    case .questionAnswer: return has("question", "answer") || has("question", "response")
    case .prompt: return has("prompt") && row["completions"] == nil && !has("messages")
    case .messages: return has("messages")
    case .text: return has("text")
    }
  }

  /// The shape of a row.
  static func of(_ row: JSONValue, at place: DataPlace) throws -> RowFormat {
    if let format = allCases.first(where: { $0.fits(row) }) { return format }
    let keys = row.fields.map { "\"\($0.key)\"" }.joined(separator: ", ")
    throw place.error(
      "the keys \(keys.isEmpty ? "(none)" : keys) fit no known format; expected {\"text\"}, "
        + "{\"messages\"}, {\"prompt\"}, {\"prompt\",\"completion\"}, "
        + "{\"prompt\",\"completion\",\"label\"}, {\"prompt\",\"chosen\",\"rejected\"}, "
        + "{\"chosen\",\"rejected\"}, {\"prompt\",\"completions\",\"scores\"} or "
        + "{\"prompt\",\"completions\",\"labels\"}")
  }

  /// What a row of this shape says, and which columns say it. Throws ``DataError`` where a key is
  /// missing or wrong, and ``UnusableRow`` where the row is as it should be but cannot be used.
  func example(_ columns: Columns) throws -> Example {
    columns.use("tools")
    let example = try read(columns).given(columns.json, at: columns.place)
    try example.messages.requireOneToolList(at: columns.place)
    return example
  }

  private func read(_ columns: Columns) throws -> Example {
    guard fits(columns.json) else {
      if self == .unpaired, let name = ThumbColumn.unread(in: columns.json),
        let value = columns.value(name)
      {
        throw ThumbColumn.noThumb(value, in: name, at: columns.place)
      }
      let keys = columns.json.fields.map { "\"\($0.key)\"" }.joined(separator: ", ")
      throw columns.place.error(
        "the file began with rows of format \(rawValue), but this row's keys are \(keys)")
    }
    switch self {
    case .summarizeFromFeedback: return .preference(try summaries(columns))
    case .hhRLHF: return .preference(try Dialogue.preference(columns))
    case .samples:
      var row = try SampleRow(json: columns.json, at: columns.place)
      row.prompt = try columns.withSystem(row.prompt)
      return .samples(row)
    case .stepwise: return .stepwise(try StepwiseRow(columns))
    case .ranking: return .ranking(try RankingRow(columns))
    case .shareGPT: return try conversation(columns, under: "conversations")
    case .pairwise: return .preference(try pairwise(columns))
    case .instruction: return try instruction(columns)
    case .preference: return .preference(try preference(columns))
    case .unpaired, .promptCompletion:
      if self == .unpaired, !columns.has("completion") {
        return try conversation(columns, under: "messages")
      }
      let prompt = try columns.withSystem(columns.content("prompt"))
      return try Self.answered(prompt, try columns.answer("completion"), columns)
    case .questionAnswer:
      let prompt = try columns.withSystem(Self.said(columns.string("question")))
      let key = columns.first(of: ["answer", "response"]) ?? "answer"
      return try Self.answered(prompt, .text(try columns.string(key)), columns)
    case .prompt: return .prompt(try columns.withSystem(columns.content("prompt")))
    case .messages: return try conversation(columns, under: "messages")
    case .text: return .text(.text(try columns.string("text")))
    }
  }
}

/// A row that is well formed but of no use: it is passed over, and told with its line.
struct UnusableRow: Error {
  let reason: String
}

extension Content {
  /// A text as an assistant's message; messages stay as they are.
  var spoken: Content {
    guard case .text(let text) = self else { return self }
    return .messages([Message(role: "assistant", content: text)])
  }

  /// Whose turn a conversation begins with that holds its prompt; nil for an answer alone.
  var openingRole: String? {
    guard case .messages(let turns) = self, let role = turns.first?.role,
      ["system", "developer", "user"].contains(role)
    else { return nil }
    return role
  }

  /// Whether it is a conversation that goes on from another one.
  func begins(with other: Content) -> Bool {
    guard case .messages(let turns) = self, case .messages(let start) = other else { return false }
    return turns.count > start.count && turns.starts(with: start)
  }
}
