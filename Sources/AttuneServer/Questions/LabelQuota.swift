// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneStore
public import Foundation

/// Questions about a file of answers that are asked until so many comparisons have a winner: first as
/// many as are needed, then one for each that ended in a tie, in both bad, or was passed over.
public struct LabelQuota {
  /// Comparisons with a winner that are needed.
  public let wanted: Int
  private let collector: Collector
  private let answers: Set<Int64>
  private var waiting: [Question]

  /// Takes a file's answers into the store; asks nothing yet.
  ///
  /// - Parameters:
  ///   - wanted: Comparisons with a winner that are needed.
  ///   - samples: Rows of `attune sample`.
  ///   - collector: Who asks.
  /// - Throws: `DataError`, `StoreError`, and ``ServerError`` if there is nothing to ask about.
  public init(_ wanted: Int, of samples: URL, by collector: Collector) throws {
    self.wanted = wanted
    self.collector = collector
    let sets = try collector.store.add(try Collector.samples(of: samples))
    answers = Set(sets.flatMap { $0.answers.map(\.number) })
    waiting = QuestionMaker(collector.settings).questions(sets).reversed()
    guard !waiting.isEmpty else { throw Collector.nothingToAsk([samples], collector.settings) }
  }

  /// How many further comparisons with a winner are needed.
  ///
  /// - Throws: `StoreError` if the store can't be read.
  public func missing() throws -> Int {
    let given = try collector.store.standingJudgements().count {
      !$0.isThumb && $0.outcome == .preferred && answers.isSuperset(of: $0.answers)
    }
    return max(0, wanted - given)
  }

  /// Asks further questions.
  ///
  /// - Returns: How many there were left to ask.
  /// - Throws: `StoreError` if the store can't be read.
  public mutating func ask(_ count: Int) throws -> Int {
    let next = Array(waiting.suffix(count).reversed())
    waiting.removeLast(next.count)
    if !next.isEmpty { try collector.add(next) }
    return next.count
  }

  /// What was said of the answers, as preference rows.
  ///
  /// - Throws: `StoreError` if the store can't be read.
  public func preferences() throws -> String {
    try collector.store.preferences(among: answers).map { $0.text + "\n" }.joined()
  }
}
