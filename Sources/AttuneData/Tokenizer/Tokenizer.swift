// SPDX-License-Identifier: Apache-2.0

/// A tokenizer: text to token ids and back, the same ids as Hugging Face's.
///
/// It is read from `tokenizer.json` or `tokenizer.model` (``load(directory:)``) or from the metadata of a
/// GGUF file (``init(gguf:)``); ``bytes`` is one for models made from scratch. Words are split with the
/// patterns of the file, then merged by rank, byte by byte (GPT-2, Llama-3, Qwen) or character by character
/// (SentencePiece: Llama 2, Mistral, Gemma), or cut where the sum of scores is greatest (unigram).
public struct Tokenizer: Sendable {
  let vocabulary: Vocabulary
  let merges: [BytePairEncoder.Merge]
  /// The sections as read, without the tokens and merges.
  let definition: TokenizerDefinition
  private let encoder: WordEncoder
  /// How tokens become text.
  let tokenText: TokenText
  private let preTokenizer: PreTokenizer
  private let normalizer: TextNormalizer
  private let addedTokens: AddedTokens
  private let normalizedTokens: AddedTokens
  /// What added tokens that are found after normalisation read as, where that is not their own text.
  private let normalizedTexts: [Int32: String]

  /// The token that begins a text, if the model has one.
  public let beginOfSequence: Int32?
  /// The token that ends a text or an answer, if the model has one.
  public let endOfSequence: Int32?
  /// The token that fills up batches, if the model names one; Attune itself needs none.
  public let padding: Int32?

  /// The chat template that came with the tokenizer (Jinja).
  public var chatTemplate: String? { definition.chatTemplate }

  /// One more than the largest id. A model may have more rows than that.
  public var vocabularySize: Int { vocabulary.count }

  /// Builds a tokenizer from its parts.
  ///
  /// - Throws: `DataError` of code `badTokenizer` that names the file and what is wrong in it.
  init(_ definition: TokenizerDefinition) throws {
    do {
      self = try Self(unchecked: definition)
    } catch let error as DataError where !error.message.hasPrefix(definition.source) {
      throw definition.failure(error.message)
    }
  }

  private init(unchecked definition: TokenizerDefinition) throws {
    let place = definition.source
    var vocabulary = Vocabulary(
      reserving: definition.tokens.count + definition.addedTokens.count)
    for (text, id) in definition.tokens {
      try vocabulary.insert(text, id: id, place: place)
    }
    let merges = try Self.merges(definition, vocabulary)
    for token in definition.addedTokens {
      if token.content.isEmpty { throw definition.failure("an added token is empty") }
      try vocabulary.insertAdded(
        token.content, id: token.id, isSpecial: token.isSpecial, place: place)
    }
    guard vocabulary.count > 0 else { throw definition.failure("the vocabulary is empty") }

    preTokenizer = try PreTokenizer(definition.preTokenizer)
    tokenText = try TokenText(definition.decoder, isByteLevel: preTokenizer.isByteLevel)
    let normalizer = try TextNormalizer(definition.normalizer)
    self.normalizer = normalizer
    sequencePrefix = try SequenceFrame(definition.postProcessor, vocabulary).prefix
    var texts: [Int32: String] = [:]
    for token in definition.addedTokens where token.isNormalized {
      let text = normalizer.normalize(token.content)
      if ExactText(text) != ExactText(token.content) { texts[Int32(token.id)] = text }
    }
    normalizedTexts = texts
    addedTokens = AddedTokens(definition.addedTokens.filter { !$0.isNormalized })
    normalizedTokens = AddedTokens(
      definition.addedTokens.filter(\.isNormalized), normalize: { normalizer.normalize($0) })
    encoder = try WordEncoder(definition, vocabulary, merges, tokenText)

    func id(_ role: TokenizerDefinition.Role) -> Int32? {
      definition.roles[role].flatMap { vocabulary.id(of: $0) }
    }
    beginOfSequence = id(.begin)
    endOfSequence = id(.end)
    padding = id(.padding)
    var rest = definition
    rest.tokens = []
    rest.merges = []
    self.definition = rest
    self.vocabulary = vocabulary
    self.merges = merges
  }

  private static func merges(
    _ definition: TokenizerDefinition, _ vocabulary: Vocabulary
  ) throws -> [BytePairEncoder.Merge] {
    var merges: [BytePairEncoder.Merge] = []
    merges.reserveCapacity(definition.merges.count)
    for (rank, (left, right)) in definition.merges.enumerated() {
      func id(_ token: String) throws -> Int32 {
        guard let id = vocabulary.id(of: token) else {
          throw definition.failure(
            "merge \(rank + 1) (“\(left)” “\(right)”) needs the token “\(token)”, which is not in "
              + "the vocabulary")
        }
        return id
      }
      let pair = (try id(left), try id(right))
      merges.append(
        BytePairEncoder.Merge(left: pair.0, right: pair.1, result: try id(left + right)))
    }
    return merges
  }

  // MARK: - Text to ids

  /// The ids of a text. No begin- or end-of-sequence token is added (``sequencePrefix``).
  ///
  /// - Parameters:
  ///   - text: Any text; an empty one has no ids.
  ///   - parsingSpecialTokens: Whether `<|im_end|>` and the like in the text become control tokens,
  ///     as Hugging Face reads any text. Otherwise they are words like others. Added tokens that
  ///     are not special are found either way.
  public func encode(_ text: String, parsingSpecialTokens: Bool = false) -> [Int32] {
    encode(Array(text.utf8), control: parsingSpecialTokens ? .everywhere : .nowhere)
  }

  /// The ids of the pieces that a chat template made, as if they were one text, except that a
  /// control token is only recognised where all of its text came from the template.
  public func encode(_ pieces: [TemplatePiece]) -> [Int32] {
    var bytes: [UInt8] = []
    var isData: [Bool] = []
    for piece in pieces {
      bytes.append(contentsOf: piece.text.utf8)
      isData.append(contentsOf: repeatElement(piece.isData, count: bytes.count - isData.count))
    }
    return encode(bytes, control: isData.contains(true) ? .outsideData(isData) : .everywhere)
  }

  /// The tokens that the model expects before a text by itself, such as Llama-3's begin-of-text; for
  /// most models none.
  public let sequencePrefix: [Int32]

  private func encode(_ text: [UInt8], control: ControlText) -> [Int32] {
    var ids: [Int32] = []
    ids.reserveCapacity(text.count / 3 + 4)
    text.withUnsafeBufferPointer { text in
      for part in addedTokens.split(text, control: control) {
        if let id = part.id {
          ids.append(id)
        } else {
          let piece = UnsafeBufferPointer(rebasing: text[part.range])
          encodeNormalized(
            piece, isStart: part.range.lowerBound == 0, control: control.slice(part.range),
            into: &ids)
        }
      }
    }
    return ids
  }

  private func encodeNormalized(
    _ text: UnsafeBufferPointer<UInt8>, isStart: Bool, control: ControlText,
    into ids: inout [Int32]
  ) {
    if normalizer.leavesAlone(text) {
      return encodeWords(text, isStart: isStart, control: control, into: &ids)
    }
    var control = control
    var normalized: [UInt8] = []
    if case .outsideData(let isData) = control, normalizedTokens.hasSpecial {
      // Text of one origin at a time, so that the origin of the result is known.
      var flags: [Bool] = []
      var start = 0
      while start < text.count {
        let end = isData[start...].firstIndex { $0 != isData[start] } ?? text.count
        normalized += normalizer.normalize(
          UnsafeBufferPointer(rebasing: text[start..<end]), continues: start > 0)
        flags += repeatElement(isData[start], count: normalized.count - flags.count)
        start = end
      }
      control = .outsideData(flags)
    } else {
      normalized = normalizer.normalize(text)
      if case .outsideData = control { control = .nowhere }
    }
    normalized.withUnsafeBufferPointer {
      encodeWords($0, isStart: isStart, control: control, into: &ids)
    }
  }

  private func encodeWords(
    _ text: UnsafeBufferPointer<UInt8>, isStart: Bool, control: ControlText,
    into ids: inout [Int32]
  ) {
    if normalizedTokens.isEmpty {
      preTokenizer.words(of: text, isStart: isStart) { encoder.encode($0, into: &ids) }
      return
    }
    for part in normalizedTokens.split(text, control: control) {
      if let id = part.id {
        ids.append(id)
      } else {
        preTokenizer.words(
          of: UnsafeBufferPointer(rebasing: text[part.range]),
          isStart: isStart && part.range.lowerBound == 0
        ) { encoder.encode($0, into: &ids) }
      }
    }
  }

  // MARK: - Ids to text

  /// The text of ids. Bytes that are not UTF-8, as half a character at the end, become U+FFFD; what
  /// SentencePiece puts before a text is left out.
  ///
  /// - Parameters:
  ///   - ids: Token ids; those without a token have no text.
  ///   - skippingSpecialTokens: Whether control tokens are left out.
  public func decode(_ ids: [Int32], skippingSpecialTokens: Bool = true) -> String {
    if case .pieces = tokenText {
      var decoder = StreamingDecoder(self, skippingSpecialTokens: skippingSpecialTokens)
      let text = ids.map { decoder.append($0) }.joined()
      return text + decoder.finish()
    }
    var bytes: [UInt8] = []
    for id in ids where !(skippingSpecialTokens && isSpecial(id)) {
      bytes.append(contentsOf: self.bytes(of: id))
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The bytes that a token stands for; none for an id without a token.
  public func bytes(of id: Int32) -> [UInt8] {
    guard let text = normalizedTexts[id] else { return vocabulary.bytes(of: id, as: tokenText) }
    guard case .pieces(let pieces) = tokenText else { return Array(text.utf8) }
    return pieces.text(text)
  }

  /// A token's text for people: bytes that are not a whole character are written as `\xE2`.
  public func text(of id: Int32) -> String {
    let bytes = bytes(of: id)
    if let text = String(validating: bytes, as: UTF8.self) { return text }
    var text = ""
    var rest = bytes[...]
    while let first = rest.first {
      let length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
      if let scalar = String(validating: Array(rest.prefix(length)), as: UTF8.self) {
        text += scalar
        rest = rest.dropFirst(length)
      } else {
        text += "\\x" + String(first, radix: 16, uppercase: true)
        rest = rest.dropFirst()
      }
    }
    return text
  }

  /// Whether the id is a control token.
  public func isSpecial(_ id: Int32) -> Bool {
    vocabulary.contains(id) && vocabulary.kinds[Int(id)] == .special
  }

  /// The id of a token as the vocabulary writes it: `Ġthe` or `▁the` for “ the”, `<|im_end|>`.
  public func id(of token: String) -> Int32? { vocabulary.id(of: token) }

  /// The token as decoders read it; nil for an id without a token.
  func decodedToken(of id: Int32) -> String? { normalizedTexts[id] ?? token(of: id) }

  /// The token as the vocabulary writes it; nil for an id without a token.
  public func token(of id: Int32) -> String? {
    vocabulary.contains(id) ? vocabulary.tokens[Int(id)] : nil
  }
}
