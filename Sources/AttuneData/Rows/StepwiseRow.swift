// SPDX-License-Identifier: Apache-2.0

/// An answer in steps, each of which is right or wrong: what a process reward model learns from.
public struct StepwiseRow: Sendable, Hashable {
  /// What the answer answers.
  public var prompt: Content
  /// The steps, at least one, none of them blank.
  public var steps: [String]
  /// Whether each step is right.
  public var labels: [Bool]

  /// Makes a row; there must be as many labels as steps.
  public init(prompt: Content, steps: [String], labels: [Bool]) {
    precondition(steps.count == labels.count, "a step needs one label")
    self.prompt = prompt
    self.steps = steps
    self.labels = labels
  }
}

extension StepwiseRow: JSONRow {
  /// Whether a row has steps and what was said of them.
  static func fits(_ row: JSONValue) -> Bool {
    guard row.present("prompt") != nil, row.present("labels") != nil, row.present("scores") == nil,
      case .array(let steps)? = row["completions"], case .array? = row["labels"]
    else { return false }
    return steps.allSatisfy { if case .string = $0 { true } else { false } }
  }

  /// Reads TRL's `{"prompt","completions","labels"}`: the steps in their order, and of each true or
  /// false (1 or 0).
  public init(json: JSONValue, at place: DataPlace) throws {
    try self.init(Columns(json, at: place))
  }

  init(_ columns: Columns) throws {
    let place = columns.place
    let prompt = try columns.withSystem(columns.content("prompt"))
    let steps = try columns.array("completions").enumerated().map { i, value -> String in
      guard case .string(let text) = value else {
        throw place.error("completions[\(i)] is no string; the steps of an answer are texts")
      }
      guard text.contains(where: { !$0.isWhitespace }) else {
        throw place.error("completions[\(i)] is blank; leave out empty steps and their labels")
      }
      return text
    }
    let labels = try columns.array("labels").enumerated().map { i, value -> Bool in
      switch value {
      case .bool(let label): return label
      case .number("1"): return true
      case .number("0"): return false
      default: throw place.error("labels[\(i)] is neither true nor false")
      }
    }
    guard !steps.isEmpty else { throw place.error("key \"completions\" is an empty list") }
    guard steps.count == labels.count else {
      throw place.error("\(steps.count) steps but \(labels.count) labels")
    }
    self.init(prompt: prompt, steps: steps, labels: labels)
  }

  /// The row.
  public var json: JSONValue {
    .object([
      .init("prompt", prompt.json), .init("completions", .array(steps.map { .string($0) })),
      .init("labels", .array(labels.map { .bool($0) })),
    ])
  }
}
