// SPDX-License-Identifier: Apache-2.0

/// A SentencePiece model: what `tokenizer.model` holds, and a GGUF file's metadata of one.
struct SentencePieceModel: Sendable {
  /// A token, as `ModelProto.SentencePiece` has it.
  struct Piece: Sendable {
    /// GGUF's `token_type` has the same numbers.
    enum Kind: Int, Sendable {
      case normal = 1
      case unknown, control, userDefined, unused, byte
    }
    var text = ""
    var score: Float = 0
    var kind = Kind.normal
  }

  var pieces: [Piece] = []
  /// Whether it is a unigram model; else byte-pair encoding.
  var isUnigram = false
  var fallsBackToBytes = false
  /// Whether a text is read as if it began with a space.
  var addsPrefix = true
  var removesExtraSpaces = false
  /// Whether text is changed by tables that the file holds.
  var hasCharacterMap = false
}

extension SentencePieceModel {
  /// Reads a file in the format of protocol buffers (`sentencepiece_model.proto`).
  ///
  /// - Parameters:
  ///   - bytes: The file.
  ///   - place: Its name, for errors.
  init(_ bytes: [UInt8], place: String) throws {
    (isUnigram, removesExtraSpaces) = (true, true)
    var top = MessageReader(bytes[...], place: place)
    while let (field, value) = try top.next() {
      switch (field, value) {
      case (1, .bytes(let piece)): try read(piece: piece, place: place)
      case (2, .bytes(let trainer)):
        try Self.eachNumber(trainer, place) { field, number in
          switch field {
          case 3:
            guard (1...2).contains(number) else {
              throw DataError(
                .badTokenizer,
                "\(place): is a SentencePiece model of words or characters; unigram and BPE are read"
              )
            }
            isUnigram = number == 1
          case 24:
            if number != 0 {
              throw DataError(
                .badTokenizer, "\(place): writes spaces behind words, which is not read")
            }
          case 35: fallsBackToBytes = number != 0
          default: break
          }
        }
      case (3, .bytes(let normalizer)):
        try Self.eachNumber(normalizer, place) { field, number in
          switch field {
          case 3: addsPrefix = number != 0
          case 4: removesExtraSpaces = number != 0
          case 5:
            if number == 0 {
              throw DataError(
                .badTokenizer, "\(place): keeps spaces as they are, which is not read")
            }
          default: break
          }
        }
        var reader = MessageReader(normalizer, place: place)
        while let (field, value) = try reader.next() {
          if field == 2, case .bytes(let map) = value { hasCharacterMap = !map.isEmpty }
        }
      default: break
      }
    }
    if pieces.isEmpty {
      throw DataError(.badTokenizer, "\(place): is no SentencePiece model: it has no pieces")
    }
  }

  private mutating func read(piece bytes: ArraySlice<UInt8>, place: String) throws {
    var piece = Piece()
    var reader = MessageReader(bytes, place: place)
    while let (field, value) = try reader.next() {
      switch (field, value) {
      case (1, .bytes(let text)):
        guard let text = String(validating: text, as: UTF8.self) else {
          throw DataError(.badTokenizer, "\(place): piece \(pieces.count) is not UTF-8")
        }
        piece.text = text
      case (2, .fixed32(let bits)): piece.score = Float(bitPattern: bits)
      case (3, .number(let number)):
        guard let kind = Int(exactly: number).flatMap(Piece.Kind.init(rawValue:)) else {
          throw DataError(.badTokenizer, "\(place): piece \(pieces.count) is of no known type")
        }
        piece.kind = kind
      default: break
      }
    }
    guard piece.score.isFinite else {
      throw DataError(.badTokenizer, "\(place): the score of piece \(pieces.count) is not finite")
    }
    pieces.append(piece)
  }

  private static func eachNumber(
    _ message: ArraySlice<UInt8>, _ place: String, _ body: (Int, UInt64) throws -> Void
  ) throws {
    var reader = MessageReader(message, place: place)
    while let (field, value) = try reader.next() {
      if case .number(let number) = value { try body(field, number) }
    }
  }
}

/// The fields of a message in the format of protocol buffers, one after another.
private struct MessageReader {
  enum Value {
    case number(UInt64)
    case fixed32(UInt32)
    case fixed64
    case bytes(ArraySlice<UInt8>)
  }

  private var rest: ArraySlice<UInt8>
  private let place: String

  init(_ bytes: ArraySlice<UInt8>, place: String) {
    rest = bytes
    self.place = place
  }

  /// The next field and its value; nil at the end.
  mutating func next() throws -> (field: Int, value: Value)? {
    if rest.isEmpty { return nil }
    let tag = try number()
    let field = Int(truncatingIfNeeded: tag >> 3)
    switch tag & 7 {
    case 0: return (field, .number(try number()))
    case 1:
      _ = try take(8)
      return (field, .fixed64)
    case 2:
      let count = try number()
      guard count <= UInt64(rest.count) else { throw damaged }
      return (field, .bytes(try take(Int(count))))
    case 5:
      let bits = try take(4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
      return (field, .fixed32(bits))
    default: throw damaged
    }
  }

  private mutating func number() throws -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 64, by: 7) {
      guard let byte = rest.popFirst() else { throw damaged }
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return value }
    }
    throw damaged
  }

  private mutating func take(_ count: Int) throws -> ArraySlice<UInt8> {
    guard count <= rest.count else { throw damaged }
    defer { rest = rest.dropFirst(count) }
    return rest.prefix(count)
  }

  private var damaged: DataError {
    DataError(.badTokenizer, "\(place): is no SentencePiece model, or is cut")
  }
}

// MARK: - As the sections of tokenizer.json

extension TokenizerDefinition {
  private static let mark = "▁"

  /// Takes over a SentencePiece model's pieces, and what it does to a text.
  mutating func take(_ model: SentencePieceModel) throws {
    if model.hasCharacterMap {
      throw failure(
        "the model changes characters by a table of its own (nmt_nfkc), which is not read; a "
          + "tokenizer.json is")
    }
    if model.removesExtraSpaces {
      throw failure(
        "the model removes extra spaces (remove_extra_whitespaces), which is not read; a "
          + "tokenizer.json is")
    }
    for (id, piece) in model.pieces.enumerated() {
      tokens.append((piece.text, id))
      switch piece.kind {
      case .control: addedTokens.append(AddedToken(id: id, content: piece.text))
      case .userDefined:
        // Found with the marks for spaces, where those are written before words are split.
        addedTokens.append(
          AddedToken(
            id: id, content: piece.text, isSpecial: false, isNormalized: !model.addsPrefix))
      case .unknown: unknownToken = piece.text
      case .normal, .unused, .byte: break
      }
    }
    fallsBackToBytes = model.fallsBackToBytes
    if model.isUnigram {
      var scores: [Int: Double] = [:]
      for (id, piece) in model.pieces.enumerated() where piece.kind == .normal {
        scores[id] = Double(piece.score)
      }
      self.model = .unigram(scores: scores)
    } else {
      joinsUnknown = true
      merges = Self.merges(of: model.pieces)
    }
    setSections(of: model)
  }

  private mutating func setSections(of model: SentencePieceModel) {
    func replace(_ pattern: JSONValue, _ content: String) -> JSONValue {
      .object(
        ("type", .string("Replace")), ("pattern", pattern), ("content", .string(content)))
    }
    let mark = JSONValue.object(("String", .string(Self.mark)))
    if !model.addsPrefix {
      normalizer = replace(.object(("String", .string(" "))), Self.mark)
    } else {
      preTokenizer = .object(
        ("type", .string("Metaspace")), ("replacement", .string(Self.mark)),
        ("prepend_scheme", .string("first")), ("split", .bool(false)))
    }
    var decoders = [replace(mark, " ")]
    if fallsBackToBytes { decoders.append(.object(("type", .string("ByteFallback")))) }
    decoders.append(.object(("type", .string("Fuse"))))
    if model.addsPrefix {
      decoders.append(
        .object(
          ("type", .string("Strip")), ("content", .string(" ")), ("start", .int(1)),
          ("stop", .int(0))))
    }
    decoder = .object(("type", .string("Sequence")), ("decoders", .array(decoders)))
  }

  /// The merges that make a model's pieces, in the order of their scores: every way to cut a piece in two
  /// others. As transformers makes them, but that no control token is merged.
  private static func merges(
    of pieces: [SentencePieceModel.Piece]
  ) -> [(left: String, right: String)] {
    var ids: [ExactText: Int] = [:]
    ids.reserveCapacity(pieces.count)
    for (id, piece) in pieces.enumerated() where piece.kind == .normal || piece.kind == .userDefined
    {
      ids[ExactText(piece.text)] = id
    }
    struct Merge {
      var left: String
      var right: String
      var score: Float
      var counts: (left: Int, right: Int)
      var ids: (left: Int, right: Int)
      var result: Int
    }
    var merges: [Merge] = []
    for (id, piece) in pieces.enumerated() where ids[ExactText(piece.text)] == id {
      let scalars = piece.text.unicodeScalars
      var (cut, count) = (scalars.startIndex, 0)
      let total = scalars.count
      while count + 1 < total {
        cut = scalars.index(after: cut)
        count += 1
        let (left, right) = (String(scalars[..<cut]), String(scalars[cut...]))
        guard let leftId = ids[ExactText(left)], let rightId = ids[ExactText(right)] else {
          continue
        }
        merges.append(
          Merge(
            left: left, right: right, score: piece.score, counts: (count, total - count),
            ids: (leftId, rightId), result: id))
      }
    }
    merges.sort { one, other in
      if one.score != other.score { return one.score > other.score }
      if one.counts != other.counts { return one.counts > other.counts }
      return (one.result, one.ids.left, one.ids.right)
        < (other.result, other.ids.left, other.ids.right)
    }
    return merges.map { ($0.left, $0.right) }
  }
}
