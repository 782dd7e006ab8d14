// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneEngine
public import AttuneObjectives
public import Foundation

/// The knobs of training on pairs.
public struct DPOSettings: ContrastiveSettings {
  /// The knobs of every trainer.
  @Flattened public var training = TrainingSettings.keepingTrunks
  /// The loss.
  public var loss = PreferenceLoss.dpo
  /// The loss's own knobs.
  @Flattened public var objective = PreferenceSettings()
  /// α of XPO's bonus: the weight of log π of a row's `explored` answer, which the reference gave;
  /// `iterate` writes such rows. 0 is off.
  public var xpoAlpha = 0.0
  /// Whether a row's `probability` is its label; else the chosen answer is simply the better one.
  public var softLabels = true
  /// Whether the reference's log-probabilities are computed once, before training.
  public var precomputeReference = true
  /// Passes over the data.
  @Flattened public var rows = RowsSettings()
  /// Share of the prompts held out for evaluation where no file is given for it.
  public var evaluationShare = 0.1

  /// A knob of the loss.
  public subscript<Value>(dynamicMember knob: WritableKeyPath<PreferenceSettings, Value>) -> Value {
    get { objective[keyPath: knob] }
    set { objective[keyPath: knob] = newValue }
  }

  /// The defaults.
  public init() {
    training.weights.layers = 0
  }

  /// Every knob.
  public static let knobs: [Knob] =
    WeightsSettings.knobs() + [
      Knob("loss", "The loss.", .choice(PreferenceLoss.self)),
      Knob(
        "beta",
        "β: what a nat of log-ratio is worth; null is the loss's own (0.1, `dpop` 0.3, `simpo` 2).",
        .number(.above(0)), orNull: true),
      Knob(
        "smoothing",
        "ε, the share of labels taken to be wrong; null is the loss's own (0, `robust` 0.1, `exo` "
          + "0.001).", .number(.from(0, to: 1)), orNull: true),
      Knob(
        "length_normalised", "Whether `ipo` divides log-ratios by the response's tokens.", .flag),
      Knob(
        "lambda", "λ: the penalty of `dpop` (50), the weight of the odds of `orpo` (0.1).",
        .number(.atLeast(0)), orNull: true),
      Knob(
        "length_price", "What a token costs in `rdpo` (0.01).", .number(.finite), orNull: true),
      Knob("gamma", "γ: the margin of `simpo` (1).", .number(.finite), orNull: true),
      Knob("tau", "τ: how soft `discopop` switches (0.05).", .number(.above(0)), orNull: true),
      Knob("divergence", "The divergence from the reference.", .choice(FDivergence.self)),
      Knob("divergence_alpha", "α of the divergence `alpha`.", .number(.finite)),
      Knob(
        "sft_weight",
        "Weight of the chosen response's negative log-likelihood; null is the loss's own (0, `cpo` "
          + "and `orpo` 1).", .number(.atLeast(0)), orNull: true),
      Knob(
        "nll_reduction", "What that likelihood is divided by.", .choice(TokenReduction.self)),
      Knob(
        "nll_over", "What that likelihood is of.",
        .choice(PreferenceSettings.LikelihoodOver.self)),
      Knob(
        "ties", "What is done with 'tie' and 'both bad'.", .choice(RewardSettings.Ties.self)),
      Knob.harden,
      Knob(
        "xpo_alpha",
        "α of XPO's bonus: the weight of log π of a row's `explored` answer, which the reference "
          + "gave; `iterate` writes such rows. 0 is off.", .number(.atLeast(0))),
      Knob.softLabels, Knob.precomputeReference,
    ]
    + RowsSettings.knobs(batch: "Pairs") + OptimiserSettings.knobs + [Knob.evaluationShare]
    + EngineSettings.knobs(cutBetween: "rows", keepsTrunks: true) + [
      TrainingSettings.checkpointSeconds,
      Knob.seed("the order of rows and the held-out choice"),
    ]

  /// Knobs without effect.
  public var unreadKnobs: [(knob: String, why: String)] {
    var list = training.weights.unreadKnobs
    for knob in PreferenceSettings.Knob.allCases where !loss.reads.contains(knob) {
      let readers = PreferenceLoss.allCases.filter { $0.reads.contains(knob) }
      let who = readers.map(\.rawValue).joined(separator: ", ")
      list.append(
        (
          knob.rawValue,
          "\(loss.rawValue) does not read it; \(who) \(readers.count == 1 ? "does" : "do")"
        ))
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
      _ = try PreferenceObjective(loss, objective)
    } catch let error as ObjectiveError {
      throw TrainingError(.badSetting, error.message)
    }
  }
}

extension DPOSettings: PolicyMethod {
  package static let summary = "a loss on the collected pairs (dpo.loss)"
  package static var variants: (knob: String, all: [MethodVariant<Self>])? {
    ("loss", variants(\.loss))
  }
  package var readsBeta: Bool { loss.reads.contains(.beta) }

  package mutating func setBeta(_ beta: Double) { objective.beta = beta }

  package func trainPolicy(_ task: PolicyTask) throws -> PolicyOutcome {
    try task.contrast {
      try DPO.train($0, data: $1, heldOut: $2, settings: self, output: $3, options: $4)
    }
  }
}

extension DPOSettings {
  /// What the loss asks for.
  package var needs: ContrastiveNeeds {
    ContrastiveNeeds(
      loss: loss.rawValue, reference: loss.needsReference, currentScores: loss.needsCurrentScores,
      promptScores: objective.nllOver == .promptAndCompletion)
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
    try settings.check(against: start.model)
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
    let batchLoss = try batchLoss(settings)

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
  package static func batchLoss(
    _ settings: DPOSettings
  ) throws -> ContrastiveScores<PreferenceLabel>.BatchLoss {
    let objective = try PreferenceObjective(settings.loss, settings.objective)
    return { batch, responses, _ in
      func rows(_ places: Range<Int>, _ responses: [[ScoredResponse]]) -> [PreferenceRow] {
        zip(batch[places], responses).map {
          PreferenceRow(
            chosen: $1[0], rejected: $1[1], probability: $0.label.probability,
            outcome: $0.label.outcome)
        }
      }
      let statistics = try objective.statistics(of: rows(batch.indices, responses))
      return { places, responses in
        var result = objective.loss(
          rows(places, responses), at: Array(places), statistics: statistics)
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
    let objective = try PreferenceObjective(settings.loss, settings.objective)
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
          outcome: PairComparison.Outcome(pair.outcome))
        let encoded = try group(row, pair, encoder, settings)
        if label.outcome == .preferred { try encoder.requireDifferent(encoded) }
        // The sorted losses read no ties at all; they are left out here.
        if settings.loss.sortsBatch, label.outcome != .preferred {
          throw PassedOver(row.line, "\(settings.loss.rawValue) reads no ties")
        }
        guard encoded.answers.prefix(2).allSatisfy({ !$0.scored.allSatisfy(\.isEmpty) }) else {
          throw TrainingError(
            .badData, "line \(row.line): the row has a response without tokens")
        }
        guard try objective.check(label: label) else {
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
    _ row: DataRow, _ pair: Preference, _ encoder: TextEncoder, _ settings: DPOSettings
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
