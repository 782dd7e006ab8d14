// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneFiles
import AttuneObjectives
import AttuneRewards
import AttuneTraining
import Foundation

/// The start's answers to the held-out prompts with their rewards: what every policy is held against,
/// and what best-of-n chooses from.
struct StartAnswers {
  /// The held-out prompts.
  let prompts: [DataPrompt]
  /// For each prompt the gold reward of each answer.
  let gold: [[Double]]
  /// For each prompt the learned reward of each answer.
  let learned: [[Double]]
  /// The start's own row, over as many answers as each policy gives.
  let model: EvaluationReport.Model

  /// What is kept beside the samples, so that they are not scored again.
  private struct Kept: Codable {
    var record: RunRecord
    var gold: [[Double]]
    var learned: [[Double]]
    var model: EvaluationReport.Model
  }

  /// Samples and scores, or reads what is there.
  ///
  /// - Parameters:
  ///   - start: The start.
  ///   - heldOut: The file of held-out prompts.
  ///   - count: Answers to each prompt.
  ///   - gold: The gold reward.
  ///   - learned: The learned reward.
  ///   - settings: How policies are evaluated.
  ///   - folder: Where `start-samples.jsonl` and `start.json` go.
  ///   - style: Where progress goes.
  /// - Throws: An error that names what is at fault; `interrupted` after Ctrl-C.
  init(
    of start: LoadedModel, heldOut: URL, count: Int, gold: LabellerReward, learned: ModelReward,
    settings: EvaluationSettings, in folder: URL, style: ProgressLine.Style
  ) throws {
    var sampling = settings.sampling
    sampling.n = count
    let record = try RunRecord(
      stage: "start", settings: settings, model: start,
      inputs: [
        ("answers", "\(count)"), ("model", start.fingerprint), ("gold", gold.name),
        ("reward model", learned.fingerprint), ("prompts", try Fingerprint.of(file: heldOut)),
      ])
    let data = try DataFile.readPrompts(heldOut)
    prompts = try data.prompts(byRow: false)
    let file = folder.appending(path: "start.json")
    if let saved = try? JSONDecoder().decode(Kept.self, from: try Data(contentsOf: file)),
      saved.record == record
    {
      (self.gold, self.learned, model) = (saved.gold, saved.learned, saved.model)
      return
    }
    let samples = folder.appending(path: "start-samples.jsonl")
    _ = try Sampling.run(start, data: data, settings: sampling, output: samples, style: style)
    let answers = try SampleRow.read(samples).map { try $0.completions.map(SampledAnswer.init) }
    let encoder = try TextEncoder(start)
    let pass = try Evaluation.pass(
      answers, of: start, ids: try prompts.map { try encoder.prompt($0.content) }, reference: nil,
      rewards: [gold, learned], pieceTokens: settings.pieceTokens)
    let scores = try Evaluation.score(answers, pass, prompts: prompts, by: [gold, learned])
    self.gold = scores[gold.name] ?? []
    self.learned = scores[learned.name] ?? []
    let own = answers.map { Array($0.prefix(settings.n)) }
    let report = try Evaluation.run(
      [EvaluatedModel(role: "start", loaded: start, answers: own)], reference: start,
      prompts: prompts, rewards: [gold, learned], settings: settings, style: style)
    model = report.models[0]
    try AtomicFile.write(
      try JSONText.pretty(
        Kept(record: record, gold: self.gold, learned: self.learned, model: model)), to: file)
  }

  /// The best of n answers by the learned reward, for n = 1, 2, 4 … and as many as there are.
  ///
  /// - Parameter confidence: Of the intervals over prompts.
  func bestOfN(confidence: Double, seed: UInt64) -> [FrontierReport.BestOfNPoint] {
    let count = learned.map(\.count).min() ?? 0
    var sizes: [Int] = []
    var n = 1
    while n < count {
      sizes.append(n)
      n *= 2
    }
    if count > 0 { sizes.append(count) }
    func summary(_ values: [[Double]], _ n: Int) -> FrontierReport.Figure {
      let groups = zip(values, learned).map {
        [BestOfN.expected($0, chosenBy: $1, n: n)]
      }
      return .init(Statistics.mean(ofGroups: groups, confidence: confidence, seed: seed))
    }
    return sizes.map { n in
      FrontierReport.BestOfNPoint(
        n: n, kl: BestOfN.klBound(of: n), gold: summary(gold, n),
        learned: summary(learned, n))
    }
  }
}
