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
  ///   - tools: Descriptions of tools, for templates that know of them.
  /// - Returns: Parts that follow one another, none empty.
  /// - Throws: ``DataError`` if the template is not prefix-preserving for this conversation, that
  ///   is, writes earlier turns otherwise once others follow, with the text that differs.
  public func conversation(
    _ messages: [Message], answersFrom first: Int = 0, tools: JSONValue = .null
  ) throws -> [ConversationPart] {
    var parts: [ConversationPart] = []
    var done = TemplateText()
    func render(_ count: Int, _ generationPrompt: Bool) throws -> TemplateText {
      let text = TemplateText(
        try pieces(
          Array(messages[..<count]), addGenerationPrompt: generationPrompt, tools: tools))
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
      .badTemplate,
      "chat template: it is not prefix-preserving, so a loss cannot be placed: earlier turns "
        + "read \(here(b)) once others follow, and \(here(a)) before")
  }
}

extension TemplateText {
  init(_ pieces: [TemplatePiece]) {
    for piece in pieces { append(piece.text, isData: piece.isData) }
  }
}
