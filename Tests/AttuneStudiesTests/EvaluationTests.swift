// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneNative
import AttuneObjectives
import AttuneRewards
import AttuneStudies
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

struct EvaluationTests {
  private func settings(_ temperature: Double = 1) -> EvaluationSettings {
    var settings = EvaluationSettings()
    settings.n = 2
    settings.maxTokens = 4
    settings.temperature = temperature
    return settings
  }

  @Test func `difficulties are a table with one of each prompt, and a judge reads them`() throws {
    let folder = try TemporaryFolder()
    func read(_ text: String) throws -> (values: [Double], others: Int) {
      try InstructionDifficulties.read(folder.file("d.csv", text).path, prompts: 2)
    }
    let (values, others) = try read("index,instruction_difficulty\n1,-0.5\n0,2\n2,1\n")
    #expect(values == [2, -0.5] && others == 1)
    #expect(try read(",instruction_difficulty\n0,1\n1,1\n").values == [1, 1])
    for (text, wanted) in [
      ("prompt,difficulty\n0,1\n", "d.csv:1: the first line must be"),
      ("index,instruction_difficulty\n0,1\n", "no difficulty of prompt 1"),
      ("index,instruction_difficulty\n0,1\n0,2\n", "d.csv:3: index 0 is there twice"),
      ("index,instruction_difficulty\n0,1\n1,hard\n", "d.csv:3: instruction_difficulty must be"),
      ("index,instruction_difficulty\na,1\n", "d.csv:2: index must be"),
    ] {
      let error = #expect(throws: (any Error).self) { try read(text) }
      #expect("\(error.map { "\($0)" } ?? "")".contains(wanted), "\(text)")
    }
    let family = try ModelFamily()
    var settings = settings()
    settings.difficulties = "d.csv"
    let error = #expect(throws: TrainingError.self) {
      try Evaluation.run(
        model: family.base.name, against: family.base.name, reference: nil,
        data: family.folder.rows("rows.jsonl", [#"{"prompt":"say"}"#]),
        rewards: [try RewardSpecification("length:3")], settings: settings, answersFile: nil,
        on: NativeEngine())
    }
    #expect(error?.message.contains("difficulties is set but not read") == true)
  }

  @Test func `answers that are right are counted, with how many a prompt needs`() throws {
    let family = try ModelFamily()
    // Bytes of a random model: some answers hold such a letter, some do not.
    let data = try family.folder.rows(
      "rows.jsonl", (0..<12).map { #"{"prompt":"say \#($0)","answer":"[a-z]"}"# })
    var settings = settings()
    settings.n = 4
    let report = try Evaluation.run(
      model: family.base.name, against: nil, reference: nil, data: data,
      rewards: [try RewardSpecification("length:3"), try RewardSpecification("answer:regex")],
      settings: settings, answersFile: nil, on: NativeEngine())
    let right = try #require(report.models[0].right)
    #expect(right.source == "answer:regex")
    #expect(right.accuracy == report.models[0].rewards["answer:regex"]?.mean)
    #expect(right.pass.map(\.k) == [1, 2, 4])
    #expect(abs(right.pass[0].value - right.accuracy) < 1e-12)
    #expect(right.pass[1].value >= right.accuracy && right.pass[2].value >= right.pass[1].value)
    #expect(abs(right.pass[2].value - (1 - right.allWrong)) < 1e-12)
    #expect(right.majority != nil && right.allRight + right.allWrong <= 1)
    #expect(right.accuracyInterval.low <= right.accuracy)
    for words in ["right answers", "pass@2", "pass@4", "right majority", "all right, all wrong"] {
      #expect(report.terminalTable.contains(words), "\(report.terminalTable)")
    }
    let plain = try Evaluation.run(
      model: family.base.name, against: nil, reference: nil, data: data,
      rewards: [try RewardSpecification("length:3")], settings: settings, answersFile: nil,
      on: NativeEngine())
    #expect(plain.models[0].right == nil && !plain.terminalTable.contains("right answers"))
  }

  @Test func `held-out pairs are ranked by the implicit reward`() throws {
    let family = try ModelFamily()
    let policy = try family.member("policy", .lastLayers(1), seed: 5)
    let pairs = [("a", "cat", "dog"), ("a", "mouse", "bird"), ("b", "yes", "no"), ("c", "x", "yz")]
    let rows =
      pairs.map { #"{"prompt":"\#($0)","chosen":"\#($1)","rejected":"\#($2)"}"# } + [
        // The other way round, and undecided.
        #"{"prompt":"d","chosen":"low","rejected":"high","probability":0.2}"#,
        #"{"prompt":"e","chosen":"same","rejected":"alike","outcome":"tie"}"#,
        // Says nothing.
        #"{"prompt":"f","chosen":"same","rejected":"same"}"#,
      ]
    let data = try family.folder.rows("pairs.jsonl", rows)
    let report = try Evaluation.run(
      model: policy, against: nil, reference: nil, data: data, rewards: [], settings: settings(),
      answersFile: nil, on: NativeEngine())
    let found = try #require(report.preferences)
    #expect(found.pairs == 5 && found.prompts == 4 && found.undecided == 1)
    #expect(found.leftOut == 1)
    // What it was trained from is noted beside it.
    #expect(found.reference == family.base.name && report.reference == family.base.name)
    #expect(report.models[0].kl != nil)

    // The same by the reward source that reads texts one by one.
    let decided = pairs + [("d", "high", "low")]
    let source = try RewardSources([RewardSpecification("implicit:\(policy)")], on: NativeEngine())
      .weighted[0].source
    func rewards(_ texts: [String]) throws -> [Double] {
      try source.checkedScores(
        prompts: decided.map { DataPrompt(.text($0.0)) },
        completions: texts.map { Completion(ids: [], text: $0, endedByItself: true) }, shared: nil)
    }
    let (chosen, rejected) = (try rewards(decided.map(\.1)), try rewards(decided.map(\.2)))
    let margins = zip(chosen, rejected).map { $0 - $1 }
    #expect(abs(found.margin.mean - Statistics.mean(margins)) < 1e-4)
    #expect(abs(found.chosen.change.mean - Statistics.mean(chosen)) < 1e-4)
    #expect(abs(found.rejected.change.mean - Statistics.mean(rejected)) < 1e-4)
    #expect(found.accuracy.value == Double(margins.count { $0 > 0 }) / 5)
    #expect(
      abs(found.chosen.after.mean - found.chosen.before.mean - found.chosen.change.mean) < 1e-9)
    #expect(found.margin.interval.low <= found.margin.mean)
    #expect(found.margin.interval.high >= found.margin.mean)
    #expect(found.accuracy.interval.low >= 0 && found.accuracy.interval.high <= 1)
    let text = found.lines(confidence: report.confidence).joined(separator: "\n")
    #expect(text.contains("5 held-out pairs of 4 prompts") && text.contains("1 without"))
  }

  @Test func `an evaluation goes on without a start that is gone`() throws {
    let family = try ModelFamily()
    let policy = try family.member("policy", .lastLayers(1), seed: 5)
    let data = try family.folder.rows(
      "pairs.jsonl", (0..<3).map { #"{"prompt":"p\#($0)","chosen":"yes","rejected":"no"}"# })
    try FileManager.default.removeItem(atPath: family.base.name)
    let report = try Evaluation.run(
      model: policy, against: nil, reference: nil, data: data,
      rewards: [RewardSpecification("length:2")], settings: settings(), answersFile: nil,
      on: NativeEngine())
    #expect(report.preferences == nil && report.models[0].kl == nil)
    let error = #expect(throws: TrainingError.self) {
      _ = try RewardSources([RewardSpecification("implicit:\(policy)")], on: NativeEngine())
    }
    #expect(error?.message.contains("is not there any more; name the reference") == true)
  }

  @Test func `all pairs ranked alike leave a doubt that the number of prompts sets`() throws {
    let family = try ModelFamily()
    let policy = try family.member("policy", .lastLayers(1), seed: 5)
    let rows = (0..<6).map {
      #"{"prompt":"p\#($0 / 2)","chosen":"same text","rejected":"n\#($0)"}"#
    }
    let data = try family.folder.rows("pairs.jsonl", rows)
    let found = try #require(
      try Evaluation.run(
        model: policy, against: nil, reference: nil, data: data, rewards: [],
        settings: settings(), answersFile: nil, on: NativeEngine()
      ).preferences)
    #expect(found.pairs == 6 && found.prompts == 3)
    for share in [found.accuracy, found.likelierBefore, found.likelierAfter] {
      #expect(share.interval.high - share.interval.low > 0.1)
    }
  }

  @Test func `a model against itself has no margin, and half of all pairs`() throws {
    let family = try ModelFamily()
    let data = try family.folder.rows(
      "pairs.jsonl",
      (0..<4).map { #"{"prompt":"p\#($0)","chosen":"yes","rejected":"no"}"# })
    let report = try Evaluation.run(
      model: family.base.name, against: family.base.name, reference: nil, data: data, rewards: [],
      settings: settings(), answersFile: nil, on: NativeEngine())
    let found = try #require(report.preferences)
    #expect(found.margin.mean == 0 && found.accuracy.value == 0.5 && found.chosen.change.mean == 0)
    // Wilson's interval of 2 of 4.
    #expect(abs(found.accuracy.interval.low - 0.15) < 0.01)
    #expect(found.likelierBefore == found.likelierAfter)
  }

  @Test(arguments: [1, 0.7])
  func `exact KL is each position's over the vocabulary, summed`(temperature: Double) throws {
    let family = try ModelFamily()
    let base = family.base
    let policy = try LoadedModel.open(
      try family.member("policy", .lastLayers(1), seed: 5), on: NativeEngine(), beside: base)
    let texts = [["ab", "c"], ["xyz", "", "no"]]
    let answers = texts.map { texts in
      texts.map { text in
        let ids = base.tokenizer.encode(text) + base.model.spec.endOfSequence.prefix(1)
        return SampledAnswer(
          completion: Completion(ids: ids, text: text, endedByItself: true),
          logProbabilities: ids.map { _ in 0 })
      }
    }
    let prompts = ["a", "b"]
    func evaluate(exactKL: Bool) throws -> EvaluationReport {
      try Evaluation.run(
        [
          EvaluatedModel(role: "policy", loaded: policy, answers: answers),
          EvaluatedModel(role: "start", loaded: base, answers: answers),
        ], reference: base, prompts: prompts.map { DataPrompt(.text($0)) }, rewards: [],
        settings: settings(temperature), exactKL: exactKL, style: .silent)
    }
    func distribution(_ model: any LanguageModel, _ ids: [Int32]) throws -> [Double] {
      let all = HeadRequest(
        temperature: temperature, candidates: (0..<Int32(model.spec.vocabularySize)).map { $0 })
      return try model.score([Segment(ids + [0], scored: [ids.count..<ids.count + 1])], all)
        .candidates[0][0]
    }
    let means = try zip(prompts, answers).map { prompt, answers in
      let first = base.tokenizer.encode(prompt)
      return Statistics.mean(
        try answers.map { answer in
          let ids = answer.completion.ids
          return try ids.indices.reduce(0.0) { sum, i in
            let p = try distribution(policy.model, first + ids[..<i])
            let q = try distribution(base.model, first + ids[..<i])
            return sum + zip(p, q).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) }
          }
        })
    }
    let found = try evaluate(exactKL: true)
    let exact = try #require(found.models[1].exactKL)
    #expect(abs(exact - Statistics.mean(means)) < 1e-4 && exact > 0.01)
    #expect(found.models[0].exactKL == 0)
    #expect(found.terminalTable.contains("exact KL"))
    #expect(HeldOutFigure.of(found).contains { $0.metric == "evaluation/exact_kl" })
    // What was there before is as it was.
    var plain = try evaluate(exactKL: false)
    #expect(plain.models[1].exactKL == nil && !plain.terminalTable.contains("exact KL"))
    plain.seconds = found.seconds
    for i in plain.models.indices {
      plain.models[i].exactKL = found.models[i].exactKL
      plain.models[i].exactKLInterval = found.models[i].exactKLInterval
    }
    #expect(plain == found)
  }

  @Test func `exact KL needs draws and a reference`() throws {
    let family = try ModelFamily()
    let data = try family.folder.rows("prompts.jsonl", [#"{"prompt":"p"}"#])
    func refusal(against: String?, _ temperature: Double) -> String? {
      #expect(throws: TrainingError.self) {
        try Evaluation.run(
          model: family.base.name, against: against, reference: nil, data: data,
          rewards: [RewardSpecification("length:2")], settings: settings(temperature),
          exactKL: true, answersFile: nil, on: NativeEngine())
      }?.message
    }
    #expect(refusal(against: family.base.name, 0)?.contains("greedy answers are no draws") == true)
    #expect(refusal(against: nil, 1)?.contains("--reference or --against") == true)
  }

  @Test func `greedy answers are one a prompt and have no KL`() throws {
    let family = try ModelFamily()
    let policy = try family.member("policy", .lastLayers(1), seed: 5)
    let data = try family.folder.rows("prompts.jsonl", (0..<3).map { #"{"prompt":"p\#($0)"}"# })
    let report = try Evaluation.run(
      model: policy, against: family.base.name, reference: nil, data: data,
      rewards: [RewardSpecification("length:2")], settings: settings(0), answersFile: nil,
      on: NativeEngine())
    #expect(report.samplesPerPrompt == 1 && report.preferences == nil)
    for model in report.models {
      #expect(model.kl == nil && model.klInterval == nil && model.diversity.selfBLEU == nil)
      #expect(model.perplexity?.isFinite == true && model.diversity.entropy > 0)
    }
    #expect(report.winRate != nil)
    #expect(throws: TrainingError.self) { try settings(-1).validate() }
    #expect(throws: TrainingError.self) { try settings(.nan).validate() }
  }
}
