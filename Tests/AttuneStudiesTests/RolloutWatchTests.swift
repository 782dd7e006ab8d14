// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneRewards
import AttuneStudies
import AttuneTraining
import Testing

struct RolloutWatchTests {
  /// A rollout in which nothing is wrong.
  private static let calm: [Metric: Double] = [
    .klSequence: 1, .klToken: 0.02, .entropy: 2, .repetition: 0.01, .responseLength: 30,
    .rewardMean: 0, .rewardDeviation: 1, .goldReward: 0, .goldDeviation: 1,
    .equalRewardShare: 0.2, .ratioMaximum: 1.3,
  ]

  private static func point(_ step: Int, _ change: [Metric: Double] = [:]) -> Report.Point {
    Report.Point(
      step: step,
      values: Dictionary(
        uniqueKeysWithValues: calm.merging(change) { $1 }.map { ($0.key.rawValue, $0.value) }))
  }

  /// Each alarm, what raises it, and what nearly does.
  static let cases: [(alarm: RolloutAlarm, trouble: [Metric: Double], less: [Metric: Double])] = [
    (.kl, [.klSequence: 21, .klToken: 0.5], [.klSequence: 60, .klToken: 0.1]),
    (.entropy, [.entropy: 0.5], [.entropy: 0.7]),
    (.repetition, [.repetition: 0.25], [.repetition: 0.15]),
    (.long, [.responseLength: 47], [.responseLength: 44]),
    (.short, [.responseLength: 5], [.responseLength: 7]),
    (.gold, [.rewardMean: 2, .goldReward: 0.2], [.rewardMean: 2, .goldReward: 1.7]),
    (.equal, [.equalRewardShare: 1], [.equalRewardShare: 0.9]),
    (.ratio, [.ratioMaximum: 11], [.ratioMaximum: 9]),
  ]

  @Test func `every alarm has a case here`() {
    #expect(Set(Self.cases.map(\.alarm)) == Set(RolloutAlarm.allCases))
  }

  @Test(arguments: RolloutWatchTests.cases.indices)
  func `an alarm is raised once, at the first rollout that has the trouble`(index: Int) {
    let (alarm, trouble, less) = Self.cases[index]
    let calm = (1...4).map { Self.point($0) }
    // Rewards are held against the first four rollouts' by their mean over the last four, of which two
    // without trouble outweigh two with it.
    let steps =
      calm + [Self.point(5, less), Self.point(6)] + (7...12).map { Self.point($0, trouble) }
    let raised = RolloutWatch.alarms(of: steps, maximumLength: 48)
    let first = alarm == .gold ? 9 : 7
    #expect(raised.map(\.alarm) == [alarm] && raised.first?.rollout == first, "\(raised)")
    #expect(raised.first?.text.isEmpty == false)
  }

  @Test func `one rollout of hard prompts does not say that the reward is gamed`() {
    let hard: [Metric: Double] = [.rewardMean: 0.3, .goldReward: -1.5]
    let steps = (1...12).map {
      Self.point($0, $0 < 5 ? [:] : $0 == 9 ? hard : [.rewardMean: 0.3])
    }
    #expect(RolloutWatch.alarms(of: steps, maximumLength: 48).isEmpty)
  }

  @Test func `what is on by itself is every alarm of the answers`() {
    // The five of which the answers speak: KL, length (both ways), repetition, entropy, gold.
    #expect(RolloutAlarm.allCases.filter(\.isOfTheAnswers).count == 6)
    var watch = RolloutWatch()
    var totals = MetricTotals()
    totals.add(.klSequence, 30)
    totals.add(.klToken, 1)
    #expect(watch.look(at: totals, maximumLength: 48).map(\.alarm) == [.kl])
    #expect(watch.look(at: totals, maximumLength: 48).isEmpty)
    #expect(watch.warnings.count == 1)
  }
}
