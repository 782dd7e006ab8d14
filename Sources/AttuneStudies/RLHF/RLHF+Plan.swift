// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneRewards
import AttuneTraining

extension RLHF {
  /// What the stages that train would take: the reward model, and the policy of the last round. Sampling and
  /// evaluation take less than the policy's training, which samples too, or than one pass of it.
  ///
  /// Answers are as long as they may be, for none has been drawn yet.
  ///
  /// - Parameters:
  ///   - inputs: Model and prompts.
  ///   - start: The model, opened.
  ///   - settings: The knobs of all stages.
  ///   - isWhole: Whether changes are tried, and the work on a few tokens, where a stage fits too.
  /// - Throws: An error that names what is at fault.
  static func plans(
    _ inputs: Inputs, of start: LoadedModel, settings: RLHFSettings, isWhole: Bool
  ) throws -> [RunPlan] {
    let (spec, data) = (
      start.model.spec, try DataFile.rows(inputs.prompts.map { .prompt($0.prompt) })
    )
    let room = min(settings.sample.maxTokens, spec.maximumPositions - 1)
    var prompts = try TextEncoder(start).prompts(data, room: room, byRow: false).ids
      .map { RowShape(prompt: $0, for: start.model) }
    if inputs.heldOut == nil {
      let share = Int((Double(prompts.count) * settings.heldOutShare).rounded())
      prompts.removeLast(min(share, prompts.count - 1))
    }
    let (reward, policy) = (settings.reward, settings.policyKnobs)
    if settings.hasGrader {
      return [
        try plan(
          policy, rows: try policy.plannedRows(data, heldOut: nil, of: start), of: start,
          prefix: "\(settings.method.rawValue).", isWhole: isWhole)
      ]
    }
    var rewardWork = ModelWork(reward.trainable(spec))
    rewardWork.scalarHead = true
    let rows =
      settings.method.readsPreferences
      ? settings.preferences(prompts, for: policy)
      : try policy.plannedRows(data, heldOut: nil, of: start)
    return [
      try plan(
        reward, rows: settings.preferences(prompts, for: reward), of: start, prefix: "reward.",
        isWhole: isWhole),
      // The learned reward lies beside the policy while that is trained.
      try plan(
        policy, rows: rows, of: start,
        beside: try start.model.memory(for: rewardWork)[.weights],
        prefix: "\(settings.method.rawValue).", isWhole: isWhole),
    ]
  }

  private static func plan<S: PlansRuns>(
    _ settings: S, rows: PlannedRows, of start: LoadedModel, beside others: Int = 0,
    prefix: String, isWhole: Bool
  ) throws -> RunPlan {
    let spec = start.model.spec
    var plan = try RunPlan(
      settings, rows: rows, spec, name: start.name, memory: start.model.memory,
      loaded: RunPlan.weights(of: start.model), beside: others, asks: false,
      prefix: prefix, isWhole: isWhole)
    if isWhole, plan.fits { try plan.measure(settings, rows, start) }
    return plan
  }
}

extension RLHFSettings {
  /// The preferences of all rounds over answers to some prompts.
  ///
  /// - Parameters:
  ///   - prompts: The prompts, without answers.
  ///   - trainer: What reads them.
  fileprivate func preferences(
    _ prompts: [RowShape], for trainer: any PlansRuns
  ) -> PlannedRows {
    let isRanking = !hasPeople && (hasJudge ? judge.shape : label.shape) == .rankings
    let drawn = hasJudge ? judge.pairsPerPrompt : label.pairsPerPrompt
    let pairs = drawn > 0 ? drawn : sample.n * (sample.n - 1) / 2
    // A pair is two rows to what learns from thumbs.
    let reads = (trainer as? any PlansRowRuns)?.rowPasses.answers ?? 2
    let (answers, parts) = isRanking ? (sample.n, 1) : reads == 1 ? (1, 2) : (2, 1)
    var asked = prompts.flatMap {
      [RowShape](repeating: $0, count: (isRanking ? 1 : pairs) * rounds)
    }
    if hasPeople {
      asked = Array(asked.sorted { $0.prompt > $1.prompt }.prefix(people.labels * rounds))
    }
    let rows = asked.flatMap {
      [RowShape](repeating: $0.with(answers: answers, of: sample.maxTokens), count: parts)
    }
    let longest = (trainer as? any ReadsRows)?.maxLength ?? 0
    return PlannedRows(training: longest > 0 ? rows.map { $0.cut(to: longest) } : rows)
  }
}
