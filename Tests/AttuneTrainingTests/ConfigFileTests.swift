// SPDX-License-Identifier: Apache-2.0

import AttuneTestSupport
import AttuneTraining
import Foundation
import Testing

struct ConfigFileTests {
  struct Knobs: Settings {
    enum Mode: String, Codable, CaseIterable { case plain, clipped }
    static let knobs = [
      Knob("learning_rate", "Highest learning rate.", .number(.above(0))),
      Knob("epochs", "Passes over the data.", .whole(atLeast: 1)),
      Knob("mode", "How.", .choice(Mode.self)),
      Knob("clip", "Where.", .number(.from(0, below: 1))),
      Knob("stops", "Texts that end an answer.", .texts),
      Knob("seed", "What choices follow from.", .seed),
    ]
    var learningRate = 1e-4
    var epochs = 2
    var mode = Mode.plain
    var clip = 0.2
    var stops: [String] = []
    var seed: UInt64 = 0
    init() {}
    var unreadKnobs: [(knob: String, why: String)] {
      mode == .clipped ? [] : [("clip", "mode is plain")]
    }
    func validate() throws {
      try checkRanges()
      guard mode == .plain || epochs < 9 else {
        throw TrainingError(.badSetting, "epochs must be below 9 where mode is clipped")
      }
    }
  }

  @Test func `a recipe lies over the defaults and flags over the recipe`() throws {
    let recipe = try TemporaryFolder()
    let url = recipe.file("r.json", #"{"learning_rate": 0.5, "epochs": 3}"#)
    let knobs = try ConfigFile.settings(
      Knobs(), recipe: url, flags: [("epochs", "4"), ("mode", "\"clipped\"")])
    #expect(knobs.learningRate == 0.5 && knobs.epochs == 4 && knobs.mode == .clipped)
    #expect(try ConfigFile.value(of: knobs).line.contains("\"learning_rate\":0.5"))
  }

  @Test(arguments: [
    (#"{"learning_rte": 1}"#, "r.json: there is no knob learning_rte; did you mean learning_rate?"),
    (#"{"zzzzzzzzzzzz": 1}"#, "there are clip, epochs, learning_rate, mode, seed, stops"),
    (
      #"{"epochs": "two"}"#,
      #"r.json: epochs must be a whole number, at least 1 (it is "two")"#
    ),
    (#"{"epochs": 1.5}"#, "r.json: epochs must be a whole number, at least 1 (it is 1.5)"),
    (#"{"epochs": 0}"#, "r.json: epochs must be at least 1 (it is 0)"),
    (#"{"epochs": 9000000000}"#, "r.json: epochs must be at most 1000000000 (it is 9000000000)"),
    (#"{"epochs": 9, "mode": "clipped"}"#, "r.json: epochs must be below 9 where mode is clipped"),
    (#"{"learning_rate": -1}"#, "r.json: learning_rate must be above 0 (it is -1)"),
    (#"{"learning_rate": 1e999}"#, "r.json: learning_rate: 1e999 is beyond every number"),
    (#"{"learning_rate": NaN}"#, "r.json: line 1, column 19: NaN and Infinity are not JSON"),
    (#"{"epochs": 1, "epochs": 2}"#, "r.json: epochs stands twice"),
    (#"{"seed": -1}"#, "r.json: seed must be a whole number from 0 to 18446744073709551615"),
    (#"{"stops": "x"}"#, #"r.json: stops must be a list of texts, none of them empty (it is "x")"#),
    (#"{"stops": [""]}"#, #"r.json: stops must be a list of texts, none of them empty"#),
    (#"{"clip": 0.1}"#, "r.json: clip is set but not read: mode is plain"),
    (
      #"{"mode": "clippd"}"#,
      #"r.json: mode must be one of plain, clipped; did you mean clipped? (it is "clippd")"#
    ),
    (#"{"epochs": 1"#, "r.json: line 1, column 13: the text ends inside an object"),
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

  @Test func `what the command line gets wrong is said as it was typed`() {
    func complaint(
      _ flags: [(String, String)], _ options: [(String, String, String)] = []
    ) -> (TrainingError.Code, String)? {
      let error = #expect(throws: TrainingError.self) {
        _ = try ConfigFile.settings(
          Knobs(), flags: flags.map { (knob: $0.0, json: $0.1) },
          options: options.map { (option: $0.0, knob: $0.1, json: $0.2) })
      }
      return error.map { ($0.code, $0.message) }
    }
    #expect(
      complaint([("epoch", "1")]) ?? (.file, "") == (
        .badUsage, "--set epoch: there is no knob epoch; did you mean epochs?"
      ))
    #expect(
      complaint([], [("--passes", "epochs", "0")]) ?? (.file, "") == (
        .badUsage, "--passes: epochs must be at least 1 (it is 0)"
      ))
    #expect(
      complaint([("epochs", "2")], [("--epochs", "epochs", "3")]) ?? (.file, "") == (
        .badUsage, "epochs is given twice: by --set epochs and by --epochs"
      ))
    #expect(
      complaint([("clip", "0.1")]) ?? (.file, "") == (
        .badSetting, "--set clip: clip is set but not read: mode is plain"
      ))
  }

  @Test func `a seed keeps all its digits`() throws {
    let knobs = try ConfigFile.settings(Knobs(), flags: [("seed", "18446744073709551615")])
    #expect(knobs.seed == .max)
    #expect(try ConfigFile.value(of: knobs).line.contains("\"seed\":18446744073709551615"))
  }
}
