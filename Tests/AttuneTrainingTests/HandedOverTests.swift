// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneObjectives
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

/// Whether a start's weights are still there while a copy of them is trained.
private final class Seen: @unchecked Sendable {
  weak var start: (any LanguageModel)?
  var alive: [Bool] = []

  init(_ start: LoadedModel) { self.start = start.model }

  /// Looks after every step.
  var options: RunOptions {
    var options = RunOptions.quiet
    options.shouldStop = {
      self.alive.append(self.start != nil)
      return false
    }
    return options
  }
}

struct HandedOverTests {
  @Test func `sft and reward let a start go of which every weight is copied`() throws {
    let folder = try TemporaryFolder()
    let texts = try folder.rows("data.jsonl", TestRows.completions)
    let start = try tinyModel()
    let tuned = Seen(start)
    _ = try SFT.train(
      consume start, data: texts, settings: .tiny(epochs: 1),
      output: folder.url.appending(path: "sft"), options: tuned.options)
    #expect(tuned.alive == [false, false])

    let pairs = try folder.rows("pairs.jsonl", TestRows.pairs(16))
    var settings = RewardModelSettings.tiny()
    settings.train = .full
    settings.epochs = 1
    let another = try tinyModel()
    let rewarded = Seen(another)
    _ = try RewardModel.train(
      consume another, data: pairs, settings: settings,
      output: folder.url.appending(path: "reward"), options: rewarded.options)
    #expect(rewarded.alive == [false, false])
  }

  @Test(arguments: [true, false])
  func `the reference stays as long as something is asked of it`(precompute: Bool) throws {
    let folder = try TemporaryFolder()
    let pairs = try folder.rows("pairs.jsonl", TestRows.pairs(16))
    var settings = DPOSettings.tiny()
    settings.precomputeReference = precompute
    settings.epochs = 1
    let start = try tinyModel()
    let paired = Seen(start)
    _ = try DPO.train(
      consume start, data: pairs, settings: settings,
      output: folder.url.appending(path: "dpo"), options: paired.options)
    #expect(paired.alive == [!precompute, !precompute])

    var thumbs = KTOSettings.tiny(.kto)
    thumbs.precomputeReference = precompute
    thumbs.epochs = 1
    let another = try tinyModel()
    let unpaired = Seen(another)
    _ = try KTO.train(
      consume another, data: pairs, settings: thumbs,
      output: folder.url.appending(path: "kto"), options: unpaired.options)
    #expect(!unpaired.alive.isEmpty && unpaired.alive.allSatisfy { $0 == !precompute })
  }
}
