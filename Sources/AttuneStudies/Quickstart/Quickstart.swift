// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneRewards
import AttuneTraining
public import Foundation

/// `attune quickstart`: the whole job with SmolLM2 and Attune's own prompts.
public enum Quickstart {
  /// The model.
  public static let model = "smollm2"

  /// What the job is made from.
  public static var inputs: RLHF.Inputs {
    RLHF.Inputs(
      model: model, prompts: QuickstartPrompts.train.map(row),
      heldOut: QuickstartPrompts.heldOut.map(row),
      title: "Attune quickstart: SmolLM2-135M-Instruct aligned with preferences",
      remark:
        "The model has 135 million parameters. It states facts that are none, can't count or do sums, "
        + "and loses the thread of a longer answer. This job changes how it answers, not what it knows: nothing here "
        + "rewards an answer for being true.")
  }

  private static func row(_ prompt: String) -> PromptRow {
    PromptRow(.messages([Message(role: "user", content: prompt)]))
  }

  /// The seed and folder of a run: those asked for, else the first seed whose run is not finished,
  /// so that the command again runs the job again, and an unfinished run goes on.
  ///
  /// - Parameters:
  ///   - parent: The folder of all runs.
  ///   - seed: The seed asked for.
  /// - Returns: The seed, and the run's own folder, named by it.
  public static func place(in parent: URL, seed: UInt64?) -> (seed: UInt64, folder: URL) {
    func folder(_ seed: UInt64) -> URL {
      parent.appending(path: "quickstart-\(seed)", directoryHint: .isDirectory)
    }
    if let seed { return (seed, folder(seed)) }
    var next: UInt64 = 1
    while FileManager.default.fileExists(
      atPath: folder(next).appending(path: "report.json").path)
    { next += 1 }
    return (next, folder(next))
  }
}
