// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneData
import AttuneEngine
import AttuneObjectives

/// Whom a policy is to become like: a model, and what it is told that the policy is not.
struct Teacher {
  /// The name that stands for the model that the policy starts from.
  static let same = "same"

  private let loaded: LoadedModel
  private let system: String
  private let encoder: TextEncoder
  /// Tokens of the longest answer.
  private let room: Int
  private let temperature: Double
  private let pieceTokens: Int

  /// Opens a teacher.
  ///
  /// - Parameters:
  ///   - settings: The trainer's knobs.
  ///   - start: The model that the policy starts from.
  /// - Throws: `TrainingError` where its tokens are others, or a prompt would leave no room for an answer.
  init(_ settings: DistillSettings, of start: LoadedModel) throws {
    loaded =
      settings.teacher == Self.same ? start : try LoadedModel.open(settings.teacher, beside: start)
    if let difference = loaded.tokensDiffer(from: start) {
      throw TrainingError(
        .badModel,
        "teacher \(loaded.name): its tokens are others than those of \(start.name) (\(difference)), so that "
          + "it can't say how probable an answer's tokens are; take a teacher with the same tokenizer, or "
          + "train on its answers as texts: attune sample, then attune sft")
    }
    guard !settings.teacherSystem.isEmpty || loaded.fingerprint != start.fingerprint else {
      throw TrainingError(
        .badSetting,
        "teacher \(settings.teacher): is the model that the policy starts from, which has nothing to learn from "
          + "it; say what it is told beside (teacher_system), or name another")
    }
    encoder = try TextEncoder(loaded)
    system = settings.teacherSystem
    room = settings.maxTokens
    temperature = settings.temperature
    pieceTokens = settings.pieceTokens
    guard room < encoder.maximumLength else {
      throw TrainingError(
        .badSetting,
        "answers of \(room) tokens leave no room for a prompt in the \(encoder.maximumLength) of the "
          + "teacher \(loaded.name)")
    }
  }

  /// What tells it from others, beside what it is told.
  var fingerprint: String { loaded.fingerprint }

  /// Its model, where that is another than the policy's start.
  func other(than start: LoadedModel) -> LoadedModel? {
    loaded.fingerprint == start.fingerprint ? nil : loaded
  }

  /// A prompt as it is given it: a conversation with what it is told as, or in front of, the words of
  /// the system; a text behind them.
  ///
  /// - Throws: As `TextEncoder.prompt`.
  private func prompt(_ content: Content) throws -> [Int32] {
    var content = content
    if !system.isEmpty {
      switch content {
      case .text(let text): content = .text(system + "\n\n" + text)
      case .messages(var messages):
        if messages.first?.role == "system" {
          messages[0].content = system + "\n\n" + messages[0].content
        } else {
          messages.insert(Message(role: "system", content: system), at: 0)
        }
        content = .messages(messages)
      }
    }
    return encoder.end(of: try encoder.prompt(content), encoder.maximumLength - room)
  }

  /// The prompts of a rollout as it is given them.
  private func prompts(of rollout: Rollout) throws -> [[Int32]] {
    try rollout.prompts.map { try prompt($0.content) }
  }

  /// Its answers to prompts, as log-probabilities of its own.
  ///
  /// - Returns: For each prompt its answers.
  func answers(
    to prompts: [DataPrompt], _ sampling: SamplingSettings, shouldStop: @escaping () -> Bool
  ) throws -> [[Sample]] {
    try loaded.model.answers(to: prompts.map { try prompt($0.content) }, sampling) { _ in
      !shouldStop()
    }
  }

  /// Some segments of a rollout as it sees them: its own prompts with the same answers.
  private func segments(
    _ rollout: Rollout, _ chosen: [Int], prompts: [[Int32]]
  ) -> [Segment] {
    // A prompt's segments follow it, and prompts come in their order.
    var prompt: [Int: Int] = [:]
    for answer in rollout.answers {
      if let parent = rollout.segments[answer.segment].parent { prompt[parent] = answer.prompt }
    }
    return zip(chosen, rollout.request(chosen, scored: true, values: false)).map { place, segment in
      var segment = segment
      if let own = prompt[place] { segment.ids = prompts[own] }
      return segment
    }
  }

  /// The log-probabilities of all answers' tokens under it, at the sampling temperature.
  func logProbabilities(of rollout: Rollout) throws -> [[Double]] {
    let prompts = try prompts(of: rollout)
    return try eachAnswer(of: rollout) { chosen in
      try loaded.model.score(
        segments(rollout, chosen, prompts: prompts), HeadRequest(temperature: temperature)
      ).logProbabilities
    }
  }

  /// How far a policy is from it at each token of all answers, in nats: KL(π ‖ T) of the next token.
  func divergence(of policy: any LanguageModel, on rollout: Rollout) throws -> [[Double]] {
    let prompts = try prompts(of: rollout)
    return try eachAnswer(of: rollout) { chosen in
      try policy.divergence(
        rollout.request(chosen, scored: true, values: false),
        from: request(rollout, chosen, prompts: prompts, mix: 1), weights: nil, trunk: nil)
    }
  }

  private func request(
    _ rollout: Rollout, _ chosen: [Int], prompts: [[Int32]], mix: Double
  ) -> TeacherRequest {
    TeacherRequest(
      loaded.model, segments(rollout, chosen, prompts: prompts), mix: mix, temperature: temperature)
  }

  /// What a pass says of each answer.
  private func eachAnswer(
    of rollout: Rollout, _ pass: (_ segments: [Int]) throws -> [[Double]]
  ) throws -> [[Double]] {
    let pieces = rollout.pieces(
      Array(rollout.prompts.indices), for: loaded.model, budget: pieceTokens)
    let results = try Collective.current.map(pieces) { piece in
      let (chosen, answers) = rollout.indices(of: piece)
      let lists = try pass(chosen)
      return rollout.places(of: answers, in: chosen).map { lists[$0] }
    }
    var all = rollout.answers.map { _ in [Double]() }
    for (piece, lists) in zip(pieces, results) {
      for (answer, list) in zip(rollout.indices(of: piece).answers, lists) { all[answer] = list }
    }
    return all
  }

  /// Adds the gradient of the mean divergence of the tokens of the answers to some prompts.
  ///
  /// - Parameters:
  ///   - rollout: The rollout.
  ///   - batch: The prompts.
  ///   - mix: β of the generalised Jensen–Shannon divergence.
  ///   - policy: The policy.
  /// - Returns: The metrics of the minibatch.
  func teach(
    _ rollout: ScoredRollout, _ batch: [Int], mix: Double, to policy: any LanguageModel
  ) throws -> MetricTotals {
    let sampled = rollout.sampled
    let prompts = try prompts(of: sampled)
    func ones(_ segments: [Segment]) -> [[Double]] {
      segments.map { [Double](repeating: 1, count: $0.scored.isEmpty ? 0 : $0.ids.count) }
    }
    let all = sampled.request(sampled.indices(of: batch).segments, scored: true, values: false)
    let statistics = TokenLoss.statistics(weights: ones(all))
    let results = try policy.accumulate(sampled.pieces(batch, for: policy, budget: pieceTokens)) {
      piece in
      let (chosen, _) = sampled.indices(of: piece)
      let segments = sampled.request(chosen, scored: true, values: false)
      let weights = ones(segments)
      let divergences = try policy.divergence(
        segments, from: request(sampled, chosen, prompts: prompts, mix: mix),
        weights: statistics.scaled(weights),
        trunk: rollout.trunk?.shared(by: policy)?.selecting(chosen))
      return PieceResult(
        DistillationLoss.loss(
          divergences: divergences, weights: weights, statistics: statistics))
    }
    return MetricTotals(merging: results.map(\.metrics))
  }
}

extension LoadedModel {
  /// The first token in which another model's tokenizer differs from this one's; nil where they are one.
  package func tokensDiffer(from other: LoadedModel) -> String? {
    let (own, theirs) = (tokenizer, other.tokenizer)
    for id in 0..<Int32(max(own.vocabularySize, theirs.vocabularySize)) {
      let (a, b) = (own.token(of: id), theirs.token(of: id))
      guard a != b else { continue }
      func words(_ token: String?) -> String { token.map { "“\($0)”" } ?? "none" }
      return "token \(id) is \(words(a)) and \(words(b))"
    }
    return nil
  }
}
