// SPDX-License-Identifier: Apache-2.0

/// Other names for a file's columns, and what its words for judgements mean.
public struct ColumnMap: Sendable, Equatable {
  /// A column that gets a name.
  public struct Name: Sendable, Hashable {
    /// The name that is read: `prompt`.
    public var column: String
    /// What the file calls it: `question`.
    public var source: String
  }

  /// The columns that get other names.
  public private(set) var names: [Name] = []
  /// What words of judgements mean, by the word.
  public private(set) var values: [String: JSONValue] = [:]
  /// Whether nothing is changed.
  public var isEmpty: Bool { names.isEmpty && values.isEmpty }

  /// Changes nothing.
  public init() {}

  /// Reads both lists.
  ///
  /// - Parameters:
  ///   - names: `prompt=question,completion=answer`.
  ///   - values: `up=true,down=false,great=5`.
  /// - Throws: ``DataError`` that names the part at fault.
  public init(names: String?, values: String?) throws {
    for (column, source) in try Self.pairs(names, "--map", "prompt=question") {
      guard !self.names.contains(where: { $0.column == column || $0.source == source }) else {
        throw DataError(.badData, "--map: \"\(column)=\(source)\" names a column a second time")
      }
      self.names.append(Name(column: column, source: source))
    }
    for (word, meaning) in try Self.pairs(values, "--values", "up=true") {
      guard self.values[word] == nil else {
        throw DataError(.badData, "--values: \"\(word)\" is there twice")
      }
      let value = try? JSONValue(parsing: meaning)
      switch value {
      case .bool?, .number?, .null?: self.values[word] = value
      default: self.values[word] = .string(meaning)
      }
    }
  }

  private static func pairs(
    _ list: String?, _ option: String, _ example: String
  ) throws -> [(String, String)] {
    guard let list else { return [] }
    return try list.split(separator: ",", omittingEmptySubsequences: false).map { part in
      let both = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        .map { String($0).trimmingPrefix(while: \.isWhitespace) }.map { String($0) }
      guard both.count == 2, !both[0].isEmpty, !both[1].isEmpty else {
        throw DataError(
          .badData,
          "\(option): \"\(part)\" is no NAME=VALUE; write \(option) \(example),… with commas")
      }
      return (both[0], both[1])
    }
  }
}

/// A map at work on a data set: what of it was of use.
final class ColumnMapping {
  private let map: ColumnMap
  private var unseenNames: Set<ColumnMap.Name>
  private var unseenWords: Set<String>
  private var columns: [String] = []

  init(_ map: ColumnMap) {
    self.map = map
    unseenNames = Set(map.names)
    unseenWords = Set(map.values.keys)
  }

  /// A row by its new names and with its words' meanings.
  ///
  /// - Throws: ``DataError`` where a row has a column of the new name already.
  func row(_ row: JSONValue, at place: DataPlace) throws -> JSONValue {
    if map.isEmpty { return row }
    var fields = row.fields
    for field in fields where !columns.contains(field.key) { columns.append(field.key) }
    // The columns that are given away are gone before names are taken.
    let taken = map.names.filter { name in fields.contains { $0.key == name.source } }
    for name in taken {
      let isGivenAway = taken.contains { $0.source == name.column }
      if !isGivenAway, let index = fields.firstIndex(where: { $0.key == name.column }) {
        guard fields[index].value == .null || fields[index].value == .string("") else {
          throw place.error(
            "--map \(name.column)=\(name.source): the row has a column \"\(name.column)\" too; give it "
              + "another name: --map \(name.column)=\(name.source),\(name.column)_before=\(name.column)"
          )
        }
        fields.remove(at: index)
      }
    }
    for index in fields.indices {
      guard let name = taken.first(where: { $0.source == fields[index].key }) else { continue }
      unseenNames.remove(name)
      fields[index].key = name.column
    }
    for index in fields.indices where isJudgement(fields[index].key) {
      guard case .string(let word) = fields[index].value, let value = map.values[word] else {
        continue
      }
      unseenWords.remove(word)
      fields[index].value = value
    }
    return .object(fields)
  }

  /// Words are replaced where the map names the column and in those that judge, never in texts.
  private func isJudgement(_ column: String) -> Bool {
    !Self.texts.contains(column)
      && (map.names.contains { $0.column == column } || ColumnMeaning(column) == .judgement)
  }

  private static let texts: Set<String> = [
    "prompt", "completion", "chosen", "rejected", "text", "messages", "question", "answer",
    "instruction", "input", "output", "response", "system", "system_prompt", "context",
  ]

  /// What is wrong with a row, with the file's own name for the column.
  func named(_ error: DataError) -> DataError {
    let message = map.names.reduce(error.message) { message, name in
      message.replacing(
        "key \"\(name.column)\"", with: "key \"\(name.column)\" (column \"\(name.source)\")")
    }
    return DataError(error.code, message)
  }

  /// Says what of the map was of no use.
  ///
  /// - Throws: ``DataError`` that names columns that no row has, and words.
  func finish(_ file: String) throws {
    if let name = map.names.first(where: { unseenNames.contains($0) }) {
      throw DataError(
        .badData,
        "\(file): --map \(name.column)=\(name.source): no row has a column \"\(name.source)\"; there are "
          + columns.map { "\"\($0)\"" }.joined(separator: ", "))
    }
    guard let word = unseenWords.sorted().first else { return }
    throw DataError(
      .badData,
      "\(file): --values \(word)=…: no judgement says \"\(word)\"; words are replaced in columns that "
        + "judge (label, rating, preference …) and in those that --map names, the texts left out")
  }
}
