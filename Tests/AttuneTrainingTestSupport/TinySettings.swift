// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTraining

/// Settings with which a tiny model learns in seconds.
extension ReadsRows {
  fileprivate func tiny(
    rate: Double, epochs: Int = 3, batch: Int = 8, _ change: (inout Self) -> Void = { _ in }
  ) -> Self {
    var settings = self
    settings.train = .full
    settings.layers = 0
    settings.epochs = epochs
    settings.batchSize = batch
    settings.learningRate = rate
    settings.warmupSteps = 2
    settings.maxLength = 0
    change(&settings)
    return settings
  }
}

extension SFTSettings {
  /// For `TestRows.completions`.
  public static func tiny(epochs: Int = 10) -> SFTSettings {
    SFTSettings().tiny(rate: 3e-3, epochs: epochs, batch: 6)
  }
}

extension RewardModelSettings {
  /// For `TestRows.pairs`.
  public static func tiny() -> RewardModelSettings {
    RewardModelSettings().tiny(rate: 3e-3) { $0.evaluationShare = 0.25 }
  }
}

extension DPOSettings {
  /// For `TestRows.pairs`.
  public static func tiny(_ loss: PreferenceLoss = .dpo) -> DPOSettings {
    DPOSettings().tiny(rate: 1e-3) {
      $0.loss = loss
      $0.evaluationShare = 0.25
    }
  }
}

extension KTOSettings {
  /// For `TestRows.pairs`.
  public static func tiny(_ loss: UnpairedLoss) -> KTOSettings {
    KTOSettings().tiny(rate: 1e-3) {
      $0.loss = loss
      $0.evaluationShare = 0.25
    }
  }
}
