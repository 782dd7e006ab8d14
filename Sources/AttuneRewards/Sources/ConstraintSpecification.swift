// SPDX-License-Identifier: Apache-2.0

public import AttuneEngine
public import AttuneTraining
public import Foundation

/// A constraint as the command line names it: `SOURCE<=NUMBER` or `SOURCE>=NUMBER`, with `@RATE` behind it.
public struct ConstraintSpecification: Sendable, Equatable {
  /// What an answer costs, or is to bring.
  public let source: RewardSpecification
  /// Which side of the limit its mean is to stay on.
  public let side: Constraint.Side
  /// The limit.
  public let limit: Double
  /// How fast the price moves.
  public let rate: Double

  /// Reads a constraint.
  ///
  /// - Parameter text: `SOURCE<=NUMBER`, `SOURCE>=NUMBER`, or the same with `@RATE` behind it.
  /// - Throws: `TrainingError.badSetting` that says what is wrong with it.
  public init(_ text: String) throws {
    func refuse(_ why: String) -> TrainingError {
      TrainingError(
        .badSetting,
        "constraint \(text): \(why); write SOURCE<=NUMBER or SOURCE>=NUMBER, as words<=20")
    }
    // A pattern may hold a sign too: the last one is the constraint's.
    let signs = Constraint.Side.allCases.compactMap { side in
      text.ranges(of: side.rawValue).last.map { (side, $0) }
    }
    guard let (side, sign) = signs.max(by: { $0.1.lowerBound < $1.1.lowerBound }) else {
      throw refuse("there is no <= or >= in it")
    }
    let parts = text[sign.upperBound...].split(separator: "@", omittingEmptySubsequences: false)
      .map { Double($0.trimmingCharacters(in: .whitespaces)) }
    guard (1...2).contains(parts.count), let limit = parts[0], limit.isFinite else {
      throw refuse("no number stands behind \(side.rawValue)")
    }
    guard let rate = parts.count == 2 ? parts[1] : Constraint.standardRate, rate > 0, rate.isFinite
    else { throw refuse("the rate behind @ is a number above 0") }
    source = try RewardSpecification(
      text[..<sign.lowerBound].trimmingCharacters(in: .whitespaces)
    ).measured(by: "constraint")
    self.side = side
    self.limit = limit
    self.rate = rate
  }
}

extension RewardSources {
  /// The sources with constraints behind them, which are no part of the reward.
  ///
  /// - Parameters:
  ///   - constraints: `words<=20`: the knob `constraints` of a trainer.
  ///   - engine: What computes reward models.
  ///   - policy: A model that is open: a reward model that was trained from it shares its weights.
  ///   - answers: Where what judges answer is kept; nil: for as long as the sources live.
  /// - Throws: An error that names the constraint at fault.
  public func keeping(
    _ constraints: [String], on engine: any Engine, beside policy: LoadedModel? = nil,
    answers: URL? = nil
  ) throws -> RewardSources {
    guard !constraints.isEmpty else { return self }
    var all = weighted
    var marks = [fingerprint]
    for text in constraints {
      let constraint = try ConstraintSpecification(text)
      let (source, mark) = try Self.open(
        constraint.source, on: engine, beside: policy, answers: answers)
      let priced = Constraint(source, constraint.side, constraint.limit, rate: constraint.rate)
      guard !all.contains(where: { $0.source.name == priced.name }) else {
        throw TrainingError(.badSetting, "constraint \(priced.name) is given twice")
      }
      all.append((priced, 0))
      marks.append("\(priced.name) \(mark) \(constraint.rate)")
    }
    return RewardSources(weighted: all, fingerprint: try Fingerprint.of(value: marks))
  }
}
