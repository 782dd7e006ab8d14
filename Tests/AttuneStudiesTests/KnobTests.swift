// SPDX-License-Identifier: Apache-2.0

import AttuneRewards
import AttuneStudies
import AttuneTraining
import Foundation
import Testing

/// Every settings struct of the trainers and stages.
let allSettings: [any Settings] =
  RLHF.Method.allCases.map { MethodsSettings()[$0] } + [
    SFTSettings(), RewardModelSettings(), AlignSettings(), SampleSettings(), EvaluationSettings(),
    LabelSettings(), JudgeSettings(), ReviseSettings(), PromptSettings(), TaskSettings(),
    ReviewSettings(),
    PeopleSettings(), RLHFSettings(), RLHFSettings.quickstart, FrontierSettings(),
    HackingSettings(),
  ]

struct KnobTests {
  private func names(_ knobs: [Knob], _ path: String = "") -> [String] {
    knobs.flatMap { knob in
      if case .knobs(let inner) = knob.kind { return names(inner, path + knob.name + ".") }
      return [path + knob.name]
    }
  }

  @Test func `every knob of every settings struct is described, and nothing else`() throws {
    for settings in allSettings {
      let described = names(type(of: settings).knobs)
      let there = try ConfigFile.value(of: settings).leaves().map(\.path)
      #expect(described.sorted() == there.sorted(), "\(type(of: settings))")
      #expect(Set(described).count == described.count, "\(type(of: settings))")
    }
  }

  @Test func `every settings struct in the sources is among them`() throws {
    let sources = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "Sources")
    let known = Set(allSettings.map { "\(type(of: $0))" })
    var found: Set<String> = []
    let files = ["AttuneTraining", "AttuneRewards", "AttuneStudies"].flatMap {
      FileManager.default.enumerator(
        at: sources.appending(path: $0), includingPropertiesForKeys: nil)!.map { $0 }
    }
    for case let file as URL in files where file.pathExtension == "swift" {
      let text = try String(contentsOf: file, encoding: .utf8)
      // Groups of knobs are no settings by themselves.
      for match in text.matches(of: /struct (\w+Settings): (?!Codable)/) {
        found.insert(String(match.1))
      }
    }
    #expect(found == known)
  }

  @Test func `every meaning is a sentence, and every default is in its range`() throws {
    func check(_ knobs: [Knob]) {
      for knob in knobs {
        #expect(knob.meaning.count > 8 && knob.meaning.hasSuffix("."), "\(knob.name)")
        #expect(!knob.kind.words.isEmpty)
        if case .knobs(let inner) = knob.kind { check(inner) }
      }
    }
    for settings in allSettings {
      check(type(of: settings).knobs)
      try settings.checkRanges()
    }
  }

  @Test(arguments: [
    (DPOSettings.self as any Settings.Type, "learning_rate", ["0", "-1", "true", "null", "[1]"]),
    (DPOSettings.self, "beta", ["0", "-0.1", "\"x\""]),
    (DPOSettings.self, "alpha", ["-5", "0"]),
    (DPOSettings.self, "max_length", ["1", "-1", "1.5"]),
    (DPOSettings.self, "checkpoint_seconds", ["-1", "1e300"]),
    (DPOSettings.self, "batch_size", ["0", "9223372036854775807", "9223372036854775808"]),
    (DPOSettings.self, "train", ["\"lorra\"", "1"]),
    (DPOSettings.self, "projections", ["\"q\"", "[\"nothing\"]", "[1]"]),
    (SampleSettings.self, "stop", ["[\"\"]", "\"x\""]),
    (SampleSettings.self, "top_p", ["0", "1.1"]),
    (JudgeSettings.self, "retry_seconds", ["-1", "61"]),
    (RLHFSettings.self, "ppo", ["1", "null"]),
    (RLHFSettings.self, "ppo.clip", ["0", "1"]),
    (RLHFSettings.self, "rounds", ["0", "101"]),
  ])
  func `a value out of range is refused with knob and range`(
    type: any Settings.Type, knob: String, values: [String]
  ) {
    func refuse<S: Settings>(_: S.Type, _ value: String) {
      let error = #expect(throws: TrainingError.self, "\(knob)=\(value)") {
        let _: S = try ConfigFile.settings(flags: [(knob, value)])
      }
      #expect(
        error?.message.hasPrefix("--set \(knob): \(knob) must be ") == true,
        "\(error?.message ?? "")")
    }
    for value in values { refuse(type, value) }
  }

  /// Whole numbers that a trainer multiplies, each at the end of its range.
  @Test func `no product of knobs overflows`() throws {
    func product(_ type: any Settings.Type, _ names: [String]) throws -> Int {
      try names.reduce(1) { product, name in
        guard case .whole(let range, _)? = type.knobs.knob(at: name)?.kind else {
          throw TrainingError(.badSetting, "\(type) has no whole number \(name)")
        }
        let (result, overflows) = product.multipliedReportingOverflow(by: range.upperBound)
        #expect(!overflows, "\(type): \(names)")
        return overflows ? 1 : result
      }
    }
    for type in allSettings.map({ type(of: $0) }) where type is any PassesOverRollouts.Type {
      _ = try product(type, ["rollouts", "epochs", "minibatches"])
      _ = try product(type, ["rollouts", "prompts_per_rollout", "samples_per_prompt"])
    }
    _ = try product(
      GRPOSettings.self, ["rollouts", "prompts_per_rollout", "samples_per_prompt", "max_draws"])
    _ = try product(
      FrontierSettings.self, ["rollouts", "prompts_per_rollout", "samples_per_prompt"])
    _ = try product(IterateSettings.self, ["rounds", "prompts_per_round", "samples_per_prompt"])
    // Beside rows, of which memory holds no billions.
    for type: any Settings.Type in [SFTSettings.self, DPOSettings.self, RewardModelSettings.self] {
      #expect(try product(type, ["epochs"]) <= Int.max / 1_000_000_000)
    }
    for type: any Settings.Type in [SampleSettings.self, EvaluationSettings.self] {
      #expect(try product(type, ["n"]) <= Int.max / 1_000_000_000)
    }
  }

  @Test func `numbers that are not finite are named too`() {
    var settings = DPOSettings()
    settings.learningRate = .infinity
    let error = #expect(throws: TrainingError.self) { try settings.validate() }
    #expect(error?.message.hasPrefix("learning_rate must be a number, above 0") == true)
  }

  @Test func `a knob of a stage is found by its last name`() {
    let error = #expect(throws: TrainingError.self) {
      _ = try ConfigFile.settings(AlignSettings(), flags: [("learning_rate", "1")])
    }
    #expect(
      error?.message
        == "--set learning_rate: there is no knob learning_rate; did you mean dpo.learning_rate?")
    let slip = #expect(throws: TrainingError.self) {
      _ = try ConfigFile.settings(AlignSettings(), flags: [("dpo.beat", "1")])
    }
    #expect(slip?.message.contains("did you mean dpo.beta?") == true, "\(slip?.message ?? "")")
  }

  @Test func `trainers within others follow too, from the recipe's own rate`() throws {
    let iterate = try ConfigFile.settings(
      IterateSettings(), flags: [("dpo.train", "\"full\"")])
    #expect(iterate.dpo.learningRate == 2e-5)
    let quickstart = try ConfigFile.settings(
      RLHFSettings.quickstart, flags: [("ppo.train", "\"full\"")])
    // The recipe's rate for adapters is 1.1e-3.
    #expect(quickstart.ppo.learningRate == 1.1e-4 && quickstart.ppo.valueLearningRate == 3e-5)
    #expect(quickstart.reward.learningRate == RLHFSettings.quickstart.reward.learningRate)
    #expect(try ConfigFile.settings(RLHFSettings.quickstart) == RLHFSettings.quickstart)
  }
}
