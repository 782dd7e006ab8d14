// SPDX-License-Identifier: Apache-2.0

#if Server
  import AttuneServer
  import AttuneStudies
  import AttuneTraining

  extension ServeSettings: Settings {
    /// Every knob.
    public static let knobs: [Knob] = [
      Knob("sequences", "Answers that are decoded side by side.", .whole(1...4096)),
      Knob(
        "kept",
        "Answers that ended whose keys and values are kept, so that a conversation's next turn is read "
          + "from where it was.", .whole(0...4096)),
      Knob(
        "context",
        "Most tokens of a prompt and its answer; 0 takes what the model reads, halved until there is "
          + "memory.", .whole(atLeast: 0)),
      Knob(
        "queue", "Requests that may wait; the next one is told to come later (429).",
        .whole(1...65_536)),
      Knob("answers", "Most answers that one request may ask for.", .whole(1...65_536)),
      Knob("connections", "Connections at once.", .whole(1...65_536)),
    ]
  }

  /// The recipe of `attune serve --align`: the server's knobs, and under `align` those of the policies that are
  /// trained from what users say.
  struct ServeRecipe: Settings {
    /// The server's knobs.
    @Flattened var serve = ServeSettings()
    /// Those of the policies.
    var align = AlignSettings()

    init() {}

    static let knobs =
      ServeSettings.knobs + [
        Knob(
          "align", "Those of the policies that are trained from what users say.",
          .knobs(of: AlignSettings.self))
      ]

    var unreadKnobs: [(knob: String, why: String)] {
      align.unreadKnobs.map { ("align.\($0.knob)", $0.why) }
    }

    func validate() throws {
      try serve.validate()
      try align.validate(in: "align")
    }
  }
#endif
