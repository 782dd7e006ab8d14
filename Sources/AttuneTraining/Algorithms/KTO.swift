// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import AttuneEngine
public import AttuneObjectives
public import Foundation

/// The knobs of training on thumbs.
public struct KTOSettings: ContrastiveSettings {
  /// Which numbers are trained.
  public var train = TrainedPart.lora
  /// Layers counted from the top that are trained, or all if there are fewer; with adapters 0 is all.
  public var layers = 0
  /// Rank of the adapters.
  public var rank = 16
  /// Scale of the adapters, divided by the rank.
  public var alpha = 32.0
  /// The matrices that carry adapters.
  public var projections = Projection.allCases
  /// Whether adapters are merged into the weights when the policy is written.
  public var merge = false

  /// The loss.
  public var loss = UnpairedLoss.kto
  /// β: what a nat of log-ratio is worth.
  public var beta = 0.1
  /// Weight of thumbs up.
  public var upWeight = 1.0
  /// Weight of thumbs down.
  public var downWeight = 1.0

  /// Whether the reference's log-probabilities are computed once, before training.
  public var precomputeReference = true
  /// Passes over the data.
  public var epochs = 1
  /// Optimiser steps at most; 0 is no limit.
  public var maxSteps = 0
  /// Responses that an optimiser step sees.
  public var batchSize = 16
  /// Longest prompt and answer in tokens; 0 is the model's own limit.
  public var maxLength = 512
  /// What becomes of longer ones: `cut` or `drop`.
  public var tooLong = TooLong.cut
  /// Highest learning rate.
  public var learningRate = 2e-4
  /// How the learning rate falls.
  public var decay = Decay.linear
  /// Steps over which the learning rate rises; at most a tenth of all.
  public var warmupSteps = 10
  /// Share of each trained number taken away a step, times the learning rate.
  public var weightDecay = 0.0
  /// The gradient is scaled down to this norm; 0 is never.
  public var maxGradientNorm = 1.0
  /// Share of the prompts held out for evaluation where no file is given for it.
  public var evaluationShare = 0.1
  /// Tokens that are worked on at once; a larger batch is cut between rows, with the same result.
  public var pieceTokens = 512
  /// Megabytes in which the frozen layers' results may be kept for later epochs.
  public var trunkMegabytes = 2000
  /// Computes activations again instead of keeping them: less memory, a third more time.
  public var recompute = false
  /// Seconds between checkpoints.
  public var checkpointSeconds = 120.0
  /// The seed of the order of rows, the mismatched pairs and the held-out choice.
  public var seed: UInt64 = 0

  /// The defaults.
  public init() {}

  /// Knobs without effect.
  public var unreadKnobs: [(knob: String, why: String)] { unreadTrainingKnobs }

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    do {
      _ = try loss.statistics(of: [], settings: objective)
    } catch let error as ObjectiveError {
      throw TrainingError(.badSetting, error.message)
    }
  }

  /// The loss's own knobs.
  var objective: UnpairedSettings {
    var settings = UnpairedSettings()
    settings.beta = beta
    settings.upWeight = upWeight
    settings.downWeight = downWeight
    return settings
  }
}

/// Kahneman–Tversky optimisation and binary-classifier optimisation: thumbs up and down, no pairs.
///
/// Papers: Ethayarajh et al. 2024, arXiv:2402.01306; Jung et al. 2024, arXiv:2404.04656.
/// A prompt's mismatched response is that of the next row, in an order drawn once from the seed, that
/// has another prompt; so the reference reads each of them once, over all epochs.
public enum KTO {
  /// Trains a policy on thumbs and writes it.
  ///
  /// - Parameters:
  ///   - start: The policy's start.
  ///   - reference: The reference; nil is the start itself. Handed over (`consume`), the weights of
  ///     both go once nothing reads them any more.
  ///   - data: Thumbs, or pairs, of which each gives a thumb up and a thumb down.
  ///   - heldOut: Rows for evaluation; without them some of the prompts are held out.
  ///   - settings: The knobs.
  ///   - output: The run's folder, where the policy is written too.
  ///   - options: How the run is watched and stopped.
  /// - Returns: What it came to.
  /// - Throws: An error that names what is at fault; `interrupted` after a clean stop.
  public static func train(
    _ start: consuming LoadedModel, reference: consuming LoadedModel? = nil, data: DataFile,
    heldOut: DataFile? = nil, settings: KTOSettings, output: URL, options: RunOptions = RunOptions()
  ) throws -> ContrastiveReport {
    try settings.validate()
    try settings.check(against: start.model.spec)
    let loss = settings.loss
    let objective = settings.objective
    RunFolder.resumeClock(of: output, options)
    let encoder = try TextEncoder(
      copy start, maximumLength: settings.maxLength, tooLong: settings.tooLong)
    let rows = try ContrastiveData(data, heldOut: heldOut) { try Self.rows($0, encoder) }
    let open = try ContrastiveRun(
      "kto", start, reference: reference, data: rows,
      needs: ContrastiveNeeds(
        loss: loss.rawValue, reference: true, currentScores: loss.needsCurrentScores),
      pair: { loss.needsMismatched ? try mismatched($0, encoder, data, settings) : $0 },
      encoder: encoder, settings: settings, output: output, options: options)
    let run = open.run

    /// The loss of a batch, and what the next one starts from.
    func batchLoss(
      _ batch: [ContrastiveRow<Bool>], _ responses: [[ScoredResponse]],
      _ companions: [ScoredResponse], _ state: inout UnpairedState
    ) throws -> ContrastiveScores<Bool>.PieceLoss {
      func rows(_ places: Range<Int>, _ responses: [[ScoredResponse]]) -> [UnpairedRow] {
        zip(places, responses).map { place, responses in
          UnpairedRow(
            response: responses[0], up: batch[place].label,
            mismatched: companions.isEmpty ? nil : companions[place])
        }
      }
      let statistics = try loss.statistics(
        of: rows(batch.indices, responses), settings: objective, state: state)
      state = statistics.state
      return { places, responses in
        loss.loss(rows(places, responses), statistics: statistics, settings: objective)
      }
    }

    while run.goesOn {
      let batch = open.batch()
      let totals = try run.step(on: batch.map(\.encoded)) { _ in
        try open.scores.accumulate(batch) { try batchLoss($0, $1, $2, &run.state.unpaired) }
      }
      try open.finish(batch, totals)
    }
    var state = run.state.unpaired
    return try open.close { try batchLoss($0, $1, $2, &state) }
  }

  /// Each row with the response of the next one that has another prompt.
  private static func mismatched(
    _ rows: [ContrastiveRow<Bool>], _ encoder: TextEncoder, _ data: DataFile,
    _ settings: KTOSettings
  ) throws -> [ContrastiveRow<Bool>] {
    let order = Shuffle.order(count: rows.count, seed: settings.seed, epoch: 0)
    var rows = rows
    for (place, index) in order.enumerated() {
      let prompt = rows[index].encoded.prompt
      let other = (1..<max(1, order.count)).lazy.map { order[(place + $0) % order.count] }
        .first { rows[$0].encoded.prompt != prompt }
      guard let other else {
        throw TrainingError(
          .badData,
          "\(data.url.path): all rows have one prompt, and kto compares a response with those to "
            + "other prompts: use bco, or add prompts")
      }
      let answer = rows[other].encoded.answers[0]
      rows[index].companion = encoder.cut(
        EncodedGroup(
          line: rows[index].encoded.line, prompt: prompt, promptCut: 0, answers: [answer],
          row: rows[index].encoded.row))
    }
    return rows
  }

  private static func rows(
    _ data: DataFile, _ encoder: TextEncoder
  ) throws -> (rows: [ContrastiveRow<Bool>], account: RowAccount) {
    var account = RowAccount(data)
    let rows = try account.rows(data) { row in
      let group = try encoder.group(row)
      var labels: [Bool]
      switch row.example {
      case .unpaired(_, _, let label): labels = [label]
      case .preference(let pair):
        guard pair.outcome == .preferred, pair.probability != 0.5 else {
          throw PassedOver(row.line, "neither answer is the better one, so none is good or bad")
        }
        try encoder.requireDifferent(group)
        labels = [true, false]
        if let probability = pair.probability, probability < 0.5 { labels.reverse() }
      default:
        throw TrainingError(
          .badData,
          "line \(row.line): \(row.example.kind.rawValue) data; kto learns from thumbs (prompt, "
            + "completion, label) or pairs")
      }
      return try zip(group.answers, labels).map { answer, label in
        guard !answer.scored.allSatisfy(\.isEmpty) else {
          throw PassedOver(row.line, "a response has no token that carries a loss")
        }
        var single = group
        single.answers = [answer]
        return ContrastiveRow(label: label, encoded: single)
      }
    }.flatMap(\.self)
    guard !rows.isEmpty else {
      throw TrainingError(
        .badData,
        account.summary(of: data.url.path)
          ?? "\(data.url.path): no row says which answer is good or bad")
    }
    return (rows, account)
  }
}
