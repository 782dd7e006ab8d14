// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneEngine
public import AttuneObjectives
public import Foundation

/// The knobs of training on thumbs.
public struct KTOSettings: ContrastiveSettings {
  /// The knobs of every trainer.
  @Flattened public var training = TrainingSettings.keepingTrunks
  /// The loss.
  public var loss = UnpairedLoss.kto
  /// The loss's own knobs.
  @Flattened public var objective = UnpairedSettings()
  /// Whether the reference's log-probabilities are computed once, before training.
  public var precomputeReference = true
  /// Passes over the data.
  @Flattened public var rows = RowsSettings()
  /// Share of the prompts held out for evaluation where no file is given for it.
  public var evaluationShare = 0.1

  /// A knob of the loss.
  public subscript<Value>(dynamicMember knob: WritableKeyPath<UnpairedSettings, Value>) -> Value {
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
      Knob("loss", "The loss.", .choice(UnpairedLoss.self)),
      Knob("beta", "β: what a nat of log-ratio is worth.", .number(.above(0))),
      Knob("up_weight", "Weight of thumbs up.", .number(.atLeast(0))),
      Knob("down_weight", "Weight of thumbs down.", .number(.atLeast(0))),
      Knob.precomputeReference,
    ]
    + RowsSettings.knobs(batch: "Responses") + OptimiserSettings.knobs + [Knob.evaluationShare]
    + EngineSettings.knobs(cutBetween: "rows", keepsTrunks: true) + [
      TrainingSettings.checkpointSeconds,
      Knob.seed("the order of rows, the mismatched pairs and the held-out choice"),
    ]

  /// Knobs without effect.
  public var unreadKnobs: [(knob: String, why: String)] { training.weights.unreadKnobs }

  /// Checks ranges.
  public func validate() throws {
    try checkRanges()
    do {
      _ = try loss.statistics(of: [], settings: objective)
    } catch let error as ObjectiveError {
      throw TrainingError(.badSetting, error.message)
    }
  }
}

extension KTOSettings: PolicyMethod {
  package static let summary =
    "thumbs: each pair's chosen answer up, its rejected one down (kto.loss)"
  package static var variants: (knob: String, all: [MethodVariant<Self>])? {
    ("loss", variants(\.loss))
  }
  package mutating func setBeta(_ beta: Double) { objective.beta = beta }

  package func trainPolicy(_ task: PolicyTask) throws -> PolicyOutcome {
    try task.contrast {
      try KTO.train($0, data: $1, heldOut: $2, settings: self, output: $3, options: $4)
    }
  }
}

extension KTOSettings {
  /// What the loss asks for.
  var needs: ContrastiveNeeds {
    ContrastiveNeeds(
      loss: loss.rawValue, reference: true, currentScores: loss.needsCurrentScores)
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
    try settings.check(against: start.model)
    let loss = settings.loss
    let objective = settings.objective
    RunFolder.resumeClock(of: output, options)
    let encoder = try TextEncoder(
      copy start, maximumLength: settings.maxLength, tooLong: settings.tooLong)
    let rows = try ContrastiveData(data, heldOut: heldOut) { try Self.rows($0, encoder) }
    let open = try ContrastiveRun(
      "kto", start, reference: reference, data: rows,
      needs: settings.needs,
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
  static func mismatched(
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

  static func rows(
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
