// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneFiles
package import Foundation

/// The folder through which a trainer and those who sample for it speak, `samplers` in the run's own: any
/// file system that all of them see, with no port and no service.
///
/// - `current.json`: which version of the policy is the newest, where it lies, and whether the run is over.
/// - `policy-7/`: the policy after seven rollouts, as any trained model is written.
/// - `draw-9-0.json`: prompts to answer. `draw-9-0.lease`: who is at it. `draw-9-0.samples.json`: what was
///   drawn, by which version, with the sampler's own log-probabilities.
///
/// Every file is renamed onto its name when it is whole, so that a half-written one is never read; a lease is
/// made where there is none, which a file system lets one of many do.
package struct SamplerFolder: Sendable {
  /// What those who sample are told.
  package struct Current: Codable, Sendable, Equatable {
    var formatVersion = 1
    /// Rollouts that the policy was trained on.
    var version: Int
    /// The model that the run started from.
    var model: String
    /// Its fingerprint.
    var fingerprint: String
    /// Whether there is nothing left to do.
    var isFinished = false
    /// A lease that is not renewed for so long is another's to take.
    var leaseSeconds: Double
  }

  /// Prompts to answer: a part of what a rollout needs.
  package struct Work: Codable, Sendable, Equatable {
    var draw: Int
    var part: Int
    /// Token ids.
    var prompts: [[Int32]]
    /// For each prompt the stream of random numbers of its first answer.
    var streams: [UInt64]
    var settings: SamplingSettings
    /// The oldest version of the policy that may answer.
    var oldest: Int
    /// Tells it from work of the same name in another run.
    var digest: String

    var name: String { "draw-\(draw)-\(part)" }
  }

  /// Answers.
  package struct Samples: Codable, Sendable, Equatable {
    /// That of the work.
    var digest: String
    /// The version of the policy that drew them.
    var version: Int
    /// Who did.
    var worker: String
    /// How long it took.
    var seconds: Double
    /// For each prompt its answers.
    var answers: [[Sample]]

    var tokens: Int { answers.joined().reduce(0) { $0 + $1.ids.count } }
  }

  let url: URL

  /// - Parameter run: The run's folder.
  package init(of run: URL) { url = run.appending(path: "samplers", directoryHint: .isDirectory) }

  private func file(_ name: String) -> URL { url.appending(path: name) }

  /// The newest state; nil where there is none yet.
  ///
  /// - Throws: `TrainingError` if it is of another version of the program.
  package func current() throws -> Current? {
    guard let data = try? Data(contentsOf: file("current.json")) else { return nil }
    try FormatVersion.require(
      1, of: data, at: file("current.json"), orElse: "use the same program on all machines")
    return try? JSONText.read(Current.self, from: data)
  }

  func write(_ current: Current) throws {
    try AtomicFile.write(try JSONText.indented(current), to: file("current.json"))
  }

  /// Where a version of the policy lies.
  func policy(_ version: Int) -> URL {
    url.appending(path: "policy-\(version)", directoryHint: .isDirectory)
  }

  func write(_ work: Work) throws {
    try AtomicFile.write(try JSONText.line(work), to: file(work.name + ".json"))
  }

  /// Prompts that nobody has answered yet, those that are needed first coming first.
  func open() -> [Work] {
    names.compactMap { name -> Work? in
      guard let (draw, part) = Self.place(name, ".json"),
        !exists("draw-\(draw)-\(part).samples.json"), let data = try? Data(contentsOf: file(name))
      else { return nil }
      return try? JSONText.read(Work.self, from: data)
    }.sorted { ($0.draw, $0.part) < ($1.draw, $1.part) }
  }

  func write(_ samples: Samples, of work: Work) throws {
    try AtomicFile.write(try JSONText.line(samples), to: file(work.name + ".samples.json"))
  }

  /// What was drawn; nil where nothing was yet.
  func samples(of work: Work) -> Samples? {
    guard let data = try? Data(contentsOf: file(work.name + ".samples.json")) else { return nil }
    return try? JSONText.read(Samples.self, from: data)
  }

  /// Whether that very work is there.
  func has(_ work: Work) -> Bool {
    let data = try? Data(contentsOf: file(work.name + ".json"))
    return data.flatMap { try? JSONText.read(Work.self, from: $0) }?.digest == work.digest
  }

  /// Takes away what the run before this process told those who sample, who wait from then on.
  func clearCurrent() { unlink(file("current.json").path) }

  /// Takes answers away that can't be used.
  func discardSamples(of work: Work) { unlink(file(work.name + ".samples.json").path) }

  /// Takes away what no rollout from `draw` on needs, and what a version above `version` made or is: of a run
  /// that went on from a checkpoint, what came after that.
  func clear(drawsBelow draw: Int, versionsBelow oldest: Int, above version: Int) {
    for name in names {
      if let (place, _) = Self.place(name, ".samples.json"), place >= draw {
        let data = try? Data(contentsOf: file(name))
        let made = data.flatMap { try? JSONText.read(Samples.self, from: $0) }
        if made.map({ $0.version > version }) ?? true { unlink(file(name).path) }
      } else if let place = name.wholeMatch(of: /draw-([0-9]+)-.*/).flatMap({ Int($0.1) }) {
        if place < draw { unlink(file(name).path) }
      } else if let number = name.wholeMatch(of: /policy-([0-9]+)/).flatMap({ Int($0.1) }),
        number < oldest || number > version
      {
        try? FileManager.default.removeItem(at: file(name))
      }
    }
  }

  private var names: [String] {
    (try? FileManager.default.contentsOfDirectory(atPath: url.path)) ?? []
  }

  private func exists(_ name: String) -> Bool {
    FileManager.default.fileExists(atPath: file(name).path)
  }

  private static func place(_ name: String, _ ending: String) -> (draw: Int, part: Int)? {
    guard name.hasSuffix(ending),
      let match = name.dropLast(ending.count).wholeMatch(of: /draw-([0-9]+)-([0-9]+)/),
      let draw = Int(match.1), let part = Int(match.2)
    else { return nil }
    return (draw, part)
  }

  // MARK: Leases

  /// A lease as another process sees it: what it says, and when that was last seen to change. Clocks of two
  /// machines are never compared.
  package struct Watched {
    var mark: String
    var since: ContinuousClock.Instant
  }

  /// Takes a lease.
  ///
  /// - Parameters:
  ///   - work: What is leased.
  ///   - worker: Who takes it.
  ///   - seconds: How long a lease may stand still.
  ///   - watched: What this process saw of others' leases.
  /// - Returns: False where another has it.
  func lease(
    _ work: Work, to worker: String, seconds: Double, watched: inout [String: Watched]
  ) -> Bool {
    let path = file(work.name + ".lease").path
    if make(path, worker) {
      watched[work.name] = nil
      return true
    }
    guard let mark = mark(path) else { return false }
    guard let seen = watched[work.name], seen.mark == mark else {
      watched[work.name] = Watched(mark: mark, since: .now)
      return false
    }
    guard ContinuousClock.now - seen.since > .seconds(seconds) else { return false }
    // Of many who find it dead one renames it.
    let dead = file(".\(work.name).\(UUID().uuidString).dead").path
    guard rename(path, dead) == 0 else { return false }
    unlink(dead)
    watched[work.name] = nil
    return make(path, worker)
  }

  /// Says that a lease's holder is alive.
  func renew(_ work: Work) { utimes(file(work.name + ".lease").path, nil) }

  func release(_ work: Work) { unlink(file(work.name + ".lease").path) }

  private func make(_ path: String, _ worker: String) -> Bool {
    let descriptor = Foundation.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    _ = worker.withCString { Foundation.write(descriptor, $0, strlen($0)) }
    return true
  }

  /// Which file it is, and when it was last written.
  private func mark(_ path: String) -> String? {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    #if canImport(Darwin)
      let time = status.st_mtimespec
    #else
      let time = status.st_mtim
    #endif
    return "\(status.st_ino) \(time.tv_sec) \(time.tv_nsec)"
  }
}
