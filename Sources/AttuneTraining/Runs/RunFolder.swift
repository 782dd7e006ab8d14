// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneData
import AttuneEngine
package import AttuneFiles
public import Foundation

/// What decides a run's outcome: its inputs, settings and the program's version. Two runs with
/// equal records have equal results.
public struct RunRecord: Codable, Sendable, Equatable {
  /// The trainer: `sft`, `reward`, `ppo`.
  public var stage: String
  /// The program's version.
  public var version: String
  /// Every knob: the settings as a recipe has them, without those that change nothing.
  package var settings: JSONTree
  /// Digests of what the run reads: `model`, `data`.
  package var inputs: [String: String]
  /// What the chat template took for now, where it writes the date.
  package var templateDate: String?
  /// How matrix products are computed, where that is not in float32.
  package var precision: String?
  /// How frozen matrices are kept, where that is not as their file has them.
  package var basePrecision: String?

  /// Single words: a record is read by decoders that turn snake case and by others.
  private enum CodingKeys: String, CodingKey {
    case stage, version, settings, inputs, precision
    case templateDate = "clock"
    case basePrecision = "base"
  }

  /// Makes a record.
  ///
  /// - Parameters:
  ///   - stage: The trainer.
  ///   - settings: Its settings.
  ///   - model: The model that it starts from, of which what decides numbers is recorded beside its
  ///     fingerprint: the date, where its chat template writes it, and how its engine computes.
  ///   - inputs: Digests of what it reads: `model`, `data`.
  /// - Throws: `TrainingError` if a setting is not a finite number.
  public init(
    stage: String, settings: some Encodable, model: LoadedModel? = nil,
    inputs: [(name: String, digest: String)]
  ) throws {
    self.stage = stage
    version = attuneVersion
    self.settings = try ConfigFile.value(of: settings).without(Self.idleKnobs)
    self.inputs = Dictionary(inputs, uniquingKeysWith: { $1 })
    templateDate = model?.chatTemplate?.readsClock == true ? TemplateClock.text : nil
    let precision = model?.engine.record.precision ?? .float32
    self.precision = precision == .float32 ? nil : precision.rawValue
    let base = model?.engine.record.basePrecision ?? .asIs
    basePrecision = base == .asIs ? nil : base.rawValue
  }

  /// Knobs that change nothing of what comes out.
  private static let idleKnobs: Set = ["checkpoint_seconds", "show_every"]

  /// The digest of the whole record.
  public var fingerprint: String { (try? Fingerprint.of(value: self)) ?? "" }

  /// What another record has otherwise: `learning_rate (1e-05 there, 0.0001 now)`.
  public func differences(from recorded: RunRecord) -> [String] {
    var list: [String] = []
    func compare(_ name: String, _ there: String?, _ now: String?) {
      guard there != now else { return }
      list.append("\(name) (\(there ?? "not set") there, \(now ?? "not set") now)")
    }
    compare("stage", recorded.stage, stage)
    compare("version", recorded.version, version)
    for input in Set(inputs.keys).union(recorded.inputs.keys).sorted()
    where inputs[input] != recorded.inputs[input] {
      list.append("the \(input) (other contents)")
    }
    let now = settings.byPath
    let there = recorded.settings.byPath
    for knob in Set(now.keys).union(there.keys).sorted() {
      compare(knob, there[knob]?.line, now[knob]?.line)
    }
    compare("template_date", recorded.templateDate, templateDate)
    compare("precision", recorded.precision, precision)
    compare("base_precision", recorded.basePrecision, basePrecision)
    return list
  }
}

/// The program's version, which fingerprints carry.
public let attuneVersion = "0.1.0"

/// The folder of one run: who it belongs to, whether it is finished, and the lock that keeps a
/// second process out of it.
public final class RunFolder {
  /// The folder.
  public let url: URL
  private let record: RunRecord
  private let lock: FolderLock

  private enum State: String, Codable {
    case running, finished
    /// Its files are being removed, to make room for a run that is begun anew.
    case discarded
  }

  private struct RunFile: Codable {
    /// 1 held every knob as a text.
    static let formatVersion = 2
    var formatVersion = Self.formatVersion
    var state = State.running
    var fingerprint: String
    var record: RunRecord
  }

  /// Opens a run's folder, and makes it if need be.
  ///
  /// What a killed process left half-written or half-removed there is cleared away.
  ///
  /// - Parameters:
  ///   - url: The folder.
  ///   - record: What the run is made of.
  ///   - restart: Whether a run that is there is discarded.
  /// - Throws: `TrainingError` if the folder holds a finished run, one that differs (the knobs are
  ///   named), something that is no run, or is in use by another process.
  public init(_ url: URL, record: RunRecord, restart: Bool = false) throws {
    self.url = url
    self.record = record
    let names = (try? FileManager.default.contentsOfDirectory(atPath: url.path)) ?? []
    if !names.contains(Self.fileName),
      let stranger = names.sorted().first(where: {
        $0 != FolderLock.name && !AtomicFile.isPart($0)
      })
    {
      throw TrainingError(
        .badOutput,
        "\(url.path): holds no run but other files (\(stranger)); give a new or empty folder")
    }
    try AtomicFile.makeFolder(url)
    lock = try FolderLock(url)
    let there = restart ? nil : try Self.read(url)
    if let there, there.state != .discarded {
      let differences = record.differences(from: there.record)
      guard differences.isEmpty else {
        throw TrainingError(
          .badOutput,
          "\(url.path): holds another run; what differs: \(differences.joined(separator: ", ")); "
            + "give another folder, or --restart to discard it")
      }
      guard there.state == .running else {
        // Killed on its last step, a finished run still has it.
        try Self.removeCheckpoint(url)
        throw TrainingError(
          .finished,
          "\(url.path): holds this run, finished; give another folder, or --restart to discard it")
      }
    } else if names.contains(Self.fileName) {
      // First the mark, so that a kill at any moment leaves a folder that the next run goes on to
      // clear; run.json itself is never away, or the folder would belong to nobody.
      try write(.discarded)
      try Self.discard(url)
    }
    try write(.running)
  }

  /// Marks the run as finished.
  ///
  /// - Throws: `FileError` if that can't be written.
  public func finish() throws {
    try write(.finished)
    try Self.removeCheckpoint(url)
  }

  private static let fileName = "run.json"

  /// What a trainer's folder says of itself; nil where it holds none.
  ///
  /// - Throws: `TrainingError` if its `run.json` is damaged.
  package static func contents(of url: URL) throws -> (record: RunRecord, isFinished: Bool)? {
    guard let file = try read(url), file.state != .discarded else { return nil }
    return (file.record, file.state == .finished)
  }

  /// Sets the clock of chat templates to what a folder's run had, so that it goes on with the same
  /// texts on another day.
  package static func resumeClock(of url: URL, _ options: RunOptions) {
    guard !options.restart, let file = try? read(url), file.state != .discarded,
      let date = file.record.templateDate
    else { return }
    TemplateClock.resume(date)
  }

  private static func read(_ url: URL) throws -> RunFile? {
    let file = url.appending(path: fileName)
    guard FileManager.default.fileExists(atPath: file.path) else { return nil }
    do {
      let data = try Data(contentsOf: file)
      try FormatVersion.require(
        RunFile.formatVersion, of: data, at: file,
        orElse: "give another folder, or --restart to discard it")
      return try JSONText.read(RunFile.self, from: data)
    } catch let error as TrainingError {
      throw error
    } catch {
      throw TrainingError(
        .badOutput, "\(file.path): is damaged; give another folder, or --restart to discard it")
    }
  }

  private func write(_ state: State) throws {
    let file = RunFile(
      state: state, fingerprint: record.fingerprint, record: record)
    guard let data = try? JSONText.indented(file) else {
      throw TrainingError(.badSetting, "\(url.path): the run's record can't be written as JSON")
    }
    try AtomicFile.write(data, to: url.appending(path: Self.fileName))
  }

  /// What a run writes beside its weights and `round-N`.
  private static let own: Set<String> = [
    "metrics.jsonl", "metrics.csv", "tensorboard", "samples.jsonl", "evaluation.jsonl",
    "greedy.jsonl", "report.json",
    "report.html",
    "settings.json", "config.json", "generation_config.json", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
    "adapter_config.json", "attune.json", "model.safetensors.index.json",
  ]

  /// Takes away what a run writes but run.json; files of other names stay.
  private static func discard(_ url: URL) throws {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: url.path)) ?? []
    for name in names.sorted()
    where own.contains(name) || name.hasSuffix(".safetensors")
      || name.wholeMatch(of: /round-[0-9]+/) != nil
    {
      try Collective.current.first {
        do {
          try FileManager.default.removeItem(at: url.appending(path: name))
        } catch {
          throw TrainingError(.file, "\(url.path)/\(name): can't be removed: \(reason(error))")
        }
      }
    }
  }

  private static func removeCheckpoint(_ url: URL) throws {
    let file = url.appending(path: "checkpoint.safetensors").path
    try Collective.current.first {
      guard unlink(file) == 0 || errno == ENOENT else {
        throw FileError("can't be removed", file)
      }
    }
  }
}

/// The number that a file's format has, so that one of another version is not called damaged.
package enum FormatVersion {
  private struct Said: Decodable { var formatVersion: Int }

  /// Refuses a file of another version.
  ///
  /// - Parameters:
  ///   - version: What this program writes.
  ///   - data: The file's contents.
  ///   - file: Where it is.
  ///   - remedy: What to do about it.
  /// - Throws: `TrainingError.badOutput` that names the file and both versions; what the decoder throws
  ///   where none is said.
  package static func require(_ version: Int, of data: Data, at file: URL, orElse remedy: String)
    throws
  {
    let found = try JSONText.read(Said.self, from: data).formatVersion
    guard found != version else { return }
    throw TrainingError(
      .badOutput,
      "\(file.path): was written by another version of attune (format \(found), here \(version)); "
        + remedy)
  }
}
