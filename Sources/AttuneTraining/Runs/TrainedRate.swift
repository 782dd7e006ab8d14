// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
import Foundation

/// Learning rates follow what is trained: adapters need a higher one than the weights themselves.
extension TrainedPart {
  /// What a learning rate is multiplied by where this is trained, that of all weights being 1.
  var rateFactor: Double {
    switch self {
    case .full: 1
    case .lastLayers: 5
    case .lora: 10
    }
  }

  /// As a person calls it.
  var title: String {
    switch self {
    case .full: "all weights"
    case .lastLayers: "the last layers"
    case .lora: "LoRA"
    }
  }

  /// A learning rate for this where `rate` is one for another part.
  func rate(from rate: Double, of other: TrainedPart) -> Double {
    guard self != other else { return rate }
    // To the digits that a person would write: 2e-05, not 2.0000000000000002e-05.
    return Double(String(format: "%.6g", rate * rateFactor / other.rateFactor)) ?? rate
  }
}

extension TrainsWeights {
  /// The learning rate and why it is this one, for the first line of a run.
  package var rateRemark: String {
    let plain = Self()
    let (train, learningRate) = (self.train, self.learningRate)
    let rates = TrainedPart.allCases.map { part in
      (part: part, rate: part.rate(from: plain.learningRate, of: plain.train))
    }
    let own = train.rate(from: plain.learningRate, of: plain.train)
    let others = rates.filter { $0.part != train }
      .map { "\($0.part.title): \($0.rate)" }.joined(separator: ", ")
    return own == learningRate
      ? "learning rate \(learningRate) (default for \(train.title); \(others))"
      : "learning rate \(learningRate) (the trainer's default for \(train.title): \(own))"
  }
}

extension JSONTree {
  /// Gives every trainer whose `train` is not its default's the rates that go with it, unless they
  /// were written.
  ///
  /// - Parameters:
  ///   - defaults: The settings before anything was laid over them.
  ///   - written: The paths of what a person gave.
  mutating func followTrainedPart(
    _ defaults: JSONTree, written: Set<String>, at path: String = ""
  ) {
    guard case .object(var members) = self, case .object(let plain) = defaults else { return }
    for key in members.keys {
      guard let before = plain[key] else { continue }
      members[key]?.followTrainedPart(
        before, written: written, at: path.isEmpty ? key : path + "." + key)
    }
    if let part = members["train"]?.trainedPart, let before = plain["train"]?.trainedPart {
      for key in ["learning_rate", "value_learning_rate"] {
        guard !written.contains(path.isEmpty ? key : path + "." + key) else { continue }
        guard let rate = plain[key]?.number else { continue }
        members[key] = .double(part.rate(from: rate, of: before))
      }
    }
    self = .object(members)
  }

  private var trainedPart: TrainedPart? {
    if case .string(let name) = self { TrainedPart(rawValue: name) } else { nil }
  }
}
