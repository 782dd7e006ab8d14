// SPDX-License-Identifier: Apache-2.0

import AttuneData
public import AttuneObjectives
public import Foundation

/// Models in the order of their Bradley–Terry ratings: `attune rank`.
public struct ModelRanking: Codable, Sendable, Equatable {
  /// A model.
  public struct Entry: Codable, Sendable, Equatable {
    /// Its name.
    public var model: String
    /// Its rating on Elo's scale: 400 points are odds of ten to one, the mean of all is 1000.
    public var rating: Double
    /// 95 % interval of the rating.
    public var interval: Statistics.Interval
    /// Comparisons that it was in.
    public var comparisons: Int
    /// Share of them that it won, a tie counting half.
    public var winRate: Double
  }

  /// The version of this object.
  public var formatVersion = 1
  /// Where the comparisons come from.
  public var data: String
  /// Pairs that were compared.
  public var comparisons: Int
  /// Pairs left out, because a model is not named or is the same on both sides.
  public var unnamed: Int
  /// Pairs in which both were bad, which say nothing of which is better, and are left out.
  public var bothBad: Int
  /// Whether some model never won, or never lost, against the rest: its rating then rests on a weak
  /// prior (one tie with a phantom), and the intervals say little.
  public var usedPrior: Bool
  /// The models, best first.
  public var models: [Entry]
  /// What a person should know of the file's columns; it is told, not written.
  public private(set) var warning: String?

  private enum CodingKeys: String, CodingKey {
    case formatVersion, data, comparisons, unnamed, bothBad, usedPrior, models
  }

  /// Rates the models of a file of comparisons or rankings, or of a store.
  ///
  /// - Parameter url: A file whose rows name the models (`chosen_model` and `rejected_model`,
  ///   `models`, or `model` of each completion), or a store.
  /// - Throws: `DataError`, ``StoreError``, and `ObjectiveError` if nothing can be rated.
  public init(_ url: URL) throws {
    if try Self.isStore(url) {
      try self.init(try FeedbackStore(url, create: false), name: url.relativePath)
      return
    }
    var rows: [ComparedModels] = []
    let data = try DataFile.read(
      url, expecting: [.preference, .ranking], use: ColumnUse(readLater: RecordReader.columns(of:)))
    for row in data.rows {
      switch row.example {
      case .preference(let pair):
        let models = row.pairModels
        let names = [models.chosen, models.rejected].map { SampleRow.Model($0)?.name ?? "" }
        let isDecided = pair.outcome == .preferred
        rows.append(
          ComparedModels(
            models: names, ranks: [1, isDecided ? 2 : 1], isBad: pair.outcome == .bothBad))
      case .ranking(let ranking):
        let names = ranking.models(in: row.json).map { $0?.name ?? "" }
        let ranks = ranking.scores.map { score in 1 + ranking.scores.count { $0 > score } }
        rows.append(ComparedModels(models: names, ranks: ranks, isBad: false))
      default: break
      }
    }
    try self.init(rows, name: url.relativePath)
    warning = data.warning
  }

  /// Rates the models of a store that is open.
  ///
  /// - Throws: ``StoreError``, and `ObjectiveError` if nothing can be rated.
  public init(_ store: FeedbackStore, name: String) throws {
    let live = try store.read { try LiveComparison.all(in: $0) }
    try self.init(
      live.filter { !$0.isGold }.map {
        ComparedModels(
          models: $0.entries.map(\.model), ranks: $0.entries.map(\.rank),
          isBad: $0.outcome == .bothBad)
      }, name: name)
  }

  /// A comparison of two or more models; one without a name is the empty string.
  private struct ComparedModels {
    var models: [String]
    var ranks: [Int]
    var isBad: Bool
  }

  private init(_ rows: [ComparedModels], name: String) throws {
    data = name
    unnamed = 0
    bothBad = 0
    var index: [String: Int] = [:]
    var names: [String] = []
    var wins: [Double] = []
    var games: [Int] = []
    var groups: [[EntityRatings.Match]] = []
    func number(_ model: String) -> Int {
      if let known = index[model] { return known }
      index[model] = names.count
      names.append(model)
      wins.append(0)
      games.append(0)
      return names.count - 1
    }
    for row in rows {
      var group: [EntityRatings.Match] = []
      for i in row.models.indices {
        for j in row.models.indices where j > i {
          let (a, b) = (row.models[i], row.models[j])
          if a.isEmpty || b.isEmpty || a == b {
            unnamed += 1
          } else if row.isBad {
            bothBad += 1
          } else {
            let outcome =
              row.ranks[i] == row.ranks[j] ? 0.5 : row.ranks[i] < row.ranks[j] ? 1.0 : 0
            let (first, second) = (number(a), number(b))
            group.append(.init(first: first, second: second, score: outcome))
            wins[first] += outcome
            wins[second] += 1 - outcome
            games[first] += 1
            games[second] += 1
          }
        }
      }
      if !group.isEmpty { groups.append(group) }
    }
    guard !groups.isEmpty else {
      throw StoreError(
        .badRequest,
        "\(name): no comparison names two models; rows need chosen_model and rejected_model, or a "
          + "model for each completion")
    }
    let fit = try EntityRatings(groups: groups, entities: names.count)
    comparisons = groups.reduce(0) { $0 + $1.count }
    usedPrior = fit.usedPrior
    let elo = 400 / log(10.0)
    models = names.indices.map { i in
      let strength = fit.logStrengths[i]
      return Entry(
        model: names[i], rating: 1000 + elo * strength.value,
        interval: .init(
          low: 1000 + elo * strength.interval.low, high: 1000 + elo * strength.interval.high),
        comparisons: games[i], winRate: wins[i] / Double(games[i]))
    }.sorted { ($1.rating, $0.model) < ($0.rating, $1.model) }
  }

  private static func isStore(_ url: URL) throws -> Bool {
    // Opening a pipe would wait for what is written to it.
    let attributes = try? FileManager.default.attributesOfItem(
      atPath: url.resolvingSymlinksInPath().path)
    guard attributes?[.type] as? FileAttributeType == .typeRegular,
      let handle = try? FileHandle(forReadingFrom: url)
    else { return false }
    defer { try? handle.close() }
    return try handle.read(upToCount: 15) == Data("SQLite format 3".utf8)
  }

  /// The ratings for people.
  public var text: String {
    let width = models.map(\.model.count).max() ?? 0
    var lines = ["\(data): \(comparisons) pairs of \(models.count) models"]
    for entry in models {
      let name = entry.model + String(repeating: " ", count: width - entry.model.count)
      lines.append(
        name
          + String(
            format: "  %6.0f  (%.0f to %.0f)  won %.1f %% of %d", entry.rating,
            entry.interval.low, entry.interval.high, entry.winRate * 100, entry.comparisons))
    }
    if usedPrior {
      lines.append(
        "some model never won or never lost against the rest: its rating rests on a weak prior, and "
          + "the intervals say little")
    }
    if unnamed > 0 { lines.append("\(unnamed) pairs do not name two models and were left out") }
    if bothBad > 0 { lines.append("\(bothBad) pairs were both bad and were left out") }
    return lines.joined(separator: "\n")
  }
}
