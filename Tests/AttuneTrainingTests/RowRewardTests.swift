// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Synchronization
import Testing

struct RowRewardTests {
  @Test(arguments: OnlineTrainer.all + others)
  func `every trainer that samples gives rewards the rows of its prompts`(trainer: OnlineTrainer)
    throws
  {
    let folder = try TemporaryFolder()
    let source = NotingRows()
    _ = try trainer.train(
      [(source, 1)], folder.rows("rows.jsonl", TestRows.answered), 1, 4,
      folder.url.appending(path: "run"),
      .quiet)
    #expect(source.seen == TestRows.answeredPrompts)
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

  @Test func `a prompt counts once where no reward reads rows`() throws {
    let folder = try TemporaryFolder()
    let source = NotingRows(readsRows: false)
    let data = try folder.rows("rows.jsonl", TestRows.answered)
    let error = #expect(throws: TrainingError.self) {
      try OnlineTrainer.rloo("").train(
        [(source, 1)], data, 1, 4, folder.url.appending(path: "run"), .quiet)
    }
    #expect(error?.message.contains("only 3 prompts") == true, "\(error?.message ?? "")")
    // A reward that is only measured reads rows as well.
    #expect(try data.prompts(byRow: false).map(\.row?.line) == [1, 4, 5])
    #expect(try data.prompts(byRow: true).map(\.row?.line) == [1, 2, 4, 5])
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
