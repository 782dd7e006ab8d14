// SPDX-License-Identifier: Apache-2.0

/// The reward sources of a command line, opened.
public struct RewardSources {
  /// The sources, each with its weight.
  public let weighted: [(source: any RewardSource, weight: Double)]
  /// What tells them from others: their names, weights and the digests of what they read.
  public let fingerprint: String

  /// Opens sources.
  ///
  /// - Parameters:
  ///   - specifications: The sources as the command line names them.
  ///   - policy: A model that is open: a reward model that was trained from it shares its weights.
  /// - Throws: An error that names the source at fault.
  public init(_ specifications: [RewardSpecification], beside policy: LoadedModel?) throws {
    var weighted: [(source: any RewardSource, weight: Double)] = []
    var marks: [String] = []
    for specification in specifications {
      switch specification.kind {
      case .model:
        let loaded = try LoadedModel.open(specification.argument, beside: policy)
        weighted.append((try ModelReward(loaded), specification.weight))
        marks.append("model \(loaded.fingerprint) \(specification.weight)")
      case .labeller:
        let labeller = try Labeller.named(specification.argument)
        weighted.append((LabellerReward(try labeller.scorer()), specification.weight))
        marks.append("labeller \(labeller.rawValue) \(specification.weight)")
      }
    }
    self.weighted = weighted
    fingerprint = try Fingerprint.of(value: marks)
  }
}
