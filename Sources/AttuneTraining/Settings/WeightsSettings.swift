// SPDX-License-Identifier: Apache-2.0

public import AttuneEngine

/// The knobs that say which numbers of a model are trained.
public struct WeightsSettings: Codable, Sendable, Equatable {
  /// Which numbers are trained.
  public var train = TrainedPart.lora
  /// Layers counted from the top that are trained, or all if there are fewer; with adapters 0 is all.
  public var layers = 10
  /// Rank of the adapters.
  public var rank = 16
  /// Scale of the adapters, divided by the rank.
  public var alpha = 32.0
  /// The matrices that carry adapters.
  public var projections = Projection.allCases
  /// Whether adapters are merged into the weights when the model is written.
  public var merge = false

  /// The defaults.
  public init() {}

  /// Every knob.
  ///
  /// - Parameter written: What is written in the end.
  static func knobs(_ written: String = "policy") -> [Knob] {
    [
      Knob("train", "Which numbers are trained.", .choice(TrainedPart.self)),
      Knob(
        "layers",
        "Layers counted from the top that are trained, or all if there are fewer; with adapters 0 is "
          + "all.", .whole(atLeast: 0)),
      Knob("rank", "Rank of the adapters.", .whole(1...1_000_000)),
      Knob("alpha", "Scale of the adapters, divided by the rank.", .number(.above(0))),
      Knob("projections", "The matrices that carry adapters.", .choices(Projection.self)),
      Knob(
        "merge", "Whether adapters are merged into the weights when the \(written) is written.",
        .flag),
    ]
  }

  /// Those without effect.
  var unreadKnobs: [(knob: String, why: String)] {
    let adapterKnobs = ["rank", "alpha", "projections", "merge"]
    switch train {
    case .full: return (["layers"] + adapterKnobs).map { ($0, "train is full") }
    case .lastLayers: return adapterKnobs.map { ($0, "train is last_layers") }
    case .lora: return []
    }
  }
}
