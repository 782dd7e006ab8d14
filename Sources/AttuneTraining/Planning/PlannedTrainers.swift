// SPDX-License-Identifier: Apache-2.0

package import AttuneData
import AttuneEngine
import AttuneObjectives

// What each trainer's runs are made of, for a plan.

extension SFTSettings: PlansRowRuns {
  package static var trainer: String { "sft" }
  package var rowPasses: RowPasses { RowPasses(kind: .supervised) }

  package func plannedRows(
    _ data: DataFile, heldOut: DataFile?, of start: LoadedModel
  ) throws -> PlannedRows {
    try SFT.plannedRows(data, heldOut: heldOut, of: start, self)
  }
}

extension RewardModelSettings: PlansRowRuns {
  package static var trainer: String { "reward" }
  package var rowPasses: RowPasses {
    RowPasses(scoresTokens: false, answers: 2, heldOutShare: evaluationShare)
  }

  package func plannedRows(
    _ data: DataFile, heldOut: DataFile?, of start: LoadedModel
  ) throws -> PlannedRows {
    let encoder = try TextEncoder(start, maximumLength: self.maxLength, tooLong: self.tooLong)
    return PlannedRows(
      try RewardData(data, heldOut: heldOut, encoder: encoder, settings: self), for: start.model)
  }
}

extension PlannedRows {
  init(
    _ groups: [EncodedGroup], heldOut: [EncodedGroup], for model: any LanguageModel,
    scoringPrompts: Bool
  ) {
    self.init(
      training: groups.map { RowShape($0, for: model, scoringPrompt: scoringPrompts) },
      heldOut: heldOut.map { RowShape($0, for: model, scoringPrompt: scoringPrompts) })
  }

  init(_ set: RewardData, for model: any LanguageModel) {
    self.init(
      training: set.training.map { RowShape($0.encoded, for: model) },
      heldOut: set.heldOut.map { RowShape($0.encoded, for: model) })
  }

  /// Rows of a contrastive trainer as they will be split, for which nothing is to be said yet.
  init<Label>(
    _ data: ContrastiveData<Label>, for model: any LanguageModel,
    _ settings: some ContrastiveSettings, _ needs: ContrastiveNeeds,
    pair: ([ContrastiveRow<Label>]) throws -> [ContrastiveRow<Label>]
  ) throws {
    func shapes(_ rows: [ContrastiveRow<Label>]) -> [RowShape] {
      rows.map { RowShape($0.encoded, for: model, scoringPrompt: needs.promptScores) }
    }
    var data = data
    try data.split(
      share: settings.evaluationShare, seed: settings.seed, loss: needs.loss, pair: pair
    ) { _ in }
    self.init(
      training: shapes(data.training), heldOut: shapes(data.heldOut),
      companions: data.training.compactMap { $0.companion.map { RowShape($0, for: model) } })
  }
}

extension DPOSettings: PlansRowRuns {
  package static var trainer: String { "dpo" }
  package var rowPasses: RowPasses {
    RowPasses(
      answers: xpoAlpha > 0 ? 3 : 2, reference: needs.reference,
      precomputed: precomputeReference, currentScores: needs.currentScores,
      heldOutShare: evaluationShare)
  }

  package func plannedRows(
    _ data: DataFile, heldOut: DataFile?, of start: LoadedModel
  ) throws -> PlannedRows {
    let encoder = try TextEncoder(start, maximumLength: self.maxLength, tooLong: self.tooLong)
    let rows = try ContrastiveData(data, heldOut: heldOut) { try DPO.rows($0, encoder, self) }
    return try PlannedRows(rows, for: start.model, self, needs) { $0 }
  }
}

extension KTOSettings: PlansRowRuns {
  package static var trainer: String { "kto" }
  package var rowPasses: RowPasses {
    RowPasses(
      reference: true, precomputed: precomputeReference, currentScores: loss.needsCurrentScores,
      companions: loss.needsMismatched, heldOutShare: evaluationShare)
  }

  package func plannedRows(
    _ data: DataFile, heldOut: DataFile?, of start: LoadedModel
  ) throws -> PlannedRows {
    let encoder = try TextEncoder(start, maximumLength: self.maxLength, tooLong: self.tooLong)
    let rows = try ContrastiveData(data, heldOut: heldOut) { try KTO.rows($0, encoder) }
    return try PlannedRows(rows, for: start.model, self, needs) {
      loss.needsMismatched ? try KTO.mismatched($0, encoder, data, self) : $0
    }
  }
}

extension PPOSettings: PlansRollouts {
  package static var trainer: String { "ppo" }
  package var rolloutPasses: RolloutPasses {
    RolloutPasses(
      values: hasValues && value == .shared, valueModel: hasValues && value == .separate)
  }
}

extension ReinforceSettings: PlansRollouts {
  package static var trainer: String { "reinforce" }
  package var rolloutPasses: RolloutPasses {
    RolloutPasses(values: baseline == .value, scoresInStep: baseline != .value)
  }
}

extension RLOOSettings: PlansRollouts {
  package static var trainer: String { "rloo" }
  package var rolloutPasses: RolloutPasses { RolloutPasses(scoresInStep: isOnPolicy) }
}

extension GRPOSettings: PlansRollouts {
  package static var trainer: String { "grpo" }
  package var rolloutPasses: RolloutPasses {
    RolloutPasses(
      scoresInStep: isOnPolicy && variant != .dapo, draws: variant == .dapo ? maxDraws : 1)
  }
}

extension RAFTSettings: PlansRollouts {
  package static var trainer: String { "raft" }
  package var rolloutPasses: RolloutPasses {
    let kept = Double(keep) / Double(max(1, rollout.samplesPerPrompt))
    return RolloutPasses(trained: selection == .best ? min(1, kept) : 1)
  }
}

extension DPGSettings: PlansRollouts {
  package static var trainer: String { "dpg" }
  package var rolloutPasses: RolloutPasses { RolloutPasses(proposal: method.loss.keepsProposal) }
}

extension BRAInSettings: PlansRollouts {
  package static var trainer: String { "brain" }
  package var rolloutPasses: RolloutPasses { RolloutPasses(proposal: refreshEvery > 1) }
}

extension DistillSettings: PlansRollouts {
  package static var trainer: String { "distill" }
  package var rolloutPasses: RolloutPasses {
    // Answers of others are scored by the policy too.
    RolloutPasses(
      scoresInStep: isSampled && isOnPolicy || [.reverseKL, .forwardKL].contains(method),
      distils: !isSampled && method != .sequence, teacher: true)
  }
  package var otherModel: String? { teacher == Teacher.same ? nil : teacher }
}
