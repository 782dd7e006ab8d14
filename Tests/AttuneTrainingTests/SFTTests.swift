// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneFiles
import AttuneNative
import AttuneObjectives
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

struct SFTTests {
  @Test func `a model from random weights learns its rows by heart`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("data.jsonl", TestRows.completions)
    var settings = SFTSettings.tiny(epochs: 150)
    settings.learningRate = 1e-2
    let out = folder.url.appending(path: "out")
    let report = try SFT.train(
      tinyModel(), data: data, heldOut: data, settings: settings, output: out, options: .quiet)
    #expect(report.steps == 300 && report.loss < 0.05, "loss \(report.loss)")
    #expect((report.heldOutLoss ?? 9) < 0.05)
    let lines = try metrics(out)
    #expect(lines.count == 301)
    // Uniform over 259 tokens is ln 259 = 5.56.
    #expect(abs((lines[0]["loss/supervised"] ?? 0) - 5.56) < 0.15)
    #expect(!folder.exists("out/checkpoint.safetensors"))
    let learned = try LoadedModel.open(out.path, on: NativeEngine())
    let encoder = try TextEncoder(learned)
    let group = try encoder.group(data.rows[0])
    let scores = try learned.model.score(AnswerSegments([group]).segments)
    #expect(exp(scores.logProbabilities[1].reduce(0, +)) > 0.5)
  }

  @Test(arguments: [TrainedPart.full, .lora, .lastLayers])
  func `20 steps are 10, a stop and 10 more, byte for byte`(part: TrainedPart) throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("data.jsonl", TestRows.completions)
    var settings = SFTSettings.tiny()
    settings.train = part
    settings.layers = part == .lastLayers ? 1 : 0
    settings.rank = 4
    let whole = folder.url.appending(path: "whole")
    let start = try tinyModel()
    let one = try SFT.train(start, data: data, settings: settings, output: whole, options: .quiet)
    #expect(one.steps == 20)
    let parts = folder.url.appending(path: "parts")
    let error = #expect(throws: TrainingError.self) {
      _ = try SFT.train(
        start, data: data, settings: settings, output: parts, options: .stopping(after: 10))
    }
    #expect(error?.code == .interrupted)
    #expect(try metrics(parts).count == 10)
    // What was written after the checkpoint does not count.
    let handle = try FileHandle(forWritingTo: parts.appending(path: "metrics.jsonl"))
    try handle.seekToEnd()
    try handle.write(contentsOf: Data("{\"step\":11,\"half a li".utf8))
    try handle.close()
    let two = try SFT.train(start, data: data, settings: settings, output: parts, options: .quiet)
    #expect(two.steps == 20 && two.loss == one.loss)
    let weights = part == .lora ? "adapter_model.safetensors" : "model.safetensors"
    #expect(folder.bytes("whole/\(weights)") != nil)
    #expect(folder.bytes("whole/\(weights)") == folder.bytes("parts/\(weights)"))
    #expect(try metrics(whole) == metrics(parts))
  }

  @Test(arguments: [TrainedPart.full, .lora])
  func `the mean over steps is evaluated and written, by a stopped run too`(
    part: TrainedPart
  ) throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("data.jsonl", TestRows.completions)
    var settings = SFTSettings.tiny()
    settings.train = part
    settings.learningRate = 1e-2
    func train(_ name: String, _ options: RunOptions = .quiet) throws -> SFTReport {
      try SFT.train(
        tinyModel(), data: data, heldOut: data, settings: settings,
        output: folder.url.appending(path: name), options: options)
    }
    let last = try train("last")
    settings.averageDecay = 0.9
    let mean = try train("mean")
    #expect(throws: TrainingError.self) { try train("parts", .stopping(after: 10)) }
    #expect(try train("parts").heldOutLoss == mean.heldOutLoss)
    let weights = part == .lora ? "adapter_model.safetensors" : "model.safetensors"
    #expect(folder.bytes("mean/\(weights)") == folder.bytes("parts/\(weights)"))
    #expect(folder.bytes("mean/\(weights)") != folder.bytes("last/\(weights)"))
    // Training is the same, what it comes to is not.
    #expect(mean.loss == last.loss && mean.heldOutLoss != last.heldOutLoss)

    let written = try LoadedModel.open(
      folder.url.appending(path: "mean").path, beside: try tinyModel())
    let encoder = try TextEncoder(written)
    let scores = try data.rows.flatMap { row in
      let made = AnswerSegments([try encoder.group(row)])
      return try written.model.score(made.segments).logProbabilities.joined()
    }
    let loss = -scores.reduce(0, +) / Double(scores.count)
    #expect(abs((mean.heldOutLoss ?? 0) - loss) < 1e-5)
  }

  @Test(arguments: [1, 20, 40, 100_000])
  func `any cut of the batch gives the same step`(budget: Int) throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("data.jsonl", TestRows.completions)
    func run(_ budget: Int) throws -> [[String: Double]] {
      var settings = SFTSettings.tiny(epochs: 2)
      settings.pieceTokens = budget
      let out = folder.url.appending(path: "cut-\(budget)")
      _ = try SFT.train(
        tinyModel(), data: data, settings: settings, output: out, options: .quiet)
      return try metrics(out)
    }
    try checkAgree(run(1_000_000), run(budget), within: 1e-5)
  }

  @Test func `whole texts are learned from their first token on`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("text.jsonl", [#"{"text": "abc"}"#])
    let model = try tinyModel()
    let group = try TextEncoder(model).group(data.rows[0])
    #expect(group.prompt == [256] && group.answers[0].ids == [97, 98, 99, 256])
    #expect(group.answers[0].scored == [0..<4])
  }

  @Test func `data of another kind, and a finished folder, are refused`() throws {
    let folder = try TemporaryFolder()
    let prompts = try folder.rows("p.jsonl", [#"{"prompt": "a"}"#])
    let out = folder.url.appending(path: "out")
    let error = #expect(throws: TrainingError.self) {
      _ = try SFT.train(
        tinyModel(), data: prompts, settings: .tiny(), output: out, options: .quiet)
    }
    #expect(error?.message.contains("prompt-only") == true)
    #expect(!folder.exists("out"))
    let data = try folder.rows("data.jsonl", TestRows.completions)
    let settings = SFTSettings.tiny(epochs: 1)
    _ = try SFT.train(tinyModel(), data: data, settings: settings, output: out, options: .quiet)
    for (settings, word) in [
      (settings, "finished"), (SFTSettings.tiny(epochs: 2), "epochs (1 there"),
    ] {
      let error = #expect(throws: TrainingError.self) {
        _ = try SFT.train(
          tinyModel(), data: data, settings: settings, output: out, options: .quiet)
      }
      #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
    }
    var again = RunOptions.quiet
    again.restart = true
    _ = try SFT.train(tinyModel(), data: data, settings: settings, output: out, options: again)
  }

  @Test func `a disk that is full ends the run with its name`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("data.jsonl", TestRows.completions)
    let out = folder.url.appending(path: "out")
    let start = try tinyModel()
    #expect(throws: TrainingError.self) {
      _ = try SFT.train(
        start, data: data, settings: .tiny(), output: out, options: .stopping(after: 2))
    }
    let metrics = out.appending(path: "metrics.jsonl")
    try FileManager.default.removeItem(at: metrics)
    try FileManager.default.createSymbolicLink(
      at: metrics, withDestinationURL: URL(filePath: "/dev/full"))
    let error = #expect(throws: FileError.self) {
      _ = try SFT.train(
        start, data: data, settings: .tiny(), output: out, options: .quiet)
    }
    #expect(error?.message.contains("No space left on device") == true)
    #expect(!folder.exists("out/model.safetensors"))
  }

  @Test func `a loss that is not finite names step and lines, and keeps the checkpoint`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("data.jsonl", TestRows.completions)
    var settings = SFTSettings.tiny()
    settings.learningRate = 1e30
    settings.maxGradientNorm = 0
    let error = #expect(throws: TrainingError.self) {
      _ = try SFT.train(
        tinyModel(), data: data, settings: settings, output: folder.url.appending(path: "out"),
        options: .quiet)
    }
    #expect(error?.code == .diverged && error?.message.contains("step ") == true)
    #expect(error?.message.contains("lines ") == true)
  }

  @Test func `the loss that is logged is the one that is trained`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows(
      "data.jsonl",
      [
        #"{"prompt": "a", "completion": "x"}"#,
        #"{"prompt": "b", "completion": "a much longer answer than the other one"}"#,
      ])
    let start = try tinyModel()
    let encoder = try TextEncoder(start)
    let means = try data.rows.map { row in
      let segments = AnswerSegments([try encoder.group(row)]).segments
      let scores = try start.model.score(segments).logProbabilities.joined()
      return (sum: -scores.reduce(0, +), tokens: Double(scores.count))
    }
    let tokens = means.map(\.tokens).reduce(0, +)
    let byToken = means.map(\.sum).reduce(0, +) / tokens
    let byRow = means.map { $0.sum / $0.tokens }.reduce(0, +) / 2
    #expect(abs(byToken - byRow) > 1e-4)
    for (reduction, loss) in [(TokenReduction.token, byToken), (.sequence, byRow)] {
      for pieceTokens in [1, 512] {
        var settings = SFTSettings.tiny(epochs: 1)
        settings.learningRate = 1e-12
        settings.reduction = reduction
        settings.pieceTokens = pieceTokens
        let out = folder.url.appending(path: "\(reduction)-\(pieceTokens)")
        let report = try SFT.train(
          start, data: data, heldOut: data, settings: settings, output: out, options: .quiet)
        #expect(abs(report.loss - loss) < 1e-5, "\(reduction) \(report.loss) \(loss)")
        #expect(abs((report.heldOutLoss ?? 0) - loss) < 1e-5, "\(reduction)")
        #expect(abs((try metrics(out)[0]["loss"] ?? 0) - loss) < 1e-5, "\(reduction)")
      }
    }
  }
}
