// SPDX-License-Identifier: Apache-2.0

public import AttuneTraining
import Foundation

/// How near an answer's length in words is to what is wanted: `length:MIN[-MAX]`.
///
/// With w = max(words, 1) the score is 0 from MIN to MAX, ln(w/MIN) below and −ln(w/MAX) above:
/// half or twice the wanted length costs 0.69, a tenth or ten times 2.3. Words stand between white
/// space.
public struct LengthReward: RewardSource {
  /// `length:20-40`.
  public let name: String
  private let range: ClosedRange<Int>

  /// Makes a source of a length.
  ///
  /// - Parameter argument: `20` or `20-40`.
  /// - Throws: `TrainingError.badSetting` for anything else.
  public init(_ argument: String) throws {
    let bounds = argument.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
    guard (1...2).contains(bounds.count), let low = bounds[0], let high = bounds.last ?? low,
      low >= 1, high >= low
    else {
      throw TrainingError(
        .badSetting,
        "reward source length:\(argument): write length:MIN or length:MIN-MAX, whole numbers of words "
          + "from 1 on")
    }
    name = "length:\(argument)"
    range = low...high
  }

  /// The score of every answer.
  public func scores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) -> [Double] {
    completions.map {
      let words = max(1, TextStatistics.words($0.text).count)
      let nearest = min(max(words, range.lowerBound), range.upperBound)
      return -abs(log(Double(words) / Double(nearest)))
    }
  }
}
