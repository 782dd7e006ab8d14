// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneNative
import AttuneObjectives
import AttuneRewards
import AttuneStudies
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

struct RunReportTests {
  private static var reporting: RunOptions {
    var options = RunOptions.quiet
    options.report = RunReport.writeAtEnd
    return options
  }

  private static func page(_ folder: TemporaryFolder, _ run: String) throws -> String {
    try String(
      contentsOf: folder.url.appending(path: "\(run)/report.html"), encoding: .utf8)
  }

  /// Every tag that opens closes, and nothing is loaded.
  private static func check(_ html: String) {
    var open: [String] = []
    for match in html.matches(of: /<(\/?)([A-Za-z!][A-Za-z0-9]*)([^>]*)>/) {
      let name = String(match.output.2)
      if match.output.1 == "/" {
        #expect(open.popLast() == name)
      } else if !match.output.3.hasSuffix("/") && !["meta", "!DOCTYPE"].contains(name) {
        open.append(name)
      }
    }
    #expect(open.isEmpty)
    for word in ["http://", "https://", "src=", "<script", "<link", "url(", "nan", "inf\""] {
      #expect(!html.contains(word), "\(word)")
    }
  }

  @Test func `a run on pairs reports what it says of held-out rows, with n and interval`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("pairs.jsonl", TestRows.pairs(64))
    var settings = DPOSettings.tiny()
    settings.beta = 0.2
    let report = try DPO.train(
      tinyModel(), data: data, settings: settings, output: folder.url.appending(path: "run"),
      options: Self.reporting)
    let found = try RunReport(run: folder.url.appending(path: "run"))
    #expect(found.isFinished && found.stage == "dpo" && found.training.count > 3)
    let figures = Dictionary(uniqueKeysWithValues: found.heldOut.map { ($0.metric, $0) })
    let accuracy = try #require(figures["reward/accuracy"])
    #expect(accuracy.count == report.evalRows && accuracy.prompts == 16)
    #expect(abs(accuracy.value - (report.evalAccuracy ?? -1)) < 1e-12)
    #expect(accuracy.interval.map { [$0.low, $0.high] } == report.evalAccuracyInterval)
    let margin = try #require(figures["reward/margin"])
    #expect(abs(margin.value - (report.evalMargin ?? 0)) < 1e-9 && margin.interval != nil)
    // The start is the reference: a margin is β times how much further apart the two are than then.
    let chosen = try #require(figures["log_probability/chosen"])
    let rejected = try #require(figures["log_probability/rejected"])
    let then = (chosen.before ?? 0) - (rejected.before ?? 0)
    #expect(abs(0.2 * (chosen.value - rejected.value - then) - margin.value) < 1e-6)
    #expect(found.greedy.count == 4 && found.greedy.contains { $0.before != $0.after })
    let html = try Self.page(folder, "run")
    Self.check(html)
    for words in ["16 rows", "Margin of the rewards", "<b>before</b>", "learning_rate", "Terms"] {
      #expect(html.contains(words), "\(words)")
    }
    // The object on the disk is the same.
    let json = try Data(contentsOf: folder.url.appending(path: "run/report.json"))
    #expect(try JSONDecoder().decode(RunReport.self, from: json).heldOut == found.heldOut)
    let words = try #require(report.heldOutText)
    #expect(words.contains("[") && words.hasSuffix("16 rows"))
  }

  @Test func `rows of one prompt are drawn together`() throws {
    let folder = try TemporaryFolder()
    // Four prompts with eight pairs each.
    let rows = TestRows.pairs(32).enumerated().map { i, row in
      row.replacing("Word \(i): ", with: "Word \(i % 4): ")
    }
    let data = try folder.rows("pairs.jsonl", rows)
    let heldOut = try folder.rows("held.jsonl", rows)
    let report = try KTO.train(
      tinyModel(), data: data, heldOut: heldOut, settings: .tiny(.kto),
      output: folder.url.appending(path: "kto"), options: Self.reporting)
    let found = try RunReport(run: folder.url.appending(path: "kto"))
    let accuracy = try #require(found.heldOut.first { $0.metric == "reward/accuracy" })
    #expect(accuracy.count == report.evalRows && accuracy.prompts == 4)
    #expect(abs(accuracy.value - (report.evalAccuracy ?? -1)) < 1e-12)
    Self.check(try Self.page(folder, "kto"))
  }

  @Test func `fine-tuning reports the loss of a token on held-out rows`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("data.jsonl", TestRows.completions)
    let heldOut = try folder.rows(
      "held.jsonl",
      [
        #"{"prompt": "0 is ", "completion": "red0."}"#,
        #"{"prompt": "7 is ", "completion": "a much longer answer than the others."}"#,
      ])
    let report = try SFT.train(
      tinyModel(), data: data, heldOut: heldOut, settings: .tiny(),
      output: folder.url.appending(path: "run"), options: Self.reporting)
    let found = try RunReport(run: folder.url.appending(path: "run"))
    let loss = try #require(found.heldOut.first)
    #expect(loss.metric == "loss/held_out" && loss.count == 2 && loss.value == report.heldOutLoss)
    #expect(report.heldOutRows == 2 && report.heldOutLossInterval?.count == 2)
    // Of tokens alike, not of rows: the model itself says so.
    let model = try LoadedModel.open(folder.url.appending(path: "run").path, on: NativeEngine())
    let encoder = try TextEncoder(model)
    let scores = try heldOut.rows.flatMap { row in
      try model.model.score(AnswerSegments([try encoder.group(row)]).segments)
        .logProbabilities.flatMap(\.self)
    }
    #expect(abs(-Statistics.mean(scores) - loss.value) < 1e-5)
    Self.check(try Self.page(folder, "run"))
  }

  @Test func `texts that follow no prompt each stand for themselves`() throws {
    let folder = try TemporaryFolder()
    let rows = (0..<6).map { #"{"text": "the cat \#($0) sat"}"# }
    let data = try folder.rows("texts.jsonl", rows)
    _ = try SFT.train(
      tinyModel(), data: data, heldOut: data, settings: .tiny(epochs: 2),
      output: folder.url.appending(path: "run"), options: Self.reporting)
    let found = try RunReport(run: folder.url.appending(path: "run"))
    #expect(found.heldOut.first?.prompts == 6 && found.greedy.isEmpty)
  }

  @Test func `a reward model and an iterated policy have reports too`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("pairs.jsonl", TestRows.pairs(80))
    let report = try RewardModel.train(
      tinyModel(), data: data, settings: .tiny(),
      output: folder.url.appending(path: "reward"), options: Self.reporting)
    let found = try RunReport(run: folder.url.appending(path: "reward"))
    #expect(found.rewardModel?.accuracy == report.evalAccuracy)
    #expect(
      found.rewardModel?.accuracyInterval.map { [$0.low, $0.high] } == report.evalAccuracyInterval)
    #expect(found.heldOut.first?.count == 20)
    #expect(try Self.page(folder, "reward").contains("Calibration"))
    Self.check(try Self.page(folder, "reward"))

    _ = try IterateTests().train(
      IterateTests.settings(), folder, "iterate", options: Self.reporting)
    let rounds = try RunReport(run: folder.url.appending(path: "iterate"))
    #expect(rounds.training.count == 3 && rounds.greedy.count == 4)
    #expect(!folder.exists("iterate/round-1/policy/report.html"))
    Self.check(try Self.page(folder, "iterate"))
  }

  @Test func `a constraint's price and slack are drawn`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("prompts.jsonl", TestRows.prompts)
    var settings = RLOOSettings()
    (settings.rollout.rollouts, settings.rollout.promptsPerRollout) = (3, 2)
    (settings.rollout.samplesPerPrompt, settings.rollout.maxTokens) = (2, 4)
    let constraints = [0.2, 0.4].map { limit in
      (source: Constraint(ShareOfOdd(), .atMost, limit) as any RewardSource, weight: 0.0)
    }
    _ = try RLOO.train(
      tinyModel(), data: data, rewards: [(ShareOfOdd(), 1)] + constraints,
      rewardFingerprint: "odd", settings: settings, output: folder.url.appending(path: "run"),
      options: Self.reporting)
    let html = try Self.page(folder, "run")
    Self.check(html)
    for title in ["Price of a constraint", "Limit minus mean cost", "Answers beyond a limit"] {
      let figure = try #require(
        html.components(separatedBy: "<figure").first { $0.contains("\(title)</figcaption>") })
      for limit in ["0.2", "0.4"] {
        #expect(figure.contains("share of odd&lt;=\(limit)"), "\(title), \(limit)")
      }
    }
    #expect(!html.contains("KL to the teacher"))
  }

  @Test func `a run that is stopped and goes on has the report of the whole one`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("pairs.jsonl", TestRows.pairs(64))
    func train(_ name: String, _ options: RunOptions) throws {
      _ = try DPO.train(
        tinyModel(), data: data, settings: .tiny(),
        output: folder.url.appending(path: name), options: options)
    }
    try train("whole", Self.reporting)
    var stopping = RunOptions.stopping(after: 5)
    stopping.report = RunReport.writeAtEnd
    #expect(throws: TrainingError.self) { try train("parts", stopping) }
    let half = try RunReport(run: folder.url.appending(path: "parts"))
    #expect(!half.isFinished && half.training.count == 5 && half.heldOut.isEmpty)
    try train("parts", Self.reporting)
    let (whole, parts) = (
      try RunReport(run: folder.url.appending(path: "whole")),
      try RunReport(run: folder.url.appending(path: "parts"))
    )
    #expect(parts.heldOut == whole.heldOut && parts.greedy == whole.greedy)
    #expect(folder.bytes("parts/greedy.jsonl") == folder.bytes("whole/greedy.jsonl"))
  }

  @Test func `runs are compared: what differs is named, figures stand side by side`() throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("pairs.jsonl", TestRows.pairs(64))
    for beta in [0.1, 0.5] {
      var settings = DPOSettings.tiny()
      settings.beta = beta
      _ = try DPO.train(
        tinyModel(), data: data, settings: settings,
        output: folder.url.appending(path: "beta-\(beta)"), options: Self.reporting)
    }
    let folders = ["beta-0.1", "beta-0.5"].map { folder.url.appending(path: $0) }
    let two = try RunComparison(folders)
    #expect(two.runs.map(\.name) == ["beta-0.1", "beta-0.5"])
    #expect(two.differences.map(\.name) == ["beta"])
    #expect(two.differences[0].values == ["0.1", "0.5"])
    let lines = two.text.split(separator: "\n")
    #expect(lines.contains { $0.hasPrefix("accuracy ") && $0.contains("n 16 rows") })
    #expect(lines.contains { $0.hasPrefix("beta ") && $0.hasSuffix("0.5") })
    Self.check(two.html)
    #expect(two.html.contains("beta-0.1: preferred") && two.html.contains("What differs"))
    let same = try RunComparison([folders[0], folders[0]])
    #expect(same.differences.isEmpty && same.text.contains("same settings"))
    // A run in its first step has an empty file of metrics.
    _ = folder.file("beta-0.5/metrics.jsonl", "")
    #expect(try RunReport(run: folders[1]).training.isEmpty)
    let error = #expect(throws: TrainingError.self) { try RunComparison([folder.url]) }
    #expect(error?.message.contains(folder.url.path) == true)
  }

  @Test func `an evaluation takes no folder that holds something else`() throws {
    let folder = try TemporaryFolder()
    _ = folder.file("run.json", "{}")
    let error = #expect(throws: TrainingError.self) { try RunReport.prepare(folder.url) }
    #expect(error?.message.contains("run.json") == true)
  }

  @Test func `the whole job samples at one temperature, whatever the method`() {
    for settings in [RLHFSettings(), .quickstart, .defaults(.grpo), .defaults(.dpo)] {
      let all = [
        settings.sample.temperature, settings.evaluation.temperature, settings.ppo.temperature,
        settings.reinforce.temperature, settings.rloo.temperature, settings.grpo.temperature,
        settings.raft.temperature, settings.dpg.temperature, settings.brain.temperature,
        settings.iterate.temperature,
      ]
      #expect(Set(all) == [0.7])
    }
    // A trainer alone keeps 1, where log-probabilities are those of the model as it is.
    #expect(PPOSettings().temperature == 1 && EvaluationSettings().temperature == 1)
    #expect(RLHFSettings.defaults(.dpo).method == .dpo && RLHFSettings().method == .ppo)
  }
}

/// `Documentation/Glossary.md` is printed from `Glossary`.
struct GlossaryTests {
  @Test func `the document is what the code says`() throws {
    let url = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "Documentation/Glossary.md")
    if ProcessInfo.processInfo.environment["ATTUNE_WRITE_DOCUMENTATION"] != nil {
      try Glossary.document.write(to: url, atomically: true, encoding: .utf8)
    }
    #expect(try String(contentsOf: url, encoding: .utf8) == Glossary.document)
    let names = Glossary.terms.map(\.name)
    #expect(names == names.sorted { $0.lowercased() < $1.lowercased() })
    #expect(Set(names).count == names.count && Glossary.terms.allSatisfy { !$0.meaning.isEmpty })
  }
}
