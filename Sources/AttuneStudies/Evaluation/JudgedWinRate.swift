// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneObjectives
import AttuneRewards
import AttuneTraining

extension JudgePanel {
  /// How often a policy's answers are preferred to its start's: the i-th answer to a prompt against
  /// the i-th, in both orders, with and without length control.
  ///
  /// Two equal answers are a tie and are not shown to the judge.
  ///
  /// - Parameter difficulties: How hard each prompt is, for length control; nil: that is not in it.
  func winRate(
    _ ours: [[String]], _ theirs: [[String]], prompts: [Content], difficulties: [Double]?,
    confidence: Double, seed: UInt64
  ) throws -> EvaluationReport.WinRate {
    var pairs: [JudgedPair] = []
    var places: [(prompt: Int, difference: Double)] = []
    var groups: [[LengthControl.ComparedPair]] = prompts.map { _ in [] }
    var ties = 0
    for (prompt, content) in prompts.enumerated() {
      for (i, (a, b)) in zip(ours[prompt], theirs[prompt]).enumerated() {
        guard a != b else {
          ties += 1
          groups[prompt].append(
            LengthControl.ComparedPair(
              probability: 0.5, difference: 0, difficulty: difficulties?[prompt]))
          continue
        }
        pairs.append(
          JudgedPair(
            prompt: content, first: a, second: b, place: [UInt64(prompt), UInt64(i), 0]))
        places.append((prompt, Double(a.unicodeScalars.count - b.unicodeScalars.count)))
      }
    }
    let (verdicts, mass) = try compare(pairs)
    var unanswered = 0
    for (verdict, place) in zip(verdicts, places) {
      guard let p = verdict.probability else {
        unanswered += 1
        continue
      }
      if p == 0.5 { ties += 1 }
      groups[place.prompt].append(
        LengthControl.ComparedPair(
          probability: p, difference: place.difference, difficulty: difficulties?[place.prompt]))
    }
    let rows = groups.flatMap(\.self)
    guard !rows.isEmpty else {
      throw TrainingError(
        .unavailable,
        "\(name): gave no valid answer to any of \(pairs.count) comparisons"
          + "\(unread.map { " (\($0))" } ?? "")")
    }
    let estimate = Statistics.mean(
      ofGroups: groups.map { $0.map(\.probability) }, confidence: confidence, seed: seed)
    let deviation = LengthControl.spread(rows)
    let answeredGroups = groups.filter { !$0.isEmpty }
    // Chosen once: what is drawn anew is prompts.
    let penalty = LengthControl.penalty(answeredGroups, deviation: deviation)
    let controlled = Statistics.bootstrap(
      answeredGroups, confidence: confidence, resamples: 500, seed: seed
    ) { LengthControl.winRate($0.flatMap(\.self), deviation: deviation, penalty: penalty) }
    let answered = zip(verdicts, pairs).filter { $0.0.probability != nil }
    return EvaluationReport.WinRate(
      value: estimate.value, interval: Interval(estimate.interval),
      ties: Double(ties) / Double(rows.count), reward: name,
      judged: EvaluationReport.Judged(
        lengthControlled: controlled.value,
        lengthControlledInterval: Interval(controlled.interval), pairs: rows.count,
        unanswered: unanswered, letterMass: mass,
        bias: JudgeBias(
          answered.map(\.0),
          words: answered.map { (Self.words($0.1.first), Self.words($0.1.second)) })))
  }
}
