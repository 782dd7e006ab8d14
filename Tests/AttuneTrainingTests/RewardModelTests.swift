// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneNative
import AttuneObjectives
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

struct RewardModelTests {
  @Test func `a reward model learns which answer is better`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("pairs.jsonl", TestRows.pairs(80))
    let out = folder.url.appending(path: "rm")
    let report = try RewardModel.train(
      tinyModel(), data: data, settings: .tiny(), output: out, options: .quiet)
    #expect(report.evalPairs == 20 && (report.evalAccuracy ?? 0) > 0.9)
    #expect(report.learningCurve.count == 4 && report.learningCurve.last?.pairs == 60)
    let interval = try #require(report.evalAccuracyInterval)
    #expect(interval[0] <= report.evalAccuracy ?? 0 && interval[1] >= report.evalAccuracy ?? 2)
    #expect((report.trainAccuracy ?? 0) > 0.9 && report.rewardDeviation > 0)
    let opened = try LoadedModel.open(out.path, on: NativeEngine(), rewardModels: true)
    #expect(opened.model.hasScalarHead && opened.reward?.mean == report.rewardMean)
    let lines = try String(contentsOf: out.appending(path: "evaluation.jsonl"), encoding: .utf8)
    #expect(lines.split(separator: "\n").count == 20)
  }

  @Test(arguments: [
    (RewardLoss.kWise, false), (.plackettLuce, false), (.regression, false),
    (.raoKupper, true), (.davidson, true),
  ])
  func `rankings are learned by every loss that reads them`(loss: RewardLoss, ties: Bool) throws {
    let folder = try TemporaryFolder()
    let rows = (0..<40).map { i in
      let scores = ties && i % 2 == 0 ? "[3, 3, 1]" : "[3, 2, 1]"
      return #"{"prompt": "\#(i): ", "completions": ["eee", "eab", "abc"], "scores": \#(scores)}"#
    }
    let data = try folder.rows("rankings.jsonl", rows)
    var settings = RewardModelSettings.tiny()
    settings.loss = loss
    settings.epochs = 8
    let report = try RewardModel.train(
      tinyModel(), data: data, settings: settings, output: folder.url.appending(path: "rm"),
      options: .quiet)
    #expect((report.evalAccuracy ?? 0) > 0.9, "\(report.evalAccuracy ?? -1)")
  }

  @Test func `frozen layers computed once change nothing`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("pairs.jsonl", TestRows.pairs(40))
    func run(_ megabytes: Int) throws -> [[String: Double]] {
      var settings = RewardModelSettings.tiny()
      settings.train = .lora
      settings.rank = 4
      settings.layers = 1
      settings.trunkMegabytes = megabytes
      let out = folder.url.appending(path: "rm-\(megabytes)")
      _ = try RewardModel.train(
        tinyModel(), data: data, settings: settings, output: out, options: .quiet)
      return try metrics(out)
    }
    try checkAgree(run(0), run(100), within: 1e-5)
  }

  @Test(arguments: [RewardLoss.bradleyTerry, .raoKupper])
  func `a stopped run goes on byte for byte`(loss: RewardLoss) throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("pairs.jsonl", TestRows.pairs(40))
    var settings = RewardModelSettings.tiny()
    settings.loss = loss
    let start = try tinyModel()
    let (one, two) = try folder.checkResume(stops: [5]) {
      try RewardModel.train(start, data: data, settings: settings, output: $0, options: $1)
    }
    #expect(one.learningCurve == two.learningCurve && one.rewardMean == two.rewardMean)
  }

  @Test func `an adapter opened beside its base shares the base's layers`() throws {
    let folder = try TemporaryFolder()
    let base = folder.url.appending(path: "base")
    let start = try tinyModel()
    try start.write(start.model, to: base)
    let opened = try LoadedModel.open(base.path, on: NativeEngine())
    let data = try folder.rows("pairs.jsonl", TestRows.pairs(20))
    var settings = RewardModelSettings.tiny()
    settings.train = .lora
    settings.rank = 4
    settings.layers = 1
    let out = folder.url.appending(path: "rm")
    _ = try RewardModel.train(
      opened, data: data, settings: settings, output: out, options: .quiet)
    let beside = try LoadedModel.open(out.path, beside: opened, rewardModels: true)
    #expect(beside.origin == opened.fingerprint && beside.model.sharedLayers == 1)
    let alone = try LoadedModel.open(out.path, on: NativeEngine(), rewardModels: true)
    let segment = [Segment([1, 2, 3], scalarsAfter: [2])]
    let (a, b) = (try beside.model.score(segment), try alone.model.score(segment))
    #expect(abs(a.scalars[0][0] - b.scalars[0][0]) < 1e-5)
    // On its own it can be trained further.
    settings.layers = 0
    let further = folder.url.appending(path: "further")
    _ = try Pull.$otherCache.withValue(folder.url.appending(path: "cache")) {
      try RewardModel.train(
        alone, data: data, settings: settings, output: further, options: .quiet)
    }
    let again = try LoadedModel.open(further.path, beside: alone, rewardModels: true)
    #expect(again.origin == alone.fingerprint)
    let trunk = try #require(try opened.model.trunk(segment, layers: 1))
    #expect(beside.model.accepts(trunk))
  }

  @Test func `rows that the loss can't read are named`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows(
      "pairs.jsonl", [#"{"prompt": "a", "chosen": "b", "rejected": "c", "probability": 0.7}"#])
    var settings = RewardModelSettings.tiny()
    settings.loss = .kWise
    let error = #expect(throws: TrainingError.self) {
      _ = try RewardModel.train(
        tinyModel(), data: data, settings: settings, output: folder.url.appending(path: "rm"),
        options: .quiet)
    }
    #expect(error?.message.contains("pairs.jsonl, line 1: the row has a soft label") == true)
    let margins = try folder.rows(
      "margins.jsonl", [#"{"prompt": "a", "chosen": "b", "rejected": "c", "margin": 0.7}"#])
    settings.loss = .raoKupper
    let refused = #expect(throws: TrainingError.self) {
      _ = try RewardModel.train(
        tinyModel(), data: margins, settings: settings, output: folder.url.appending(path: "rm"),
        options: .quiet)
    }
    #expect(
      refused?.message.contains(
        "margins.jsonl, line 1: the row has a margin, which rao_kupper does not read: leave it out, "
          + "or use bradley_terry") == true)
  }
}
