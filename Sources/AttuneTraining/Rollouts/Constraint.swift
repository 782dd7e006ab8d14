// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneObjectives

/// A source that is no part of the reward: a policy is to keep its mean on one side of a limit.
///
/// It stands among the rewards of a run with weight 0. What an answer costs is taken off its reward, after
/// normalisation, at a price λ that rises while the mean is on the wrong side and falls to 0 on the right one
/// (`DualAscent`).
public struct Constraint: RewardSource {
  /// Which side of the limit is kept to.
  public enum Side: String, Sendable, CaseIterable {
    /// The mean stays at or below it.
    case atMost = "<="
    /// The mean stays at or above it.
    case atLeast = ">="
  }

  /// `words<=20`.
  public let name: String
  private let source: any RewardSource
  private let side: Side
  private let limit: Double
  private let rate: Double

  /// How fast its price moves where nothing is said.
  public static let standardRate = 0.1

  /// Makes a constraint of a source.
  ///
  /// - Parameters:
  ///   - source: What an answer costs, or is to bring.
  ///   - side: Which side of the limit its mean is to stay on.
  ///   - limit: The limit.
  ///   - rate: How far the price moves in a rollout that is as far off the limit as the first one.
  public init(
    _ source: any RewardSource, _ side: Side, _ limit: Double, rate: Double = Self.standardRate
  ) {
    self.source = source
    self.side = side
    self.limit = limit
    self.rate = rate
    let number = limit == limit.rounded() && abs(limit) < 1e15 ? "\(Int(limit))" : "\(limit)"
    name = source.name + side.rawValue + number
  }

  /// Its price before the first rollout, of costs that are to stay at or below their limit.
  func price() throws -> DualAscent { try DualAscent(limit: sign * limit, rate: rate) }

  /// What the source said of every answer, as costs.
  func costs(_ scores: [Double]) -> [Double] { scores.map { sign * $0 } }

  private var sign: Double { side == .atMost ? 1 : -1 }

  /// The source's.
  public func sharedLayers(with origin: String) -> Int? { source.sharedLayers(with: origin) }
  /// The source's.
  public var readsRows: Bool { source.readsRows }
  /// The source's.
  public var isRelative: Bool { source.isRelative }
  /// The source's.
  public func takeCost() -> RewardCost? { source.takeCost() }

  /// The source's.
  public func check(_ row: DataRow, at place: DataPlace) throws {
    try source.check(row, at: place)
  }

  /// The source's.
  public func scores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) throws -> [Double] {
    try source.scores(prompts: prompts, completions: completions, shared: shared)
  }
}
