// SPDX-License-Identifier: Apache-2.0

/// A column, or a field within one, that rows of a file have and that is not used.
public struct UnusedColumn: Codable, Sendable, Hashable {
  /// Its name: `source`, `messages[].mood`, `feedback.rationale`.
  public var name: String
  /// How many rows have it.
  public var rows: Int
  /// What to do if it was meant for another column.
  public var hint: String?

  /// Names a column.
  public init(name: String, rows: Int, hint: String? = nil) {
    self.name = name
    self.rows = rows
    self.hint = hint
  }

  /// All of them in one line for people, nil if there are none.
  ///
  /// - Parameters:
  ///   - columns: The columns.
  ///   - file: What the file is called.
  ///   - areCarried: Whether rows are handed on whole, to rewards or into the output.
  public static func warning(
    _ columns: [UnusedColumn], of file: String, areCarried: Bool = false
  ) -> String? {
    guard !columns.isEmpty else { return nil }
    let named = columns.map { column in
      // A reward or another command may read what the model does not see.
      let hint = areCarried ? nil : column.hint
      let rows = column.rows == 1 ? "1 row" : "\(column.rows) rows"
      return "\"\(column.name)\" (\(rows)\(hint.map { "; \($0)" } ?? ""))"
    }
    let what = areCarried ? "the model does not see" : "not used"
    return "\(file): \(what): \(named.joined(separator: ", "))"
  }
}

/// Who reads a file, which decides what it may leave unused.
public struct ColumnUse: Sendable {
  /// Whether rows are handed on whole, to rewards or into the output, so that a judgement or a weight
  /// that is not read is not lost.
  public var carriesRows: Bool
  /// Whether prompts are taken, with the columns that go along with them, of which a judgement of answers
  /// says nothing.
  public var takesPrompts: Bool
  /// Columns that a person has said may stay unused, whatever they say; nil where the caller gives
  /// nobody a way to say so.
  public var ignored: Set<String>?
  /// The columns of a row, and the fields within them, that the caller reads from it itself.
  public var readLater: @Sendable (DataRow) -> Set<String>

  /// What a trainer does: it reads what the row's format has and no more.
  public init(
    carriesRows: Bool = false, takesPrompts: Bool = false, ignored: Set<String>? = nil,
    readLater: @escaping @Sendable (DataRow) -> Set<String> = { _ in [] }
  ) {
    self.carriesRows = carriesRows
    self.takesPrompts = takesPrompts
    self.ignored = ignored
    self.readLater = readLater
  }

  /// Whether a judgement or a weight that is not read is no loss.
  public var refusesNoJudgement: Bool { carriesRows || takesPrompts }
}

/// Counts over a file which columns were not used, and refuses those that would change what is
/// learned.
final class ColumnCensus {
  private let use: ColumnUse
  private var places: [String: Int] = [:]
  private var numericThumbs: [String: [Int: Int]] = [:]
  private var numberedChoices: [String: [Double: Int]] = [:]
  /// What was not used, in the order in which it was met.
  private(set) var unused: [UnusedColumn] = []

  init(_ use: ColumnUse) { self.use = use }

  /// Takes a row that was read.
  ///
  /// - Throws: ``DataError`` that names the column.
  func count(_ columns: Columns, _ example: Example) throws {
    if let thumb = columns.numericThumb {
      numericThumbs[thumb.column, default: [:]][thumb.value] = columns.place.line
    }
    if let choice = columns.numberedChoice {
      numberedChoices[choice.column, default: [:]][choice.value] = columns.place.line
    }
    // A samples row keeps all that it does not read.
    if case .samples = example { return }
    let read = use.readLater(
      DataRow(line: columns.place.line, example: example, json: columns.json)
    )
    .union(ColumnMeaning.readInTraining)
    let left = columns.json.fields.filter { field in
      field.value.saysSomething && !columns.used.contains(field.key) && !read.contains(field.key)
    }
    var names = left.map(\.key)
    names += columns.unusedFields.filter { !read.contains($0) }
    var fields: Set<String> = []
    for message in example.messages {
      for field in message.fields
      where field.value.saysSomething && !ColumnMeaning.messageFields.contains(field.key) {
        if fields.insert(field.key).inserted { names.append("messages[].\(field.key)") }
      }
    }
    for name in names {
      let field = Self.last(name)
      try check(name, ColumnMeaning(field), example.kind, at: columns.place)
      if let place = places[name] {
        unused[place].rows += 1
      } else {
        places[name] = unused.count
        unused.append(
          UnusedColumn(name: name, rows: 1, hint: ColumnMeaning.hint(field, in: example.kind)))
      }
    }
  }

  /// Looks at the file as a whole once its rows are counted.
  ///
  /// - Throws: ``DataError`` for numbers of which it isn't plain what they say.
  func finish(_ file: String) throws {
    for (column, lines) in numberedChoices {
      guard let none = lines[0], let one = lines[1], lines.count == 2 else { continue }
      throw DataError(
        .badData,
        "\(file): \"\(column)\" is 0 in line \(none), 1 in line \(one) and nowhere 2: whether it counts "
          + "the answers from 0 is not plain; write 1 and 2, and \"tie\" where none is better")
    }
    for (column, lines) in numericThumbs {
      if let none = lines[0], let down = lines[-1] {
        throw DataError(
          .badData,
          "\(file): \"\(column)\" is 0 in line \(none) and -1 in line \(down): whether 0 is a thumb "
            + "down is not plain; write true and false, and leave out rows that nobody judged")
      }
      if ThumbColumn.scales.contains(column), lines.count < 2, lines[-1] == nil {
        let only = lines.first.map { "\($0.key)" } ?? ""
        throw DataError(
          .badData,
          "\(file): every \"\(column)\" is \(only), which may be a thumb or a step of a scale; name "
            + "the column \"label\" and write true or false")
      }
    }
  }

  private func check(
    _ name: String, _ meaning: ColumnMeaning, _ kind: DataKind, at place: DataPlace
  ) throws {
    let ignored = use.ignored ?? []
    guard !ignored.contains(name), !ignored.contains(Self.last(name)) else { return }
    let isJudged = [.preference, .unpaired, .ranking, .stepwise].contains(kind)
    let what: String
    switch meaning {
    case .input: what = "a part of what the model is given"
    case .weight where !use.refusesNoJudgement: what = "how much a row or a turn counts"
    case .judgement where !use.refusesNoJudgement && !isJudged:
      what = "which answers were liked, while the row was read as \(kind.rawValue)"
    default: return
    }
    let column = Self.last(name)
    let problem =
      "\"\(name)\" is not used, though it may say \(what); name it as "
      + "Documentation/Formats.md has it"
    throw place.error(
      use.ignored == nil
        ? "\(problem), or take it out" : "\(problem), take it out, or say --ignore \(column)")
  }

  private static func last(_ name: String) -> String {
    name.split(separator: ".").last.map(String.init) ?? name
  }
}

extension JSONValue {
  /// Whether a column's value is anything but null and empty.
  fileprivate var saysSomething: Bool {
    switch self {
    case .null, .string(""), .array([]), .object([]): false
    default: true
    }
  }
}

extension Example {
  /// Every turn that the row gives.
  var messages: [Message] {
    func turns(_ contents: Content...) -> [Message] {
      contents.flatMap { content -> [Message] in
        if case .messages(let messages) = content { messages } else { [] }
      }
    }
    switch self {
    case .text(let content), .prompt(let content): return turns(content)
    case .completion(let prompt, let completion), .unpaired(let prompt, let completion, _):
      return turns(prompt, completion)
    case .preference(let pair): return turns(pair.prompt, pair.chosen, pair.rejected)
    case .ranking(let row): return row.completions.reduce(turns(row.prompt)) { $0 + turns($1) }
    case .samples(let row): return turns(row.prompt)
    case .stepwise(let row): return turns(row.prompt)
    }
  }
}
