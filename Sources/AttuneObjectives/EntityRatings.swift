// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// Strengths of n entities (models, answers, players) from comparisons of two: P(i beats j) =
/// p_i/(p_i + p_j), by maximum likelihood, a tie being half a win for each.
///
/// No finite maximum exists where the graph of wins is not strongly connected (somebody never won, or
/// never lost, against the rest). Then, and only then, everybody also tied once with a phantom of
/// strength 1, and `usedPrior` says so.
///
/// Paper: Bradley & Terry 1952; minorise–maximise: Hunter 2004. Differs from the papers: ties, and
/// the prior where no maximum exists.
public struct EntityRatings: Sendable, Equatable {
  /// A comparison of two entities.
  public struct Match: Codable, Sendable, Equatable {
    /// Index of an entity.
    public var first: Int
    /// Index of the other one.
    public var second: Int
    /// 1 where `first` won, 0 where it lost, ½ for a tie, or a share between.
    public var score: Double

    /// Makes a match.
    ///
    /// - Parameters:
    ///   - first: Index of an entity.
    ///   - second: Index of the other one.
    ///   - score: 1 where `first` won, 0 where it lost, ½ for a tie.
    public init(first: Int, second: Int, score: Double) {
      self.first = first
      self.second = second
      self.score = score
    }
  }

  /// Log-strength of each entity, mean 0 over all, with its bootstrap interval over groups.
  public let logStrengths: [Statistics.Estimate]
  /// Strongly connected components of the graph of wins, each ascending, by their first entity.
  public let components: [[Int]]
  /// Whether the prior was needed: there is more than one component.
  public var usedPrior: Bool { components.count > 1 }
  /// Share of the bootstrap's resamples that needed the prior where the matches did not.
  public let resamplesWithPrior: Double

  /// Fits the strengths from matches that are independent of one another.
  ///
  /// - Parameters:
  ///   - matches: The comparisons.
  ///   - entities: How many entities there are; a match names them by 0 ..< entities.
  ///   - confidence: For example 0.95.
  ///   - resamples: Resamples of the bootstrap.
  ///   - seed: The intervals depend on it.
  /// - Throws: `ObjectiveError` for an entity that does not exist or plays itself, or a score outside
  ///   0…1.
  public init(
    _ matches: [Match], entities: Int, confidence: Double = 0.95, resamples: Int = 500,
    seed: UInt64 = 0
  ) throws {
    try self.init(
      groups: matches.map { [$0] }, entities: entities, confidence: confidence,
      resamples: resamples, seed: seed)
  }

  /// Fits the strengths from groups of matches, such as the pairs of one ranking: the bootstrap draws
  /// whole groups, because the matches of a group are not independent.
  ///
  /// - Parameters:
  ///   - groups: The comparisons.
  ///   - entities: How many entities there are; a match names them by 0 ..< entities.
  ///   - confidence: For example 0.95.
  ///   - resamples: Resamples of the bootstrap.
  ///   - seed: The intervals depend on it.
  /// - Throws: `ObjectiveError` for an entity that does not exist or plays itself, or a score outside
  ///   0…1.
  public init(
    groups: [[Match]], entities: Int, confidence: Double = 0.95, resamples: Int = 500,
    seed: UInt64 = 0
  ) throws {
    let matches = groups.flatMap { $0 }
    for (index, match) in matches.enumerated() {
      guard
        (0..<entities).contains(match.first), (0..<entities).contains(match.second),
        match.first != match.second
      else {
        throw ObjectiveError(
          .badRows, "match \(index + 1) must be between two of the \(entities) entities")
      }
      guard match.score >= 0, match.score <= 1 else {
        throw ObjectiveError(.badRows, "match \(index + 1) has a score outside 0…1")
      }
    }
    let wins = Self.wins(matches, entities)
    components = Self.components(wins)
    let fitted = Self.fit(wins, prior: components.count > 1, from: nil)
    var drawn: [[Double]] = Array(repeating: [], count: entities)
    var withPrior = 0
    let draws = groups.count > 1 ? resamples : 0
    for r in 0..<draws {
      let random = CounterRandom(seed: seed, UInt64(r))
      let sample = groups.indices.flatMap { groups[random.below(groups.count, UInt64($0))] }
      let wins = Self.wins(sample, entities)
      let prior = components.count > 1 || !Self.isConnected(wins)
      if prior { withPrior += 1 }
      for (i, value) in Self.fit(wins, prior: prior, from: fitted).enumerated() {
        drawn[i].append(value)
      }
    }
    resamplesWithPrior =
      components.count > 1 || draws == 0 ? 0 : Double(withPrior) / Double(draws)
    let tail = (1 - confidence) / 2
    logStrengths = fitted.enumerated().map { i, value in
      let values = drawn[i].sorted()
      guard !values.isEmpty else {
        return Statistics.Estimate(value: value, interval: .init(low: value, high: value))
      }
      return Statistics.Estimate(
        value: value,
        interval: .init(
          low: Statistics.quantile(sorted: values, tail),
          high: Statistics.quantile(sorted: values, 1 - tail)))
    }
  }

  /// w_ij: how often i beat j, [entity][entity].
  private static func wins(_ matches: [Match], _ entities: Int) -> [[Double]] {
    var wins = Array(repeating: Array(repeating: 0.0, count: entities), count: entities)
    for match in matches {
      wins[match.first][match.second] += match.score
      wins[match.second][match.first] += 1 - match.score
    }
    return wins
  }

  /// Log-strengths, mean 0: p_i ← W_i/Σ_j n_ij/(p_i + p_j), W_i the wins of i, n_ij the matches of i
  /// and j (Hunter 2004), until no log-strength moves by 1e-10.
  private static func fit(
    _ wins: [[Double]], prior: Bool, from start: [Double]?
  ) -> [Double] {
    let n = wins.count
    let won = wins.map { $0.reduce(0, +) + (prior ? 0.5 : 0) }
    let rivals = (0..<n).map { i in
      (0..<n).compactMap { j -> (Int, Double)? in
        let played = wins[i][j] + wins[j][i]
        return played > 0 ? (j, played) : nil
      }
    }
    var strengths = start?.map { exp($0) } ?? Array(repeating: 1.0, count: n)
    for _ in 0..<100_000 {
      var largest = 0.0
      for i in 0..<n {
        var sum = prior ? 1 / (strengths[i] + 1) : 0
        for (j, played) in rivals[i] { sum += played / (strengths[i] + strengths[j]) }
        guard sum > 0, won[i] > 0 else { continue }
        let new = won[i] / sum
        largest = max(largest, abs(log(new / strengths[i])))
        strengths[i] = new
      }
      if !prior {
        // Only ratios count without the phantom; held here, lest all drift together.
        let mean = exp(Statistics.mean(strengths.map { log($0) }))
        for i in 0..<n { strengths[i] /= mean }
      }
      if largest < 1e-10 { break }
    }
    let logs = strengths.map { log($0) }
    let mean = Statistics.mean(logs)
    return logs.map { $0 - mean }
  }

  /// Who is reached from an entity along wins, or along losses.
  private static func reached(_ wins: [[Double]], from start: Int, losses: Bool) -> Set<Int> {
    var seen: Set = [start]
    var open = [start]
    while let i = open.popLast() {
      for j in wins.indices where (losses ? wins[j][i] : wins[i][j]) > 0 {
        if seen.insert(j).inserted { open.append(j) }
      }
    }
    return seen
  }

  private static func isConnected(_ wins: [[Double]]) -> Bool {
    wins.isEmpty
      || (reached(wins, from: 0, losses: false).count == wins.count
        && reached(wins, from: 0, losses: true).count == wins.count)
  }

  private static func components(_ wins: [[Double]]) -> [[Int]] {
    var left = Set(wins.indices)
    var components: [[Int]] = []
    for i in wins.indices where left.contains(i) {
      let component = reached(wins, from: i, losses: false)
        .intersection(reached(wins, from: i, losses: true))
      components.append(component.sorted())
      left.subtract(component)
    }
    return components
  }
}
