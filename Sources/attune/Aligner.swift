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
    private let series: PolicySeries
    private let sampling: SampleSettings
    private let answersOfEach: (Int) -> Int
    private let ahead: Int
    private var feed: Feed
    /// Whether the page is filled up before a round goes on.
    private var isFilling = false
    /// Comparisons with a winner, and when they were counted.
    private var labels = (count: 0, time: ContinuousClock.now)

    /// Feeds the page with the answers of the policy that answers by now.
    ///
    /// - Parameter n: Answers of each model; nil: as many as a question needs.
    init(
      _ collector: Collector, _ series: PolicySeries, prompts: [Content],
      sampling: SampleSettings, n: Int?, scorer: RewardScorer?, ahead: Int
    ) throws {
      self.collector = collector
      self.series = series
      self.sampling = sampling
      self.ahead = ahead
      answersOfEach = { n ?? collector.settings.answersOfEach($0) }
      feed = try Feed(
        collector, prompts: prompts,
        answerer: try Self.answerer(series, sampling, answersOfEach), scorer: scorer, ahead: ahead)
      labels.count = try collector.decided()
      tell()
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
      let now = ContinuousClock.now
      if now - labels.time > .milliseconds(300) {
        labels = (try collector.decided(), now)
      }
      // A page that is empty comes before a round.
      guard series.isDue(labels.count), collector.untouched > 0 || !feed.canAnswer else {
        return try feed.step()
      }
      try train()
      return true
    }

    private mutating func train() throws {
      let (collector, canAnswer) = (collector, feed.canAnswer)
      tell(training: series.policies.count + 1)
      defer { tell() }
      var options = RunOptions()
      options.shouldStop = {
        Interrupt.isRequested || (canAnswer && collector.untouched == 0)
      }
      do {
        try series.train(
          labels: labels.count, rows: { try collector.preferences() }, options: options)
      } catch let error as TrainingError where error.code == .interrupted {
        if Interrupt.isRequested { throw error }
        isFilling = true
        return
      } catch let error as TrainingError where error.code == .diverged {
        Output.note("warning: \(error.message); the policy before it answers on")
        try series.abandonRound(labels: labels.count)
        return
      }
      Output.note("policy \(series.current) answers from now on")
      feed.renew(try Self.answerer(series, sampling, answersOfEach))
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

    /// Tells the progress view.
    private func tell(training: Int? = nil) {
      let start = PolicyProgress.Policy(
        number: 0, name: series.start.name, fingerprint: series.start.fingerprint)
      collector.setPolicies(
        PolicyProgress(
          policies: [start]
            + series.policies.map {
              .init(
                number: $0.number, name: $0.name, fingerprint: $0.fingerprint,
                previous: $0.previous, labels: $0.labels, accuracy: $0.accuracy,
                heldOut: $0.heldOut)
            }, current: series.current, nextRound: series.nextRound, training: training))
    }
  }
#endif
