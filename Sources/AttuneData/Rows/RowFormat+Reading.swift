// SPDX-License-Identifier: Apache-2.0

import Foundation

extension RowFormat {
  /// What a user says.
  static func said(_ text: String) -> Content { .messages([Message(role: "user", content: text)]) }

  /// A prompt and its one answer, with the thumb that judges it if there is one.
  static func answered(
    _ prompt: Content, _ completion: Content, _ columns: Columns
  ) throws -> Example {
    let completion = prompt.isConversational ? completion.spoken : completion
    guard let label = try ThumbColumn.read(columns) else {
      return .completion(prompt: prompt, completion: completion)
    }
    return .unpaired(prompt: prompt, completion: completion, label: label)
  }

  func summaries(_ columns: Columns) throws -> Preference {
    let place = columns.place
    guard let info = columns.value("info"), case .object = info else {
      throw place.error("key \"info\" must be an object")
    }
    let texts = try columns.array("summaries").map { summary -> String in
      guard case .string(let text)? = summary["text"] else {
        throw place.error("key \"summaries\" must hold objects with a text")
      }
      return text
    }
    guard texts.count == 2, let choice = try columns.optionalInt("choice"),
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
      labeller: try columns.optionalString("worker"))
  }

  func preference(_ columns: Columns) throws -> Preference {
    let chosen = try columns.answer("chosen")
    let rejected = try columns.answer("rejected")
    if columns.has("messages"), !columns.has("prompt") {
      return try compared(Self.turns("messages", columns), chosen, rejected, columns)
    }
    var prompt: Content?
    if columns.has("prompt") {
      prompt = try columns.content("prompt")
    } else if let key = columns.first(of: ["question", "input"]) {
      prompt = Self.said(try columns.string(key))
    }
    // UltraFeedback's rows have the better conversation twice.
    if columns.has("messages") {
      guard try columns.content("messages") == chosen else {
        throw columns.place.error(
          "\"messages\" stands beside \"prompt\" and is not what \"chosen\" holds; leave one of "
            + "the two out")
      }
    }
    return try Self.pair(prompt, chosen, rejected, columns)
  }

  /// A comparison; without a prompt it is what both answers begin with.
  ///
  /// - Parameters:
  ///   - given: The prompt without the row's system column.
  ///   - names: The columns of the answers, for errors.
  static func pair(
    _ given: Content?, _ chosen: Content, _ rejected: Content, _ columns: Columns,
    names: (chosen: String, rejected: String) = ("chosen", "rejected")
  ) throws -> Preference {
    let own = try given.flatMap { try asked($0, chosen, rejected, columns, names.chosen) }
    let prompt = try own.map { try columns.withSystem($0) }
    // A prompt of messages beside answers that are strings: what the assistant says.
    let isSpoken = prompt?.isConversational == true
    let (chosen, rejected) = isSpoken ? (chosen.spoken, rejected.spoken) : (chosen, rejected)
    guard chosen.isConversational == rejected.isConversational else {
      throw columns.place.error(
        "one of \"\(names.chosen)\" and \"\(names.rejected)\" is a string, the other is messages")
    }
    // The answers may begin with the prompt, with the row's system turn before it or without.
    let isHeld = [own, prompt].contains { start in
      start.map { chosen.begins(with: $0) && rejected.begins(with: $0) } ?? false
    }
    var pair: Preference
    if let prompt, !isHeld {
      for (name, answer) in [(names.chosen, chosen), (names.rejected, rejected)] {
        guard let role = answer.openingRole else { continue }
        throw columns.place.error(
          "\"\(name)\" begins with a turn of the \(role), and not both answers begin with the "
            + "prompt's turns; give the answers alone, or the prompt's turns before both")
      }
      pair = Preference(prompt: prompt, chosen: chosen, rejected: rejected)
    } else {
      pair = try ImplicitPrompt.split(chosen: chosen, rejected: rejected)
      if pair.prompt.isConversational { pair.prompt = try columns.withSystem(pair.prompt) }
    }
    try pair.readMarks(columns)
    return pair
  }

  /// A prompt as turns where the answers are; nil where it is one question and the answers are whole
  /// conversations that ask it, as in UltraFeedback's rows.
  ///
  /// - Throws: ``DataError`` where they don't ask it: it would be dropped.
  private static func asked(
    _ prompt: Content, _ chosen: Content, _ rejected: Content, _ columns: Columns, _ name: String
  ) throws -> Content? {
    guard case .messages(let answer) = chosen else { return prompt }
    let turns: [Message]
    switch prompt {
    case .text(let text): turns = [Message(role: "user", content: text)]
    case .messages(let messages): turns = messages
    }
    guard let question = turns.first, turns == [Message(role: "user", content: question.content)],
      chosen.openingRole != nil, rejected.openingRole != nil
    else { return .messages(turns) }
    func words(_ message: Message) -> String {
      message.content.trimmingCharacters(in: .whitespacesAndNewlines)
    }
    // Some sets give the system turn's words as the prompt.
    guard answer.contains(where: { $0.role != "assistant" && words($0) == words(question) }) else {
      throw columns.place.error(
        "the prompt is none of the turns that \"\(name)\" holds before its answer; leave the prompt "
          + "out, or put it into the conversations")
    }
    return nil
  }

  /// A comparison of answers to a conversation, which may be the answers alone or may begin with it.
  private func compared(
    _ messages: [Message], _ chosen: Content, _ rejected: Content, _ columns: Columns
  ) throws -> Preference {
    if chosen == .messages(messages) || chosen.begins(with: .messages(messages)) {
      return try Self.pair(nil, chosen, rejected, columns)
    }
    var prompt = messages
    if let last = prompt.last, last.role == "assistant" {
      guard case .messages(let turns) = chosen.spoken, turns == [last], prompt.count > 1 else {
        throw columns.place.error(
          "the conversation ends in an assistant's turn that is not \"chosen\"; it must end in the "
            + "turn that both answer")
      }
      prompt.removeLast()
    }
    return try Self.pair(.messages(prompt), chosen, rejected, columns)
  }

  func pairwise(_ columns: Columns) throws -> Preference {
    guard let choice = PairwiseChoice(columns.json) else {
      throw columns.place.error("expected two answers")
    }
    var prompt: Content?
    if columns.has("instruction") {
      prompt = try instructed(columns)
    } else if columns.has("question") {
      prompt = Self.said(try columns.string("question"))
    } else if !choice.holdsPrompt {
      prompt = try columns.content(columns.first(of: ["messages", "prompt"]) ?? "prompt")
    }
    return try choice.preference(columns, prompt: prompt)
  }

  private static func turns(_ key: String, _ columns: Columns) throws -> [Message] {
    guard case .messages(let messages) = try columns.content(key) else {
      throw columns.place.error("key \"\(key)\" must be a list of messages")
    }
    return messages
  }

  func conversation(_ columns: Columns, under key: String) throws -> Example {
    var messages = try Self.turns(key, columns)
    if columns.has("chosen", "rejected") {
      return .preference(
        try compared(
          messages, try columns.answer("chosen").spoken, try columns.answer("rejected").spoken,
          columns))
    }
    if columns.has("rejected_messages") {
      let rejected = try columns.content("rejected_messages")
      return .preference(try Self.pair(nil, .messages(messages), rejected, columns))
    }
    if columns.has("rejected_response") {
      // ms-swift's rows: the conversation ends in the better answer.
      guard let last = messages.last, last.role == "assistant", messages.count > 1 else {
        throw columns.place.error(
          "key \"\(key)\" must end in an assistant's message, which is better than "
            + "\"rejected_response\"")
      }
      return .preference(
        try Self.pair(
          .messages(Array(messages.dropLast())), .messages([last]),
          try columns.answer("rejected_response").spoken, columns))
    }
    guard case .messages(let whole) = try columns.withSystem(.messages(messages)) else {
      throw columns.place.error("key \"\(key)\" must be a list of messages")
    }
    messages = whole
    if let label = try ThumbColumn.read(columns) {
      guard let last = messages.last, last.role == "assistant", messages.count > 1 else {
        throw columns.place.error(
          "key \"\(key)\" must end in an assistant's message that the label judges")
      }
      return .unpaired(
        prompt: .messages(Array(messages.dropLast())), completion: .messages([last]), label: label)
    }
    if columns.has("prompt") {
      // UltraChat's rows say the first question twice; others give the prompt's turns beside it.
      let prompt = try columns.content("prompt")
      let isRepeated: Bool =
        switch prompt {
        case .text(let text): messages.contains { $0.role == "user" && $0.content == text }
        case .messages(let turns): messages.starts(with: turns)
        }
      guard isRepeated else {
        throw columns.place.error(
          "\"prompt\" is none of the user's turns in \"\(key)\"; leave one of the two out")
      }
      if !messages.contains(where: { $0.role == "assistant" }) {
        return .prompt(.messages(messages))
      }
    }
    return .text(.messages(messages))
  }

  /// The turns that an instruction row gives the model.
  private func instructed(_ columns: Columns) throws -> Content {
    var messages: [Message] = []
    if columns.has("history") {
      for turn in try columns.array("history") {
        guard case .array(let both) = turn, both.count == 2, case .string(let question) = both[0],
          case .string(let answer) = both[1]
        else { throw columns.place.error("key \"history\" must hold pairs of strings") }
        messages.append(Message(role: "user", content: question))
        messages.append(Message(role: "assistant", content: answer))
      }
    }
    // Dolly's rows call the input context.
    let key = columns.first(of: ["input", "context"])
    let input = try key.map { try columns.string($0) } ?? ""
    let instruction = try columns.string("instruction")
    messages.append(
      Message(role: "user", content: input.isEmpty ? instruction : "\(instruction)\n\(input)"))
    return .messages(messages)
  }

  func instruction(_ columns: Columns) throws -> Example {
    let prompt = try instructed(columns)
    if columns.has("chosen", "rejected") {
      return .preference(
        try Self.pair(
          prompt, try columns.answer("chosen"), try columns.answer("rejected"), columns))
    }
    let whole = try columns.withSystem(prompt)
    guard let key = columns.first(of: ["output", "response"]) else { return .prompt(whole) }
    return try Self.answered(whole, try columns.answer(key), columns)
  }
}
