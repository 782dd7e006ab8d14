// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneFiles
import AttuneRewards
public import AttuneTraining
public import Foundation

/// Policies that are trained one after the other while labels come in, in a folder of their own.
///
/// Each is trained from the start, which is the reference too, on everything labelled so far, so that a
/// label weighs the same whenever it was given. `policy-K` is the model, `policy-K.jsonl` what it was
/// trained on, `policies.json` which there are and which one answers. Killed at any moment, a series goes
/// on: a policy counts once it is listed, and a round that was begun resumes or begins again.
public final class PolicySeries {
  /// A policy that was trained.
  public struct Policy: Codable, Sendable, Equatable {
    /// Counted from 1; the start is 0.
    public var number: Int
    /// Its model's name in the provenance of answers.
    public var name: String
    /// What tells its weights from others.
    public var fingerprint: String
    /// The policy that answered before it, which it is held against.
    public var previous: Int
    /// Comparisons with a winner when its round began.
    public var labels: Int
    /// The loss, by name.
    public var loss: String
    /// Pairs trained on.
    public var rows: Int
    /// Share of the held-out pairs that its implicit reward ranks as people did; nil of none.
    public var accuracy: Double?
    /// Pairs held out, by prompt.
    public var heldOut: Int
    /// Seconds of the last part of its round.
    public var seconds: Double
  }

  private struct State: Codable {
    var formatVersion = 1
    var model: String
    var fingerprint: String
    @Count var current = 0
    /// Labels when the policy that answers came.
    @Count var mark = 0
    /// Labels when the unfinished round began.
    var begun: Int?
    var policies: [Policy] = []

    /// Whether every policy is where it says, after the one that it is held against.
    var isWhole: Bool {
      (0...policies.count).contains(current) && (0...1 << 53).contains(begun ?? 0)
        && policies.enumerated().allSatisfy { i, policy in
          policy.number == i + 1 && (0...i).contains(policy.previous)
        }
    }
  }

  /// The model that all are trained from: policy 0.
  public let start: LoadedModel
  /// The knobs.
  public let settings: AlignSettings
  /// Where the policies are.
  public let folder: URL
  private var state: State
  private let lock: FolderLock
  private var opened: [Int: LoadedModel] = [:]

  /// Opens a series, or begins one.
  ///
  /// - Parameters:
  ///   - start: The model that all are trained from.
  ///   - settings: The knobs.
  ///   - folder: Where the policies are, or will be.
  ///   - policy: A policy to go back to, or forward; nil goes on with the one that answered last.
  ///   - labels: Comparisons with a winner that there are.
  /// - Throws: `TrainingError` if the folder is another start's, damaged, in use or has no such policy.
  public init(
    _ start: LoadedModel, settings: AlignSettings, in folder: URL, policy: Int? = nil, labels: Int
  ) throws {
    try settings.validate()
    try settings.dpo.check(against: start.model)
    self.start = start
    self.settings = settings
    self.folder = folder
    try AtomicFile.makeFolder(folder)
    lock = try FolderLock(folder)
    state = State(model: start.name, fingerprint: start.fingerprint)
    let file = folder.appending(path: "policies.json")
    if FileManager.default.fileExists(atPath: file.path) {
      do {
        state = try JSONText.read(State.self, from: try Data(contentsOf: file))
      } catch {
        throw TrainingError(.badOutput, "\(file.path): is damaged; give another folder")
      }
      guard state.isWhole else {
        throw TrainingError(
          .badOutput,
          "\(file.path): is damaged: its policies don't follow one another; give another folder"
        )
      }
      guard state.fingerprint == start.fingerprint else {
        throw TrainingError(
          .badOutput,
          "\(folder.path): holds policies that were trained from \(state.model); give that model, or "
            + "another folder")
      }
    }
    guard let policy else { return }
    guard (0...state.policies.count).contains(policy) else {
      throw TrainingError(
        .badSetting,
        "there is no policy \(policy) in \(folder.path): give 0, the start, to \(state.policies.count)"
      )
    }
    guard policy != state.current || state.begun != nil else { return }
    state.current = policy
    state.mark = labels
    state.begun = nil
    try save()
  }

  /// The policies that were trained, the first one first.
  public var policies: [Policy] { state.policies }
  /// The one that answers.
  public var current: Int { state.current }
  /// The one that it is held against; nil for the start.
  public var previous: Int? {
    state.current == 0 ? nil : state.policies[state.current - 1].previous
  }
  /// Comparisons with a winner at which the next round begins.
  public var nextRound: Int { state.begun ?? (state.mark + settings.every) }

  /// A policy's model; it shares the start's frozen weights.
  ///
  /// - Throws: An error that names what is missing or damaged.
  public func model(_ number: Int) throws -> LoadedModel {
    if number == 0 { return start }
    if let known = opened[number] { return known }
    let model = try LoadedModel.open(url(number).relativePath, beside: start)
    // The one that answers and the one before it.
    opened = opened.filter { $0.key == state.current || $0.key == previous }
    opened[number] = model
    return model
  }

  /// Whether a round is to be trained.
  ///
  /// - Parameter labels: Comparisons with a winner that there are.
  public func isDue(_ labels: Int) -> Bool { labels >= nextRound }

  /// Trains the next policy, or what is left of it; it then answers.
  ///
  /// - Parameters:
  ///   - labels: Comparisons with a winner that there are.
  ///   - rows: Everything labelled so far, as lines of preference rows; asked where the round begins.
  ///   - options: How the run is watched and stopped.
  /// - Throws: `interrupted` after a stop: called again it goes on; else what the trainer throws.
  public func train(labels: Int, rows: () throws -> String, options: RunOptions) throws {
    let number = state.policies.count + 1
    let pairs = folder.appending(path: "policy-\(number).jsonl")
    if state.begun == nil {
      try AtomicFile.write(try rows(), to: pairs)
      state.begun = labels
      try save()
    }
    var knobs = settings.dpo
    knobs.seed &+= UInt64(number)
    var options = options
    options.restart = false
    let report = try options.inPart {
      try DPO.train(
        start, data: try DataFile.read(pairs, expecting: [.preference]), settings: knobs,
        output: url(number), options: $0)
    }
    let model = try LoadedModel.open(url(number).relativePath, beside: start)
    state.policies.append(
      Policy(
        number: number, name: model.name, fingerprint: model.fingerprint,
        previous: state.current, labels: state.begun ?? labels, loss: report.loss,
        rows: report.rows, accuracy: report.evalAccuracy, heldOut: report.evalRows,
        seconds: report.seconds))
    state.current = number
    state.mark = state.begun ?? labels
    state.begun = nil
    try save()
    opened[number] = model
  }

  /// Gives a round up that can't be trained; the next one begins with as many further labels.
  ///
  /// - Throws: An error if that can't be written.
  public func abandonRound(labels: Int) throws {
    state.begun = nil
    state.mark = labels
    try save()
  }

  private func url(_ number: Int) -> URL {
    folder.appending(path: "policy-\(number)", directoryHint: .isDirectory)
  }

  private func save() throws {
    do {
      try AtomicFile.write(
        try JSONText.indented(state), to: folder.appending(path: "policies.json"))
    } catch is EncodingError {
      throw TrainingError(.diverged, "\(folder.path): an accuracy is not finite")
    }
  }
}
