// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneRewards
import AttuneStudies
import AttuneTraining
import Foundation
import Synchronization
import Testing

/// A source that notes which rows it is given with which prompts.
private final class NotingRows: RewardSource {
  let name = "noting rows"
  let readsRows: Bool
  private let noted = Mutex<Set<[String]>>([])

  init(readsRows: Bool = true) { self.readsRows = readsRows }

  /// Prompt, the row's `answer` and its line.
  var seen: Set<[String]> { noted.withLock { $0 } }

  func scores(prompts: [DataPrompt], completions: [Completion], shared: SharedPass?) -> [Double] {
    for prompt in prompts {
      let answer = prompt.row?.json["answer"].map { $0.text } ?? "none"
      _ = noted.withLock {
        $0.insert([prompt.content.lastText, answer, "\(prompt.row?.line ?? 0)"])
      }
    }
    // Of texts without tokens there is no share.
    guard completions.allSatisfy({ !$0.ids.isEmpty }) else { return completions.map { _ in 0 } }
    return ShareOfASCII().scores(prompts: prompts, completions: completions, shared: shared)
  }
}

struct RowRewardTests {
  /// One prompt with two answers, one of them twice, and two others.
  static let rows = [
    #"{"prompt":"say 1","answer":1.50}"#, #"{"prompt":"say 1","answer":2e0}"#,
    #"{"prompt":"say 1","answer":1.50}"#, #"{"prompt":"say 2","answer":[3]}"#,
    #"{"prompt":"say 3","answer":"4"}"#,
  ]
  static let seen: Set<[String]> = [
    ["say 1", "1.50", "1"], ["say 1", "2e0", "2"], ["say 2", "[3]", "4"],
    ["say 3", #""4""#, "5"],
  ]

  @Test(arguments: OnlineTrainer.all + others)
  func `every trainer that samples gives rewards the rows of its prompts`(trainer: OnlineTrainer)
    throws
  {
    let folder = try TemporaryFolder()
    let source = NotingRows()
    _ = try trainer.train(
      [(source, 1)], folder.rows("rows.jsonl", Self.rows), 1, 4, folder.url.appending(path: "run"),
      .quiet)
    #expect(source.seen == Self.seen)
  }

  private static let others: [OnlineTrainer] = [
    OnlineTrainer(testDescription: "ppo") { rewards, data, rollouts, n, output, options in
      var settings = PPOTests.settings()
      (settings.rollouts, settings.samplesPerPrompt) = (rollouts, n)
      return try PPO.train(
        tableModel(), data: data, rewards: rewards, rewardFingerprint: "rows", settings: settings,
        output: output, options: options)
    },
    OnlineTrainer(testDescription: "raft") { rewards, data, rollouts, n, output, options in
      var settings = RAFTSettings()
      (settings.train, settings.layers, settings.showEvery) = (.full, 0, 0)
      (settings.rollouts, settings.samplesPerPrompt) = (rollouts, n)
      (settings.promptsPerRollout, settings.maxTokens) = (4, 6)
      return try RAFT.train(
        tableModel(), data: data, rewards: rewards, rewardFingerprint: "rows", settings: settings,
        output: output, options: options)
    },
    OnlineTrainer(testDescription: "dpg") { rewards, data, rollouts, n, output, options in
      var settings = DPGSettings()
      (settings.train, settings.layers, settings.showEvery) = (.full, 0, 0)
      (settings.rollouts, settings.samplesPerPrompt) = (rollouts, n)
      (settings.promptsPerRollout, settings.maxTokens) = (4, 6)
      return try DPG.train(
        tableModel(), data: data, rewards: rewards, rewardFingerprint: "rows", settings: settings,
        output: output, options: options)
    },
    OnlineTrainer(testDescription: "brain") { rewards, data, rollouts, n, output, options in
      var settings = BRAInSettings()
      (settings.train, settings.layers, settings.showEvery) = (.full, 0, 0)
      (settings.rollouts, settings.samplesPerPrompt) = (rollouts, n)
      (settings.promptsPerRollout, settings.maxTokens) = (4, 6)
      return try BRAIn.train(
        tableModel(), data: data, rewards: rewards, rewardFingerprint: "rows", settings: settings,
        output: output, options: options)
    },
  ]

  @Test(arguments: [false, true])
  func `iterate gives rewards the rows of its prompts`(online: Bool) throws {
    let folder = try TemporaryFolder()
    let source = NotingRows()
    var settings = IterateTests.settings(online: online)
    settings.rounds = online ? 2 : 1
    _ = try Iterate.train(
      tableModel(), data: folder.rows("rows.jsonl", Self.rows), rewards: [(source, 1)],
      rewardFingerprint: "rows", settings: settings, output: folder.url.appending(path: "run"),
      options: .quiet)
    #expect(source.seen == Self.seen)
  }

  @Test func `a prompt counts once where no reward reads rows`() throws {
    let folder = try TemporaryFolder()
    let source = NotingRows(readsRows: false)
    let data = try folder.rows("rows.jsonl", Self.rows)
    let error = #expect(throws: TrainingError.self) {
      try OnlineTrainer.rloo("").train(
        [(source, 1)], data, 1, 4, folder.url.appending(path: "run"), .quiet)
    }
    #expect(error?.message.contains("only 3 prompts") == true, "\(error?.message ?? "")")
    // A reward that is only measured reads rows as well.
    #expect(try data.prompts(byRow: false).map(\.row?.line) == [1, 4, 5])
    #expect(try data.prompts(byRow: true).map(\.row?.line) == [1, 2, 4, 5])
  }

  @Test func `recorded samples and scored rows keep their rows`() throws {
    let folder = try TemporaryFolder()
    let row =
      #"{"prompt":"say","completions":[{"text":"a","ids":[97],"logprob":-1,"finish_reason":"length"},{"text":"b","ids":[98],"logprob":-1,"finish_reason":"length"}],"sampling":{"temperature":1},"answer":7.0}"#
    let samples = try folder.rows("samples.jsonl", [row, row.replacing("7.0", with: "8")])
    let source = NotingRows()
    _ = try Scoring.run(
      [(source, 1)], data: samples, output: folder.url.appending(path: "scores.jsonl"),
      style: .silent)
    #expect(source.seen == [["say", "7.0", "1"], ["say", "8", "2"]])
    let pairs = try folder.rows(
      "pairs.jsonl", [#"{"prompt":"p","chosen":"c","rejected":"r","answer":{"x":1.0}}"#])
    let other = NotingRows()
    _ = try Scoring.run(
      [(other, 1)], data: pairs, output: folder.url.appending(path: "scores.jsonl"), style: .silent)
    #expect(other.seen == [["p", #"{"x":1.0}"#, "1"]])
  }

  @Test func `a reward that is no number names the line of the prompt`() throws {
    struct NotANumber: RewardSource {
      let name = "nan"

      func scores(prompts: [DataPrompt], completions: [Completion], shared: SharedPass?) -> [Double]
      {
        prompts.map { $0.content.lastText == "say 2" ? .nan : 1 }
      }
    }
    let folder = try TemporaryFolder()
    let rows = ["say 0", "say 1", "say 2", "say 3"].map { #"{"prompt":"\#($0)"}"# }
    let fault = #expect(throws: AnswerFault.self) {
      try OnlineTrainer.rloo("").train(
        [(NotANumber(), 1)], folder.rows("rows.jsonl", rows), 1, 2,
        folder.url.appending(path: "run"), .quiet)
    }
    #expect(fault?.line == 3)
    #expect(
      fault?.description.contains("to the prompt of line 3: got nan") == true,
      "\(String(describing: fault))")
  }
}
