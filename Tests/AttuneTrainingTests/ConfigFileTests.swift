// SPDX-License-Identifier: Apache-2.0

import AttuneTraining
import Foundation
import Testing

struct ConfigFileTests {
  struct Knobs: Settings {
    enum Mode: String, Codable { case plain, clipped }
    var learningRate = 1e-4
    var epochs = 2
    var mode = Mode.plain
    var clip = 0.2
    var seed: UInt64 = 0
    init() {}
    var unreadKnobs: [(knob: String, why: String)] {
      mode == .clipped ? [] : [("clip", "mode is plain")]
    }
    func validate() throws {
      guard epochs > 0 else { throw TrainingError(.badSetting, "epochs must be at least 1") }
    }
  }

  @Test func `a recipe lies over the defaults and flags over the recipe`() throws {
    let recipe = try TemporaryFolder()
    let url = recipe.file("r.json", #"{"learning_rate": 0.5, "epochs": 3}"#)
    let knobs = try ConfigFile.settings(
      Knobs(), recipe: url, flags: [("epochs", "4"), ("mode", "\"clipped\"")])
    #expect(knobs.learningRate == 0.5 && knobs.epochs == 4 && knobs.mode == .clipped)
    #expect(try ConfigFile.text(knobs).contains("\"learning_rate\" : 0.5"))
  }

  @Test(arguments: [
    (#"{"learning_rte": 1}"#, "r.json: there is no knob learning_rte; did you mean learning_rate?"),
    (#"{"zzzzzzzzzzzz": 1}"#, "there are clip, epochs, learning_rate, mode, seed"),
    (#"{"epochs": "two"}"#, "r.json: epochs: has the wrong type, a value of type whole number"),
    (#"{"epochs": 1.5}"#, "epochs"),
    (#"{"epochs": 0}"#, "epochs must be at least 1"),
    (#"{"clip": 0.1}"#, "r.json: clip is set but not read: mode is plain"),
    (#"{"mode": "clippd"}"#, "mode"),
    (#"{"epochs": 1"#, "no JSON"),
    (#"[1]"#, "a recipe is a JSON object"),
    (#"{"epochs": null}"#, "epochs"),
  ])
  func `a bad recipe says what is wrong`(text: String, message: String) throws {
    let folder = try TemporaryFolder()
    let url = folder.file("r.json", text)
    let error = #expect(throws: TrainingError.self) {
      _ = try ConfigFile.settings(Knobs(), recipe: url)
    }
    #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    #expect(error?.message.contains("\n") == false)
  }

  @Test func `a flag that does not exist names itself`() {
    let error = #expect(throws: TrainingError.self) {
      _ = try ConfigFile.settings(Knobs(), flags: [("epoch", "1")])
    }
    #expect(error?.message == "--epoch: there is no knob epoch; did you mean epochs?")
  }
}
