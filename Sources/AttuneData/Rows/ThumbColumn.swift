// SPDX-License-Identifier: Apache-2.0

/// The column in which one answer is called good or bad, under the names and in the words that files
/// have for it.
enum ThumbColumn {
  /// Columns that are thumbs whatever they hold; what is none is an error.
  private static let certain = ["label", "kto_tag"]
  /// Columns that are read where they hold a thumb.
  private static let possible = [
    "thumb", "thumbs", "thumbs_up", "liked", "is_good", "vote", "feedback", "rating", "score",
  ]
  /// Of those the ones whose numbers may be steps of a scale.
  static let scales: Set<String> = ["rating", "vote", "score"]
  /// Where an object holds the thumb.
  private static let inner = ["rating", "thumb", "thumbs", "label", "value", "score", "vote"]
  /// Where the reason stands, beside a thumb or in its object.
  private static let reasons = ["rationale", "reason", "comment", "critique", "explanation"]

  private static let up: Set<String> = [
    "up", "thumb_up", "thumbs_up", "thumb up", "thumbs up", "thumbsup", "good", "positive", "like",
    "liked", "upvote", "yes", "true", "desirable", "accept", "accepted", "1", "+1",
  ]
  private static let down: Set<String> = [
    "down", "thumb_down", "thumbs_down", "thumb down", "thumbs down", "thumbsdown", "bad",
    "negative", "dislike", "disliked", "downvote", "no", "false", "undesirable", "reject",
    "rejected", "0", "-1",
  ]

  /// The row's thumb column, nil if it has none.
  static func name(in row: JSONValue) -> String? {
    certain.first { row.present($0) != nil }
      ?? possible.first { name in
        row.present(name).map { isUp($0, in: name) != nil } ?? false
      }
  }

  /// The column that may be a thumb and holds none.
  static func unread(in row: JSONValue) -> String? { possible.first { row.present($0) != nil } }

  /// What the row's thumb says; nil without one.
  ///
  /// - Throws: ``DataError`` if it is neither up nor down.
  static func read(_ columns: Columns) throws -> Bool? {
    guard let name = name(in: columns.json), let value = columns.value(name) else { return nil }
    guard let isUp = isUp(value, in: name) else {
      throw noThumb(value, in: name, at: columns.place)
    }
    var number = value
    for field in value.fields {
      if field.key == innerName(value) {
        number = field.value
      } else {
        columns.leave("\(name).\(field.key)")
      }
    }
    // Tables that were CSV have their numbers as strings.
    switch number {
    case .number(let digits), .string(let digits):
      if let value = Double(digits) { columns.note(thumb: Int(value), in: name) }
    default: break
    }
    return isUp
  }

  /// That a column holds no thumb though it should.
  static func noThumb(_ value: JSONValue, in name: String, at place: DataPlace) -> DataError {
    place.error(
      "key \"\(name)\" must be true or false (or \"up\" and \"down\", 1 and 0, 1 and -1), not "
        + value.text.prefix(60))
  }

  /// Why, in the annotator's words, and in which column: beside the thumb, or in its object.
  static func reason(in row: JSONValue) -> (column: String, text: String)? {
    var objects = [(path: "", object: row)]
    if let name = name(in: row), let thumb = row.present(name) {
      objects.append((name + ".", thumb))
    }
    for (path, object) in objects {
      for key in reasons {
        if case .string(let text)? = object[key], !text.isEmpty { return (path + key, text) }
      }
    }
    return nil
  }

  private static func innerName(_ value: JSONValue) -> String? {
    inner.first { value.present($0) != nil }
  }

  private static func isUp(_ value: JSONValue, in name: String) -> Bool? {
    switch value {
    case .bool(let isUp): return isUp
    case .number(let digits):
      // Attune's own scores may be 0 and 1.
      guard name != "score", let number = Double(digits), [-1, 0, 1].contains(number) else {
        return nil
      }
      return number == 1
    case .string(let text):
      // Thumbs come in several skin colours.
      if text.unicodeScalars.first == "\u{1F44D}" { return true }
      if text.unicodeScalars.first == "\u{1F44E}" { return false }
      let word = text.lowercased()
      return up.contains(word) ? true : down.contains(word) ? false : nil
    case .object:
      guard let key = innerName(value), let inner = value.present(key) else { return nil }
      if case .object = inner { return nil }
      return isUp(inner, in: name)
    case .null, .array: return nil
    }
  }
}

extension DataRow {
  /// Why the row was judged as it was, in the annotator's words: its `rationale`, `reason`,
  /// `comment`, `critique` or `explanation`, also inside of a thumb that is an object.
  public var rationale: String? { ThumbColumn.reason(in: json)?.text }

  /// The column, or the field within one (`feedback.comment`), that ``rationale`` is from.
  public var rationaleColumn: String? { ThumbColumn.reason(in: json)?.column }
}

extension JSONValue {
  /// A judged row's ``DataRow/rationale``.
  package var rationale: String? { ThumbColumn.reason(in: self)?.text }
}
