// SPDX-License-Identifier: Apache-2.0

import AttuneKit
import AttuneTestSupport
import Foundation
import Synchronization
import Testing

@Suite("A session")
struct AttuneSessionTests {
  private static let template =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    + "{% if add_generation_prompt %}<assistant>{% endif %}"

  /// A folder with a tiny model that has a chat template.
  private func model(in folder: URL) throws -> String {
    let place = folder.appending(path: "model")
    let model = try LoadedModel.random(
      TransformerSpec(
        architecture: .llama, vocabularySize: 259, width: 32, layers: 2, heads: 4,
        keyValueHeads: 2, mlpWidth: 64, maximumPositions: 128, tiedHead: true),
      chatTemplate: Self.template, seed: 1, on: NativeEngine())
    try model.write(model.model, to: place)
    return place.path
  }

  private func withFolder(_ body: (URL) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory
      .appending(path: "attune-kit-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try await body(folder)
  }

  private func pairs(_ count: Int = 8) -> [Example] {
    (0..<count).map {
      .preference(
        Preference(
          prompt: .user("question \($0)"), chosen: .text("yes \($0)"),
          rejected: .text("no, not at all \($0)")))
    }
  }

  private func dpo(steps: Int = 6) -> DPOSettings {
    var settings = DPOSettings()
    settings.evaluationShare = 0
    settings.batchSize = 2
    settings.epochs = steps
    settings.maxSteps = steps
    settings.learningRate = 1e-3
    return settings
  }

  private func greedy() -> SampleSettings {
    var settings = SampleSettings()
    settings.temperature = 0
    settings.maxTokens = 12
    return settings
  }

  @Test("answers, as a whole and as it comes")
  func answers() async throws {
    try await withFolder { folder in
      let session = try await AttuneSession.open(try model(in: folder))
      let prompt = await session.prompt("hello")
      #expect(prompt == .user("hello"))
      var settings = SampleSettings()
      settings.maxTokens = 12
      settings.n = 3
      let all = try await session.answers(to: [prompt, .text("plain")], settings)
      #expect(all.map(\.count) == [3, 3])
      let one = try await session.answer(prompt, settings)
      #expect(one == all[0][0])
      var text = ""
      for try await piece in session.text(of: prompt, settings) { text += piece }
      #expect(text == one.text)
    }
  }

  @Test("what is trained in memory is what is trained from files, bit for bit")
  func sameAsFiles() async throws {
    try await withFolder { folder in
      let name = try model(in: folder)
      let session = try await AttuneSession.open(name)
      let before = try await session.score(pairs())
      #expect(before.joined().allSatisfy { $0.logRatio == 0 && $0.tokens > 0 })
      let steps = Mutex<[Int]>([])
      let report = try await session.train(pairs(), with: dpo()) { event in
        if case .progress(let step) = event { steps.withLock { $0.append(step.done) } }
      }
      #expect(report.steps == 6)
      #expect(report.model.isEmpty)
      let here = FileManager.default.currentDirectoryPath
      #expect(
        try !FileManager.default.contentsOfDirectory(atPath: here)
          .contains { $0.hasPrefix("rows") }, "nothing is kept beside rows that have no file")
      #expect(steps.withLock { $0 } == Array(1...6))
      let after = try await session.score(pairs())
      #expect(
        after.allSatisfy { $0[0].logRatio > $0[1].logRatio }, "chosen gains against rejected")
      try await session.save(to: folder.appending(path: "saved"))

      let file = folder.appending(path: "pairs.jsonl")
      try Data(pairs().map { $0.json.text + "\n" }.joined().utf8).write(to: file)
      var options = RunOptions()
      options.progress = .silent
      _ = try DPO.train(
        try LoadedModel.open(name, on: NativeEngine()), data: try DataFile.read(file),
        settings: dpo(), output: folder.appending(path: "run"), options: options)
      #expect(
        try Data(contentsOf: folder.appending(path: "saved/adapter_model.safetensors"))
          == Data(contentsOf: folder.appending(path: "run/adapter_model.safetensors")))
      // Learned anew from the start, whatever was learned before; and forgotten.
      try await session.train(pairs(), with: dpo())
      #expect(try await session.score(pairs()) == after)
      await session.reset()
      #expect(try await session.score(pairs()) == before)
    }
  }

  @Test("a cancelled run goes on where it stood, bit for bit")
  func cancel() async throws {
    try await withFolder { folder in
      let session = try await AttuneSession.open(try model(in: folder))
      try await session.train(pairs(), with: dpo())
      try await session.save(to: folder.appending(path: "whole"), merging: true)

      let stopped = Mutex(0)
      let training = Mutex<Task<Void, any Error>?>(nil)
      let task = Task {
        _ = try await session.train(pairs(), with: dpo()) { event in
          guard case .progress(let step) = event, step.done == 3 else { return }
          stopped.withLock { $0 = step.done }
          withUnsafeCurrentTask { $0?.cancel() }
        }
      }
      training.withLock { $0 = task }
      let error = await #expect(throws: AttuneError.self) { try await task.value }
      #expect(error?.code == .cancelled)
      #expect(stopped.withLock { $0 } == 3)
      let first = Mutex(0)
      try await session.train(pairs(), with: dpo()) { event in
        guard case .progress(let step) = event else { return }
        first.withLock { $0 = $0 == 0 ? step.done : $0 }
      }
      #expect(first.withLock { $0 } == 4, "not from the beginning")
      try await session.save(to: folder.appending(path: "resumed"), merging: true)
      #expect(
        try Data(contentsOf: folder.appending(path: "whole/model.safetensors"))
          == Data(contentsOf: folder.appending(path: "resumed/model.safetensors")))
    }
  }

  @Test("a step that is cancelled between its pieces leaves the run where it stood")
  func cancelledWithin() async throws {
    try await withFolder { folder in
      let session = try await AttuneSession.open(
        try model(in: folder), runs: folder.appending(path: "runs"))
      let prompts = (0..<4).map { Content.user("question \($0)") }
      var settings = GRPOSettings()
      settings.rollouts = 3
      settings.promptsPerRollout = 2
      settings.samplesPerPrompt = 2
      settings.maxTokens = 6
      let rewarded = Mutex(0)
      // The reward of the second rollout cancels the task that trains: its next pass does not begin.
      let reward = SessionReward.function("cancels") { _, answer in
        let count = rewarded.withLock {
          $0 += 1
          return $0
        }
        if count == 6 { withUnsafeCurrentTask { $0?.cancel() } }
        return Double(answer.utf8.count)
      }
      let task = Task {
        try await session.train(GRPO.self, on: prompts, rewards: [reward], with: settings)
      }
      let error = await #expect(throws: AttuneError.self) { _ = try await task.value }
      #expect(error?.code == .cancelled)
      let first = Mutex(0)
      let report = try await session.train(
        GRPO.self, on: prompts, rewards: [reward], with: settings
      ) {
        event in
        guard case .progress(let step) = event else { return }
        first.withLock { $0 = $0 == 0 ? step.done : $0 }
      }
      #expect(first.withLock { $0 } == 2, "the first rollout was kept, the second made again")
      #expect(report.rollouts == 3)
      #expect(
        try FileManager.default.contentsOfDirectory(
          atPath: folder.appending(path: "runs").path
        ).isEmpty, "what is done leaves nothing behind")
    }
  }

  @Test("a reward model, rewards of the app's own, and an online algorithm")
  func online() async throws {
    try await withFolder { folder in
      let session = try await AttuneSession.open(try model(in: folder))
      let missing = await #expect(throws: AttuneError.self) {
        _ = try await session.rewards(of: pairs())
      }
      #expect(missing?.code == .badModel)
      var learning = RewardModelSettings()
      learning.evaluationShare = 0
      learning.learningRate = 1e-2
      learning.epochs = 6
      try await session.train(pairs(), with: learning)
      let rewards = try await session.rewards(of: pairs())
      #expect(rewards.allSatisfy { $0[0] > $0[1] })
      let lengths = try await session.rewards(of: pairs(), by: .source("length:1-2"))
      #expect(lengths[0][0] == 0, "two words")
      #expect(abs(lengths[0][1] + log(2.5)) < 1e-12, "five words")

      var settings = RLOOSettings()
      settings.rollouts = 2
      settings.promptsPerRollout = 2
      settings.samplesPerPrompt = 2
      settings.maxTokens = 6
      let report = try await session.train(
        RLOO.self, on: (0..<4).map { .user("question \($0)") },
        rewards: [.trained(), .function("bytes", weight: 0.1) { Double($1.utf8.count) }],
        with: settings)
      #expect(report.rollouts == 2)

      // Rows of one prompt that say different things beside it are prompts of their own.
      let rows = (0..<4).map {
        PromptRow(.user("question"), fields: [.init("answer", .string("\($0)"))])
      }
      let seen = Mutex<Set<String>>([])
      let grader = SessionReward.grader("own") { row, answer in
        guard case .string(let right)? = row.fields.first(where: { $0.key == "answer" })?.value
        else { return 0 }
        seen.withLock { _ = $0.insert(right) }
        return answer.contains(right) ? 1 : 0
      }
      try await session.train(
        RLOO.self, on: rows, rewards: [grader, .source("answer:exact")], with: settings)
      #expect(seen.withLock { $0 } == ["0", "1", "2", "3"])

      struct Own: Error {}
      let cases: [(SessionReward, AttuneError.Code)] = [
        (.function("nan") { _, _ in .nan }, .badData),
        (.function("weight", weight: .nan) { _, _ in 1 }, .badSetting),
        (.function("throws") { _, _ in throw Own() }, .own),
        (.function("cancels") { _, _ in throw CancellationError() }, .own),
      ]
      for (reward, code) in cases {
        let error = await #expect(throws: AttuneError.self) {
          try await session.train(
            RLOO.self, on: [.user("a"), .user("b")], rewards: [reward], with: settings)
        }
        #expect(error?.code == code, "\(reward.name): \(error?.message ?? "")")
      }
    }
  }

  @Test("code of the app's own runs on the models, and stops when its task is cancelled")
  func perform() async throws {
    try await withFolder { folder in
      let session = try await AttuneSession.open(try model(in: folder))
      let other = try await AttuneSession.open(try model(in: folder.appending(path: "other")))
      var sessions: Set<ObjectIdentifier> = []
      var pool: Set<ObjectIdentifier> = []
      for i in 0..<40 {
        let session = i.isMultiple(of: 2) ? session : other
        sessions.insert(try await session.perform { _ in ObjectIdentifier(Thread.current) })
        pool.insert(await Task.detached { threadOfPool() }.value)
      }
      #expect(sessions.count == 1, "one thread for all sessions")
      #expect(sessions.isDisjoint(with: pool), "which is none of Swift's pool")
      let started = Mutex(false)
      let task = Task {
        try await session.perform { models in
          started.withLock { $0 = true }
          while true { _ = try models.policy.model.score([Segment([1, 2, 3], scored: [1..<3])]) }
        }
      }
      while !started.withLock({ $0 }) { await Task.yield() }
      task.cancel()
      let error = await #expect(throws: AttuneError.self) { try await task.value }
      #expect(error?.code == .cancelled)

      struct Own: Error {}
      let own = await #expect(throws: AttuneError.self) {
        try await session.perform { _ in throw Own() }
      }
      #expect(own?.code == .own)
      #expect(own?.underlying is Own)
      let cancelled = await #expect(throws: AttuneError.self) {
        try await session.perform { _ in throw CancellationError() }
      }
      #expect(cancelled?.code == .own, "nobody cancelled this task")
    }
  }

  @Test("errors are of one type, and name what is at fault")
  func errors() async throws {
    try await withFolder { folder in
      let gone = await #expect(throws: AttuneError.self) {
        _ = try await AttuneSession.open(folder.appending(path: "gone").path)
      }
      #expect(gone?.code == .badModel)
      #expect(gone?.localizedDescription == gone?.message)
      let session = try await AttuneSession.open(try model(in: folder))
      let empty = await #expect(throws: AttuneError.self) {
        try await session.train([], with: dpo())
      }
      #expect(empty?.code == .badData)
      let mixed = await #expect(throws: AttuneError.self) {
        try await session.train(pairs(1) + [.text(.text("a text"))], with: dpo())
      }
      #expect(mixed?.code == .badData)
      #expect(mixed?.message.contains("rows:2") == true, "\(mixed?.message ?? "")")
      var settings = dpo()
      settings.learningRate = .nan
      let bad = await #expect(throws: AttuneError.self) {
        try await session.train(pairs(), with: settings)
      }
      #expect(bad?.code == .badSetting)
      #expect(bad?.message.contains("learning_rate") == true)
      let threads = await #expect(throws: AttuneError.self) {
        _ = try await AttuneSession.open(folder.path, threads: -1)
      }
      #expect(threads?.code == .badSetting)
      let full = await #expect(throws: AttuneError.self) {
        try await session.save(to: folder)
      }
      #expect(full?.code == .file)
    }
  }

  @Test("a policy that was saved answers as the session did")
  func saved() async throws {
    try await withFolder { folder in
      let session = try await AttuneSession.open(try model(in: folder))
      var settings = SFTSettings()
      settings.epochs = 20
      settings.learningRate = 1e-2
      let rows = (0..<4).map {
        Example.completion(prompt: .user("question \($0)"), completion: .text("yes \($0)"))
      }
      try await session.train(rows, with: settings)
      let answer = try await session.answer(.user("question 1"), greedy())
      try await session.save(to: folder.appending(path: "saved"))
      let other = try await AttuneSession.open(folder.appending(path: "saved").path)
      #expect(try await other.answer(.user("question 1"), greedy()) == answer)
    }
  }
}

private func threadOfPool() -> ObjectIdentifier { ObjectIdentifier(Thread.current) }
