// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneFiles
import AttuneObjectives
import AttuneStore
import Dispatch
import Foundation
import Synchronization

extension Collector {
  /// What the progress view shows: the store's statistics, labels by day, the models' ratings, the
  /// learning curve where there is one.
  ///
  /// Computed on a thread of its own, and at most every other second.
  func progress() async throws -> JSONValue {
    let counts = counts(for: "")
    return try await aside { try self.computeProgress(counts) }
  }

  private func computeProgress(_ counts: Counts) throws -> JSONValue {
    let now = ContinuousClock.now
    if let last = lastProgress.withLock({ $0 }), now - last.time < .seconds(2) { return last.json }
    let points = try curve.map { try LearningCurveFile.read($0) } ?? []
    let statistics = try store.statistics(
      accuracy: points.isEmpty ? nil : wantedAccuracy, curve: points)
    // Without two named models there is nothing to rate, which is no failure.
    let ranking = try? ModelRanking(store, name: store.url.lastPathComponent)
    let json = JSONValue.object([
      .init("format_version", .int(1)),
      .init(
        "questions",
        .object([.init("finished", .int(counts.finished)), .init("all", .int(counts.all))])),
      .init("days", try Self.json(try store.labelsByDay())),
      .init("statistics", try Self.json(statistics)),
      .init("paces", try Self.json(try store.paces())),
      .init("rewards", try Self.json(try rewardAccuracies())),
      .init("align", try alignment().map(Self.json) ?? .null),
      .init("ranking", try ranking.map(Self.json) ?? .null),
      .init(
        "curve",
        points.isEmpty
          ? .null
          : .array(
            points.map {
              .object([
                .init("labels", .double($0.labels)), .init("accuracy", .double($0.accuracy)),
              ])
            })),
    ])
    lastProgress.withLock { $0 = (now, json) }
    return json
  }

  private static func json(_ value: some Encodable) throws -> JSONValue {
    try JSONValue(parsing: JSONText.line(value))
  }
}
