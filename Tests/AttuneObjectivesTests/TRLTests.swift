// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTestSupport
import Testing

/// Loss and gradient against TRL 1.16's own code, under the options that make the two the same loss.
struct TRLTests {
  /// Both sides are in Double, so they agree further than the 1e-6 that is asked for.
  static let tolerance = 1e-9

  static func agree(_ ours: Double, _ theirs: Double) -> Bool {
    abs(ours - theirs) <= tolerance * max(1, abs(theirs))
  }

  static func agree(_ ours: [Double], _ theirs: [Double]?) -> Bool {
    guard let theirs, ours.count == theirs.count else { return false }
    return zip(ours, theirs).allSatisfy { agree($0, $1) }
  }

  @Test func `every loss of TRL's is in the fixture`() throws {
    func types(_ trainer: String) throws -> Set<String> {
      Set(try TRLFixture.cases(of: trainer).map(\.lossType))
    }
    #expect(
      try types("dpo") == [
        "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot",
        "aot_unpaired", "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm", "sigmoid+sft",
      ])
    #expect(try types("kto") == ["kto", "apo_zero_unpaired"])
    #expect(try types("cpo") == ["sigmoid", "simpo", "hinge", "ipo"])
    #expect(try types("orpo") == ["orpo"])
    #expect(try types("grpo") == ["grpo", "bnpo", "dr_grpo", "dapo", "cispo"])
  }

  @Test(arguments: try TRLFixture.cases(of: "dpo").filter { $0.lossType != "sft" })
  func `DPO's losses`(example: TRLFixture.Case) throws {
    let names: [String: PreferenceLoss] = [
      "sigmoid": .dpo, "hinge": .hinge, "ipo": .ipo, "exo_pair": .exo, "nca_pair": .nca,
      "robust": .robust, "bco_pair": .bcoPair, "sppo_hard": .sppo, "aot": .aot,
      "aot_unpaired": .aotUnpaired, "apo_zero": .apoZero, "apo_down": .apoDown,
      "discopop": .discopop, "sigmoid_norm": .dpoNormalised, "sigmoid+sft": .dpo,
    ]
    let divergences: [String: FDivergence] = [
      "forward_kl": .forwardKL, "js_divergence": .jensenShannon, "alpha_divergence": .alpha,
    ]
    let loss = try #require(names[example.lossType])
    let options = example.options
    var settings = PreferenceSettings()
    settings.beta = options.beta
    settings.smoothing = options.labelSmoothing
    settings.tau = options.discopopTau
    settings.lengthNormalised = loss == .ipo
    if let name = options.fDivergenceType {
      settings.divergence = try #require(divergences[name])
      if settings.divergence == .alpha {
        settings.divergenceAlpha = try #require(options.fAlphaDivergenceCoef)
      }
    }
    var weight = 1.0
    if let weights = options.lossWeights {
      weight = weights[0]
      settings.sftWeight = weights[1] / weights[0]
      settings.nllReduction = .token
    }
    try check(loss, settings, weight: weight, example)
  }

  @Test(arguments: try TRLFixture.cases(of: "cpo", "orpo"))
  func `CPO's and ORPO's losses`(example: TRLFixture.Case) throws {
    let options = example.options
    var settings = PreferenceSettings()
    settings.nllReduction = .token
    settings.sftWeight = options.cpoAlpha
    let loss: PreferenceLoss
    switch example.lossType {
    case "orpo":
      loss = .orpo
      settings.lambda = options.beta
      settings.nllOver = .promptAndCompletion
    case "simpo":
      loss = .simpo
      settings.beta = options.beta
      settings.gamma = options.simpoGamma
    default:
      // What CPO has beside its own loss is DPO's with a reference of 0.
      let smoothed = options.labelSmoothing != nil
      loss =
        switch example.lossType {
        case "hinge": .hinge
        case "ipo": .ipo
        default: smoothed ? .dpo : .cpo
        }
      settings.beta = options.beta
      settings.smoothing = options.labelSmoothing
      settings.lengthNormalised = loss == .ipo
    }
    try check(loss, settings, referenceFree: true, example)
  }

  private func check(
    _ loss: PreferenceLoss, _ settings: PreferenceSettings, weight: Double = 1,
    referenceFree: Bool = false, _ example: TRLFixture.Case
  ) throws {
    let rows = try TRLFixture.read().preferences(referenceFree: referenceFree)
    let result = try PreferenceObjective(loss, settings).result(rows)
    #expect(Self.agree(weight * result.loss, example.loss))
    let gradient = result.logProbabilities.map { $0.map { weight * $0 } }
    #expect(Self.agree(gradient.map { $0[0] }, example.chosen))
    #expect(Self.agree(gradient.map { $0[1] }, example.rejected))
    if example.prompt != nil {
      #expect(Self.agree(gradient.map { $0[2] }, example.prompt))
    }
  }

  @Test(arguments: try TRLFixture.cases(of: "dpo").filter { $0.lossType == "sft" })
  func `DPO's supervised loss`(example: TRLFixture.Case) throws {
    // Only the response's sum is in the fixture, and the loss is linear: any split will do.
    let chosen = try TRLFixture.read().pairs.chosen
    let weights = chosen.map { Array(repeating: 1.0, count: $0.tokens) }
    let result = TokenLoss.supervised(
      logProbabilities: chosen.map {
        Array(repeating: $0.policy / Double($0.tokens), count: $0.tokens)
      }, weights: weights, statistics: TokenLoss.statistics(weights: weights))
    #expect(Self.agree(result.loss, example.loss))
    #expect(Self.agree(result.logProbabilities.map { $0[0] }, example.chosen))
    #expect(Self.agree(chosen.map { _ in 0 }, example.rejected))
  }

  @Test(arguments: try TRLFixture.cases(of: "kto").filter { $0.lossType == "kto" })
  func `KTO's loss`(example: TRLFixture.Case) throws {
    var settings = UnpairedSettings()
    settings.beta = try #require(example.options.beta)
    settings.upWeight = try #require(example.options.desirableWeight)
    settings.downWeight = try #require(example.options.undesirableWeight)
    let rows = try TRLFixture.read().unpaired(drift: try #require(example.drift))
    let statistics = try UnpairedLoss.kto.statistics(of: rows, settings: settings)
    #expect((statistics.baseline > 0) == (example.drift == "up"))
    let result = UnpairedLoss.kto.loss(rows, statistics: statistics, settings: settings)
    #expect(Self.agree(result.loss, example.loss))
    // TRL lists thumbs up before thumbs down for the mean alone.
    #expect(Self.agree(result.logProbabilities.map { $0[0] }, example.single))
  }

  @Test(arguments: try TRLFixture.cases(of: "kto").filter { $0.lossType == "apo_zero_unpaired" })
  func `KTO's APO-zero is that of pairs where both thumbs are as many`(
    example: TRLFixture.Case
  ) throws {
    let rows = try TRLFixture.read().unpaired(drift: "up")
    let (up, down) = (rows.filter(\.up), rows.filter { !$0.up })
    #expect(up.count == down.count)
    let pairs = zip(up, down).map { PreferenceRow(chosen: $0.response, rejected: $1.response) }
    var settings = PreferenceSettings()
    settings.beta = example.options.beta
    let result = try PreferenceObjective(.apoZero, settings).result(pairs)
    // A mean over pairs is one over twice as many responses.
    #expect(Self.agree(result.loss / 2, example.loss))
    var sides = [
      result.logProbabilities.map { $0[0] / 2 }[...],
      result.logProbabilities.map { $0[1] / 2 }[...],
    ]
    let gradient = rows.map { sides[$0.up ? 0 : 1].removeFirst() }
    #expect(Self.agree(gradient, example.single))
  }

  @Test(arguments: try TRLFixture.cases(of: "grpo"))
  func `GRPO's losses`(example: TRLFixture.Case) throws {
    let names: [String: PolicyLoss] = [
      "grpo": .grpo, "bnpo": .ppo, "dr_grpo": .drGrpo, "dapo": .dapo, "cispo": .cispo,
    ]
    let options = example.options
    let perSequence = options.importanceSamplingLevel == "sequence"
    let loss = try perSequence ? .gspo : #require(names[example.lossType])
    let fixture = try TRLFixture.read()
    var settings = PolicySettings()
    settings.clipLow = loss == .cispo ? 1 : options.epsilon ?? 0.2
    // TRL's epsilon_high of cispo is the bound itself, of the others what is added to 1.
    settings.clipHigh = (options.epsilonHigh ?? 0.2) - (loss == .cispo ? 1 : 0)
    settings.dualClip = options.delta
    settings.klWeight = options.beta ?? 0
    settings.klTerm.klRatioWeighted = options.useBiasCorrectionKl ?? false
    settings.maximumLength = fixture.samples.limit
    let rows = fixture.policyRows
    let statistics = try loss.statistics(of: rows, settings: settings)
    let result = loss.loss(rows, statistics: statistics, settings: settings)
    #expect(Self.agree(result.loss, example.loss))
    let theirs = try #require(example.tokens)
    #expect(result.logProbabilities.count == theirs.count)
    for (ours, theirs) in zip(result.logProbabilities, theirs) {
      #expect(Self.agree(ours, theirs))
    }
    #expect(theirs.contains { $0.contains(0) } == (loss != .cispo && settings.klWeight == 0))
  }
}
