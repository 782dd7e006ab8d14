// SPDX-License-Identifier: Apache-2.0

import AttuneTraining
import Foundation

/// A reward source as the command line names it: `KIND:ARGUMENT`, with `@WEIGHT` behind it.
///
/// The text after the last `@` is the weight if it is a number; `…@1` protects a name that ends
/// like one.
public struct RewardSpecification: Codable, Sendable, Equatable {
  /// What kinds of sources there are.
  public enum Kind: String, CaseIterable, Codable, Sendable {
    /// A reward model's folder.
    case model
    /// Several reward models.
    case ensemble
    /// What a policy's training made more probable.
    case implicit
    /// A built-in labeller.
    case labeller
    /// A pattern.
    case regex
    /// A length.
    case length
    /// The number of words.
    case words
    /// A right answer of the row.
    case answer
    /// Instructions of the row.
    case ifeval
    /// Tests of the row.
    case tests
    /// How likely reasoning makes the row's right answer.
    case likelihood
    /// A judge's grade.
    case judge
    /// Criteria that a judge checks.
    case rubric
    /// A judge's order of a prompt's answers.
    case rank
    /// A program.
    case exec

    /// How the argument is written.
    public var form: String {
      switch self {
      case .model: "DIR[:STEPS]"
      case .ensemble: "RULE:DIR,DIR…"
      case .implicit: "POLICY[,REFERENCE][,temperature=T]"
      case .labeller: "NAME"
      case .regex: "PATTERN"
      case .length: "RULE"
      case .words: ""
      case .answer: "RULE[,KNOB=VALUE…]"
      case .ifeval: "[loose][,partial=x]"
      case .tests: "python3[,KNOB=VALUE…]"
      case .likelihood: "COLUMN[,log][,KNOB=VALUE…]"
      case .judge, .rubric, .rank: "JUDGE[,KNOB=VALUE…]"
      case .exec: "[SECONDSs:]COMMAND"
      }
    }

    /// One line for help and documentation.
    public var summary: String {
      switch self {
      case .model:
        "a reward model's score; STEPS is min, prod, last or mean of how likely each step is right, by one that "
          + "learned from steps, or shaping, which tells steps apart alone"
      case .ensemble: "reward models of one task; RULE is mean, min or mean-1std (mean − 1·sd)"
      case .implicit:
        "log π(answer) − log ρ(answer); ρ is what POLICY was trained from unless named"
      case .labeller:
        "a built-in rule: " + Labeller.allCases.map(\.rawValue).joined(separator: ", ")
      case .regex: "1 where the pattern (PCRE2) is found in the answer, else 0"
      case .length:
        "RULE is MIN[-MAX] words (beyond −|ln(words/bound)|), or of tokens: tokens, target:N, "
          + "overlong:LIMIT[,CACHE], group[:SOURCE], cosine:LIMIT:SOURCE"
      case .words: "the number of words of the answer, a cost: --constraint 'words<=20'"
      case .answer:
        "1 where the answer is the row's own; RULE is "
          + AnswerRule.allCases.map(\.rawValue).joined(separator: ", ")
      case .ifeval:
        "1 where the row's instructions are followed (instruction_id_list, kwargs); ifeval alone too"
      case .tests: "1 where the answer's program passes the row's tests, in bubblewrap"
      case .likelihood: "how much likelier the reasoning makes the row's answer (RLPR)"
      case .judge: "the grade that a judge expects, a model or a server (scale=1-5, together=n, …)"
      case .rubric:
        "0…1: what share of weighted criteria a judge sees met (criteria=FILE, column=…)"
      case .rank: "0…1: the place among a prompt's answers, which a judge puts in order"
      case .exec: "a program of your own: JSON lines in, a number a line out"
      }
    }

    /// What it is to the reader of a table.
    package var role: String {
      switch self {
      case .model: "the learned reward"
      case .ensemble: "several learned rewards as one"
      case .implicit: "the implicit reward of a policy"
      case .labeller: "the gold reward"
      case .regex, .length, .words: "a rule"
      case .answer, .ifeval, .tests: "what is right"
      case .likelihood: "how likely the right answer is"
      case .judge, .rubric, .rank: "a judge's opinion"
      case .exec: "a program's reward"
      }
    }

    /// Whether something has to stand behind its name.
    var needsArgument: Bool { self != .ifeval && self != .words }

    /// Whether its numbers come out of trained weights, which a policy can learn to fool.
    package var isLearned: Bool {
      switch self {
      case .model, .ensemble, .implicit, .likelihood: true
      case .labeller, .regex, .length, .words, .exec, .answer, .ifeval, .tests, .judge, .rubric,
        .rank:
        false
      }
    }

    /// The kind of a source by the name that reports use; nil for other names.
    package static func of(source name: String) -> Kind? {
      let kind = Kind(rawValue: String(name.prefix { $0 != ":" }))
      return kind?.needsArgument == true && !name.contains(":") ? nil : kind
    }

    /// Every kind with its form and summary, a line each.
    public static var table: String {
      allCases.map { "\($0.rawValue):\($0.form) – \($0.summary)" }.joined(separator: "\n")
    }
  }

  /// The kind.
  public var kind: Kind
  /// What stands after the kind: a folder, a name, a pattern, a command.
  public var argument: String
  /// What the score is multiplied by.
  public var weight: Double

  /// Reads a source.
  ///
  /// - Parameter text: `KIND:ARGUMENT` or `KIND:ARGUMENT@WEIGHT`.
  /// - Throws: `TrainingError.badSetting` that says what is wrong with it.
  public init(_ text: String) throws {
    var text = Substring(text)
    let whole = String(text)
    weight = 1
    if let at = text.lastIndex(of: "@"), let number = Double(text[text.index(after: at)...]),
      number.isFinite
    {
      weight = number
      text = text[..<at]
    }
    let kinds = Kind.allCases.map(\.rawValue)
    let colon = text.firstIndex(of: ":") ?? text.endIndex
    guard colon < text.endIndex || Kind(rawValue: String(text))?.needsArgument == false else {
      throw TrainingError(
        .badSetting,
        "reward source \(whole): write KIND:ARGUMENT, where KIND is "
          + kinds.joined(separator: ", "))
    }
    let name = String(text[..<colon])
    guard let kind = Kind(rawValue: name) else {
      throw TrainingError(
        .badSetting,
        "reward source \(whole): there is no kind \(name)\(hint(for: name, among: kinds))")
    }
    self.kind = kind
    argument = String(text[colon...].dropFirst())
    guard !argument.isEmpty || !kind.needsArgument else {
      throw TrainingError(
        .badSetting, "reward source \(whole): nothing stands after \(name): (\(kind.form))")
    }
    try check()
  }

  /// A reward model as a source.
  public init(model: String) {
    kind = .model
    argument = model
    weight = 1
  }

  /// The source without its weight.
  public var name: String { argument.isEmpty ? kind.rawValue : "\(kind.rawValue):\(argument)" }

  /// Refuses a weight, and what compares answers to one prompt, where sources are reported each by itself.
  ///
  /// - Parameter option: The option that named it.
  /// - Throws: `TrainingError.badSetting`.
  public func measured(by option: String) throws -> RewardSpecification {
    guard kind != .rank, kind != .length || !argument.hasPrefix("group") else {
      throw TrainingError(
        .badSetting,
        "\(option) \(name): it holds a model's answers to a prompt against one another, so its mean says "
          + "nothing of the model" + (kind == .rank ? "; --judge compares models" : ""))
    }
    guard kind != .model || ModelReward.parts(argument).steps != .shaping else {
      throw TrainingError(
        .badSetting,
        "\(option) \(name): tells an answer's steps apart and says nothing of the whole; write "
          + "min, prod, last or mean for shaping")
    }
    guard weight == 1 else {
      throw TrainingError(
        .badSetting,
        "\(option) \(name)@\(readable(weight)): a weight is not read where nothing is added up; "
          + "leave it out")
    }
    return self
  }

  /// The models that it opens beside the policy.
  package var models: [String] {
    switch kind {
    case .model: [ModelReward.parts(argument).folder]
    case .ensemble: (try? EnsembleReward.parts(argument).members) ?? []
    case .implicit:
      (try? ImplicitReward.parts(argument)).map { [$0.policy] + ($0.reference.map { [$0] } ?? []) }
        ?? []
    case .likelihood:
      (try? LikelihoodReward.parts(argument).knobs.model).flatMap { $0 }.map { [$0] } ?? []
    case .judge, .rubric, .rank:
      RewardSpecification.list(argument).prefix(1).filter { !JudgeModels.isServer($0) }
    case .labeller, .regex, .length, .words, .answer, .ifeval, .tests, .exec: []
    }
  }

  /// What can be told wrong before anything is opened.
  private func check() throws {
    switch kind {
    case .model: break
    case .ensemble: _ = try EnsembleReward.parts(argument)
    case .implicit: _ = try ImplicitReward.parts(argument)
    case .labeller: _ = try Labeller.named(argument)
    case .regex: _ = try PatternReward(argument)
    case .length: _ = try LengthReward.parts(argument)
    case .words: _ = try WordCount(argument)
    case .answer: _ = try AnswerReward.parts(argument)
    case .ifeval: _ = try InstructionReward.parts(argument)
    case .tests: _ = try TestsReward.parts(argument)
    case .likelihood: _ = try LikelihoodReward.parts(argument)
    case .judge, .rubric, .rank: _ = try JudgedKnobs.reading(argument, of: kind)
    case .exec: _ = try ProgramReward.parts(argument)
    }
  }

  /// The members of a list with commas between; `\,` is a comma in a name.
  static func list(_ text: some StringProtocol) -> [String] {
    var members = [""]
    var isProtected = false
    for character in text {
      if isProtected, character != "," { members[members.count - 1].append("\\") }
      if character == ",", !isProtected {
        members.append("")
      } else if character != "\\" || isProtected {
        members[members.count - 1].append(character)
      }
      isProtected = character == "\\" && !isProtected
    }
    if isProtected { members[members.count - 1].append("\\") }
    return members
  }
}
