// SPDX-License-Identifier: Apache-2.0

import AttuneTestSupport
import AttuneTraining
import Foundation
import Testing

/// Learning rates follow what is trained.
struct TrainedRateTests {
  static func rate<S: TrainsWeights>(_ type: S.Type, _ flags: [(String, String)]) throws -> Double {
    try ConfigFile.settings(S(), flags: flags.map { (knob: $0.0, json: $0.1) }).learningRate
  }

  @Test func `every trainer's default follows train`() throws {
    let layers = ("layers", "10")
    func check<S: TrainsWeights>(
      _ type: S.Type, full: Double, last: Double, lora: Double, _ flags: [(String, String)] = []
    ) throws {
      #expect(try Self.rate(S.self, [("train", "\"full\"")] + flags) == full, "\(type)")
      #expect(
        try Self.rate(S.self, [("train", "\"last_layers\""), layers] + flags) == last, "\(type)")
      #expect(try Self.rate(S.self, [("train", "\"lora\"")] + flags) == lora, "\(type)")
    }
    try check(SFTSettings.self, full: 2e-5, last: 1e-4, lora: 2e-4)
    try check(RewardModelSettings.self, full: 2e-5, last: 1e-4, lora: 2e-4)
    try check(DPOSettings.self, full: 2e-5, last: 1e-4, lora: 2e-4)
    try check(KTOSettings.self, full: 2e-5, last: 1e-4, lora: 2e-4)
    try check(PPOSettings.self, full: 3e-5, last: 1.5e-4, lora: 3e-4)
    try check(ReinforceSettings.self, full: 1e-4, last: 5e-4, lora: 1e-3)
    try check(RLOOSettings.self, full: 1e-4, last: 5e-4, lora: 1e-3)
    try check(GRPOSettings.self, full: 1e-4, last: 5e-4, lora: 1e-3)
    try check(RAFTSettings.self, full: 3e-5, last: 1.5e-4, lora: 3e-4)
    try check(DPGSettings.self, full: 3e-5, last: 1.5e-4, lora: 3e-4)
    try check(BRAInSettings.self, full: 3e-5, last: 1.5e-4, lora: 3e-4)
    try check(
      DistillSettings.self, full: 1e-4, last: 5e-4, lora: 1e-3, [("teacher", "\"another\"")])
  }

  @Test func `a rate that is given is kept, in whatever order and place`() throws {
    #expect(
      try Self.rate(SFTSettings.self, [("learning_rate", "2e-5"), ("train", "\"lora\"")]) == 2e-5)
    let folder = try TemporaryFolder()
    let recipe = folder.file("r.json", #"{"train": "lora", "learning_rate": 0.5}"#)
    #expect(try ConfigFile.settings(SFTSettings(), recipe: recipe).learningRate == 0.5)
    #expect(
      try ConfigFile.settings(
        SFTSettings(), recipe: folder.file("s.json", #"{"train": "lora"}"#)
      ).learningRate == 2e-4)
  }

  @Test func `nothing changes where train does not`() throws {
    #expect(try ConfigFile.settings(SFTSettings()) == SFTSettings())
    #expect(try ConfigFile.settings(PPOSettings()) == PPOSettings())
  }

  @Test func `the first line says the rate and why`() {
    var settings = SFTSettings()
    #expect(
      settings.rateRemark
        == "learning rate 2e-05 (default for all weights; the last layers: 0.0001, LoRA: 0.0002)")
    settings.train = .lora
    settings.learningRate = 5e-4
    #expect(settings.rateRemark == "learning rate 0.0005 (the trainer's default for LoRA: 0.0002)")
  }
}
