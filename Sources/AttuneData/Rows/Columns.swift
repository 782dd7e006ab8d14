// SPDX-License-Identifier: Apache-2.0

/// A row's columns while it is read: what a reader asks for counts as used, so that what is left can
/// be told (``ColumnCensus``).
final class Columns {
  /// The row.
  let json: JSONValue
  /// Where it stands.
  let place: DataPlace
  /// The columns that were asked for.
  private(set) var used: Set<String> = []
  /// Fields within columns that nobody reads, as `feedback.rationale`.
  private(set) var unusedFields: [String] = []
  /// The choice between answers 1 and 2 that was given as a number, which may count from 0.
  private(set) var numberedChoice: (column: String, value: Double)?
  /// The thumb that was given as a number, which is plain only beside the file's other ones.
  private(set) var numericThumb: (column: String, value: Int)?

  init(_ json: JSONValue, at place: DataPlace) {
    self.json = json
    self.place = place
  }

  /// Whether a column is there and not null; asking does not use it.
  func has(_ keys: String...) -> Bool { keys.allSatisfy { json.present($0) != nil } }

  /// The first of the columns that is there and not null; asking does not use it.
  func first(of keys: [String]) -> String? { keys.first { json.present($0) != nil } }

  /// The value of a column, nil where it is missing or null.
  func value(_ key: String) -> JSONValue? {
    used.insert(key)
    return json.present(key)
  }

  /// Counts a column as used whose words stand elsewhere in the row.
  func use(_ key: String) { used.insert(key) }

  /// Notes a field within a column that is not read.
  func leave(_ field: String) { unusedFields.append(field) }

  /// Notes a thumb that is a number.
  func note(thumb value: Int, in column: String) { numericThumb = (column, value) }

  /// Notes a choice that is a number.
  func note(choice value: Double, in column: String) { numberedChoice = (column, value) }

  func string(_ key: String) throws -> String {
    used.insert(key)
    return try json.string(key, at: place)
  }

  func optionalString(_ key: String) throws -> String? {
    used.insert(key)
    return try json.optionalString(key, at: place)
  }

  func optionalDouble(_ key: String) throws -> Double? {
    used.insert(key)
    return try json.optionalDouble(key, at: place)
  }

  func optionalInt(_ key: String) throws -> Int? {
    used.insert(key)
    return try json.optionalInt(key, at: place)
  }

  func array(_ key: String) throws -> [JSONValue] {
    used.insert(key)
    return try json.array(key, at: place)
  }

  /// A string or a list of messages.
  func content(_ key: String) throws -> Content {
    used.insert(key)
    guard let value = json[key] else { throw place.error("key \"\(key)\" is missing") }
    return try Content(value, name: key, at: place)
  }

  /// The answer under a key: a string or messages, of which one may stand without its list.
  func answer(_ key: String) throws -> Content {
    if case .object? = json[key] {
      used.insert(key)
      return .messages([try Message(json[key] ?? .null, name: key, at: place)])
    }
    return try content(key)
  }

  /// A prompt with the row's system column before it; a string becomes what a user says then, also
  /// where the column is empty, which is no turn.
  ///
  /// - Throws: ``DataError`` where the prompt begins with another system turn.
  func withSystem(_ prompt: Content) throws -> Content {
    guard let key = first(of: ["system", "system_prompt"]) else { return prompt }
    let system = try string(key)
    var messages: [Message]
    switch prompt {
    case .text(let text): messages = [Message(role: "user", content: text)]
    case .messages(let turns): messages = turns
    }
    if let first = messages.first, ["system", "developer"].contains(first.role) {
      guard system.isEmpty || first.content == system else {
        throw place.error(
          "key \"\(key)\" and the conversation's own first turn, of role \(first.role), differ; "
            + "keep one of the two")
      }
    } else if !system.isEmpty {
      messages.insert(Message(role: "system", content: system), at: 0)
    }
    return .messages(messages)
  }
}
