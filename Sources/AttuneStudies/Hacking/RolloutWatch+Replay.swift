// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTraining
import Foundation

extension RolloutWatch {
  /// What a run's `metrics.jsonl` would have raised, and when first.
  ///
  /// - Parameters:
  ///   - points: The run's numbers in their order.
  ///   - maximumLength: Longest answer in tokens.
  package static func alarms(of points: [Report.Point], maximumLength: Int) -> [RaisedAlarm] {
    var watch = RolloutWatch()
    return points.flatMap { point in
      var totals = MetricTotals()
      for (name, value) in point.values {
        if let metric = Metric(rawValue: name) { totals.add(metric, value) }
      }
      return watch.look(at: totals, maximumLength: maximumLength).map {
        RaisedAlarm(alarm: $0.alarm, rollout: point.step, text: $0.text)
      }
    }
  }
}
