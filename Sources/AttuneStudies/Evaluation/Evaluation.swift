// SPDX-License-Identifier: Apache-2.0

public import AttuneData
public import AttuneEngine
import AttuneFiles
import AttuneObjectives
public import AttuneRewards
public import AttuneTraining
public import Foundation

/// The knobs of evaluation.
public struct EvaluationSettings: Settings {
  /// Answers to each prompt; one at temperature 0.
  public var n = 4
  /// Most tokens of an answer.
  public var maxTokens = 64
  /// Sampling temperature; 0 takes the most probable token, of which there is no KL.
  public var temperature = 1.0
  /// Which numbers answers are drawn with; scores and KL are of the model's own.
  public var sampler = Sampler.same
  /// The confidence of every interval.
  public var confidence = 0.95
  /// Prompts, from the first, to which each model's greedy answer is kept too where answers are; 0: none.
  public var greedy = 32
  /// A file of instruction difficulties for length control; empty: that knows none.
  public var difficulties = ""
  /// Tokens that are worked on at once.
  public var pieceTokens = 2048
  /// The seed of samples and of the bootstrap; every model draws the same random numbers.
  public var seed: UInt64 = 0

  /// The defaults.
  public init() {}

  /// Answers to each prompt: greedy ones are all alike.
  var answersPerPrompt: Int { temperature == 0 ? 1 : n }

  /// The knobs as sampling takes them.
  var sampling: SampleSettings {
    var settings = SampleSettings()
    settings.n = answersPerPrompt
    settings.maxTokens = maxTokens
    settings.temperature = temperature
    settings.sampler = sampler
    settings.seed = seed
    return settings
  }
}

/// A model that is evaluated.
public struct EvaluatedModel {
  /// `policy`, `start` or `reference`.
  public var role: String
  /// The model.
  public var loaded: LoadedModel
  /// Answers that it gave to the same prompts with the same settings, if they are there already.
  public var answers: [[SampledAnswer]]?

  /// Makes one.
  ///
  /// - Parameters:
  ///   - role: `policy`, `start` or `reference`.
  ///   - loaded: The model.
  ///   - answers: Its answers, if they are there already.
  public init(role: String, loaded: LoadedModel, answers: [[SampledAnswer]]? = nil) {
    self.role = role
    self.loaded = loaded
    self.answers = answers
  }
}

/// Holds models against one another on prompts that nothing was trained on.
public enum Evaluation {
  /// Evaluates models.
  ///
  /// - Parameters:
  ///   - models: The policy first; then the start, if there is one.
  ///   - reference: What KL and perplexity are taken under; nil for neither.
  ///   - prompts: The prompts.
  ///   - rewards: Where rewards come from; weights are not read.
  ///   - settings: The knobs.
  ///   - judge: The knobs of judges that compare the policy's answers with the start's; nil for none.
  ///   - exactKL: Whether KL is also taken over the whole vocabulary at every position.
  ///   - style: Where progress goes.
  ///   - answersFile: Where every answer is written; nil for nowhere. What judges say is kept beside.
  /// - Returns: What was found.
  /// - Throws: An error that names a prompt, source, judge or file at fault.
  public static func run(
    _ models: [EvaluatedModel], reference: LoadedModel?, prompts: [DataPrompt],
    rewards: [any RewardSource], settings: EvaluationSettings, judge: JudgeSettings? = nil,
    exactKL: Bool = false, style: ProgressLine.Style = .automatic,
    answersFile: URL? = nil
  ) throws -> EvaluationReport {
    try settings.validate()
    let began = ContinuousClock.now
    guard !prompts.isEmpty else { throw TrainingError(.badData, "there is no prompt to answer") }
    let difficulties = try difficulties(settings, prompts: prompts.count, judge: judge, style)
    var facts: [EvaluationReport.Model] = []
    var byModel: [[String: [[Double]]]] = []
    var rows = prompts.map { EvaluatedPrompt(prompt: $0.content, answers: [:]) }
    for model in models {
      let encoder = try TextEncoder(model.loaded)
      // Answers must fit behind them.
      let room = max(1, encoder.maximumLength - settings.maxTokens)
      let ids = try prompts.map { encoder.end(of: try encoder.prompt($0.content), room) }
      let answers =
        try model.answers
        ?? Sampling.answers(
          model.loaded, prompts: ids, settings: settings.sampling,
          label: "answers of the \(model.role)", style: style)
      let pass = try pass(
        answers, of: model.loaded, ids: ids, reference: reference, rewards: rewards,
        pieceTokens: settings.pieceTokens)
      let scores = try score(answers, pass, prompts: prompts, by: rewards)
      byModel.append(scores)
      facts.append(
        try describe(
          model, answers: answers, pass, prompts: prompts, scores: scores,
          checking: rewards.first(where: \.isChecked), reference: reference, exactKL: exactKL,
          settings: settings))
      for i in prompts.indices {
        rows[i].answers[model.role] = answers[i].indices.map { j in
          EvaluatedAnswer(answers[i][j], rewards: scores.mapValues { $0[i][j] })
        }
      }
      if answersFile != nil, settings.greedy > 0 {
        let greedy = try greedyAnswers(
          of: model, to: prompts, ids: ids, rewards: rewards, settings: settings, style: style)
        for (i, row) in greedy.enumerated() {
          rows[i].greedy = (rows[i].greedy ?? [:]).merging([model.role: row]) { $1 }
        }
      }
    }
    if let answersFile {
      try AtomicFile.write(
        try rows.map { try JSONText.line($0) + "\n" }.joined(), to: answersFile)
    }
    var wins: [EvaluationReport.WinRate] = []
    if let start = models.firstIndex(where: { $0.role == "start" }), start > 0 {
      for source in rewards {
        guard let ours = byModel[0][source.name], let theirs = byModel[start][source.name] else {
          continue
        }
        wins.append(winRate(ours, theirs, by: source.name, settings: settings))
      }
      if let judge {
        let panel = try JudgePanel(
          judge, answers: answersFile?.appendingPathExtension("judged"),
          on: models[start].loaded.engine, beside: models[start].loaded,
          style: style)
        func texts(_ role: String) -> [[String]] {
          rows.map { $0.answers[role]?.map(\.text) ?? [] }
        }
        wins.append(
          try panel.winRate(
            texts(models[0].role), texts("start"), prompts: prompts.map(\.content),
            difficulties: difficulties, confidence: settings.confidence, seed: settings.seed))
      }
    }
    // Before comes before after, here as everywhere.
    let start = models.firstIndex { $0.role == "start" }
    let order = models.indices.filter { $0 == start } + models.indices.filter { $0 != start }
    return EvaluationReport(
      models: order.map { facts[$0] },
      winRate: wins.first {
        RewardSpecification.Kind.of(source: $0.reward)?.isLearned != true
      } ?? wins.first,
      winRates: wins, prompts: prompts.count, samplesPerPrompt: settings.answersPerPrompt,
      confidence: settings.confidence, reference: reference?.name,
      seconds: seconds(ContinuousClock.now - began))
  }

  /// Opens models and sources and evaluates.
  ///
  /// - Parameters:
  ///   - model: The policy.
  ///   - against: The model to win against; nil for none.
  ///   - reference: What KL is taken from; nil: the model to win against, or for preferences what the
  ///     policy was trained from, if it says so.
  ///   - data: Rows with prompts; each prompt counts once, or each row where a reward reads rows. Of preferences the implicit reward is
  ///     measured too.
  ///   - rewards: Where rewards come from.
  ///   - settings: The knobs.
  ///   - judge: The knobs of judges; nil for none.
  ///   - exactKL: Whether KL is also taken over the whole vocabulary at every position.
  ///   - answersFile: Where every answer is written; nil for nowhere.
  ///   - engine: What computes models.
  /// - Throws: An error that names a model, line, source or file at fault.
  public static func run(
    model: String, against: String?, reference: String?, data: DataFile,
    rewards: [RewardSpecification], settings: EvaluationSettings, judge: JudgeSettings? = nil,
    exactKL: Bool = false, answersFile: URL?, on engine: any Engine
  ) throws -> EvaluationReport {
    if exactKL, settings.temperature == 0 {
      throw TrainingError(
        .badSetting, "--exact-kl at temperature 0: greedy answers are no draws, there is no KL")
    }
    if let judge {
      guard against != nil else {
        throw TrainingError(
          .badSetting, "a judge compares two models: name the other one with --against")
      }
      try judge.validate()
      // What can fail for want of a file fails before anything is sampled.
      _ = try Constitution.named(judge.constitution)
    }
    // What others were trained from is opened first, so that they share its weights.
    let start = try against.map { try LoadedModel.open($0, on: engine) }
    var remarks: [String] = []
    var base = try reference.map { try LoadedModel.open($0, on: engine, beside: start) } ?? start
    if base == nil, data.kind == .preference {
      do {
        base = try LoadedModel.openBase(of: model, on: engine)
      } catch let error as TrainingError {
        remarks.append(
          "warning: \(error.message); without it neither KL nor the implicit reward is measured: "
            + "--reference names another")
      }
    }
    let policy = try LoadedModel.open(model, on: engine, beside: base)
    if exactKL { try requireExactKL([policy, start].compactMap(\.self), from: base) }
    let sources = try RewardSources(
      rewards, on: engine, beside: base ?? policy,
      answers: answersFile?.appendingPathExtension("judged"))
    try data.check(for: sources.weighted.map(\.source))
    let encoder = try TextEncoder(policy)
    let set = try encoder.prompts(
      data, room: settings.maxTokens, byRow: RewardSources.readRows(sources.weighted))
    let prompts = set.prompts
    var progress = ProgressLine("evaluate", total: 1)
    for remark in remarks
      + set.remarks(of: data.url.lastPathComponent, encoder, room: settings.maxTokens)
    {
      progress.say(remark)
    }
    var models = [EvaluatedModel(role: "policy", loaded: policy)]
    if let start { models.append(EvaluatedModel(role: "start", loaded: start)) }
    let began = ContinuousClock.now
    let preferences =
      data.kind == .preference
      ? try base.map {
        try PreferenceEvaluation.run(data, policy: policy, reference: $0, settings: settings)
      } : nil
    let elapsed = ContinuousClock.now - began
    var report = try run(
      models, reference: base, prompts: prompts, rewards: sources.weighted.map(\.source),
      settings: settings, judge: judge, exactKL: exactKL, answersFile: answersFile)
    report.preferences = preferences
    let costs = sources.weighted.compactMap { source in
      source.source.takeCost().map { (source.source.name, $0) }
    }
    if !costs.isEmpty { report.judges = Dictionary(uniqueKeysWithValues: costs) }
    report.seconds += seconds(elapsed)
    return report
  }

  /// How hard each prompt is, if a file says so.
  private static func difficulties(
    _ settings: EvaluationSettings, prompts: Int, judge: JudgeSettings?, _ style: ProgressLine.Style
  ) throws -> [Double]? {
    guard !settings.difficulties.isEmpty else { return nil }
    guard judge != nil else {
      throw TrainingError(
        .badSetting, "difficulties is set but not read: it is of a judge's win rate (--judge)")
    }
    let (values, others) = try InstructionDifficulties.read(settings.difficulties, prompts: prompts)
    if others > 0 {
      var progress = ProgressLine("evaluate", total: 1, style: style)
      progress.say(
        "warning: \(settings.difficulties): \(others) difficulties are of no prompt here")
    }
    return values
  }

  /// Refuses models of whose vocabularies no exact KL can be taken, before anything is sampled.
  private static func requireExactKL(_ models: [LoadedModel], from reference: LoadedModel?) throws {
    guard let reference else {
      throw TrainingError(
        .badSetting,
        "--exact-kl is taken from a reference: name one with --reference or --against")
    }
    for model in models {
      let (ours, theirs) = (model.model.spec, reference.model.spec)
      guard ours.vocabularySize == theirs.vocabularySize, ours.width == theirs.width else {
        throw TrainingError(
          .badSetting,
          "--exact-kl is between models of one vocabulary and width: \(model.name) has "
            + "\(ours.vocabularySize) tokens and width \(ours.width), \(reference.name) has "
            + "\(theirs.vocabularySize) and \(theirs.width)")
      }
    }
  }

  // MARK: Rewards

  /// The answers as everybody reads them: what the model, the reference and reward models have in common is
  /// computed once.
  static func pass(
    _ answers: [[SampledAnswer]], of loaded: LoadedModel, ids: [[Int32]], reference: LoadedModel?,
    rewards: [any RewardSource], pieceTokens: Int
  ) throws -> SharedPass {
    let layers =
      [loaded, reference].compactMap { $0 }.filter { $0.origin == loaded.origin }
      .map(\.model.sharedLayers) + rewards.compactMap { $0.sharedLayers(with: loaded.origin) }
    return try SharedPass(
      prompts: ids, answers: answers.map { $0.map(\.completion.ids) }, of: loaded,
      layers: layers.min() ?? 0, pieceTokens: pieceTokens)
  }

  /// Each source's reward of every answer of every prompt.
  static func score(
    _ answers: [[SampledAnswer]], _ shared: SharedPass, prompts: [DataPrompt],
    by sources: [any RewardSource]
  ) throws -> [String: [[Double]]] {
    let flat = answers.flatMap(\.self).map(\.completion)
    let asked = zip(prompts, answers).flatMap { prompt, answers in answers.map { _ in prompt } }
    var all: [String: [[Double]]] = [:]
    for source in sources {
      all[source.name] = byPrompt(
        try source.checkedScores(prompts: asked, completions: flat, shared: shared), answers)
    }
    return all
  }

  /// Values of all answers one after another, a list a prompt.
  private static func byPrompt<Value>(_ flat: [Value], _ answers: [[SampledAnswer]]) -> [[Value]] {
    var next = 0
    return answers.map { answers in
      defer { next += answers.count }
      return Array(flat[next..<next + answers.count])
    }
  }

  /// Every answer against every other of the same prompt; ties count half.
  static func winRate(
    _ ours: [[Double]], _ theirs: [[Double]], by name: String, settings: EvaluationSettings
  ) -> EvaluationReport.WinRate {
    var ties = 0
    var pairs = 0
    let groups = zip(ours, theirs).map { ours, theirs in
      var points: [Double] = []
      for a in ours {
        for b in theirs {
          points.append(a > b ? 1 : a == b ? 0.5 : 0)
          pairs += 1
          if a == b { ties += 1 }
        }
      }
      return points
    }
    let estimate = Statistics.mean(
      ofGroups: groups, confidence: settings.confidence, seed: settings.seed)
    return EvaluationReport.WinRate(
      value: estimate.value, interval: Interval(estimate.interval),
      ties: pairs > 0 ? Double(ties) / Double(pairs) : 0, reward: name)
  }

  /// A model's most probable answers to the first prompts, with their rewards.
  private static func greedyAnswers(
    of model: EvaluatedModel, to prompts: [DataPrompt], ids: [[Int32]],
    rewards: [any RewardSource], settings: EvaluationSettings, style: ProgressLine.Style
  ) throws -> [EvaluatedAnswer] {
    let asked = Array(prompts.prefix(settings.greedy))
    let ids = Array(ids.prefix(settings.greedy))
    var sampling = settings.sampling
    sampling.n = 1
    sampling.temperature = 0
    let answers = try Sampling.answers(
      model.loaded, prompts: ids, settings: sampling, label: "greedy answers of the \(model.role)",
      style: style)
    let pass = try pass(
      answers, of: model.loaded, ids: ids, reference: nil, rewards: rewards,
      pieceTokens: settings.pieceTokens)
    let scores = try score(answers, pass, prompts: asked, by: rewards)
    return answers.indices.map { i in
      EvaluatedAnswer(answers[i][0], rewards: scores.mapValues { $0[i][0] })
    }
  }

  // MARK: One model

  private static func describe(
    _ model: EvaluatedModel, answers: [[SampledAnswer]], _ shared: SharedPass,
    prompts: [DataPrompt],
    scores: [String: [[Double]]], checking: (any RewardSource)?, reference: LoadedModel?,
    exactKL: Bool, settings: EvaluationSettings
  ) throws -> EvaluationReport.Model {
    func mean(_ groups: [[Double]]) -> Statistics.Estimate {
      Statistics.mean(ofGroups: groups, confidence: settings.confidence, seed: settings.seed)
    }
    func mean(_ value: (SampledAnswer) -> Double) -> Statistics.Estimate {
      mean(answers.map { $0.map(value) })
    }
    let words = answers.flatMap(\.self).map { TextStatistics.words($0.completion.text) }
    let length = mean { Double($0.completion.ids.count) }
    let completed = mean { $0.completion.endedByItself ? 1 : 0 }
    let taken = mean(
      zip(prompts, answers).map { prompt, answers in
        answers.compactMap {
          TextStatistics.takenUp(prompt: prompt.content.lastText, answer: $0.completion.text)
        }
      })
    let passes = try passes(
      model, answers: answers, shared, reference: reference, exactKL: exactKL, settings: settings)
    let kl = passes.kl.map { mean($0) }
    let exact = passes.exactKL.map { mean($0) }
    let texts = answers.map { $0.map(\.completion.text) }
    let repetition = mean(
      texts.map { $0.map { Statistics.repetition(TextStatistics.words($0), n: 4) } })
    let empty = mean(texts.map { $0.map { TextStatistics.words($0).isEmpty ? 1 : 0 } })
    let selfBLEU = texts.map { TextStatistics.selfBLEU($0).map { [$0] } ?? [] }
    let distinct = texts.map { Statistics.distinctShare($0).map { [$0] } ?? [] }
    let right = checking.map { source in
      EvaluationReport.Right(
        RightAnswers(
          by: source, scores: (scores[source.name] ?? []).flatMap(\.self),
          completions: answers.flatMap(\.self).map(\.completion),
          prompts: answers.enumerated().flatMap { place, answers in answers.map { _ in place } }),
        by: source.name, mean: mean)
    }
    return EvaluationReport.Model(
      model: model.loaded.name, role: model.role,
      rewards: scores.mapValues { groups in
        let estimate = mean(groups)
        return EvaluationReport.Summary(
          mean: estimate.value, sd: Statistics.standardDeviation(groups.flatMap(\.self)),
          interval: Interval(estimate.interval))
      },
      kl: kl?.value, klInterval: kl.map { Interval($0.interval) },
      exactKL: exact?.value, exactKLInterval: exact.map { Interval($0.interval) },
      length: length.value, lengthInterval: Interval(length.interval),
      completed: completed.value, completedInterval: Interval(completed.interval),
      distinct1: Statistics.distinct(words, n: 1) ?? 0,
      distinct2: Statistics.distinct(words, n: 2) ?? 0,
      distinct3: Statistics.distinct(words, n: 3) ?? 0,
      repetition: Statistics.mean(words.map { Statistics.repetition($0, n: 4) }),
      repetitionInterval: Interval(repetition.interval),
      perplexity: passes.perplexity?.value,
      perplexityInterval: passes.perplexity.map { Interval($0.interval) },
      promptWords: taken.value, promptWordsInterval: Interval(taken.interval),
      empty: Statistics.mean(words.map { $0.isEmpty ? 1 : 0 }),
      emptyInterval: Interval(empty.interval),
      diversity: EvaluationReport.Diversity(
        selfBLEU: settings.answersPerPrompt > 1 ? mean(selfBLEU) : nil,
        distinctAnswers: settings.answersPerPrompt > 1 ? mean(distinct) : nil,
        entropy: mean(passes.entropies)), right: right)
  }

  /// What passes of both models over the answers say.
  private struct Passes {
    /// log π(y|x) − log π_ref(y|x) of every answer; nil without a reference.
    var kl: [[Double]]?
    /// Σ KL(π(·|x, y<t) ‖ π_ref(·|x, y<t)) over the positions of every answer, where asked for.
    var exactKL: [[Double]]?
    /// exp of the mean negative log-probability a token under the reference at temperature 1.
    var perplexity: Statistics.Estimate?
    /// For each prompt the entropies of the model's own distributions at its answers' tokens.
    var entropies: [[Double]]
  }

  private static func passes(
    _ model: EvaluatedModel, answers: [[SampledAnswer]], _ shared: SharedPass,
    reference: LoadedModel?,
    exactKL: Bool, settings: EvaluationSettings
  ) throws -> Passes {
    // Greedy answers are no draws: their KL from the reference is not that of a policy.
    let isGreedy = settings.temperature == 0
    let temperature = isGreedy ? 1 : settings.temperature
    let isReference = model.loaded.fingerprint == reference?.fingerprint
    /// Perplexity under the reference is at temperature 1, and comes with its pass.
    func pass(_ model: LoadedModel, isReference: Bool) throws -> [[SequenceScores.Tokens]] {
      try Interrupt.check()
      let request = HeadRequest(
        temperature: temperature, entropy: true, untempered: isReference && temperature != 1)
      return byPrompt(
        try shared.values(
          model.model, request, pieceTokens: settings.pieceTokens,
          asking: { $0.scored = [0..<$0.ids.count] },
          reading: {
            SequenceScores.Tokens(
              logProbabilities: $0.logProbabilities[$1], entropies: $0.entropies[$1],
              untempered: $0.untempered[$1])
          }), answers)
    }
    let ours = try pass(model.loaded, isReference: isReference)
    let entropies = ours.map { $0.flatMap(\.entropies) }
    guard let reference else { return Passes(entropies: entropies) }
    // The policy's own from the same kind of pass, so that a model has no KL from itself.
    let theirs = isReference ? ours : try pass(reference, isReference: true)
    let kl = zip(ours, theirs).map { ours, theirs in
      zip(ours, theirs).map {
        $0.logProbabilities.reduce(0, +) - $1.logProbabilities.reduce(0, +)
      }
    }
    let exact =
      !exactKL || isGreedy
      ? nil
      : isReference
        ? kl.map { $0.map { _ in 0.0 } }
        : byPrompt(
          try shared.exactKL(
            of: model.loaded.model, from: reference.model, temperature: temperature,
            pieceTokens: settings.pieceTokens), answers)
    // Of all tokens alike, but whole prompts are drawn anew.
    let sums = theirs.map { answers in
      answers.reduce(into: (sum: 0.0, tokens: 0.0)) {
        let plain = temperature == 1 ? $1.logProbabilities : $1.untempered
        $0.sum += plain.reduce(0, +)
        $0.tokens += Double(plain.count)
      }
    }
    let perplexity = Statistics.bootstrap(
      sums, confidence: settings.confidence, seed: settings.seed
    ) { groups in exp(-groups.reduce(0) { $0 + $1.sum } / groups.reduce(0) { $0 + $1.tokens }) }
    return Passes(
      kl: isGreedy ? nil : kl, exactKL: exact,
      perplexity: perplexity.value.isFinite ? perplexity : nil, entropies: entropies)
  }
}
