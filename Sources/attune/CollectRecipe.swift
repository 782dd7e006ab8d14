// SPDX-License-Identifier: Apache-2.0

#if Server
  import AttuneServer
  import AttuneTraining

  extension CollectSettings: Settings {}

  /// The recipe of `attune collect --align`: the page's knobs, and under `align` those of the policies that are
  /// trained while people label.
  struct CollectRecipe: Settings {
    /// The page's knobs.
    var collect = CollectSettings()
    /// Those of the policies.
    var align = AlignSettings()

    private enum CodingKeys: String, CodingKey { case align }

    init() {}

    init(from decoder: any Decoder) throws {
      collect = try CollectSettings(from: decoder)
      align = try decoder.container(keyedBy: CodingKeys.self)
        .decode(AlignSettings.self, forKey: .align)
    }

    func encode(to encoder: any Encoder) throws {
      try collect.encode(to: encoder)
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(align, forKey: .align)
    }

    var unreadKnobs: [(knob: String, why: String)] {
      collect.unreadKnobs + align.unreadKnobs.map { ("align.\($0.knob)", $0.why) }
    }

    func validate() throws {
      try collect.validate()
      try align.validate(in: "align")
    }
  }
#endif
