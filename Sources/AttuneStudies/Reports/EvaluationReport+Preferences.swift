// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneRewards
public import AttuneTraining

extension EvaluationReport {
  /// What a policy says of preferences that it was not trained on.
  public struct Preferences: Codable, Sendable, Equatable {
    /// A share of the pairs with its confidence interval.
    public struct Share: Codable, Sendable, Equatable {
      /// The share.
      public var value: Double
      /// Its confidence interval.
      public var interval: Interval
    }

    /// What two models say of an answer: sums over its tokens, in nats, means over the pairs.
    public struct Likelihood: Codable, Sendable, Equatable {
      /// Log-probability under the reference.
      public var before: Summary
      /// Log-probability under the policy.
      public var after: Summary
      /// After less before: the implicit reward in nats.
      public var change: Summary
    }

    /// Pairs that were compared.
    public var pairs: Int
    /// Different prompts among them.
    public var prompts: Int
    /// Pairs in which neither answer is preferred; they are left out.
    public var undecided: Int
    /// Rows that are of no use, such as two equal answers; they are left out.
    public var leftOut: Int
    /// Answers and prompts that were too long and were cut.
    public var cut: CutCounts
    /// What stands for before.
    public var reference: String
    /// Share of pairs whose chosen answer has the higher implicit reward log π − log π_ref; equal ones
    /// count one half. No β changes it.
    public var accuracy: Share
    /// Share of pairs whose chosen answer is the more probable one under the reference.
    public var likelierBefore: Share
    /// Share of pairs whose chosen answer is the more probable one under the policy.
    public var likelierAfter: Share
    /// Implicit reward of the chosen answer less that of the rejected one, in nats; times β it is DPO's
    /// margin.
    public var margin: Summary
    /// The chosen answers.
    public var chosen: Likelihood
    /// The rejected answers.
    public var rejected: Likelihood

    private enum CodingKeys: String, CodingKey {
      case pairs, prompts, undecided, cut, reference, accuracy, margin, chosen, rejected
      case leftOut = "left_out"
      case likelierBefore = "likelier_before"
      case likelierAfter = "likelier_after"
    }

    /// The figures as reports and comparisons of runs show them.
    var figures: [HeldOutFigure] {
      func figure(
        _ metric: Metric, _ name: String, _ value: Double, _ interval: Interval,
        before: Summary? = nil, isShare: Bool = false
      ) -> HeldOutFigure {
        HeldOutFigure(
          metric: metric.rawValue, name: name, value: value, interval: interval,
          before: before?.mean, beforeInterval: before?.interval, count: pairs, unit: "pairs",
          prompts: prompts, isShare: isShare)
      }
      return [
        figure(
          .accuracy, "accuracy of the implicit reward", accuracy.value, accuracy.interval,
          isShare: true),
        figure(.margin, "margin of the implicit reward, nats", margin.mean, margin.interval),
        figure(
          .chosenLogProbability, "log-probability of the preferred", chosen.after.mean,
          chosen.after.interval, before: chosen.before),
        figure(
          .rejectedLogProbability, "log-probability of the others", rejected.after.mean,
          rejected.after.interval, before: rejected.before),
      ]
    }

    /// The figures for a person at a terminal, a line each.
    ///
    /// - Parameter confidence: Of the intervals.
    public func lines(confidence: Double) -> [String] {
      func share(_ share: Share) -> String {
        "\(readablePercent(share.value, digits: 1)) [\(readablePercent(share.interval.low, digits: 1)), "
          + "\(readablePercent(share.interval.high, digits: 1))]"
      }
      func nats(_ summary: Summary) -> String {
        "\(readable(summary.mean)) [\(readable(summary.interval.low)), "
          + "\(readable(summary.interval.high))]"
      }
      func answer(_ name: String, _ answer: Likelihood) -> String {
        "  log-probability of \(name): before \(nats(answer.before)), after \(nats(answer.after)), "
          + "change \(nats(answer.change)) nats"
      }
      var lines = [
        "\(pairs) held-out pairs of \(prompts) prompts against \(reference)"
          + (undecided > 0 ? ", \(undecided) without a preference left out" : "")
          + (leftOut > 0 ? ", \(leftOut) of no use left out" : "")
          + ", intervals of \(readablePercent(confidence)):",
        "  implicit reward ranks chosen higher: \(share(accuracy)) of \(pairs)",
        "  margin of the implicit reward: \(nats(margin)) nats (times β: DPO's margin)",
        answer("chosen", chosen), answer("rejected", rejected),
        "  chosen is the more probable answer: before \(share(likelierBefore)), after "
          + share(likelierAfter),
      ]
      if cut.prompts + cut.completions > 0 {
        lines.append(
          "  of \(cut.answers) texts \(cut.prompts) lost the start of their prompt and "
            + "\(cut.completions) the end of their answer")
      }
      return lines
    }
  }
}
