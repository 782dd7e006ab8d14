// SPDX-License-Identifier: Apache-2.0

/// The knobs of passes over a file of rows.
public struct RowsSettings: Codable, Sendable, Equatable {
  /// Passes over the data.
  public var epochs = 1
  /// Optimiser steps at most; 0 is no limit.
  public var maxSteps = 0
  /// Rows that an optimiser step sees.
  public var batchSize = 16
  /// Longest prompt and answer in tokens; 0 is the model's own limit.
  public var maxLength = 512
  /// What becomes of longer ones: `cut` or `drop`.
  public var tooLong = TooLong.cut

  /// The defaults.
  public init() {}

  /// Every knob.
  ///
  /// - Parameter batch: What an optimiser step sees.
  static func knobs(batch: String) -> [Knob] {
    [
      Knob("epochs", "Passes over the data.", .whole(1...Knob.mostSteps)),
      Knob("max_steps", "Optimiser steps at most; 0 is no limit.", .whole(atLeast: 0)),
      Knob("batch_size", "\(batch) that an optimiser step sees.", .whole(atLeast: 1)),
      Knob(
        "max_length", "Longest prompt and answer in tokens; 0 is the model's own limit.",
        .whole(2...Knob.most, or: 0)),
      Knob(
        "too_long",
        "What becomes of longer ones: cut (the prompt loses its start down to a quarter of max_length, "
          + "then the answer its end) or drop.", .choice(TooLong.self)),
    ]
  }
}

/// Settings of a trainer that passes over a file of rows.
public protocol ReadsRows: TrainsWeights {
  /// The passes.
  var rows: RowsSettings { get set }
}

extension ReadsRows {
  /// A knob of the passes.
  public subscript<Value>(dynamicMember knob: WritableKeyPath<RowsSettings, Value>) -> Value {
    get { rows[keyPath: knob] }
    set { rows[keyPath: knob] = newValue }
  }
}
