// SPDX-License-Identifier: Apache-2.0

import AttuneRewards
import AttuneStudies
import AttuneTraining

// The commands that take knobs, each with the settings that it starts from.

extension QuickstartCommand: TakesKnobs {
  static var knobDefaults: any Settings { RLHFSettings.quickstart }
}
extension RLHFCommand: TakesKnobs {
  static var knobDefaults: any Settings { RLHFSettings() }
}
extension FrontierCommand: TakesKnobs {
  static var knobDefaults: any Settings { FrontierSettings() }
}
extension HackingCommand: TakesKnobs {
  static var knobDefaults: any Settings { HackingSettings() }
}
extension PromptsCommand: TakesKnobs {
  static var knobDefaults: any Settings { PromptSettings() }
}
extension ReviewsCommand: TakesKnobs {
  static var knobDefaults: any Settings { ReviewSettings() }
}
extension SampleCommand: TakesKnobs {
  static var knobDefaults: any Settings { SampleSettings() }
}
extension LabelCommand: TakesKnobs {
  static var knobDefaults: any Settings { LabelSettings() }
}
#if Server
  extension CollectCommand: TakesKnobs {
    static var knobDefaults: any Settings { CollectRecipe() }
  }
#endif
extension JudgeCommand: TakesKnobs {
  static var knobDefaults: any Settings { JudgeSettings() }
}
extension ReviseCommand: TakesKnobs {
  static var knobDefaults: any Settings { ReviseSettings() }
}
extension SFTCommand: TakesKnobs {
  static var knobDefaults: any Settings { SFTSettings() }
}
extension RewardCommand: TakesKnobs {
  static var knobDefaults: any Settings { RewardModelSettings() }
}
extension PPOCommand: TakesKnobs {
  static var knobDefaults: any Settings { PPOSettings() }
}
extension ReinforceCommand: TakesKnobs {
  static var knobDefaults: any Settings { ReinforceSettings() }
}
extension RLOOCommand: TakesKnobs {
  static var knobDefaults: any Settings { RLOOSettings() }
}
extension GRPOCommand: TakesKnobs {
  static var knobDefaults: any Settings { GRPOSettings() }
}
extension RAFTCommand: TakesKnobs {
  static var knobDefaults: any Settings { RAFTSettings() }
}
extension DPGCommand: TakesKnobs {
  static var knobDefaults: any Settings { DPGSettings() }
}
extension BRAInCommand: TakesKnobs {
  static var knobDefaults: any Settings { BRAInSettings() }
}
extension DPOCommand: TakesKnobs {
  static var knobDefaults: any Settings { DPOSettings() }
}
extension KTOCommand: TakesKnobs {
  static var knobDefaults: any Settings { KTOSettings() }
}
extension IterateCommand: TakesKnobs {
  static var knobDefaults: any Settings { IterateSettings() }
}
extension EvaluateCommand: TakesKnobs {
  static var knobDefaults: any Settings { EvaluationSettings() }
}
extension GenerateCommand: TakesKnobs {
  static var knobDefaults: any Settings { Generating.defaults }
}
extension ChatCommand: TakesKnobs {
  static var knobDefaults: any Settings { Generating.defaults }
}
