// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneStore
import Foundation
import Synchronization

extension Collector {
  /// A judgement of somebody's own and what it was of.
  struct OwnLabel: Sendable {
    var question: Question
    var judgement: StandingJudgement
  }

  /// What somebody said of this run's questions and what holds of it, the latest first.
  ///
  /// - Parameters:
  ///   - number: Only judgements before this one, by its number; nil for the latest.
  ///   - most: How many at most.
  func labels(of annotator: String, before number: Int64?, most: Int) async throws -> [OwnLabel] {
    let judgements = try await aside { try self.store.standingJudgements() }
    return queue.withLock { queue in
      var found: [OwnLabel] = []
      for judgement in judgements.reversed() where found.count < most {
        guard judgement.isThumb == (settings.shape == .thumbs),
          number.map({ judgement.number < $0 }) ?? true,
          known(judgement.annotator) == annotator,
          let place = queue.place(of: Question.key(judgement.answers))
        else { continue }
        found.append(OwnLabel(question: queue.questions[place], judgement: judgement))
      }
      return found
    }
  }

  /// What somebody said of a question.
  ///
  /// - Throws: ``Refusal`` if they said nothing of it, or if there is no such question.
  func label(_ key: String, of annotator: String) async throws -> OwnLabel {
    let found = queue.withLock { queue -> (Question, Int64)? in
      guard let place = queue.place(of: key), let number = queue.judgement(at: place, by: annotator)
      else { return nil }
      return (queue.questions[place], number)
    }
    guard let (question, number) = found else { throw Refusal.bad("you have not answered this") }
    let isThumb = settings.shape == .thumbs
    let judgement = try await aside {
      try self.store.standingJudgements().first { $0.number == number && $0.isThumb == isThumb }
    }
    guard let judgement else { throw Refusal.bad("you have not answered this") }
    return OwnLabel(question: question, judgement: judgement)
  }

  /// What came together, as rows to train on: comparisons as preference rows, thumbs as unpaired ones.
  func export() async throws -> Data {
    let format = settings.shape == .thumbs ? RowFormat.unpaired : .preference
    return try await aside { try self.store.export(format).data }
  }

  /// Runs what takes a while on a thread of its own.
  func aside<Value: Sendable>(
    _ body: @escaping @Sendable () throws -> Value
  ) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
      progressQueue.async { continuation.resume(with: Result(catching: body)) }
    }
  }
}
