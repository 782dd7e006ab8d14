// SPDX-License-Identifier: Apache-2.0

import AttuneStore
import Foundation
import Synchronization

/// What collecting came to: the object of `attune collect --json`.
public struct CollectReport: Encodable, Sendable, Equatable {
  /// The version of this object.
  public var formatVersion = 1
  /// The store.
  public var store: String
  /// Judgements of these questions that hold.
  public var labels: Int
  /// Questions, without the gold ones.
  public var questions: Int
  /// Those with all judgements asked for.
  public var finished: Int
  /// Annotators whose judgements hold.
  public var annotators: Int
  /// What aligning while people label came to; nil where nothing was aligned.
  public var align: PolicyProgress?

  /// The report for people.
  public var text: String {
    "\(store): \(labels) labels by \(annotators) annotators; \(finished) of \(questions) questions "
      + "finished" + (align.map { $0.text.isEmpty ? "" : "\n\($0.text)" } ?? "")
  }
}

extension Collector {
  /// What has come together so far, policies aside.
  public func report() -> CollectReport {
    queue.withLock { queue in
      CollectReport(
        store: store.url.relativePath, labels: queue.judgements, questions: queue.count,
        finished: queue.finished, annotators: queue.annotators)
    }
  }
}
