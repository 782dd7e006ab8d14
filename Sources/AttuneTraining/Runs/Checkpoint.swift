// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import Foundation

/// Where a run stands, in one file that is replaced as a whole: the trained numbers of its models,
/// AdamW's moments, and the trainer's own state as values.
struct RunCheckpoint<State: Codable> {
  /// What the trainer keeps: the next step, adaptive weights, running means.
  var state: State
  /// Bytes of `metrics.jsonl` that belong to it.
  var metricsBytes: Int

  private struct Note: Codable {
    var state: State
    @Count var metricsBytes: Int
    var steps: [Count]
    var machine: String
  }

  /// Writes `checkpoint.safetensors` into the run's folder.
  ///
  /// - Throws: An error if it can't be written; the one before it then stays.
  func write(_ models: [any LanguageModel], to folder: URL) throws {
    let note: Data
    do {
      note = try JSONEncoder().encode(
        Note(
          state: state, metricsBytes: metricsBytes,
          steps: models.map { Count(wrappedValue: $0.optimizerSteps) },
          machine: Host.computing(models)))
    } catch is EncodingError {
      throw TrainingError(
        .diverged,
        "\(Self.url(folder).path): can't be written: a number of the run's state is not finite")
    }
    let layout = models.enumerated().flatMap { i, model in
      model.trainingTensors.map { ("\(i).\($0.name)", $0.shape, $0.type) }
    }
    let writer = try Safetensors.Writer(
      Self.url(folder), layout: layout, metadata: ["attune": String(decoding: note, as: UTF8.self)])
    for (i, model) in models.enumerated() {
      // Room for copies of its tensors, one at a time.
      model.releaseMemory()
      try model.withTrainingState { tensor in
        try tensor.values.withUnsafeBufferPointer { try writer.write("\(i).\(tensor.name)", $0) }
      }
    }
    try writer.finish()
  }

  /// Reads it and puts the models back to where they were.
  ///
  /// - Parameters:
  ///   - models: The models, made as at the start of the run.
  ///   - folder: The run's folder.
  ///   - steps: Optimiser steps of the whole run: none can have made more.
  ///   - isPossible: Whether a run of these settings can stand where the state says.
  ///   - warn: Is told if the machine computes otherwise than the one that wrote it.
  /// - Returns: Nil if the folder has no checkpoint yet.
  /// - Throws: An error that names the file if it is damaged.
  static func read(
    into models: [any LanguageModel], from folder: URL, steps: Int, isPossible: (State) -> Bool,
    warn: (String) -> Void
  ) throws -> RunCheckpoint? {
    let url = url(folder)
    guard FileManager.default.fileExists(atPath: url.path) else { return nil }
    let file: Safetensors.File
    do {
      file = try Safetensors.File(url)
    } catch let error as EngineError {
      throw TrainingError(.badOutput, "\(error.message); --restart begins the run anew")
    }
    guard let text = file.metadata["attune"],
      let note = try? JSONDecoder().decode(Note.self, from: Data(text.utf8)),
      note.steps.count == models.count
    else {
      throw TrainingError(
        .badOutput, "\(url.path): is no checkpoint of this trainer; --restart discards it")
    }
    func damaged(_ what: String) -> TrainingError {
      TrainingError(
        .badOutput, "\(url.path): is damaged: \(what); --restart begins the run anew")
    }
    guard isPossible(note.state), note.steps.allSatisfy({ $0.wrappedValue <= steps }) else {
      throw damaged("it says that more is done than the whole run has to do")
    }
    for (i, model) in models.enumerated() {
      let prefix = "\(i)."
      do {
        let names = file.names.filter { $0.hasPrefix(prefix) }
        try model.restoreTrainingState(
          names.map { String($0.dropFirst(prefix.count)) }, step: note.steps[i].wrappedValue
        ) { name in
          let stored = prefix + name
          let values = try file.isCodes(stored) ? file.readCodes(stored) : file.read(stored)
          // The mean of squares, of which AdamW takes the root, and what scales codes.
          let isPositive = ["moment2.", "scale1.", "scale2."].contains(where: name.hasPrefix)
          let least: Float = isPositive ? 0 : -.infinity
          guard values.allSatisfy({ $0.isFinite && $0 >= least }) else {
            throw damaged(
              "the tensor \(stored) has numbers that are not finite"
                + (isPositive ? " or below 0" : ""))
          }
          return NamedTensor(name: name, shape: file.shape(of: stored) ?? [], values: values)
        }
      } catch let error as EngineError {
        throw damaged(error.message)
      }
    }
    let machine = Host.computing(models)
    if note.machine != machine {
      warn(
        "the run began with \(note.machine) and goes on with \(machine): "
          + "the result is as good, but not the same bit for bit")
    }
    return RunCheckpoint(state: note.state, metricsBytes: note.metricsBytes)
  }

  private static func url(_ folder: URL) -> URL { folder.appending(path: "checkpoint.safetensors") }
}

/// How often something was done. One that is read from a file is no less than 0, and so far from the
/// largest whole number that adding to it is safe.
@propertyWrapper
package struct Count: Codable {
  package var wrappedValue: Int

  package init(wrappedValue: Int) { self.wrappedValue = wrappedValue }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    wrappedValue = try container.decode(Int.self)
    guard (0...1 << 53).contains(wrappedValue) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "is no count")
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(wrappedValue)
  }
}

/// When the next checkpoint is due: after an interval, but so that writing takes at most a
/// twentieth of the time.
struct CheckpointClock {
  let interval: Duration
  private var last = ContinuousClock.now
  private var cost = Duration.zero

  init(seconds: Double) { interval = .seconds(seconds) }

  var isDue: Bool { ContinuousClock.now - last >= max(interval, cost * 20) }

  mutating func time(_ write: () throws -> Void) rethrows {
    let start = ContinuousClock.now
    try write()
    last = ContinuousClock.now
    cost = last - start
  }
}

/// What a bit-for-bit resume depends on beside the run's own record.
enum Host {
  private static var processor: String {
    guard let text = try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8),
      let line = text.split(separator: "\n").first(where: { $0.hasPrefix("model name") }),
      let name = line.split(separator: ":").last
    else { return "unknown processor" }
    return name.trimmingCharacters(in: .whitespaces)
  }

  /// Everything that decides the last bits of a number.
  static func computing(_ models: [any LanguageModel]) -> String {
    let record = models.first?.engine.record
    return "\(processor), \(record?.library ?? ""), \(record?.threads ?? 0) threads"
  }
}
