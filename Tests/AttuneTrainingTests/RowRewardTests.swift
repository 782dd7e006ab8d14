// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

struct RowRewardTests {
  @Test(arguments: OnlineTrainer.all)
  func `every trainer that samples gives rewards the rows of its prompts`(trainer: OnlineTrainer)
    throws
  {
    let folder = try TemporaryFolder()
    let source = NotingRows()
    _ = try trainer.train(
      folder.rows("rows.jsonl", TestRows.answered), to: folder.url.appending(path: "run"),
      rewards: [(source, 1)]
    ) { $0.rollout.rollouts = 1 }
    #expect(source.seen == TestRows.answeredPrompts)
  }

  @Test func `a prompt counts once where no reward reads rows`() throws {
    let folder = try TemporaryFolder()
    let source = NotingRows(readsRows: false)
    let data = try folder.rows("rows.jsonl", TestRows.answered)
    let error = #expect(throws: TrainingError.self) {
      try OnlineTrainer.rloo("").train(
        data, to: folder.url.appending(path: "run"), rewards: [(source, 1)])
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
        folder.rows("rows.jsonl", rows), to: folder.url.appending(path: "run"),
        rewards: [(NotANumber(), 1)])
    }
    #expect(fault?.line == 3)
    #expect(
      fault?.description.contains("to the prompt of line 3: got nan") == true,
      "\(String(describing: fault))")
  }
}
