// SPDX-License-Identifier: Apache-2.0

import AttuneRewards
import AttuneStudies
import AttuneTraining
import Testing

struct FrontierSettingsTests {
  @Test func `the defaults are a frontier`() throws { try FrontierSettings().validate() }

  @Test(arguments: RLHF.Method.allCases)
  func `every variant of a method can be a point`(method: RLHF.Method) throws {
    let names = [method.rawValue] + method.variants.map { "\(method):\($0)" }
    for name in names {
      let read = try FrontierMethod(name)
      #expect(read.method == method && read.name == name && read.betas.isEmpty)
    }
    var settings = FrontierSettings()
    settings.methods = names
    settings.betas = [0.3]
    // The start is no teacher of itself unless it is told something.
    if method == .distill {
      #expect(throws: TrainingError.self) { try settings.validate() }
      settings = try ConfigFile.settings(
        settings, flags: [("distill.teacher_system", #""Be brief.""#)])
    }
    try settings.validate()
  }

  @Test func `β of its own stands behind a method`() throws {
    let method = try FrontierMethod("dpg:gdc++@0.25/1")
    #expect(method.name == "dpg:gdc++" && method.betas == [0.25, 1])
    for wrong in ["rloo@", "rloo@0.1@0.2", "rloo@-1", "rloo@nan", "", ":x"] {
      #expect(throws: TrainingError.self, "\(wrong)") { try FrontierMethod(wrong) }
    }
  }

  @Test func `a knob that one variant reads is read`() throws {
    func refused(_ methods: String) -> Bool {
      (try? ConfigFile.settings(
        FrontierSettings(),
        flags: [("methods", methods), ("dpg.divergence", "\"js\"")])) == nil
    }
    #expect(!refused(#"["dpg:gdc++","dpg:fdpg"]"#))
    #expect(refused(#"["dpg:gdc++"]"#) && refused(#"["rloo"]"#))
  }

  @Test func `hacking has a price of nothing by itself`() throws {
    let settings = HackingSettings()
    try settings.validate()
    #expect(!settings.policy.rewards.penaliseMissingEnd && settings.rules == ["min", "mean-1std"])
  }
}
