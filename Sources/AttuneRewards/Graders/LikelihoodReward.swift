// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneEngine
import AttuneObjectives
public import AttuneTraining
import Foundation

/// How much likelier an answer's reasoning makes the right one: `likelihood:COLUMN` (RLPR: Yu et al. 2025,
/// arXiv:2506.18254).
///
/// With z what stands before the final answer, y* the row's own and p̄ the mean probability of its
/// tokens, the reward is p̄(y* | x, z) − p̄(y* | x), clipped to 0…1; with `log` the difference of mean
/// log-probabilities, not clipped. Where an answer marks no final one, y* is put behind “The answer is”.
///
/// Differs from the paper: probabilities are those of the start (or of `model=`), not of the policy that
/// is trained, so that an answer's reward stays what it is while training goes on.
public struct LikelihoodReward: RewardSource {
  /// `likelihood:answer`.
  public let name: String
  /// What tells it from others: the argument, and the model.
  let fingerprint: String
  private let isLogarithmic: Bool
  private let knobs: GraderKnobs
  private let loaded: LoadedModel
  private let encoder: TextEncoder
  private let notice = CutNotice()
  private let pieceTokens = 2048
  private static let bridge = "The answer is"

  /// Makes a source.
  ///
  /// - Parameters:
  ///   - argument: What stands behind `likelihood:`.
  ///   - open: Opens the model that it names; nil for the one that is open.
  /// - Throws: `TrainingError` that says what is wrong with argument or model.
  init(_ argument: String, open: (String?) throws -> LoadedModel) throws {
    (isLogarithmic, knobs) = try Self.parts(argument)
    name = "likelihood:\(argument)"
    loaded = try open(knobs.model)
    guard !loaded.model.hasScalarHead else {
      throw TrainingError(
        .badModel, "\(name): \(loaded.name) is a reward model, which says nothing")
    }
    encoder = try TextEncoder(loaded)
    fingerprint = "\(argument) \(loaded.fingerprint)"
  }

  /// Whether it is of logarithms, and knobs.
  ///
  /// - Throws: `TrainingError.badSetting` that says what is wrong with it.
  static func parts(_ argument: String) throws -> (isLogarithmic: Bool, knobs: GraderKnobs) {
    var parts = RewardSpecification.list(argument)
    let column = parts.removeFirst()
    guard !column.isEmpty, !column.contains("=") else {
      throw TrainingError(
        .badSetting,
        "reward source likelihood:\(argument): write likelihood:COLUMN, with log, extract= and model= "
          + "behind commas")
    }
    let isLogarithmic = parts.contains("log")
    parts.removeAll { $0 == "log" }
    var knobs = try GraderKnobs(
      parts, known: [.extract, .model], source: "likelihood:\(argument)")
    knobs.column = column
    return (isLogarithmic, knobs)
  }

  /// True: the right answer stands there.
  public var readsRows: Bool { true }

  /// Refuses a row without a right answer.
  public func check(_ row: DataRow, at place: DataPlace) throws {
    _ = try right(row.json, at: place)
  }

  private func right(_ row: JSONValue, at place: DataPlace) throws -> String {
    let value = row.present(knobs.column)
    let text: String?
    if case .number(let digits)? = value { text = digits } else { text = value?.asString }
    guard let text, let answer = AnswerPlace.any.answer(in: text), !answer.isEmpty else {
      throw place.error(
        "column \"\(knobs.column)\" \(value == nil ? "is missing" : "holds no string or number"), which "
          + "likelihood reads")
    }
    return answer
  }

  /// The difference that each answer's reasoning makes.
  public func scores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [Double] {
    var groups: [EncodedGroup] = []
    for i in completions.indices {
      let right = try prompts[i].reading(for: name, answer: i) { try self.right($0.json, at: $1) }
      // Of two answers of a group the first one is without reasoning.
      let (before, mark) = reasoning(of: completions[i].text)
      do {
        groups.append(
          EncodedGroup(
            line: i + 1, prompt: try encoder.prompt(prompts[i].content), promptCut: 0,
            answers: [
              encoded(mark, right: right), encoded(before + mark, right: right),
            ]))
      } catch {
        throw AnswerFault(source: name, answer: i, message: "\(error)")
      }
    }
    let cut = groups.map { encoder.cut($0) }
    if let warning = notice.warning(for: cut, source: name, most: encoder.maximumLength) {
      standardError("warning: \(warning); an answer that is cut gets 0")
    }
    let tokens = try SequenceScores.tokens(
      loaded.model, cut, temperature: 1, pieceTokens: pieceTokens)
    return zip(cut, tokens).map { group, tokens in
      guard !group.answers.contains(where: \.isCut) else { return 0 }
      let means = tokens.map { tokens in
        Statistics.mean(tokens.logProbabilities.map { isLogarithmic ? $0 : exp($0) })
      }
      let gain = means[1] - means[0]
      return isLogarithmic ? gain : min(max(gain, 0), 1)
    }
  }

  /// What stands before the final answer, and what the right one is put behind.
  private func reasoning(of text: String) -> (before: String, mark: String) {
    guard let opening = knobs.place.opening(in: text) else {
      return (text.isEmpty ? "" : String(text[...].trimmed) + "\n\n", Self.bridge + " ")
    }
    let mark = ["####", "\\boxed{", "<answer>"].first { opening.hasSuffix($0) } ?? ""
    return (String(opening.dropLast(mark.count)), mark == "####" ? "#### " : mark)
  }

  /// A mark and the right answer behind it, whose tokens are scored. A space between them begins the
  /// answer, as tokenizers have it.
  private func encoded(_ opening: String, right: String) -> EncodedAnswer {
    let hasSpace = opening.hasSuffix(" ")
    let before = encoder.tokenizer.encode(hasSpace ? String(opening.dropLast()) : opening)
    let ids = before + encoder.tokenizer.encode(hasSpace ? " " + right : right)
    return EncodedAnswer(ids: ids, scored: [before.count..<ids.count], isCut: false)
  }
}
