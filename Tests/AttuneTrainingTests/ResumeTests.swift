// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneFiles
import AttuneObjectives
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

/// What a run finds in its folder when it goes on: the end of training, lines that are gone, a
/// damaged checkpoint.
struct ResumeTests {
  static func sft() -> SFTSettings {
    var settings = SFTSettings.tiny(epochs: 2)
    settings.evaluateEvery = 1
    return settings
  }

  /// The trainers whose last step is followed by a look at held-out rows.
  static let trainers: [String] = ["sft", "reward", "dpo", "kto"]

  /// Trains into a folder; `name` is one of `trainers`.
  func train(
    _ name: String, _ folder: TemporaryFolder, _ output: String, _ options: RunOptions = .quiet
  ) throws {
    let out = folder.url.appending(path: output)
    let pairs = try folder.rows("pairs.jsonl", TestRows.pairs(24))
    switch name {
    case "sft":
      let data = try folder.rows("data.jsonl", TestRows.completions)
      _ = try SFT.train(
        tinyModel(), data: data, heldOut: data, settings: Self.sft(), output: out, options: options)
    case "reward":
      _ = try RewardModel.train(
        tinyModel(), data: pairs, settings: .tiny(), output: out,
        options: options)
    case "dpo":
      _ = try DPO.train(
        tinyModel(), data: pairs, settings: .tiny(), output: out,
        options: options)
    default:
      _ = try KTO.train(
        tinyModel(), data: pairs, settings: .tiny(.kto), output: out,
        options: options)
    }
  }

  @Test(arguments: trainers)
  func `a run that is killed after its last step has each held-out line once`(
    name: String
  ) throws {
    let folder = try TemporaryFolder()
    try train(name, folder, "whole")
    #expect(throws: TrainingError.self) {
      try train(name, folder, "parts", .stopping(after: 2))
    }
    // The weights can't be written: the process ends between the last checkpoint and its end.
    let blocked = folder.url.appending(path: "parts/attune.json")
    try FileManager.default.createDirectory(
      at: blocked.appending(path: "x"), withIntermediateDirectories: true)
    for _ in 0..<2 {
      let error = #expect(throws: FileError.self) { try train(name, folder, "parts") }
      #expect(error?.message.contains("attune.json: can't be written") == true, "\(error as Any)")
    }
    try FileManager.default.removeItem(at: blocked)
    try train(name, folder, "parts")
    #expect(try metrics(folder.url.appending(path: "whole")).count > 3)
    #expect(
      try metrics(folder.url.appending(path: "whole"))
        == metrics(folder.url.appending(path: "parts")))
    let weights = folder.bytes("whole/model.safetensors")
    #expect(weights != nil && weights == folder.bytes("parts/model.safetensors"))
    #expect(
      folder.bytes("whole/evaluation.jsonl") == folder.bytes("parts/evaluation.jsonl"))
  }

  @Test func `a run whose moments are codes goes on bit for bit, and with no others`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("data.jsonl", TestRows.completions)
    func train(
      _ output: String, _ optimizer: OptimizerName = .adamw8bit, _ options: RunOptions = .quiet
    ) throws {
      var settings = Self.sft()
      settings.train = .full
      settings.optimizer = optimizer
      _ = try SFT.train(
        tinyModel(), data: data, settings: settings, output: folder.url.appending(path: output),
        options: options)
    }
    try train("whole")
    #expect(throws: TrainingError.self) { try train("parts", .adamw8bit, .stopping(after: 2)) }
    let file = try Safetensors.File(folder.url.appending(path: "parts/checkpoint.safetensors"))
    let codes = file.names.filter { file.isCodes($0) }
    #expect(
      codes == ["0.moment1.model.embed_tokens.weight", "0.moment2.model.embed_tokens.weight"])
    let error = #expect(throws: TrainingError.self) { try train("parts", .adamw) }
    #expect(
      error?.message.contains(#"optimizer ("adamw-8bit" there, "adamw" now)"#) == true,
      "\(error as Any)")
    try train("parts")
    try train("float32", .adamw)
    let weights = folder.bytes("whole/model.safetensors")
    #expect(weights != nil && weights == folder.bytes("parts/model.safetensors"))
    #expect(weights != folder.bytes("float32/model.safetensors"))
  }

  // MARK: - Metrics

  @Test func `metrics that are gone are named, and no NULs take their place`() throws {
    let folder = try TemporaryFolder()
    let text = (1...4).map { "{\"step\":\($0),\"stage\":\"sft\"}\n" }.joined()
    let cases: [(left: String?, warning: String?, kept: Int)] = [
      (nil, "those after step 0 up to step 4", 0),
      (String(text.prefix(40)), "those after step 1 up to step 4", 1),
      ("\0\0\0", "those after step 0 up to step 4", 0),
      (text, nil, 4), (text + "{\"step\":5", nil, 4),
    ]
    for (left, warning, kept) in cases {
      let file = folder.url.appending(path: "metrics.jsonl")
      try? FileManager.default.removeItem(at: file)
      if let left { _ = folder.file("metrics.jsonl", left) }
      var warnings: [String] = []
      let metrics = try MetricsFile(
        in: folder.url, stage: "sft", keeping: text.utf8.count, upTo: 4,
        warn: { warnings.append($0) })
      try metrics.append(step: 5, MetricTotals())
      #expect(warnings.count == (warning == nil ? 0 : 1))
      if let warning {
        #expect(warnings.first?.contains(warning) == true, "\(warnings)")
        #expect(warnings.first?.contains(file.path) == true)
      }
      let data = try Data(contentsOf: file)
      #expect(!data.contains(0) && metrics.bytes == data.count)
      #expect(data.split(separator: UInt8(ascii: "\n")).count == kept + 1)
    }
  }

  // MARK: - Damaged checkpoints

  /// Trains a part, changes its checkpoint and goes on.
  func resumed(
    _ change: (inout [(name: String, shape: [Int], values: [Float])], inout String) -> Void
  ) throws -> String {
    let folder = try TemporaryFolder()
    #expect(throws: TrainingError.self) { try train("sft", folder, "out", .stopping(after: 2)) }
    let url = folder.url.appending(path: "out/checkpoint.safetensors")
    let file = try Safetensors.File(url)
    var tensors = try file.names.map {
      (name: $0, shape: file.shape(of: $0) ?? [], values: try file.read($0))
    }
    var note = try #require(file.metadata["attune"])
    change(&tensors, &note)
    try Safetensors.write(tensors, metadata: ["attune": note], to: url)
    do {
      try train("sft", folder, "out")
      return ""
    } catch let error as TrainingError {
      #expect(error.code == .badOutput)
      #expect(error.message.hasPrefix(url.path + ": is "), "\(error)")
      return error.message
    }
  }

  @Test(arguments: [
    ("\"step\":2", "\"step\":-1", "is no checkpoint"),
    ("\"step\":2", "\"step\":9223372036854775807", "is no checkpoint"),
    ("\"step\":2", "\"step\":1000000000000000000", "is no checkpoint"),
    ("\"step\":2", "\"step\":5", "more is done than the whole run"),
    ("\"steps\":[2]", "\"steps\":[5]", "more is done than the whole run"),
    ("\"steps\":[2]", "\"steps\":[-2]", "is no checkpoint"),
    ("\"metricsBytes\":", "\"metricsBytes\":-", "is no checkpoint"),
  ])
  func `a checkpoint that can't be is refused by name`(
    old: String, new: String, message: String
  ) throws {
    var changed = false
    let text = try resumed { _, note in
      changed = note.contains(old)
      note = note.replacing(old, with: new)
    }
    #expect(changed)
    #expect(text.contains(message), "\(text)")
  }

  @Test(arguments: [
    ("moment2.", Float(-1), "below 0"), ("moment2.", .nan, "not finite"),
    ("moment1.", .infinity, "not finite"), ("", .nan, "not finite"),
  ])
  func `moments and weights that can't be are refused by name`(
    prefix: String, value: Float, message: String
  ) throws {
    let text = try resumed { tensors, _ in
      let place = tensors.firstIndex {
        $0.name.hasPrefix("0." + prefix) && (prefix != "" || !$0.name.contains("moment"))
      }
      if let place { tensors[place].values[3] = value }
    }
    #expect(text.contains(message) && text.contains("tensor 0."), "\(text)")
    #expect(try resumed { _, _ in } == "")
  }

  @Test(arguments: [0, 7, 400])
  func `a checkpoint that is cut off is refused by name, and a part of a larger run begins anew`(
    left: Int
  ) throws {
    let folder = try TemporaryFolder()
    try train("sft", folder, "whole")
    #expect(throws: TrainingError.self) { try train("sft", folder, "out", .stopping(after: 2)) }
    let url = folder.url.appending(path: "out/checkpoint.safetensors")
    try (try Data(contentsOf: url)).prefix(left).write(to: url)
    let error = #expect(throws: TrainingError.self) { try train("sft", folder, "out") }
    #expect(error?.message.hasPrefix(url.path + ": ") == true, "\(error as Any)")
    #expect(error?.message.hasSuffix("; --restart begins the run anew") == true)
    try RunOptions.quiet.inPart { try train("sft", folder, "out", $0) }
    #expect(folder.bytes("whole/model.safetensors") == folder.bytes("out/model.safetensors"))
  }
}
