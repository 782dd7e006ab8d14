// SPDX-License-Identifier: Apache-2.0

#if Server
  import AttuneServer
  import AttuneStudies
  import AttuneTraining
  import Foundation

  /// Trains policies from what people say while they say it: of `collect` and of `serve`.
  struct PolicyRounds {
    /// What a round came to.
    enum Outcome {
      /// A policy, which answers from now on.
      case trained
      /// It was stopped; called again it goes on.
      case stopped
      /// It could not be trained.
      case abandoned
    }

    let series: PolicySeries
    /// Comparisons with a winner that there are.
    private let count: () throws -> Int
    /// Everything compared so far, as lines of preference rows.
    private let rows: () throws -> String
    /// Is told which policies there are.
    private let tell: (PolicyProgress) -> Void
    private var labels: (count: Int, time: ContinuousClock.Instant)

    /// Goes on with a series.
    ///
    /// - Parameters:
    ///   - series: The policies.
    ///   - count: Comparisons with a winner that there are.
    ///   - rows: Everything compared so far, as lines of preference rows.
    ///   - tell: Is told which policies there are.
    init(
      _ series: PolicySeries, count: @escaping () throws -> Int,
      rows: @escaping () throws -> String, tell: @escaping (PolicyProgress) -> Void
    ) throws {
      self.series = series
      self.count = count
      self.rows = rows
      self.tell = tell
      labels = (try count(), .now)
      tell(progress())
    }

    /// Whether a round is to be trained; the comparisons are counted three times a second.
    mutating func isDue() throws -> Bool {
      let now = ContinuousClock.now
      if now - labels.time > .milliseconds(300) { labels = (try count(), now) }
      return series.isDue(labels.count)
    }

    /// Trains the next policy, or what is left of it.
    ///
    /// - Parameter shouldStop: Asked between steps.
    /// - Throws: What the trainer throws; `interrupted` after Ctrl-C.
    mutating func train(shouldStop: @escaping @Sendable () -> Bool) throws -> Outcome {
      tell(progress(training: series.policies.count + 1))
      defer { tell(progress()) }
      var options = RunOptions()
      options.shouldStop = shouldStop
      do {
        try series.train(labels: labels.count, rows: rows, options: options)
      } catch let error as TrainingError where error.code == .interrupted {
        if Interrupt.isRequested { throw error }
        return .stopped
      } catch let error as TrainingError where error.code == .diverged {
        Output.note("warning: \(error.message); the policy before it answers on")
        try series.abandonRound(labels: labels.count)
        return .abandoned
      }
      Output.note("policy \(series.current) answers from now on")
      return .trained
    }

    private func progress(training: Int? = nil) -> PolicyProgress {
      let start = PolicyProgress.Policy(
        number: 0, name: series.start.name, fingerprint: series.start.fingerprint)
      return PolicyProgress(
        policies: [start]
          + series.policies.map {
            .init(
              number: $0.number, name: $0.name, fingerprint: $0.fingerprint,
              previous: $0.previous, labels: $0.labels, accuracy: $0.accuracy,
              heldOut: $0.heldOut)
          }, current: series.current, nextRound: series.nextRound, training: training)
    }
  }
#endif
