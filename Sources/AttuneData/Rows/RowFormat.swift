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
  /// `{"prompt","completions","scores"}`, UltraFeedback's `{"instruction","completions"}` too.
  case ranking
  /// `{"conversations":[{"from","value"}]}`, with `chosen`/`rejected` or a label.
  case shareGPT = "ShareGPT"
  /// `{"instruction","input","output"}`, with `chosen`/`rejected` or a label.
  case instruction
  /// `{"prompt","chosen","rejected"}`, the prompt may be implicit or under `messages`.
  case preference
  /// `{"prompt","completion","label"}`, or `messages` that end in the answer, and `label`.
  case unpaired
  /// `{"prompt","completion"}`.
  case promptCompletion = "prompt–completion"
  /// `{"question","answer"}`.
  case questionAnswer = "question–answer"
  /// `{"prompt"}`.
  case prompt = "prompt-only"
  /// `{"messages"}`.
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
    case .ranking:
      return has("prompt", "completions", "scores")
        || has("prompt", "completions")
          && (firstCompletionHas("score") || firstCompletionHas("overall_score"))
        || has("instruction", "completions")
    case .shareGPT: return has("conversations")
    case .instruction: return has("instruction")
    case .preference: return has("chosen", "rejected")
    case .unpaired:
      return (has("prompt", "completion") || has("messages"))
        && (has("label") || has("kto_tag"))
    case .promptCompletion: return has("prompt", "completion")
    case .questionAnswer: return has("question", "answer")
    case .prompt: return has("prompt") && row["completions"] == nil
    case .messages: return has("messages")
    case .text: return has("text")
    }
  }

  /// The shape of a row.
  static func of(_ row: JSONValue, at place: DataPlace) throws -> RowFormat {
    if let format = allCases.first(where: { $0.fits(row) }) { return format }
    if row["prompt"] != nil, row["completions"] != nil, row["labels"] != nil {
      throw place.error("rows with stepwise labels are not read")
    }
    let keys = row.fields.map { "\"\($0.key)\"" }.joined(separator: ", ")
    throw place.error(
      "the keys \(keys.isEmpty ? "(none)" : keys) fit no known format; expected {\"text\"}, "
        + "{\"messages\"}, {\"prompt\"}, {\"prompt\",\"completion\"}, "
        + "{\"prompt\",\"completion\",\"label\"}, {\"prompt\",\"chosen\",\"rejected\"}, "
        + "{\"chosen\",\"rejected\"} or {\"prompt\",\"completions\",\"scores\"}")
  }

  /// What a row of this shape says. Throws ``DataError`` where a key is missing or wrong, and
  /// ``UnusableRow`` where the row is as it should be but cannot be used.
  func example(_ row: JSONValue, at place: DataPlace) throws -> Example {
    try read(row, at: place).given(row, at: place)
  }

  private func read(_ row: JSONValue, at place: DataPlace) throws -> Example {
    guard fits(row) else {
      let keys = row.fields.map { "\"\($0.key)\"" }.joined(separator: ", ")
      throw place.error(
        "the file began with rows of format \(rawValue), but this row's keys are \(keys)")
    }
    switch self {
    case .summarizeFromFeedback: return .preference(try summaries(row, at: place))
    case .hhRLHF: return .preference(try Dialogue.preference(row, at: place))
    case .samples: return .samples(try SampleRow(json: row, at: place))
    case .ranking: return .ranking(try RankingRow(json: row, at: place))
    case .shareGPT: return try conversation(row, under: "conversations", at: place)
    case .instruction: return try instruction(row, at: place)
    case .preference: return .preference(try preference(row, at: place))
    case .unpaired: return try unpaired(row, at: place)
    case .promptCompletion:
      return .completion(
        prompt: try content("prompt", of: row, at: place),
        completion: try answer("completion", of: row, at: place))
    case .questionAnswer:
      return .completion(
        prompt: .messages([.init(role: "user", content: try row.string("question", at: place))]),
        completion: .messages([
          .init(role: "assistant", content: try row.string("answer", at: place))
        ]))
    case .prompt: return .prompt(try content("prompt", of: row, at: place))
    case .messages: return try conversation(row, under: "messages", at: place)
    case .text: return .text(.text(try row.string("text", at: place)))
    }
  }
}

/// A row that is well formed but of no use: it is passed over, and told with its line.
struct UnusableRow: Error {
  let reason: String
}

extension RowFormat {
  func content(_ key: String, of row: JSONValue, at place: DataPlace) throws -> Content {
    guard let value = row[key] else { throw place.error("key \"\(key)\" is missing") }
    return try Content(value, name: key, at: place)
  }

  /// The answer under a key: like the prompt a string or messages. A string beside a prompt of
  /// messages is what the assistant says; one message may stand without its list.
  func answer(_ key: String, of row: JSONValue, at place: DataPlace) throws -> Content {
    guard let value = row[key] else { throw place.error("key \"\(key)\" is missing") }
    if case .object = value {
      return .messages([try Message(value, name: key, at: place)])
    }
    return try Content(value, name: key, at: place)
  }

  private func summaries(_ row: JSONValue, at place: DataPlace) throws -> Preference {
    guard let info = row["info"], case .object = info else {
      throw place.error("key \"info\" must be an object")
    }
    let texts = try row.array("summaries", at: place).map { summary -> String in
      guard case .string(let text)? = summary["text"] else {
        throw place.error("key \"summaries\" must hold objects with a text")
      }
      return text
    }
    guard texts.count == 2, let choice = try row.optionalInt("choice", at: place),
      choice == 0 || choice == 1
    else { throw place.error("expected two summaries and a choice of 0 or 1") }
    let prompt: String
    if let post = try info.optionalString("post", at: place) {
      // The query of Stiennon et al. 2020 (2009.01325), table 5.
      let subreddit = try info.optionalString("subreddit", at: place) ?? ""
      let title = try info.optionalString("title", at: place) ?? ""
      prompt = "SUBREDDIT: r/\(subreddit)\n\nTITLE: \(title)\n\nPOST: \(post)\n\nTL;DR:"
    } else if let article = try info.optionalString("article", at: place) {
      prompt = "Article: \(article)\n\nTL;DR:"
    } else {
      throw place.error("key \"info\" has neither a post nor an article")
    }
    // Some summaries begin with the space that parts them from the query, some do not.
    let spaced = texts.map { $0.first == " " ? $0 : " " + $0 }
    return Preference(
      prompt: .text(prompt), chosen: .text(spaced[choice]), rejected: .text(spaced[1 - choice]),
      labeller: try row.optionalString("worker", at: place))
  }

  private func preference(_ row: JSONValue, at place: DataPlace) throws -> Preference {
    var chosen = try answer("chosen", of: row, at: place)
    var rejected = try answer("rejected", of: row, at: place)
    var prompt: Content?
    if row.present("prompt") != nil {
      prompt = try content("prompt", of: row, at: place)
    } else if row.present("messages") != nil, !chosen.isConversational {
      prompt = try content("messages", of: row, at: place)
    }
    // A prompt of messages beside answers that are strings: what the assistant says.
    if prompt?.isConversational == true {
      chosen = chosen.spoken
      rejected = rejected.spoken
    }
    guard chosen.isConversational == rejected.isConversational else {
      throw place.error("one of \"chosen\" and \"rejected\" is a string, the other is messages")
    }
    // UltraFeedback's rows give the prompt's text and whole conversations that begin with it.
    if case .text(let text)? = prompt, case .messages(let messages) = chosen {
      let isWhole = messages.count > 1 && messages[0].role != "assistant"
      prompt = isWhole ? nil : .messages([Message(role: "user", content: text)])
    }
    var pair: Preference
    if let prompt {
      pair = Preference(prompt: prompt, chosen: chosen, rejected: rejected)
    } else {
      pair = try ImplicitPrompt.split(chosen: chosen, rejected: rejected)
    }
    try pair.readMarks(row, at: place)
    return pair
  }

  private func unpaired(_ row: JSONValue, at place: DataPlace) throws -> Example {
    let label = try row.bool(row.present("label") == nil ? "kto_tag" : "label", at: place)
    if row.present("completion") != nil {
      let prompt = try content("prompt", of: row, at: place)
      let completion = try answer("completion", of: row, at: place)
      return .unpaired(
        prompt: prompt, completion: prompt.isConversational ? completion.spoken : completion,
        label: label)
    }
    return try Self.answered(
      content("messages", of: row, at: place), key: "messages", label: label, at: place)
  }

  /// A conversation that ends in the answer that a label judges.
  private static func answered(
    _ content: Content, key: String, label: Bool, at place: DataPlace
  ) throws -> Example {
    guard case .messages(let messages) = content, let last = messages.last,
      last.role == "assistant", messages.count > 1
    else {
      throw place.error("key \"\(key)\" must end in an assistant's message that the label judges")
    }
    return .unpaired(
      prompt: .messages(Array(messages.dropLast())), completion: .messages([last]), label: label)
  }

  private func conversation(
    _ row: JSONValue, under key: String, at place: DataPlace
  ) throws -> Example {
    guard case .messages(var messages) = try content(key, of: row, at: place) else {
      throw place.error("key \"\(key)\" must be a list of messages")
    }
    if let system = try row.optionalString("system", at: place), !system.isEmpty {
      messages.insert(Message(role: "system", content: system), at: 0)
    }
    if row.present("chosen") != nil, row.present("rejected") != nil {
      var pair = Preference(
        prompt: .messages(messages), chosen: try answer("chosen", of: row, at: place).spoken,
        rejected: try answer("rejected", of: row, at: place).spoken)
      try pair.readMarks(row, at: place)
      return .preference(pair)
    }
    for labelKey in ["label", "kto_tag"] where row.present(labelKey) != nil {
      let label = try row.bool(labelKey, at: place)
      return try Self.answered(.messages(messages), key: key, label: label, at: place)
    }
    return .text(.messages(messages))
  }

  private func instruction(_ row: JSONValue, at place: DataPlace) throws -> Example {
    var messages: [Message] = []
    if let system = try row.optionalString("system", at: place), !system.isEmpty {
      messages.append(Message(role: "system", content: system))
    }
    if row.present("history") != nil {
      for turn in try row.array("history", at: place) {
        guard case .array(let both) = turn, both.count == 2, case .string(let question) = both[0],
          case .string(let answer) = both[1]
        else { throw place.error("key \"history\" must hold pairs of strings") }
        messages.append(Message(role: "user", content: question))
        messages.append(Message(role: "assistant", content: answer))
      }
    }
    let input = try row.optionalString("input", at: place) ?? ""
    let instruction = try row.string("instruction", at: place)
    messages.append(
      Message(role: "user", content: input.isEmpty ? instruction : "\(instruction)\n\(input)"))
    if row.present("chosen") != nil, row.present("rejected") != nil {
      var pair = Preference(
        prompt: .messages(messages), chosen: try answer("chosen", of: row, at: place).spoken,
        rejected: try answer("rejected", of: row, at: place).spoken)
      try pair.readMarks(row, at: place)
      return .preference(pair)
    }
    guard row.present("output") != nil else { return .prompt(.messages(messages)) }
    let completion = try answer("output", of: row, at: place).spoken
    for labelKey in ["label", "kto_tag"] where row.present(labelKey) != nil {
      return .unpaired(
        prompt: .messages(messages), completion: completion,
        label: try row.bool(labelKey, at: place))
    }
    return .completion(prompt: .messages(messages), completion: completion)
  }
}

extension Content {
  /// A text as an assistant's message; messages stay as they are.
  var spoken: Content {
    guard case .text(let text) = self else { return self }
    return .messages([Message(role: "assistant", content: text)])
  }
}
