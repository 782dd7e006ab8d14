// SPDX-License-Identifier: Apache-2.0

import AttuneData
public import AttuneTraining
import Foundation

/// 1 where a pattern is found in the answer, else 0: `regex:PATTERN`.
public final class PatternReward: RewardSource {
  /// `regex:^\w+$`.
  public let name: String
  private let expression: RegularExpression
  private var hasWarned = false

  /// Makes a source of a pattern.
  ///
  /// - Parameter pattern: In PCRE2's language; `(?i)` in front ignores case.
  /// - Throws: `TrainingError.badSetting` that says what is wrong with it and where.
  public init(_ pattern: String) throws {
    name = "regex:\(pattern)"
    do {
      expression = try RegularExpression(pattern)
    } catch {
      throw TrainingError(.badSetting, "reward source regex: \(error)")
    }
  }

  /// 1 or 0 of every answer; 0 too, with a warning once, where the match goes beyond PCRE2's limits.
  public func scores(
    prompts: [DataPrompt], completions: [Completion], shared: SharedPass?
  ) -> [Double] {
    completions.map { completion in
      let isFound = expression.isFound(in: completion.text)
      if isFound == nil, !hasWarned {
        hasWarned = true
        standardError(
          "warning: \(name): needs more steps than are allowed on “\(completion.excerpt)”; such "
            + "answers count as not matching")
      }
      return isFound == true ? 1 : 0
    }
  }
}

/// Puts a line on standard error.
func standardError(_ line: String) {
  try? FileHandle.standardError.write(contentsOf: Data((line + "\n").utf8))
}
