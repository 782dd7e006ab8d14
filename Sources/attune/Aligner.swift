// SPDX-License-Identifier: Apache-2.0

#if Server
  import AttuneData
  import AttuneServer
  import AttuneStudies
  import AttuneTraining
  import Foundation

  /// Aligns a model while people label: feeds the page, trains a policy whenever there are enough
  /// labels, and has it answer from then on, all on one thread.
  ///
  /// A round stops where the page would run out of questions: the policy so far answers ahead again, and
  /// the round goes on from its checkpoint. So sampling and training never run at once.
  struct Aligner {
    private let collector: Collector
    private var rounds: PolicyRounds
    private let sampling: SampleSettings
    private let answersOfEach: (Int) -> Int
    private let ahead: Int
    private var feed: Feed
    /// Whether the page is filled up before a round goes on.
    private var isFilling = false

    private var series: PolicySeries { rounds.series }

    /// Feeds the page with the answers of the policy that answers by now.
    ///
    /// - Parameter n: Answers of each model; nil: as many as a question needs.
    init(
      _ collector: Collector, _ series: PolicySeries, prompts: [Content],
      sampling: SampleSettings, n: Int?, scorer: RewardScorer?, ahead: Int
    ) throws {
      self.collector = collector
      rounds = try PolicyRounds(
        series, count: { try collector.decided() }, rows: { try collector.preferences() },
        tell: { collector.setPolicies($0) })
      self.sampling = sampling
      self.ahead = ahead
      answersOfEach = { n ?? collector.settings.answersOfEach($0) }
      feed = try Feed(
        collector, prompts: prompts,
        answerer: try Self.answerer(series, sampling, answersOfEach), scorer: scorer, ahead: ahead)
    }

    /// Does one piece of the work.
    ///
    /// - Returns: False if there was nothing to do now.
    /// - Throws: What models and trainers throw; `interrupted` after Ctrl-C.
    mutating func step() throws -> Bool {
      if isFilling {
        if collector.untouched < ahead, try feed.step() { return true }
        isFilling = false
      }
      // A page that is empty comes before a round.
      guard try rounds.isDue(), collector.untouched > 0 || !feed.canAnswer else {
        return try feed.step()
      }
      try train()
      return true
    }

    private mutating func train() throws {
      let (collector, canAnswer) = (collector, feed.canAnswer)
      let outcome = try rounds.train {
        Interrupt.isRequested || (canAnswer && collector.untouched == 0)
      }
      switch outcome {
      case .trained: feed.renew(try Self.answerer(series, sampling, answersOfEach))
      case .stopped: isFilling = true
      case .abandoned: break
      }
    }

    /// The policy that answers by now, and the one that it is held against.
    private static func answerer(
      _ series: PolicySeries, _ sampling: SampleSettings, _ answersOfEach: (Int) -> Int
    ) throws -> ModelAnswerer {
      let current = (series.current, try series.model(series.current))
      guard let previous = series.previous else {
        var settings = sampling
        settings.n = answersOfEach(1)
        return try ModelAnswerer([current.1], settings)
      }
      return try ModelAnswerer(
        current, against: (previous, try series.model(previous)), share: series.settings.versus,
        sampling, n: answersOfEach)
    }
  }
#endif
