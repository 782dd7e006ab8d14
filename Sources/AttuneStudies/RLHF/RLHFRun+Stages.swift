// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneFiles
import AttuneObjectives
import AttuneRewards
import AttuneTraining
import Foundation

extension RLHFRun {
  mutating func makePrompts() throws {
    let given = try Fingerprint.of(
      value: [inputs.prompts, inputs.heldOut ?? []].map { $0.map(\.json.text) })
    struct Knobs: Encodable { var heldOutShare: Double, seed: UInt64 }
    let isSplit = inputs.heldOut == nil
    let knobs = Knobs(
      heldOutShare: isSplit ? settings.heldOutShare : 0, seed: isSplit ? settings.seed : 0)
    let (inputs, trainFile, heldOutFile) = (inputs, trainPrompts, heldOutPrompts)
    try perform(.init(.prompts), settings: knobs, inputs: [("prompts", given)]) { _ in
      var train = inputs.prompts
      var heldOut = inputs.heldOut ?? []
      if isSplit {
        let order = Shuffle.order(count: train.count, seed: knobs.seed, epoch: 0)
        let count = Int((Double(train.count) * knobs.heldOutShare).rounded())
        let chosen = Set(order.prefix(count))
        heldOut = train.indices.filter { chosen.contains($0) }.map { train[$0] }
        train = train.indices.filter { !chosen.contains($0) }.map { train[$0] }
      }
      guard !train.isEmpty, !heldOut.isEmpty else {
        throw TrainingError(
          .badData, "\(train.count + heldOut.count) prompts are too few to train and to hold out")
      }
      for (prompts, url) in [(train, trainFile), (heldOut, heldOutFile)] {
        let rows = prompts.map(\.json.text)
        try AtomicFile.write(rows.joined(separator: "\n") + "\n", to: url)
      }
      return "\(train.count) prompts to train on, \(heldOut.count) held out"
    }
  }

  /// Answers of the start, held-out prompts among them; in later rounds of the policy so far.
  mutating func makeSamples(_ round: RLHFRound, after earlier: RLHFRound?) throws {
    struct Knobs: Encodable { var sample: SampleSettings, heldOut: SampleSettings? }
    var knobs = Knobs(sample: settings.sample, heldOut: settings.evaluation.sampling)
    knobs.sample.seed = round.seed(knobs.sample.seed)
    if earlier != nil { knobs.heldOut = nil }
    let style = options.run.progress
    let model = try policy(of: earlier)
    let files =
      [(trainPrompts, round.samples, knobs.sample)]
      + (knobs.heldOut.map { [(heldOutPrompts, heldOutSamples, $0)] } ?? [])
    try perform(
      round.step(.samples), settings: knobs,
      inputs: [
        ("model", model.fingerprint), ("prompts", try Fingerprint.of(file: trainPrompts)),
        ("held-out prompts", try Fingerprint.of(file: heldOutPrompts)), roundInput(round),
      ]
    ) { _ in
      var answers = 0
      var ended = 0.0
      for (prompts, samples, settings) in files {
        let data = try DataFile.readPrompts(prompts)
        let report = try Sampling.run(
          model, data: data, settings: settings, output: samples, style: style)
        answers += report.answers
        ended += report.completed * Double(report.answers)
      }
      return "\(answers) answers, \(readablePercent(ended / Double(answers))) of which ended by "
        + "themselves"
    }
  }

  /// The start, or what a round made of it.
  private func policy(of round: RLHFRound?) throws -> LoadedModel {
    guard let round else { return start }
    return try LoadedModel.open(round.policyFolder.path, beside: start)
  }

  /// Where a round's files are depends on how many rounds there are.
  func roundInput(_ round: RLHFRound) -> (name: String, digest: String) {
    ("round", "\(round.number) of \(settings.rounds)")
  }

  /// Preferences over a round's answers, put behind those of earlier rounds.
  mutating func makePreferences(_ round: RLHFRound, after earlier: RLHFRound?) throws {
    let (start, settings, style) = (start, settings, options.run.progress)
    // The answers, the preferences over them, and what the seeds of their labels begin with.
    let files =
      [(round.samples, round.ownPreferences, round.seed(0))]
      + (earlier == nil ? [(heldOutSamples, heldOutPreferences, UInt64(1) << 63)] : [])
    let inputs =
      try files.map { ($0.0.lastPathComponent, try Fingerprint.of(file: $0.0)) }
      + (earlier.map { [("earlier preferences", try Fingerprint.of(file: $0.preferences))] } ?? [])
      + constitutionInputs() + [roundInput(round)]
    func work(_ label: ([(URL, URL, UInt64)]) throws -> String) throws -> String {
      let words = try label(files)
      if let earlier {
        let parts = try [earlier.preferences, round.ownPreferences].map { try Data(contentsOf: $0) }
        try AtomicFile.write(parts[0] + parts[1], to: round.preferences)
      }
      return words
    }
    if settings.hasPeople { return try askPeople(round, after: earlier, inputs: inputs, work) }
    guard settings.hasJudge else {
      return try perform(round.step(.preferences), settings: settings.label, inputs: inputs) { _ in
        try work { files in
          try files.map { samples, preferences, seed in
            var knobs = settings.label
            knobs.seed &+= seed
            let data = try DataFile.read(samples, expecting: [.samples])
            let report = try Labelling.run(data, settings: knobs, output: preferences)
            return "\(report.summary.pairs) preferences by \(report.labeller), which agree with "
              + "its score in \(readablePercent(report.summary.agreement))"
          }[0]
        }
      }
    }
    // What a judge has answered is kept, also where it is stopped in the middle.
    try perform(round.step(.preferences), settings: settings.judge, inputs: inputs) { _ in
      try work { files in
        try files.map { samples, preferences, _ in
          let report = try Judging.run(
            .init(data: try DataFile.read(samples, expecting: [.samples]), output: preferences),
            settings: settings.judge, on: start.engine, beside: start, style: style)
          let bias = report.bias.map { "; \($0.words)" } ?? ""
          return "\(report.rows) preferences by \(report.judge)\(bias)"
        }[0]
      }
    }
  }

  /// The stage where people prefer. What they have said is in the store, also where the run is stopped.
  private mutating func askPeople(
    _ round: RLHFRound, after earlier: RLHFRound?, inputs: [(name: String, digest: String)],
    _ work: (_ label: ([(URL, URL, UInt64)]) throws -> String) throws -> String
  ) throws {
    let (settings, ask, store) = (settings.people, options.people, file("feedback.db"))
    let seed = round.seed(self.settings.label.seed)
    try perform(round.step(.preferences), settings: settings, inputs: inputs) { _ in
      try work { files in
        // The round's own answers first; the held-out ones follow in the first round.
        let own =
          earlier != nil && settings.laterLabels > 0 ? settings.laterLabels : settings.labels
        let parts = zip(files, [own, settings.heldOutLabels]).map {
          PeopleTask.Part(samples: $0.0, preferences: $0.1, labels: $1)
        }
        return try ask?(
          PeopleTask(parts: parts, votes: settings.votes, store: store, seed: seed)) ?? ""
      }
    }
  }

  /// What tells the principles of a judge from others.
  private func constitutionInputs() throws -> [(name: String, digest: String)] {
    guard settings.hasJudge else { return [] }
    let principles = try Constitution.named(settings.judge.constitution).principles
    return [("constitution", try Fingerprint.of(value: principles))]
  }

  mutating func trainReward(_ round: RLHFRound) throws {
    var knobs = settings.reward
    knobs.seed = round.seed(knobs.seed)
    // What is reported is the last round's; the others' accuracy is there to be glanced at.
    if round.number < settings.rounds {
      knobs.evaluationGroups = min(4, knobs.evaluationGroups > 0 ? knobs.evaluationGroups : 4)
    }
    let (start, heldOut) = (start, heldOutPreferences)
    let (data, folder, reportFile) = (round.preferences, round.rewardFolder, round.rewardReport)
    let run = self
    try perform(
      round.step(.reward), settings: knobs,
      inputs: [
        ("model", start.fingerprint), ("preferences", try Fingerprint.of(file: data)),
        ("held-out preferences", try Fingerprint.of(file: heldOut)), roundInput(round),
      ]
    ) { restart in
      let report = try run.train(restart) {
        try RewardModel.train(
          start, data: try DataFile.read(data), heldOut: try DataFile.read(heldOut),
          settings: knobs, output: folder, options: $0, trunks: run.trunks)
      }
      try AtomicFile.write(try JSONText.pretty(report), to: reportFile)
      return report.heldOutText ?? "there is no held-out pair"
    }
  }

  /// The learned reward, on the start's own weights.
  func learnedReward(_ round: RLHFRound) throws -> ModelReward {
    try ModelReward(
      try LoadedModel.open(round.rewardFolder.path, beside: start, rewardModels: true),
      name: "model:reward")
  }

  /// What a round's policy climbs: the grader, or what was learned from preferences.
  func climbed(_ round: RLHFRound) throws -> RewardSources {
    guard settings.hasGrader else {
      let reward = try learnedReward(round)
      return RewardSources(weighted: [(reward, 1)], fingerprint: reward.fingerprint)
    }
    return try RewardSources(
      [RewardSpecification(settings.grader)], on: start.engine, beside: start)
  }

  mutating func evaluate() throws {
    let policy = try policy(of: lastRound)
    let climbed = try climbed(lastRound)
    let (gold, labeller) = (try goldReward(), labeller)
    let judge = settings.hasJudge ? settings.judge : nil
    let (start, knobs, style) = (start, settings.evaluation, options.run.progress)
    // The start's answers were drawn to be preferred; for a grader there are none yet.
    let hasAnswers = !settings.hasGrader
    let (given, reportFile, answers) = (
      hasAnswers ? heldOutSamples : heldOutPrompts, file("evaluation.json"), file("answers.jsonl")
    )
    try perform(
      .init(.evaluation), settings: knobs,
      inputs: [
        ("policy", policy.fingerprint), ("model", start.fingerprint),
        (hasAnswers ? "reward model" : "grader", climbed.fingerprint),
        ("labeller", gold?.name ?? labeller),
        (hasAnswers ? "held-out samples" : "held-out prompts", try Fingerprint.of(file: given)),
      ] + constitutionInputs()
    ) { _ in
      let rows =
        hasAnswers
        ? try DataFile.read(given, expecting: [.samples]).rows
        : try DataFile.readPrompts(given).rows
      let report = try Evaluation.run(
        [
          EvaluatedModel(role: "policy", loaded: policy),
          EvaluatedModel(
            role: "start", loaded: start,
            answers: hasAnswers
              ? try rows.map { row in
                guard case .samples(let sample) = row.example else { return [] }
                return try sample.completions.map(SampledAnswer.init)
              } : nil),
        ],
        reference: start,
        prompts: rows.compactMap { row in row.example.prompt.map { DataPrompt($0, row: row) } },
        rewards: (gold.map { [$0] } ?? []) + climbed.weighted.map(\.source), settings: knobs,
        judge: judge,
        style: style,
        answersFile: answers)
      try AtomicFile.write(try JSONText.pretty(report), to: reportFile)
      return "\(report.prompts) held-out prompts, \(report.samplesPerPrompt) answers each"
    }
  }
}
