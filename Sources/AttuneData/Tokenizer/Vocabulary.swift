// SPDX-License-Identifier: Apache-2.0

/// A text that is equal to another only if their scalars are: Swift's strings are equal when they
/// are canonically equivalent, which would merge two tokens into one.
struct ExactText: Hashable, Sendable {
  let text: String

  init(_ text: String) { self.text = text }

  static func == (left: ExactText, right: ExactText) -> Bool {
    left.text.utf8.elementsEqual(right.text.utf8)
  }

  func hash(into hasher: inout Hasher) {
    var copy = text
    copy.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
  }
}

/// The tokens of a tokenizer by id, and the ids by token.
struct Vocabulary: Sendable {
  /// What an id stands for.
  enum Kind: UInt8, Sendable {
    /// Nothing: the model has a row for it, the tokenizer no token.
    case hole
    /// A token of the model, written in its alphabet.
    case model
    /// A token found before the model is asked, written as itself.
    case added
    /// An added token that controls: it is skipped when text is decoded.
    case special
  }

  /// Ids above this are refused: no tokenizer has so many tokens, and a table for them is made.
  static let largestId = (1 << 22) - 1

  private(set) var tokens: [String] = []
  private(set) var kinds: [Kind] = []
  private var ids: [ExactText: Int32] = [:]
  /// Whether the token is in the model's own table; an added token may be outside it.
  private(set) var isInModel: [Bool] = []

  var count: Int { tokens.count }

  init(reserving count: Int) {
    tokens.reserveCapacity(count)
    kinds.reserveCapacity(count)
    ids.reserveCapacity(count)
    isInModel.reserveCapacity(count)
  }

  func id(of token: String) -> Int32? { ids[ExactText(token)] }

  /// Whether the id has a token.
  func contains(_ id: Int32) -> Bool {
    id >= 0 && Int(id) < tokens.count && kinds[Int(id)] != .hole
  }

  /// Adds a token of the model.
  ///
  /// - Parameter place: The file and field, for the error.
  /// - Throws: `DataError` if the id is out of range or taken, or the token is there already.
  mutating func insert(_ token: String, id: Int, place: String) throws {
    try setToken(token, id: id, place: place)
    kinds[id] = .model
    isInModel[id] = true
  }

  /// Adds an added token, or makes one of the model's tokens an added one.
  mutating func insertAdded(_ token: String, id: Int, isSpecial: Bool, place: String) throws {
    if let present = ids[ExactText(token)] {
      guard Int(present) == id else {
        throw DataError(
          .badTokenizer,
          "\(place): token “\(token)” has id \(id) here and \(present) elsewhere; mend the file")
      }
    } else {
      try setToken(token, id: id, place: place)
    }
    kinds[id] = isSpecial ? .special : .added
  }

  private mutating func setToken(_ token: String, id: Int, place: String) throws {
    guard id >= 0, id <= Self.largestId else {
      throw DataError(
        .badTokenizer, "\(place): token “\(token)” has id \(id), outside 0…\(Self.largestId)")
    }
    while tokens.count <= id {
      tokens.append("")
      kinds.append(.hole)
      isInModel.append(false)
    }
    guard kinds[id] == .hole else {
      throw DataError(
        .badTokenizer, "\(place): id \(id) is given to “\(tokens[id])” and to “\(token)”")
    }
    if let present = ids.updateValue(Int32(id), forKey: ExactText(token)) {
      throw DataError(
        .badTokenizer, "\(place): token “\(token)” is there twice, with ids \(present) and \(id)")
    }
    tokens[id] = token
  }

  /// The bytes that a token stands for in a text; none for an id without a token.
  func bytes(of id: Int32, as text: TokenText) -> [UInt8] {
    guard contains(id) else { return [] }
    let token = tokens[Int(id)]
    switch text {
    case .pieces(let pieces): return pieces.byte(token).map { [$0] } ?? pieces.text(token)
    case .byteLevel:
      guard isInModel[Int(id)] else { return Array(token.utf8) }
      return ByteAlphabet.bytes(of: token) ?? Array(token.utf8)
    }
  }
}
