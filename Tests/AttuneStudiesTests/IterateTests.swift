// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneObjectives
import AttuneRewards
import AttuneStudies
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

/// A source that counts how often it is asked.
private struct Counted: RewardSource {
  let name = "counted"
  let counter = Counter()

  func scores(prompts: [DataPrompt], completions: [Completion], shared: SharedPass?) -> [Double] {
    _ = counter.next()
    return ShareOfOdd().scores(prompts: prompts, completions: completions, shared: shared)
  }
}

struct IterateTests {
  static func settings(online: Bool = false) -> IterateSettings {
    var settings = IterateSettings()
    settings.online = online
    settings.rounds = 3
    settings.samplesPerPrompt = 4
    settings.maxTokens = 6
    settings.dpo.train = .full
    settings.dpo.batchSize = 4
    settings.dpo.maxLength = 0
    settings.dpo.learningRate = 2e-3
    return settings
  }

  func train(
    _ settings: IterateSettings, _ folder: TemporaryFolder, _ name: String,
    from start: LoadedModel? = nil, options: RunOptions = .quiet, mixed: DataFile? = nil,
    reward: any RewardSource = ShareOfOdd(), watched: (any RewardSource)? = nil
  ) throws -> IterateReport {
    try Iterate.train(
      start ?? tableModel(), data: folder.rows("prompts.jsonl", TestRows.prompts),
      rewards: settings.judge.judges.isEmpty ? [(reward, 1)] : [], rewardFingerprint: "odd",
      watched: watched, mixed: mixed, settings: settings,
      output: folder.url.appending(path: name), options: options)
  }

  func pairs(_ folder: TemporaryFolder, _ path: String) throws -> [DataRow] {
    try DataFile.read(folder.url.appending(path: path), expecting: [.preference]).rows
  }

  @Test(arguments: [TrainedPart.full, .lora, .lastLayers], [false, true])
  func `the reward rises in rounds of a folder each`(part: TrainedPart, moves: Bool) throws {
    let folder = try TemporaryFolder()
    var settings = Self.settings()
    settings.rounds = 4
    settings.samplesPerPrompt = 8
    settings.pairs = .all
    settings.moveReference = moves
    settings.dpo.train = part
    settings.dpo.layers = part == .lastLayers ? 1 : 0
    settings.dpo.rank = 4
    settings.dpo.learningRate = part == .full ? 3e-3 : part == .lora ? 1e-3 : 6e-3
    let report = try train(settings, folder, "run", watched: ShareOfOdd())
    #expect(report.rounds.map(\.round) == [1, 2, 3, 4] && report.trained.round == 5)
    #expect(report.rounds[0].kl == 0 && report.trained.kl != 0)
    #expect(report.rounds[0].freshAccuracy == 0.5)
    #expect(report.trained.reward > report.rounds[0].reward + 0.2, "\(report)")
    #expect(report.rounds.compactMap(\.freshAccuracy).contains { $0 > 0.5 })
    #expect(report.rounds.allSatisfy { $0.gap > 0 && ($0.trainAccuracy ?? 0) > 0.5 })
    #expect(report.trained.goldReward == report.trained.reward)
    #expect(Set(report.rounds.map(\.policy)).count == 4)
    // What was written is the last round's policy.
    let start = try tableModel()
    let ids: [Int32] = [3, 20, 31, 7]
    func score(_ path: String) throws -> [Double] {
      try LoadedModel.open(folder.url.appending(path: path).path, beside: start).model
        .score([Segment(ids, scored: [1..<4])]).logProbabilities[0]
    }
    #expect(try score("run") == score("run/round-4/policy"))
    #expect(try score("run") != score("run/round-3/policy"))
    let lines = try metrics(folder.url.appending(path: "run"))
    #expect(lines.count == 4 && lines.allSatisfy { $0["reward/best_worst_gap"] != nil })
  }

  @Test(arguments: [PreferenceLoss.dpo, .ipo, .simpo, .aot])
  func `the reward rises online`(loss: PreferenceLoss) throws {
    let folder = try TemporaryFolder()
    var settings = Self.settings(online: true)
    settings.dpo.loss = loss
    settings.rounds = 12
    settings.samplesPerPrompt = 8
    settings.pairs = .bestRest
    settings.dpo.learningRate = 0.02
    let report = try train(settings, folder, "run")
    #expect(report.steps == 12 && report.rounds.map(\.round) == [1, 12])
    #expect(report.trained.reward > report.rounds[0].reward + 0.2, "\(report)")
    #expect(try metrics(folder.url.appending(path: "run")).count == 12)
    #expect(try !pairs(folder, "run/round-12/pairs.jsonl").isEmpty)
  }

  @Test(arguments: [false, true])
  func `a stopped run goes on byte for byte, whole rounds untouched`(online: Bool) throws {
    let folder = try TemporaryFolder()
    let mixed = try folder.rows("fixed.jsonl", TestRows.pairs(6))
    var settings = Self.settings(online: online)
    settings.mixShare = 0.4
    settings.dpo.xpoAlpha = 0.01
    settings.rounds = 3
    if !online { settings.dpo.epochs = 3 }
    let start = try tinyModel()
    // Asked once a sampled token and once a step: in the middle of samples, of a round, of a later one.
    let (one, two) = try folder.checkResume(stops: [5, 100, 130]) {
      try train(settings, folder, $0.lastPathComponent, from: start, options: $1, mixed: mixed)
    }
    #expect(one.rounds == two.rounds && one.trained == two.trained && one.steps == two.steps)
    #expect(
      folder.bytes("whole/round-3/pairs.jsonl") == folder.bytes("parts/round-3/pairs.jsonl"))
  }

  @Test func `a round that is over is not made again, and --restart makes all anew`() throws {
    let folder = try TemporaryFolder()
    let whole = Counted()
    _ = try train(Self.settings(), folder, "whole", reward: whole)
    let asked = whole.counter.next() - 1
    #expect(asked == 4)
    let parts = Counted()
    #expect(throws: TrainingError.self) {
      // Past the first round, 96 tokens at most and its steps.
      _ = try train(
        Self.settings(), folder, "parts", options: .stopping(after: 120), reward: parts)
    }
    #expect(folder.exists("parts/round-1/round.json"))
    _ = try train(Self.settings(), folder, "parts", reward: parts)
    #expect(parts.counter.next() - 1 == asked)
    #expect(throws: TrainingError.self) { _ = try train(Self.settings(), folder, "parts") }
    var other = Self.settings()
    other.rounds = 1
    let error = #expect(throws: TrainingError.self) { _ = try train(other, folder, "parts") }
    #expect(error?.message.contains("rounds (3 there, 1 now)") == true)
    var options = RunOptions.quiet
    options.restart = true
    _ = try train(other, folder, "parts", options: options)
    #expect(!folder.exists("parts/round-2"))
  }

  @Test func `a policy that was trained but not noted is trained again with the same result`()
    throws
  {
    let folder = try TemporaryFolder()
    var settings = Self.settings()
    settings.rounds = 1
    let one = try train(settings, folder, "run")
    let weights = folder.bytes("run/model.safetensors")
    try FileManager.default.removeItem(at: folder.url.appending(path: "run/round-1/round.json"))
    let file = folder.url.appending(path: "run/run.json")
    let text = try String(contentsOf: file, encoding: .utf8)
    try Data(text.replacing("\"finished\"", with: "\"running\"").utf8).write(to: file)
    let two = try train(settings, folder, "run")
    #expect(one.rounds == two.rounds && folder.bytes("run/model.safetensors") == weights)
  }

  @Test func `every pair says where it comes from`() throws {
    let folder = try TemporaryFolder()
    let mixed = try folder.rows("fixed.jsonl", TestRows.pairs(3))
    var settings = Self.settings()
    settings.mixShare = 0.5
    settings.rounds = 2
    settings.seed = 7
    let report = try train(settings, folder, "run", mixed: mixed)
    for (index, round) in report.rounds.enumerated() {
      let rows = try pairs(folder, "run/round-\(index + 1)/pairs.jsonl")
      #expect(rows.count == round.pairs + round.mixed && round.mixed == round.pairs)
      for row in rows {
        #expect(row.json["round"] == .int(index + 1))
        guard case .preference(let pair) = row.example else { continue }
        if row.json["mixed_from"] != nil {
          #expect(row.json["mixed_from"]?["file"] == .string("fixed.jsonl"))
          #expect(row.json["seed"] == nil && pair.chosenScore == nil)
        } else {
          #expect((pair.chosenScore ?? 0) > (pair.rejectedScore ?? 1))
          #expect(pair.labeller == "share of odd")
          #expect(row.json["chosen_model"]?["fingerprint"] == .string(round.policy))
          #expect(row.json["seed"] != nil && row.json["chosen_finish_reason"] != nil)
        }
      }
      // Three rows in as many pairs: none twice before all were drawn.
      let lines = rows.prefix(round.pairs + 3).compactMap { $0.json["mixed_from"]?["line"] }
      #expect(Set(lines).count == min(3, round.mixed))
    }
  }

  @Test func `XPO takes probability from what the reference says`() throws {
    let folder = try TemporaryFolder()
    var settings = Self.settings()
    settings.samplesPerPrompt = 2
    settings.rounds = 1
    settings.dpo.maxSteps = 1
    settings.dpo.warmupSteps = 0
    settings.dpo.beta = 1e-6
    settings.dpo.learningRate = 1e-3
    settings.dpo.xpoAlpha = 1
    _ = try train(settings, folder, "run")
    let rows = try pairs(folder, "run/round-1/pairs.jsonl")
    #expect(rows.allSatisfy { $0.json["explored"] != nil && $0.json["explored_model"] != nil })
    // Of two answers one is the policy's and one the reference's, as in the paper.
    for row in rows {
      guard case .preference(let pair) = row.example else { continue }
      let texts = [pair.chosen.lastText, pair.rejected.lastText]
      if case .string(let explored)? = row.json["explored"] { #expect(texts.contains(explored)) }
    }
    let step = try metrics(folder.url.appending(path: "run/round-1/policy"))
    #expect((step.first?["loss/exploration"] ?? 0) < 0)
    // With next to no weight on the pairs, the step lowers the explored answers.
    func logProbability(_ model: LoadedModel) throws -> Double {
      let encoder = try TextEncoder(model)
      return try rows.reduce(0) { sum, row in
        guard case .string(let text)? = row.json["explored"], let prompt = row.example.prompt else {
          return sum
        }
        let ended = row.json["explored_finish_reason"] == .string("stop")
        let group = try encoder.group(prompt: prompt, answers: [(.text(text), ended)], line: 1)
        let made = AnswerSegments([group])
        let scores = try model.model.score(made.segments)
        return sum + scores.logProbabilities[made.answers[0][0]].reduce(0, +)
      }
    }
    let start = try tableModel()
    let trained = try LoadedModel.open(folder.url.appending(path: "run").path, beside: start)
    #expect(try logProbability(trained) < logProbability(start))
  }

  @Test func `the bonus is the same for any cut, and refused where no row has an answer`() throws {
    let folder = try TemporaryFolder()
    let rows = (0..<8).map {
      #"{"prompt": "p\#($0)", "chosen": "bee", "rejected": "dog", "explored": "oak \#($0)"}"#
    }
    let data = try folder.rows("pairs.jsonl", rows)
    func run(_ name: String, pieceTokens: Int) throws -> [[String: Double]] {
      var settings = DPOSettings()
      settings.train = .full
      settings.xpoAlpha = 0.1
      settings.sftWeight = 0.1
      settings.nllOver = .promptAndCompletion
      settings.pieceTokens = pieceTokens
      settings.evaluationShare = 0
      let out = folder.url.appending(path: name)
      _ = try DPO.train(tableModel(), data: data, settings: settings, output: out, options: .quiet)
      return try metrics(out)
    }
    let (whole, cut) = (try run("a", pieceTokens: 2048), try run("b", pieceTokens: 1))
    #expect(whole.allSatisfy { $0["loss/exploration"] != nil })
    try checkAgree(whole, cut)
    var settings = DPOSettings()
    settings.xpoAlpha = 0.1
    let error = #expect(throws: TrainingError.self) {
      _ = try DPO.train(
        tableModel(), data: try folder.rows("plain.jsonl", TestRows.pairs(4)),
        settings: settings, output: folder.url.appending(path: "c"), options: .quiet)
    }
    #expect(error?.message.contains("explored") == true)
  }

  @Test(arguments: [JudgeSettings.Way.comparison, .rubric])
  func `a judge ranks, and is asked nothing twice`(way: JudgeSettings.Way) throws {
    let folder = try TemporaryFolder()
    // A judge that likes the answer with more letters below "n", and grades by their number.
    let server = try HTTPServerStub { request in
      guard request.path == "/v1/chat/completions" else { return HTTPServerStub.models }
      let text = request.lastMessage
      let letters = ["A", "B", "1", "2", "3", "4", "5"]
      let at =
        text.utf8.reduce(7) { ($0 &* 31 &+ Int($1)) & 0xffff } / 3 % (way == .comparison ? 2 : 5)
      let answer = letters[way == .comparison ? at : at + 2]
      let other = letters[way == .comparison ? 1 - at : (at + 1) % 5 + 2]
      return HTTPServerStub.completion(answer, top: [(answer, -0.1), (other, -2.5)])
    }
    var settings = Self.settings()
    settings.rounds = 2
    settings.judge.judges = [server.address]
    settings.judge.retrySeconds = 0.01
    settings.judge.by = way
    let report = try train(settings, folder, "run")
    #expect(report.ranker.hasPrefix("judge:"))
    let rows = try pairs(folder, "run/round-2/pairs.jsonl")
    for row in rows {
      guard case .preference(let pair) = row.example else { continue }
      #expect(pair.labeller == report.ranker)
      #expect((pair.chosenScore ?? 0) > (pair.rejectedScore ?? 9))
    }
    let asked = server.requests.count
    try FileManager.default.removeItem(at: folder.url.appending(path: "run/round-2"))
    try FileManager.default.removeItem(at: folder.url.appending(path: "run/round-1/round.json"))
    try FileManager.default.removeItem(at: folder.url.appending(path: "run/round-1/sampled.json"))
    let file = folder.url.appending(path: "run/run.json")
    let text = try String(contentsOf: file, encoding: .utf8)
    try Data(text.replacing("\"finished\"", with: "\"running\"").utf8).write(to: file)
    let again = try train(settings, folder, "run")
    #expect(again.rounds == report.rounds)
    // Only the list of models.
    #expect(server.requests.count == asked + 1)
  }

  @Test func `wrong recipes are refused before any work`() throws {
    let folder = try TemporaryFolder()
    func refused(
      _ words: String, mixed: DataFile? = nil, reward: any RewardSource = ShareOfOdd(),
      _ change: (inout IterateSettings) -> Void
    ) throws {
      var settings = Self.settings()
      change(&settings)
      let error = #expect(throws: TrainingError.self) {
        _ = try train(settings, folder, "refused", mixed: mixed, reward: reward)
      }
      #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }
    try refused("samples_per_prompt") { $0.samplesPerPrompt = 1 }
    try refused("temperature") { $0.temperature = 0 }
    try refused("only 4 prompts") { $0.promptsPerRound = 9 }
    try refused("mix_share") { $0.mixShare = 0.5 }
    try refused("mix_share", mixed: try folder.rows("f.jsonl", TestRows.pairs(2))) { _ in }
    try refused("move_reference") {
      $0.moveReference = true
      $0.online = true
    }
    try refused("move_reference") {
      $0.moveReference = true
      $0.dpo.loss = .simpo
    }
    try refused("dpo.xpo_alpha") { $0.dpo.xpoAlpha = -1 }
    let soft = try folder.rows(
      "soft.jsonl", [#"{"prompt": "a", "chosen": "b", "rejected": "c", "probability": 0.7}"#])
    try refused("soft.jsonl, line 1", mixed: soft) {
      $0.mixShare = 0.5
      $0.dpo.loss = .nca
    }
    #expect(!folder.exists("refused"))
    struct Constant: RewardSource {
      let name = "constant"
      func scores(prompts: [DataPrompt], completions: [Completion], shared: SharedPass?) -> [Double]
      {
        completions.map { _ in 1 }
      }
    }
    try refused("no prompt has two answers", reward: Constant()) { _ in }
    for (knob, json) in [
      ("dpo.seed", "1"), ("judge.principles", "2"), ("dpo.evaluation_share", "0.1"),
      ("dpo.gamma", "1"),
    ] {
      let error = #expect(throws: TrainingError.self) {
        _ = try ConfigFile.settings(IterateSettings(), flags: [(knob, json)])
      }
      #expect(error?.message.contains("\(knob) is set but not read") == true)
    }
    #expect(throws: TrainingError.self) {
      _ = try ConfigFile.settings(
        IterateSettings(), flags: [("online", "true"), ("dpo.epochs", "2")])
    }
  }

  @Test(arguments: [false, true])
  func `iterate gives rewards the rows of its prompts`(online: Bool) throws {
    let folder = try TemporaryFolder()
    let source = NotingRows()
    var settings = Self.settings(online: online)
    settings.rounds = online ? 2 : 1
    _ = try Iterate.train(
      tableModel(), data: folder.rows("rows.jsonl", TestRows.answered), rewards: [(source, 1)],
      rewardFingerprint: "rows", settings: settings, output: folder.url.appending(path: "run"),
      options: .quiet)
    #expect(source.seen == TestRows.answeredPrompts)
  }

  @Test func `a plan counts once what prompts begin with`() throws {
    var settings = Self.settings(online: true)
    settings.pairs = .bestWorst
    settings.dpo.pieceTokens = 1000
    let spec = try tableModel().model.spec
    func work(_ opening: ArraySlice<Int32>) -> RunWork {
      var row = RowShape(prompt: 6, answers: [], scored: 0)
      row.opening = opening
      return settings.work(
        on: PlannedRows(training: [RowShape](repeating: row, count: 4)), spec, asks: false)
    }
    let (apart, shared) = (work([]), work([1, 2, 3]))
    // All but the first of four prompts, or of as many pairs in one piece, begin three tokens later.
    #expect(apart.promptTokens == 24 && shared.promptTokens == 15)
    #expect(apart.gradients.tokens == 4 * 18 && shared.gradients.tokens == 4 * 18 - 9)
    #expect(apart.scores.tokens > shared.scores.tokens)
    #expect(apart.memory.passes.contains { $0.rows == 4 * 18 })
    #expect(shared.memory.passes.allSatisfy { $0.rows < apart.memory.passes.map(\.rows).max()! })
  }
}
