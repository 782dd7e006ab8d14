// SPDX-License-Identifier: Apache-2.0

package import AttuneFiles

/// One setting as a person meets it: its name in a recipe, what it means and what it takes.
///
/// What is said of a knob is said here alone: `--knobs`, `--help`, `Documentation/Knobs.md` and the
/// checks of ranges all read these tables.
public struct Knob: Sendable {
  /// Its name in a recipe.
  public let name: String
  /// What it decides, in a sentence.
  public let meaning: String
  /// What it takes.
  public let kind: Kind
  /// Whether it may be null, which stands for a default of its own.
  public let takesNull: Bool
  /// Why nothing beyond its range will do, for the error.
  let reason: String?

  /// What a knob takes.
  public enum Kind: Sendable {
    /// True or false.
    case flag
    /// Any number that random choices follow from.
    case seed
    /// A whole number in a range; one number more may stand apart from it.
    case whole(ClosedRange<Int>, or: Int? = nil)
    /// A number in a range.
    case number(NumberRange)
    /// A list of numbers, each in a range.
    case numbers(NumberRange)
    /// Any text.
    case text
    /// A list of texts, none of them empty.
    case texts
    /// One of some names.
    case choice([String])
    /// A list of some names.
    case choices([String])
    /// An object of knobs: settings of their own.
    case knobs([Knob])

    /// One of the cases of an enumeration.
    public static func choice<C: CaseIterable & RawRepresentable>(_: C.Type) -> Kind
    where C.RawValue == String { .choice(C.allCases.map(\.rawValue)) }

    /// A list of cases of an enumeration.
    public static func choices<C: CaseIterable & RawRepresentable>(_: C.Type) -> Kind
    where C.RawValue == String { .choices(C.allCases.map(\.rawValue)) }

    /// A whole number that may not be below another.
    public static func whole(atLeast least: Int) -> Kind { .whole(least...Knob.most) }

    /// The knobs of other settings.
    public static func knobs<S: Settings>(of _: S.Type) -> Kind { .knobs(S.knobs) }
  }

  /// Above this a count of anything is a slip of the pen.
  public static let most = 1_000_000_000
  /// Above this is a number of rollouts, passes or steps that is multiplied by others of its kind: no
  /// product of those that are multiplied overflows.
  package static let mostSteps = 1_000_000
  /// The same of answers to a prompt.
  package static let mostAnswers = 100_000

  /// Describes a knob.
  ///
  /// - Parameters:
  ///   - name: Its name in a recipe.
  ///   - meaning: What it decides, in a sentence.
  ///   - kind: What it takes.
  ///   - orNull: Whether it may be null.
  ///   - reason: Why nothing beyond its range will do.
  public init(
    _ name: String, _ meaning: String, _ kind: Kind, orNull: Bool = false,
    because reason: String? = nil
  ) {
    self.name = name
    self.meaning = meaning
    self.kind = kind
    takesNull = orNull
    self.reason = reason
  }
}

/// The finite numbers that a knob takes.
public struct NumberRange: Sendable {
  let lower: (bound: Double, isIn: Bool)?
  let upper: (bound: Double, isIn: Bool)?

  /// Every finite number.
  public static let finite = NumberRange(lower: nil, upper: nil)

  /// Numbers not below one.
  public static func atLeast(_ bound: Double) -> NumberRange {
    NumberRange(lower: (bound, true), upper: nil)
  }

  /// Numbers above one.
  public static func above(_ bound: Double) -> NumberRange {
    NumberRange(lower: (bound, false), upper: nil)
  }

  /// Numbers above one and not above another.
  public static func above(_ lower: Double, atMost upper: Double) -> NumberRange {
    NumberRange(lower: (lower, false), upper: (upper, true))
  }

  /// Numbers between two, without them.
  public static func above(_ lower: Double, below upper: Double) -> NumberRange {
    NumberRange(lower: (lower, false), upper: (upper, false))
  }

  /// Numbers from one to below another.
  public static func from(_ lower: Double, below upper: Double) -> NumberRange {
    NumberRange(lower: (lower, true), upper: (upper, false))
  }

  /// Numbers from one to another.
  public static func from(_ lower: Double, to upper: Double) -> NumberRange {
    NumberRange(lower: (lower, true), upper: (upper, true))
  }

  func contains(_ value: Double) -> Bool {
    guard value.isFinite else { return false }
    if let lower, lower.isIn ? value < lower.bound : value <= lower.bound { return false }
    if let upper, upper.isIn ? value > upper.bound : value >= upper.bound { return false }
    return true
  }

  /// The range in words: `above 0 and at most 1`.
  package var words: String {
    let low = lower.map { ($0.isIn ? "at least " : "above ") + JSONTree.double($0.bound).line }
    let high = upper.map { ($0.isIn ? "at most " : "below ") + JSONTree.double($0.bound).line }
    if let lower, let upper, lower.isIn, upper.isIn {
      return
        "from \(JSONTree.double(lower.bound).line) to \(JSONTree.double(upper.bound).line)"
    }
    let both = [low, high].compactMap(\.self)
    return both.isEmpty ? "a finite number" : both.joined(separator: " and ")
  }
}

extension Knob.Kind {
  /// Whether a list is a value of the knob, not several values.
  package var isList: Bool {
    switch self {
    case .numbers, .texts, .choices: true
    default: false
    }
  }

  /// What the knob takes, in words: `at least 1`, `true or false`.
  public var words: String {
    switch self {
    case .flag: "true or false"
    case .seed: "a whole number from 0 to 18446744073709551615"
    case .whole(let range, let apart):
      (apart.map { "\($0), or " } ?? "")
        + (range.upperBound == Knob.most
          ? "at least \(range.lowerBound)" : "from \(range.lowerBound) to \(range.upperBound)")
    case .number(let range): range.words
    case .numbers(let range): "a list of numbers, each \(range.words)"
    case .text: "a text"
    case .texts: "a list of texts, none of them empty"
    case .choice(let names): names.joined(separator: ", ")
    case .choices(let names): "a list of: " + names.joined(separator: ", ")
    case .knobs: "an object of knobs"
    }
  }

  /// The type of a value, for programs.
  package var type: String {
    switch self {
    case .flag: "boolean"
    case .seed, .whole: "integer"
    case .number: "number"
    case .text: "string"
    case .choice: "choice"
    case .numbers, .texts, .choices: "list"
    case .knobs: "object"
    }
  }
}

extension Knob {
  /// What the knob asks for where a value does not fit it; nil where it fits.
  package func complaint(about value: JSONTree) -> String? {
    if takesNull, value == .null { return nil }
    let isIn =
      switch (kind, value) {
      case (.flag, .bool), (.text, .string): true
      case (.seed, .int(let number)): number >= 0
      case (.seed, .unsigned): true
      case (.whole(let range, let apart), .int(let number)):
        range.contains(number) || number == apart
      case (.number(let range), _): value.number.map(range.contains) ?? false
      case (.numbers(let range), .array(let list)):
        list.allSatisfy { $0.number.map(range.contains) ?? false }
      case (.texts, .array(let list)):
        list.allSatisfy { if case .string(let text) = $0 { !text.isEmpty } else { false } }
      case (.choice(let names), .string(let name)): names.contains(name)
      case (.choices(let names), .array(let list)):
        list.allSatisfy { if case .string(let name) = $0 { names.contains(name) } else { false } }
      case (.knobs, .object): true
      default: false
      }
    guard !isIn else { return nil }
    let because = reason.map { ": " + $0 } ?? ""
    switch (kind, value) {
    case (.whole(let range, _), .int(let number)) where number > range.upperBound:
      return "at most \(range.upperBound)"
    case (.whole, .int), (.number, .int), (.number, .double): return kind.words + because
    case (.whole, _): return "a whole number, " + kind.words + because
    case (.number, _): return "a number, " + kind.words + because
    case (.choice(let names), .string(let name)):
      return "one of " + kind.words + hint(for: name, among: names, orAll: false)
    case (.choice, _): return "one of " + kind.words
    default: return kind.words
    }
  }

  /// Checks a value of settings against the table of their knobs.
  ///
  /// - Throws: `TrainingError` that begins with the path of the first knob that is out of its range.
  static func check(_ value: JSONTree, _ knobs: [Knob], at path: String = "") throws {
    guard case .object(let members) = value else { return }
    for knob in knobs {
      guard let member = members[knob.name] else { continue }
      if let wanted = knob.complaint(about: member) {
        throw TrainingError(
          .badSetting, "\(path)\(knob.name) must be \(wanted) (it is \(member.line))")
      }
      if case .knobs(let inner) = knob.kind {
        try check(member, inner, at: path + knob.name + ".")
      }
    }
  }
}

extension Settings {
  /// Checks that every knob is in the range that its table gives.
  ///
  /// - Throws: `TrainingError` that names the knob.
  public func checkRanges() throws {
    try Knob.check(try ConfigFile.value(of: self, namingInfinity: true), Self.knobs)
  }

  /// None: every knob is read.
  public var unreadKnobs: [(knob: String, why: String)] { [] }

  /// Checks that every knob is in its range.
  public func validate() throws { try checkRanges() }
}

extension Sequence where Element == Knob {
  /// The knob at a path with dots.
  package func knob(at path: String) -> Knob? {
    let parts = path.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    guard let knob = first(where: { $0.name == parts[0] }) else { return nil }
    guard parts.count == 2 else { return knob }
    guard case .knobs(let inner) = knob.kind else { return nil }
    return inner.knob(at: String(parts[1]))
  }

  /// The knobs with another meaning for one of them.
  package func saying(_ name: String, _ meaning: String) -> [Knob] {
    map {
      guard $0.name == name else { return $0 }
      return Knob(name, meaning, $0.kind, orNull: $0.takesNull, because: $0.reason)
    }
  }
}
