// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneData
import AttuneEngine
import AttuneFiles
import Foundation

/// The trainer's side of sampling through a folder: it hands out versions of the policy and prompts, and takes
/// what is there.
///
/// Rollout r is trained on draw r. Prompts of the next `maxStaleness` draws are handed out too, so that those who
/// sample go on while the trainer trains: what is taken is then that many versions old at most.
struct FolderSampling {
  /// What a worker has done so far.
  private struct Rate {
    var leases = 0
    var tokens = 0
    var seconds = 0.0
  }

  let folder: SamplerFolder
  private let start: LoadedModel
  private let settings: RolloutSettings
  private let say: (String) -> Void
  private let shouldStop: () -> Bool
  private var published: Int?
  private var rates: [String: Rate] = [:]
  /// Versions that the answers of the last rollout are behind, in the mean.
  private(set) var staleness = 0.0

  /// Opens the folder, and takes away what came after the checkpoint that a run goes on from.
  ///
  /// - Parameters:
  ///   - run: The run's folder.
  ///   - start: The model to start from.
  ///   - settings: How answers are sampled.
  ///   - rollout: Rollouts made.
  ///   - say: Is told what happens, in words.
  ///   - shouldStop: Whether to give up waiting.
  init(
    _ run: URL, start: LoadedModel, settings: RolloutSettings, rollout: Int,
    say: @escaping (String) -> Void, shouldStop: @escaping () -> Bool
  ) throws {
    folder = SamplerFolder(of: run)
    (self.start, self.settings, self.say, self.shouldStop) = (start, settings, say, shouldStop)
    try AtomicFile.makeFolder(folder.url)
    let folder = folder
    try Collective.current.first {
      folder.clearCurrent()
      folder.clear(drawsBelow: 0, versionsBelow: 0, above: rollout)
    }
    say(
      "samples are drawn by others: attune rollouts --run "
        + "\(run.standardizedFileURL.path) --worker NAME")
  }

  /// Answers to the prompts of a draw.
  ///
  /// - Parameters:
  ///   - draw: Which draw.
  ///   - version: Rollouts that the policy was trained on.
  ///   - policy: Gives the model that answers.
  ///   - prompts: Gives the prompts of a draw, as tokens.
  ///   - sampling: Gives how the answers of a draw are sampled.
  /// - Returns: For each prompt its answers; nil if it was stopped.
  /// - Throws: An error if the folder can't be written.
  mutating func answers(
    draw: Int, version: Int, policy: () throws -> any LanguageModel,
    prompts: (Int) -> [[Int32]], sampling: (Int) -> SamplingSettings
  ) throws -> [[Sample]]? {
    if published != version {
      try start.write(policy(), to: folder.policy(version))
      try folder.write(
        .init(
          version: version, model: start.absoluteName, fingerprint: start.fingerprint,
          leaseSeconds: settings.leaseSeconds))
      published = version
      let (folder, oldest) = (folder, version - settings.maxStaleness - 1)
      try Collective.current.first {
        folder.clear(drawsBelow: draw, versionsBelow: oldest, above: version)
      }
    }
    let last = min(draw + settings.maxStaleness, max(draw, settings.rollouts - 1))
    let work = try (draw...last).flatMap { try parts(of: $0, prompts($0), sampling($0)) }
    for var part in work where !folder.has(part) {
      // By when it is trained on, that many rollouts will have passed.
      part.oldest = version + part.draw - draw - settings.maxStaleness
      try folder.write(part)
    }
    guard let taken = try take(work.filter { $0.draw == draw }, version: version) else {
      return nil
    }
    staleness = Double(taken.reduce(0) { $0 + version - $1.version }) / Double(taken.count)
    for samples in taken {
      rates[samples.worker, default: Rate()].leases += 1
      rates[samples.worker, default: Rate()].tokens += samples.tokens
      rates[samples.worker, default: Rate()].seconds += samples.seconds
    }
    return taken.flatMap(\.answers)
  }

  /// Tells those who sample that the run is over, and what each did.
  func finish(version: Int) throws {
    try folder.write(
      .init(
        version: version, model: start.absoluteName, fingerprint: start.fingerprint,
        isFinished: true,
        leaseSeconds: settings.leaseSeconds))
    let (folder, version) = (folder, version)
    try Collective.current.first {
      folder.clear(drawsBelow: .max, versionsBelow: .max, above: version)
    }
    for (worker, rate) in rates.sorted(by: { $0.key < $1.key }) {
      say(
        "sampler \(worker): \(rate.leases) leases, \(rate.tokens) tokens, "
          + "\(fixed(Double(rate.tokens) / max(rate.seconds, 1e-9), 0)) tokens/s")
    }
  }

  private func parts(
    of draw: Int, _ prompts: [[Int32]], _ sampling: SamplingSettings
  ) throws -> [SamplerFolder.Work] {
    try stride(from: 0, to: prompts.count, by: settings.leasePrompts).enumerated().map {
      part, first in
      let places = first..<min(first + settings.leasePrompts, prompts.count)
      var work = SamplerFolder.Work(
        draw: draw, part: part, prompts: Array(prompts[places]),
        streams: places.map { UInt64($0) * UInt64(sampling.samplesPerPrompt) }, settings: sampling,
        oldest: 0, digest: "")
      work.digest = try Fingerprint.of(value: work)
      return work
    }
  }

  /// Waits for the answers of some work. Rank 0 looks, and tells the others.
  private func take(
    _ work: [SamplerFolder.Work], version: Int
  ) throws -> [SamplerFolder.Samples]? {
    try Collective.current.first {
      let began = ContinuousClock.now
      var hasWaited = false
      while true {
        let taken = work.compactMap { work in
          folder.samples(of: work).flatMap { fits($0, work, version) ? $0 : nil }
        }
        if taken.count == work.count { return taken }
        if shouldStop() { return nil }
        if !hasWaited, ContinuousClock.now - began > .seconds(30) {
          say("waits for those who sample: \(taken.count) of \(work.count) parts are there")
          hasWaited = true
        }
        Thread.sleep(forTimeInterval: 0.05)
      }
    }
  }

  /// Whether answers can be trained on; those that can't are taken away, and drawn again.
  private func fits(
    _ samples: SamplerFolder.Samples, _ work: SamplerFolder.Work, _ version: Int
  ) -> Bool {
    let vocabulary = Int32(start.model.spec.vocabularySize)
    let isSound =
      samples.digest == work.digest && samples.version <= version
      && samples.version >= version - settings.maxStaleness
      && samples.answers.count == work.prompts.count
      && samples.answers.allSatisfy { answers in
        answers.count == work.settings.samplesPerPrompt
          && answers.allSatisfy {
            !$0.ids.isEmpty && $0.ids.count == $0.logProbability.count
              && $0.ids.allSatisfy { (0..<vocabulary).contains($0) }
              && $0.logProbability.allSatisfy(\.isFinite)
          }
      }
    guard !isSound else { return true }
    say("warning: what \(samples.worker) handed in for \(work.name) is not used: it is drawn again")
    folder.discardSamples(of: work)
    return false
  }
}
