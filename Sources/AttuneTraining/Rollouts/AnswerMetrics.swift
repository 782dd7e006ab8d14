// SPDX-License-Identifier: Apache-2.0

package import AttuneObjectives

extension MetricTotals {
  /// Adds the mean of some values.
  package mutating func addMean(_ metric: Metric, of values: [Double]) {
    addMean(metric, total: values.reduce(0, +), weight: Double(values.count))
  }

  /// Adds what sampled answers look like, whichever trainer sampled them.
  ///
  /// - Parameters:
  ///   - answers: The answers.
  ///   - rewards: Their rewards; an answer that a judge could not tell has none.
  package mutating func add(answers: [Completion], rewards: [Double]) {
    addMean(.rewardMean, of: rewards)
    add(.rewardDeviation, Statistics.standardDeviation(rewards))
    let ids = answers.map(\.ids)
    add(.distinct1, Statistics.distinct(ids, n: 1) ?? 0)
    add(.distinct2, Statistics.distinct(ids, n: 2) ?? 0)
    addMean(
      .repetition,
      of: answers.map { Statistics.repetition($0.text.split(whereSeparator: \.isWhitespace)) })
  }

  /// Adds which answers are right.
  package mutating func add(right: RightAnswers) {
    addMean(.rightShare, of: right.accuracies.flatMap(\.self))
    addMean(.passAtK, of: right.groups.map { $0.contains(where: \.isRight) ? 1 : 0 })
    addMean(.majorityRight, of: right.majorities)
    addMean(.allRightShare, total: right.allRightShare, weight: 1)
    addMean(.allWrongShare, total: right.allWrongShare, weight: 1)
  }

  /// Adds what a reward that is not trained on says of answers.
  ///
  /// - Parameters:
  ///   - gold: What it says.
  ///   - rewards: The answers' own rewards; nil where there is none.
  package mutating func add(gold: [Double], rewards: [Double?]) {
    addMean(.goldReward, of: gold)
    add(.goldDeviation, Statistics.standardDeviation(gold))
    let both = zip(rewards, gold).compactMap { reward, gold in reward.map { ($0, gold) } }
    if let r = Statistics.pearson(both.map(\.0), both.map(\.1)) { add(.goldCorrelation, r) }
  }
}
