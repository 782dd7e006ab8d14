// SPDX-License-Identifier: Apache-2.0

/// A stretch of a rendered conversation.
public struct ConversationPart: Sendable, Equatable {
  /// The text. Parts are encoded one by one: the model answers after the tokens of what stands
  /// before, whatever its answer begins with.
  public var pieces: [TemplatePiece]
  /// The index of the message whose answer this is: the words that the model would have to say
  /// after the generation prompt, up to and with the end-of-sequence token. Nil for all else.
  public var answer: Int?
}

extension ChatTemplate {
  /// Renders a conversation and parts it at the assistant's answers, so that a loss or a reward can
  /// be placed: all before an answer is what the template gives for the turns before it with the
  /// generation prompt.
  ///
  /// What the template puts behind the end-of-sequence token (a line feed) is not part of an answer,
  /// since a model that samples stops there. The last part is left out if it is only that.
  ///
  /// - Parameters:
  ///   - messages: The conversation.
  ///   - first: The index of the first message that may count as an answer.
  ///   - prefill: The words with which that message begins and which were given to the model; nil
  ///     where it says the whole message.
  /// - Returns: Parts that follow one another, none empty.
  /// - Throws: ``DataError`` of code `rewritingTemplate` if the template is not prefix-preserving for
  ///   this conversation, that is, writes earlier turns otherwise once others follow, with the text
  ///   that differs.
  public func conversation(
    _ messages: [Message], answersFrom first: Int = 0, prefill: String? = nil
  ) throws -> [ConversationPart] {
    var parts: [ConversationPart] = []
    var done = TemplateText()
    func render(_ count: Int, _ generationPrompt: Bool) throws -> TemplateText {
      var given = Array(messages[..<count])
      let isContinued = generationPrompt && count == first && prefill != nil
      if isContinued, let prefill {
        var begun = messages[count]
        begun.content = prefill
        given.append(begun)
      }
      let text = TemplateText(
        try isContinued
          ? prompt(given) : pieces(given, addGenerationPrompt: generationPrompt))
      try requirePrefix(done, of: text)
      return text
    }
    func add(_ text: TemplateText, upTo end: Int, answer: Int?) {
      let part = text.slice(done.size..<end)
      if !part.isEmpty { parts.append(ConversationPart(pieces: part.pieces, answer: answer)) }
      done = text.slice(0..<end)
    }
    for (i, message) in messages.enumerated() where i >= first && message.role == "assistant" {
      let before = try render(i, true)
      add(before, upTo: before.size, answer: nil)
      let whole = try render(i + 1, false)
      add(whole, upTo: endOfAnswer(whole, from: done.size), answer: i)
    }
    let whole = try render(messages.count, false)
    let isOnlyTail =
      messages.last?.role == "assistant" && messages.count > first
      && whole.slice(done.size..<whole.size).stripped().isEmpty
    if !isOnlyTail { add(whole, upTo: whole.size, answer: nil) }
    return parts
  }

  /// What a model is given: the conversation up to where the assistant speaks, or, where its last
  /// turn is the assistant's, up to the end of that turn's words, which the model goes on with
  /// (transformers' `continue_final_message`).
  ///
  /// - Throws: ``DataError`` with the template's line, or if the template leaves the last turn out.
  public func prompt(_ messages: [Message]) throws -> [TemplatePiece] {
    guard var last = messages.last, last.role == "assistant" else {
      return try pieces(messages, addGenerationPrompt: true)
    }
    guard JSONValue.object(last.fields).present("tool_calls") ?? .array([]) == .array([]) else {
      throw DataError(
        .badData, "the prompt ends in a call of tools, and nothing can go on after it")
    }
    // As transformers does: a mark behind the words shows where they end, and whether white space
    // before it was kept.
    let mark = "CONTINUE_FINAL_MESSAGE_TAG"
    let words = last.content
    last.content += mark + " "
    let text = TemplateText(
      try pieces(messages.dropLast() + [last], addGenerationPrompt: false))
    let bytes = text.utf8
    guard let place = TemplateText.matches(of: Array(mark.utf8), in: bytes).last,
      text.contains(TemplateText(words).stripped())
    else {
      throw DataError(
        .badTemplate,
        "\(self.place.map { $0 + ": " } ?? "")chat template: it leaves the last turn's words out, so "
          + "that the model cannot go on with them")
    }
    let end = place + mark.utf8.count
    let before = text.slice(0..<place)
    let isKept = end < bytes.count && bytes[end] == UInt8(ascii: " ")
    return (isKept ? before : before.stripped(left: false)).pieces
  }

  /// Where an answer ends: behind the template's last end-of-sequence token if only white space
  /// follows it, else where the text ends.
  private func endOfAnswer(_ text: TemplateText, from start: Int) -> Int {
    guard !endOfSequence.isEmpty else { return text.size }
    var end = text.size
    for piece in text.pieces.reversed() {
      let size = piece.text.utf8.count
      if piece.isData {
        guard TemplateText(piece.text).stripped().isEmpty else { return text.size }
      } else {
        let places = TemplateText.matches(
          of: Array(endOfSequence.utf8), in: Array(piece.text.utf8))
        if let place = places.last {
          let after = end - size + place + endOfSequence.utf8.count
          let isTail = text.slice(after..<text.size).stripped().isEmpty
          return isTail && after > start ? after : text.size
        }
      }
      end -= size
    }
    return text.size
  }

  private func requirePrefix(_ prefix: TemplateText, of text: TemplateText) throws {
    guard !text.hasPrefix(prefix) else { return }
    let a = prefix.utf8
    let b = text.utf8
    let place = zip(a, b).prefix { $0 == $1 }.count
    func here(_ bytes: [UInt8]) -> String {
      String(decoding: bytes[max(0, place - 20)..<min(bytes.count, place + 30)], as: UTF8.self)
        .debugDescription
    }
    throw DataError(
      .rewritingTemplate,
      "\(self.place.map { $0 + ": " } ?? "")chat template: it is not prefix-preserving, so a loss cannot be placed: earlier turns "
        + "read \(here(b)) once others follow, and \(here(a)) before")
  }
}

extension TemplateText {
  init(_ pieces: [TemplatePiece]) {
    for piece in pieces { append(piece.text, isData: piece.isData) }
  }

  fileprivate func contains(_ other: TemplateText) -> Bool {
    other.isEmpty || !Self.matches(of: other.utf8, in: utf8, limit: 1).isEmpty
  }
}
