// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import AttuneEngine
public import AttuneObjectives
public import Foundation

/// A knob that takes the loss's own default where it is null.
@propertyWrapper
public struct OwnDefault: Codable, Sendable, Equatable {
  /// The value, or nil for the loss's own.
  public var wrappedValue: Double?

  /// Wraps a value.
  public init(wrappedValue: Double?) { self.wrappedValue = wrappedValue }

  /// Reads a number or null.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    wrappedValue = container.decodeNil() ? nil : try container.decode(Double.self)
  }

  /// Writes null where there is no value, so that the knob is there to be set.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if let wrappedValue { try container.encode(wrappedValue) } else { try container.encodeNil() }
  }
}

/// The knobs of training on pairs.
public struct DPOSettings: ContrastiveSettings {
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
  public var loss = PreferenceLoss.dpo
  /// β: what a nat of log-ratio is worth; null is the loss's own (0.1, `dpop` 0.3, `simpo` 2).
  @OwnDefault public var beta: Double? = nil
  /// ε, the share of labels taken to be wrong; null is the loss's own (0, `robust` 0.1, `exo` 0.001).
  @OwnDefault public var smoothing: Double? = nil
  /// Whether `ipo` divides log-ratios by the response's tokens.
  public var lengthNormalised = false
  /// λ: the penalty of `dpop` (50), the weight of the odds of `orpo` (0.1).
  @OwnDefault public var lambda: Double? = nil
  /// What a token costs in `rdpo` (0.01).
  @OwnDefault public var lengthPrice: Double? = nil
  /// γ: the margin of `simpo` (1).
  @OwnDefault public var gamma: Double? = nil
  /// τ: how soft `discopop` switches (0.05).
  @OwnDefault public var tau: Double? = nil
  /// The divergence from the reference.
  public var divergence = FDivergence.reverseKL
  /// α of the divergence `alpha`.
  public var divergenceAlpha = 0.5
  /// Weight of the chosen response's negative log-likelihood; null is the loss's own (0, `cpo` and
  /// `orpo` 1).
  @OwnDefault public var sftWeight: Double? = nil
  /// What that likelihood is divided by.
  public var nllReduction = TokenReduction.sequence
  /// What that likelihood is of.
  public var nllOver = PreferenceSettings.LikelihoodOver.completion
  /// What is done with 'tie' and 'both bad'.
  public var ties = RewardSettings.Ties.skip
  /// Whether soft labels are rounded where the loss can't read them.
  public var harden = false
  /// α of XPO's bonus: the weight of log π of a row's `explored` answer, which the reference gave;
  /// `iterate` writes such rows. 0 is off.
  public var xpoAlpha = 0.0
  /// Whether a row's `probability` is its label; else the chosen answer is simply the better one.
  public var softLabels = true

  /// Whether the reference's log-probabilities are computed once, before training.
  public var precomputeReference = true
  /// Passes over the data.
  public var epochs = 1
  /// Optimiser steps at most; 0 is no limit.
  public var maxSteps = 0
  /// Pairs that an optimiser step sees.
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
  /// The seed of the order of rows and the held-out choice.
  public var seed: UInt64 = 0

  /// The defaults.
  public init() {}

  /// Knobs without effect.
  public var unreadKnobs: [(knob: String, why: String)] {
    let names: [(PreferenceSettings.Knob, String)] = [
      (.beta, "beta"), (.smoothing, "smoothing"), (.lengthNormalised, "length_normalised"),
      (.lambda, "lambda"), (.alpha, "length_price"), (.gamma, "gamma"), (.tau, "tau"),
      (.divergence, "divergence"), (.divergenceAlpha, "divergence_alpha"),
      (.sftWeight, "sft_weight"), (.nllReduction, "nll_reduction"), (.nllOver, "nll_over"),
      (.ties, "ties"), (.harden, "harden"),
    ]
    var list = unreadTrainingKnobs
    for (knob, name) in names where !loss.reads.contains(knob) {
      let readers = PreferenceLoss.allCases.filter { $0.reads.contains(knob) }
      let who = readers.map(\.rawValue).joined(separator: ", ")
      list.append(
        (name, "\(loss.rawValue) does not read it; \(who) \(readers.count == 1 ? "does" : "do")"))
    }
    if !loss.needsReference {
      list.append(("precompute_reference", "\(loss.rawValue) needs no reference"))
    }
    return list
  }

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
  var objective: PreferenceSettings {
    var settings = PreferenceSettings()
    settings.beta = beta
    settings.smoothing = smoothing
    settings.lengthNormalised = lengthNormalised
    settings.lambda = lambda
    settings.alpha = lengthPrice
    settings.gamma = gamma
    settings.tau = tau
    settings.divergence = divergence
    settings.divergenceAlpha = divergenceAlpha
    settings.sftWeight = sftWeight
    settings.nllReduction = nllReduction
    settings.nllOver = nllOver
    settings.ties = ties
    settings.harden = harden
    return settings
  }
}

extension DPOSettings {
  /// What the loss asks for.
  package var needs: ContrastiveNeeds {
    ContrastiveNeeds(
      loss: loss.rawValue, reference: loss.needsReference, currentScores: loss.needsCurrentScores,
      promptScores: nllOver == .promptAndCompletion)
  }
}

/// Direct preference optimisation and its relatives: pairs, no reward model, no sampling.
///
/// Chosen and rejected share their prompt's pass; the reference's log-probabilities are computed once
/// and kept beside the data.
///
/// Paper: Rafailov et al. 2023, arXiv:2305.18290.
public enum DPO {
  /// Trains a policy on pairs and writes it.
  ///
  /// - Parameters:
  ///   - start: The policy's start.
  ///   - reference: The reference; nil is the start itself. Handed over (`consume`), the weights of
  ///     both go once nothing reads them any more.
  ///   - trained: A policy that was trained from the start with the same `train` knobs and opened
  ///     beside it: its numbers are gone on with.
  ///   - data: Preferences.
  ///   - heldOut: Preferences for evaluation; without them some of the prompts are held out.
  ///   - settings: The knobs.
  ///   - output: The run's folder, where the policy is written too.
  ///   - options: How the run is watched and stopped.
  /// - Returns: What it came to.
  /// - Throws: An error that names what is at fault; `interrupted` after a clean stop.
  public static func train(
    _ start: consuming LoadedModel, reference: consuming LoadedModel? = nil,
    goingOnWith trained: LoadedModel? = nil, data: DataFile, heldOut: DataFile? = nil,
    settings: DPOSettings, output: URL, options: RunOptions = RunOptions()
  ) throws -> ContrastiveReport {
    try settings.validate()
    try settings.check(against: start.model.spec)
    let loss = settings.loss
    if reference != nil, !loss.needsReference {
      throw TrainingError(
        .badSetting, "\(loss.rawValue) needs no reference: leave it out, or use a loss such as dpo")
    }
    RunFolder.resumeClock(of: output, options)
    let encoder = try TextEncoder(
      copy start, maximumLength: settings.maxLength, tooLong: settings.tooLong)
    let rows = try ContrastiveData(data, heldOut: heldOut) { try Self.rows($0, encoder, settings) }
    guard settings.xpoAlpha == 0 || rows.training.contains(where: { $0.encoded.answers.count > 2 })
    else {
      throw TrainingError(
        .badData,
        "\(data.url.path): no row has an answer of the reference under \"explored\", which xpo_alpha "
          + "reads; attune iterate writes such rows")
    }
    let margins = data.rows.count {
      guard case .preference(let pair) = $0.example else { return false }
      return (pair.margin ?? 0) != 0
    }
    let remarks =
      margins > 0
      ? ["warning: \(margins) rows have a margin, which dpo does not read; reward does"] : []
    let open = try ContrastiveRun(
      "dpo", start, reference: reference, goingOnWith: trained, data: rows, needs: settings.needs,
      remarks: remarks, encoder: encoder, settings: settings, output: output, options: options)
    let batchLoss = batchLoss(settings)

    while open.run.goesOn {
      let batch = open.batch()
      let totals = try open.run.step(on: batch.map(\.encoded)) { _ in
        try open.scores.accumulate(batch, batchLoss)
      }
      try open.finish(batch, totals)
    }
    return try open.close(batchLoss)
  }

  /// The loss of a batch of pairs; a row's third answer is the one that XPO's bonus is on.
  package static func batchLoss(_ settings: DPOSettings)
    -> ContrastiveScores<PreferenceLabel>.BatchLoss
  {
    let (loss, objective) = (settings.loss, settings.objective)
    return { batch, responses, _ in
      func rows(_ places: Range<Int>, _ responses: [[ScoredResponse]]) -> [PreferenceRow] {
        zip(batch[places], responses).map {
          PreferenceRow(
            chosen: $1[0], rejected: $1[1], probability: $0.label.probability,
            outcome: $0.label.outcome)
        }
      }
      let statistics = try loss.statistics(
        of: rows(batch.indices, responses), settings: objective)
      return { places, responses in
        var result = try loss.loss(
          rows(places, responses), at: Array(places), statistics: statistics, settings: objective)
        guard settings.xpoAlpha > 0 else { return result }
        let bonus = ExplorationBonus.loss(
          responses.map { $0.count > 2 ? $0[2].policy : nil }, rows: batch.count,
          alpha: settings.xpoAlpha)
        result.loss += bonus.loss
        result.metrics.merge(bonus.metrics)
        for (row, gradient) in bonus.logProbabilities.enumerated() {
          result.logProbabilities[row].insert(contentsOf: gradient, at: 2)
        }
        return result
      }
    }
  }

  /// The pairs that the loss can use.
  package static func rows(
    _ data: DataFile, _ encoder: TextEncoder, _ settings: DPOSettings
  ) throws -> (rows: [ContrastiveRow<PreferenceLabel>], account: RowAccount) {
    var account = RowAccount(data)
    let objective = settings.objective
    let rows = try account.rows(data) { row in
      guard case .preference(let pair) = row.example else {
        throw TrainingError(
          .badData,
          "line \(row.line): \(row.example.kind.rawValue) data; dpo learns from "
            + "pairs (chosen, rejected); for thumbs there is kto, for rankings reward")
      }
      do {
        let label = PreferenceLabel(
          probability: settings.softLabels ? pair.probability ?? 1 : 1,
          outcome: Comparison.Outcome(rawValue: pair.outcome.rawValue) ?? .preferred)
        let encoded = try group(row, pair, encoder, settings)
        if label.outcome == .preferred { try encoder.requireDifferent(encoded) }
        // The sorted losses read no ties at all; they are left out here.
        if settings.loss.needsCurrentScores, label.outcome != .preferred {
          throw PassedOver(row.line, "\(settings.loss.rawValue) reads no ties")
        }
        guard encoded.answers.prefix(2).allSatisfy({ !$0.scored.allSatisfy(\.isEmpty) }) else {
          throw TrainingError(
            .badData, "line \(row.line): the row has a response without tokens")
        }
        guard try settings.loss.check(label: label, settings: objective) else {
          throw PassedOver(row.line, "says nothing that \(settings.loss.rawValue) can use")
        }
        return ContrastiveRow(label: label, encoded: encoded)
      } catch let error as ObjectiveError {
        throw TrainingError(.badData, "line \(row.line): \(error.message)")
      }
    }
    guard !rows.isEmpty else {
      throw TrainingError(
        .badData,
        account.summary(of: data.url.path)
          ?? "\(data.url.path): no row says anything that \(settings.loss.rawValue) can use")
    }
    return (rows, account)
  }

  /// Both answers as tokens, and the one that XPO's bonus is on where a row has it.
  private static func group(
    _ row: Row, _ pair: Preference, _ encoder: TextEncoder, _ settings: DPOSettings
  ) throws -> EncodedGroup {
    guard settings.xpoAlpha > 0, case .string(let explored)? = row.json["explored"] else {
      return try encoder.group(row)
    }
    func ended(_ answer: String) -> Bool {
      row.json["\(answer)_finish_reason"] != .string("length")
    }
    return try encoder.group(
      prompt: pair.prompt,
      answers: [
        (pair.chosen, ended("chosen")), (pair.rejected, ended("rejected")),
        (.text(explored), ended("explored")),
      ],
      sampled: ["chosen_ids", "rejected_ids", "explored_ids"].map { TextEncoder.ids(row, $0) },
      line: row.line)
  }
}
