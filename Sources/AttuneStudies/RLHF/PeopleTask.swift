// SPDX-License-Identifier: Apache-2.0

public import AttuneTraining
public import Foundation

/// The knobs of asking people: of `rlhf --labeller human`.
public struct PeopleSettings: Settings {
  /// Comparisons with a winner that the first round waits for, over answers to the prompts that are
  /// trained on; 0 asks nobody.
  public var labels = 0
  /// Those that each later round waits for; 0: as many as the first.
  public var laterLabels = 0
  /// Those over answers to held-out prompts, which the reward model is evaluated on.
  public var heldOutLabels = 16
  /// People that each question goes to.
  public var votes = 1

  /// The defaults: nobody is asked.
  public init() {}
}

/// What a run has to ask people: which of two answers is better, until there are enough labels.
///
/// Whoever can ask people does it (`RLHF.Options.people`): this module knows no page.
public struct PeopleTask: Sendable {
  /// Answers that people are asked about.
  public struct Part: Sendable {
    /// Rows of `attune sample`.
    public var samples: URL
    /// Where what people prefer is written, as preference rows.
    public var preferences: URL
    /// Comparisons with a winner that are needed.
    public var labels: Int
  }

  /// What is asked, all of it mixed.
  public var parts: [Part]
  /// People that each question goes to.
  public var votes: Int
  /// The store that everything said is kept in, also where the run is stopped in the middle.
  public var store: URL
  /// The seed of the order of questions and of the sides on which answers are shown.
  public var seed: UInt64
}
