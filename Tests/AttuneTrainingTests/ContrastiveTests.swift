// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneNative
import AttuneObjectives
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Synchronization
import Testing

struct ContrastiveTests {
  @Test(arguments: PreferenceLoss.allCases)
  func `every loss on pairs teaches which answer is better`(loss: PreferenceLoss) throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("pairs.jsonl", TestRows.pairs(64))
    let report = try DPO.train(
      tableModel(), data: data, settings: .tiny(loss),
      output: folder.url.appending(path: "policy"), options: .quiet)
    #expect(report.evalRows == 16 && report.rows == 48)
    if loss == .discopop {
      // Its gate makes the slope at equal responses positive (τ = 0.05), so small steps end in the
      // trough below zero that its paper shows; there the loss is lower than at the start.
      #expect((report.evalLoss ?? 1) < 0.5 * log(2) + 0.5, "\(report)")
    } else {
      // The likelihood of chosen weighs more than the pair in cpo.
      #expect((report.evalAccuracy ?? 0) > (loss == .cpo ? 0.6 : 0.8), "\(report)")
    }
    let opened = try LoadedModel.open(folder.url.appending(path: "policy").path, on: NativeEngine())
    #expect(!opened.model.hasScalarHead)
  }

  @Test(arguments: UnpairedLoss.allCases)
  func `thumbs and pairs teach which answers are good`(loss: UnpairedLoss) throws {
    let folder = try TemporaryFolder()
    let pairs = try folder.rows("pairs.jsonl", TestRows.pairs(64))
    let words = [("bee", true), ("dog", false), ("see me", true), ("oak", false)]
    let rows = (0..<64).map { i in
      #"{"prompt": "Word \#(i): ", "completion": "\#(words[i % 4].0)", "label": \#(words[i % 4].1)}"#
    }
    for (name, data) in [("a", pairs), ("b", try folder.rows("thumbs.jsonl", rows))] {
      let report = try KTO.train(
        tableModel(), data: data, settings: .tiny(loss),
        output: folder.url.appending(path: name), options: .quiet)
      #expect((report.evalAccuracy ?? 0) > 0.7, "\(name): \(report)")
    }
  }

  @Test func `a reference read once, every step, from the file or cut in pieces is the same`()
    throws
  {
    let folder = try TemporaryFolder()
    let data = try folder.rows("pairs.jsonl", TestRows.pairs(40))
    let remarks = Mutex<[String]>([])
    func run(_ name: String, _ change: (inout DPOSettings) -> Void) throws -> [[String: Double]] {
      var options = RunOptions.quiet
      options.onEvent = { event in
        if case .remark(let text) = event { remarks.withLock { $0.append("\(name): \(text)") } }
      }
      var settings = DPOSettings.tiny()
      settings.train = .lora
      settings.rank = 4
      settings.layers = 1
      settings.epochs = 2
      settings.nllOver = .promptAndCompletion
      settings.sftWeight = 0.1
      change(&settings)
      let out = folder.url.appending(path: name)
      _ = try DPO.train(tableModel(), data: data, settings: settings, output: out, options: options)
      return try metrics(out)
    }
    let once = try run("once") { _ in }
    let files = try FileManager.default.contentsOfDirectory(atPath: folder.url.path)
    let kept = files.filter { $0.hasPrefix("pairs.jsonl.reference-") }
    #expect(kept.count == 1)
    let others = [
      try run("again") { _ in },
      try run("each-step") { $0.precomputeReference = false },
      try run("pieces") { $0.pieceTokens = 30 },
      try run("no-trunk") { $0.trunkMegabytes = 0 },
    ]
    #expect(once.count == 9)
    for other in others { try checkAgree(once, other) }
    let told = remarks.withLock { $0 }
    #expect(told.contains("once: log-probabilities of the reference, once for all 40 rows"))
    #expect(told.contains("again: log-probabilities of the reference: \(kept[0])"))
  }

  @Test func `answers that many pairs share are scored once with the same result`() throws {
    let folder = try TemporaryFolder()
    let answers = ["bee", "eel", "cat", "dog", "oak tree"]
    let rows = (0..<8).flatMap { prompt in
      (0..<4).flatMap { i in
        (i + 1..<5).map { j in
          #"{"prompt": "Word \#(prompt): ", "chosen": "\#(answers[i])", "rejected": "\#(answers[j])"}"#
        }
      }
    }
    let data = try folder.rows("pairs.jsonl", rows)
    func run(_ name: String, precompute: Bool) throws -> [[String: Double]] {
      let settings = DPOSettings.tiny().changing {
        $0.precomputeReference = precompute
        $0.epochs = 1
      }
      let out = folder.url.appending(path: name)
      _ = try DPO.train(tableModel(), data: data, settings: settings, output: out, options: .quiet)
      return try metrics(out)
    }
    let (shared, alone) = (try run("a", precompute: true), try run("b", precompute: false))
    #expect(shared.count == 9)
    try checkAgree(shared, alone)
  }

  @Test func `the file of another reference or of a broken disk is not read`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("pairs.jsonl", TestRows.pairs(16))
    func run(_ name: String, seed: UInt64) throws -> ContrastiveReport {
      try DPO.train(
        tinyModel(seed: seed), data: data, settings: .tiny(),
        output: folder.url.appending(path: name), options: .quiet)
    }
    let first = try run("a", seed: 1)
    for name in try FileManager.default.contentsOfDirectory(atPath: folder.url.path)
    where name.contains(".reference-") {
      try Data("{\"format_version\":1,".utf8).write(to: folder.url.appending(path: name))
    }
    let second = try run("b", seed: 1)
    #expect(first.evalLoss == second.evalLoss)
    _ = try run("c", seed: 2)
    let files = try FileManager.default.contentsOfDirectory(atPath: folder.url.path)
    #expect(files.count { $0.contains(".reference-") } == 2)
  }

  @Test(arguments: [(Precision.high, BasePrecision.asIs), (.float32, .q8)])
  func `a reference that is computed otherwise has a file of its own`(
    precision: Precision, base: BasePrecision
  ) throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("pairs.jsonl", TestRows.pairs(16))
    let start = try tinyModel()
    try start.write(start.model, to: folder.url.appending(path: "start"))
    for engine in [try NativeEngine(), try NativeEngine(precision: precision, basePrecision: base)]
    {
      let model = try LoadedModel.open(folder.url.appending(path: "start").path, on: engine)
      let out = folder.url.appending(
        path: "\(engine.record.precision)-\(engine.record.basePrecision)")
      _ = try DPO.train(model, data: data, settings: .tiny(), output: out, options: .quiet)
      // The policy is its reference still.
      let first = try #require(try metrics(out)[0]["loss"])
      #expect(abs(first - log(2)) < 1e-12, "\(first)")
    }
    let files = try FileManager.default.contentsOfDirectory(atPath: folder.url.path)
    #expect(files.count { $0.contains(".reference-") } == 2)
  }

  @Test(arguments: [PreferenceLoss.dpo, .aot])
  func `a stopped run on pairs goes on byte for byte`(loss: PreferenceLoss) throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("pairs.jsonl", TestRows.pairs(40))
    _ = try folder.checkResume(stops: [4]) {
      try DPO.train(
        tableModel(), data: data, settings: .tiny(loss), output: $0, options: $1)
    }
  }

  @Test(arguments: UnpairedLoss.allCases)
  func `a stopped run on thumbs goes on byte for byte`(loss: UnpairedLoss) throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("pairs.jsonl", TestRows.pairs(20))
    _ = try folder.checkResume(stops: [4]) {
      try KTO.train(tableModel(), data: data, settings: .tiny(loss), output: $0, options: $1)
    }
  }

  @Test func `wrong recipes are refused before any work`() throws {
    let folder = try TemporaryFolder()
    func refused(
      _ rows: [String], _ settings: DPOSettings, reference: LoadedModel? = nil, _ words: String
    ) throws {
      let data = try folder.rows("rows.jsonl", rows)
      let out = folder.url.appending(path: "refused")
      let error = #expect(throws: TrainingError.self) {
        _ = try DPO.train(
          tableModel(), reference: reference, data: data, settings: settings, output: out,
          options: .quiet)
      }
      #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
      #expect(!folder.exists("refused"))
    }
    let soft = [#"{"prompt": "a", "chosen": "b", "rejected": "c", "probability": 0.7}"#]
    try refused(
      soft, DPOSettings.tiny(.hinge).changing { $0.gamma = 2 }, "hinge does not read gamma")
    try refused(soft, DPOSettings.tiny(.nca), "line 1: the row has a soft label")
    try refused(soft, DPOSettings.tiny(.simpo), reference: tableModel(), "needs no reference")
    try refused(
      [#"{"prompt": "a", "completion": "b", "label": true}"#], DPOSettings.tiny(), "there is kto")
    try refused(TestRows.pairs(3), DPOSettings.tiny(.exo).changing { $0.smoothing = 0 }, "exo")
    let one = try folder.rows(
      "one.jsonl", (0..<4).map { #"{"prompt": "a", "completion": "b\#($0)", "label": true}"# })
    let error = #expect(throws: TrainingError.self) {
      _ = try KTO.train(
        tableModel(), data: one, settings: .tiny(.kto),
        output: folder.url.appending(path: "one"), options: .quiet)
    }
    #expect(error?.message.contains("use bco") == true)
    #expect(throws: TrainingError.self) {
      let _: DPOSettings = try ConfigFile.settings(flags: [("loss", "\"orpo\""), ("beta", "0.2")])
    }
    let read: DPOSettings = try ConfigFile.settings(flags: [("beta", "0.2")])
    #expect(read.beta == 0.2 && read.gamma == nil)
  }
}

extension DPOSettings {
  fileprivate func changing(_ change: (inout DPOSettings) -> Void) -> DPOSettings {
    var settings = self
    change(&settings)
    return settings
  }
}
