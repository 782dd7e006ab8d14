// SPDX-License-Identifier: Apache-2.0

public import AttuneTraining

/// The knobs of aligning while people label: of `attune collect --align`.
public struct AlignSettings: Settings {
  /// Comparisons with a winner after which a policy is trained.
  public var every = 32
  /// Share of the prompts on which a new policy is asked about against the one before it; the others
  /// are answered by the new one alone.
  public var versus = 0.5
  /// The contrastive round, from the start and on all labels so far; the start is the reference.
  public var dpo = DPOSettings()

  /// The defaults: few labels are passed over several times, by adapters on the top layers.
  public init() {
    dpo.layers = 10
    dpo.epochs = 4
    dpo.batchSize = 8
  }

  /// Every knob.
  public static let knobs: [Knob] = [
    Knob(
      "every", "Comparisons with a winner after which a policy is trained.", .whole(atLeast: 1)),
    Knob(
      "versus",
      "Share of the prompts on which a new policy is asked about against the one before it; the "
        + "others are answered by the new one alone.", .number(.above(0, atMost: 1))),
    Knob(
      "dpo",
      "The contrastive round, from the start and on all labels so far; the start is the reference.",
      .knobs(of: DPOSettings.self)),
  ]

  /// Knobs without effect, those of the round among them.
  public var unreadKnobs: [(knob: String, why: String)] {
    dpo.unreadKnobs(in: "dpo")
      + [("dpo.xpo_alpha", "nobody is asked about answers that were sampled to explore")]
  }

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    try dpo.validate(in: "dpo")
  }
}
