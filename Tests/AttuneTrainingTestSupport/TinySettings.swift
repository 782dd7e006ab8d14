// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTraining

/// Settings with which a tiny model learns in seconds.
extension SFTSettings {
  public static func tiny(epochs: Int = 10) -> SFTSettings {
    var settings = SFTSettings()
    settings.epochs = epochs
    settings.batchSize = 6
    settings.learningRate = 3e-3
    settings.warmupSteps = 2
    settings.maxLength = 0
    return settings
  }
}

extension RewardModelSettings {
  public static func tiny() -> RewardModelSettings {
    var settings = RewardModelSettings()
    settings.train = .full
    settings.layers = 0
    settings.epochs = 3
    settings.batchSize = 8
    settings.learningRate = 3e-3
    settings.warmupSteps = 2
    settings.maxLength = 0
    settings.evaluationShare = 0.25
    return settings
  }
}

extension DPOSettings {
  public static func tiny(_ loss: PreferenceLoss = .dpo) -> DPOSettings {
    var settings = DPOSettings()
    settings.loss = loss
    settings.train = .full
    settings.epochs = 3
    settings.batchSize = 8
    settings.learningRate = 1e-3
    settings.warmupSteps = 2
    settings.maxLength = 0
    settings.evaluationShare = 0.25
    return settings
  }
}

extension KTOSettings {
  public static func tiny(_ loss: UnpairedLoss) -> KTOSettings {
    var settings = KTOSettings()
    settings.loss = loss
    settings.train = .full
    settings.epochs = 3
    settings.batchSize = 8
    settings.learningRate = 1e-3
    settings.warmupSteps = 2
    settings.maxLength = 0
    settings.evaluationShare = 0.25
    return settings
  }
}
