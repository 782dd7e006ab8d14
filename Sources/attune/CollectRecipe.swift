// SPDX-License-Identifier: Apache-2.0

#if Server
  import AttuneServer
  import AttuneRewards
  import AttuneStudies
  import AttuneTraining

  extension CollectSettings: Settings {
    /// Every knob.
    public static let knobs: [Knob] = [
      Knob("shape", "What people are asked.", .choice(Shape.self)),
      Knob("votes", "People that each question goes to.", .whole(1...1000)),
      Knob(
        "pairs_per_prompt",
        "Pairs of each prompt; 0 is all. With answers of several models those of different ones "
          + "first.", .whole(atLeast: 0)),
      Knob("ranked_together", "Most answers that are ranked together.", .whole(2...9)),
      Knob(
        "strengths", "Steps of strength that may be told by a second key; 0 does not ask.",
        .whole(2...9, or: 0)),
      Knob("reasons", "Whether a reason may be given.", .flag),
      Knob(
        "gold_share",
        "Share of gold questions among those that somebody is asked, where there are gold questions.",
        .number(.from(0, below: 1))),
      Knob(
        "lease_seconds",
        "Seconds after which a question that was not answered goes to somebody else.",
        .number(.from(1, to: 86_400))),
      Knob(
        "requests_per_second", "Requests a second that one annotator may make for long.",
        .number(.above(0))),
      Knob(
        "request_burst", "Requests that one annotator may make at once, after a pause.",
        .whole(atLeast: 1)),
      Knob("reason_length", "Longest reason, in characters.", .whole(1...100_000)),
      Knob("connections", "Connections at once.", .whole(1...65_536)),
      Knob(
        "seed", "The seed of the order of questions and of the sides on which answers are shown.",
        .seed),
    ]
  }

  /// The recipe of `attune collect --align`: the page's knobs, and under `align` those of the policies that are
  /// trained while people label.
  struct CollectRecipe: Settings {
    /// The page's knobs.
    @Flattened var collect = CollectSettings()
    /// Those of the policies.
    var align = AlignSettings()

    init() {}

    static let knobs =
      CollectSettings.knobs + [
        Knob(
          "align", "Those of the policies that are trained while people label.",
          .knobs(of: AlignSettings.self))
      ]

    var unreadKnobs: [(knob: String, why: String)] {
      collect.unreadKnobs + align.unreadKnobs.map { ("align.\($0.knob)", $0.why) }
    }

    func validate() throws {
      try collect.validate()
      try align.validate(in: "align")
    }
  }
#endif
