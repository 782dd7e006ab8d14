// SPDX-License-Identifier: Apache-2.0

public import AttuneEngine
import AttuneFiles
public import Foundation

/// Samples for a trainer that runs elsewhere (`--samplers folder`), through a folder that both see. Any number
/// of them may come and go while it runs.
public enum RolloutWorker {
  /// What a worker did.
  public struct Report: Codable, Sendable, Equatable {
    /// Version of this object's format.
    public var formatVersion = 1
    /// Its name.
    public var worker: String
    /// How often it took prompts and handed in answers.
    public var leases = 0
    /// Answers handed in.
    public var answers = 0
    /// Their tokens.
    public var tokens = 0
    /// Seconds that drawing them took.
    public var seconds = 0.0
  }

  /// How often the folder is looked at where there is nothing to do, and how often a lease is renewed.
  private static let pause = 0.1
  private static let heartbeat = Duration.seconds(2)

  /// Works until the run is over.
  ///
  /// - Parameters:
  ///   - run: The run's folder, which may not be there yet.
  ///   - name: What the worker is called.
  ///   - engine: What computes the policy.
  ///   - idleSeconds: Ends after so long without work; 0 is never.
  ///   - say: Is told what happens, in words.
  /// - Returns: What it did.
  /// - Throws: An error that names what is at fault; `interrupted` after Ctrl-C, where what was leased is
  ///   another's to take at once.
  public static func work(
    for run: URL, name: String, on engine: any Engine, idleSeconds: Double = 0,
    say: (String) -> Void
  ) throws -> Report {
    let folder = SamplerFolder(of: run)
    var report = Report(worker: name)
    var start: LoadedModel?
    var policy: (version: Int, loaded: LoadedModel)?
    var watched: [String: SamplerFolder.Watched] = [:]
    var idle = ContinuousClock.now
    say("waits for work in \(folder.url.path)")
    while true {
      guard !Interrupt.isRequested else {
        throw TrainingError(.interrupted, "stopped; what it had leased is another's to take")
      }
      let current = try folder.current()
      if let current, current.isFinished { return report }
      if let current {
        let opened = try start ?? open(current, on: engine, say)
        start = opened
        let work = folder.open().first {
          $0.oldest <= current.version
            && folder.lease($0, to: name, seconds: current.leaseSeconds, watched: &watched)
        }
        if let work {
          defer { folder.release(work) }
          if policy?.version != current.version {
            policy = nil
            guard
              let loaded = try? LoadedModel.open(
                folder.policy(current.version).path, beside: opened)
            else {
              // A newer one is there by now, and this one is gone.
              guard try folder.current()?.version != current.version else {
                throw TrainingError(
                  .badModel, "\(folder.policy(current.version).path): can't be opened")
              }
              continue
            }
            policy = (current.version, loaded)
          }
          if let policy, let samples = try draw(work, policy, name, folder) {
            try folder.write(samples, of: work)
            report.leases += 1
            report.answers += samples.answers.joined().count
            report.tokens += samples.tokens
            report.seconds += samples.seconds
            say(
              "draw \(work.draw), part \(work.part + 1): \(samples.answers.joined().count) answers by "
                + "policy \(samples.version), "
                + "\(fixed(Double(samples.tokens) / max(samples.seconds, 1e-9), 0)) tokens/s")
          }
          idle = .now
          continue
        }
      }
      if idleSeconds > 0, ContinuousClock.now - idle > .seconds(idleSeconds) { return report }
      Thread.sleep(forTimeInterval: pause)
    }
  }

  private static func open(
    _ current: SamplerFolder.Current, on engine: any Engine, _ say: (String) -> Void
  ) throws -> LoadedModel {
    let start = try LoadedModel.open(current.model, on: engine)
    guard start.fingerprint == current.fingerprint else {
      throw TrainingError(
        .badModel,
        "\(current.model): is another model here than where the run is trained; put the same one there"
      )
    }
    say("samples from \(start.name)")
    return start
  }

  /// Nil if it was stopped.
  private static func draw(
    _ work: SamplerFolder.Work, _ policy: (version: Int, loaded: LoadedModel), _ name: String,
    _ folder: SamplerFolder
  ) throws -> SamplerFolder.Samples? {
    let began = ContinuousClock.now
    var renewed = began
    let answers = try policy.loaded.model.sample(
      work.prompts, work.settings, streams: work.streams
    ) { _ in
      if ContinuousClock.now - renewed > heartbeat {
        folder.renew(work)
        renewed = .now
      }
      return !Interrupt.isRequested
    }
    guard !answers.joined().contains(where: { $0.finishReason == .cancelled }) else { return nil }
    return SamplerFolder.Samples(
      digest: work.digest, version: policy.version, worker: name,
      seconds: seconds(ContinuousClock.now - began), answers: answers)
  }
}
