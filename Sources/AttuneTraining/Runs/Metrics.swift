// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneData
import AttuneFiles
package import AttuneObjectives
package import Foundation

/// The metrics of a run: `metrics.jsonl` in its folder, one object a step.
package final class MetricsFile {
  private let url: URL
  private let stage: String
  private let descriptor: Int32
  private var trackers: Trackers?
  /// How long the file is.
  package private(set) var bytes: Int

  /// Opens the file for appending.
  ///
  /// - Parameters:
  ///   - folder: The run's folder.
  ///   - stage: The trainer.
  ///   - bytes: How much of the file is kept: what it held when the checkpoint was written.
  ///   - step: The step of that checkpoint.
  ///   - track: What shows the numbers beside the file.
  ///   - record: The run's settings, which those show too.
  ///   - warn: Is told of lines that the checkpoint counts on and that are gone.
  /// - Throws: `FileError` if it can't be written.
  package init(
    in folder: URL, stage: String, keeping bytes: Int = 0, upTo step: Int = 0,
    track: [TrackerKind] = [], of record: RunRecord? = nil,
    warn: (String) -> Void = { _ in }
  ) throws {
    url = folder.appending(path: "metrics.jsonl")
    self.stage = stage
    self.bytes = bytes
    // Rank 0 alone has a file.
    let path = Collective.current.rank == 0 ? url.path : "/dev/null"
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw FileError("can't be written", url.path) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return }
    if bytes > 0 {
      let there = (try? FileHandle(forReadingFrom: url).read(upToCount: bytes)) ?? Data()
      let whole = there.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
      if whole < bytes {
        self.bytes = whole
        let kept = there[..<whole].split(separator: UInt8(ascii: "\n")).last.flatMap {
          try? JSONDecoder().decode(StepOfLine.self, from: $0).step
        }
        warn(
          "\(url.path): has lost lines since the checkpoint was written: those after step "
            + "\(kept ?? 0) up to step \(step)")
      }
    }
    guard ftruncate(descriptor, off_t(self.bytes)) == 0,
      lseek(descriptor, off_t(self.bytes), SEEK_SET) >= 0
    else { throw FileError("can't be written", url.path) }
    guard !track.isEmpty, let record else { return }
    let kept = try? FileHandle(forReadingFrom: url).read(upToCount: self.bytes)
    trackers = try Trackers(track, in: folder, record: record, metrics: kept ?? Data())
  }

  private struct StepOfLine: Decodable { var step: Int }

  deinit { close(descriptor) }

  /// Appends one step. Values that are not finite are left out.
  ///
  /// - Throws: `FileError` if it can't be written.
  package func append(step: Int, _ metrics: MetricTotals) throws {
    let line = Self.line(
      step: step, stage: stage, time: Date().timeIntervalSince1970, metrics: metrics)
    _ = try Collective.current.first {
      try AtomicFile.write(Data(line.utf8), to: descriptor, name: url.path)
      try trackers?.add(line)
      return true
    }
    bytes += line.utf8.count
  }

  /// Ends the run for its trackers, which take its report's figures.
  ///
  /// - Throws: `FileError` if they can't be written.
  package func finish() throws {
    _ = try Collective.current.first {
      try trackers?.finish(in: url.deletingLastPathComponent())
      return true
    }
  }

  /// Brings all lines to the disk, before a checkpoint counts on them.
  package func flush() { fsync(descriptor) }

  /// The last value of a metric in a run's folder; nil where it was not measured.
  ///
  /// - Throws: `TrainingError` if the file can't be read.
  package static func last(_ metric: Metric, in folder: URL) throws -> Double? {
    let url = folder.appending(path: "metrics.jsonl")
    let text: String
    do {
      text = try String(contentsOf: url, encoding: .utf8)
    } catch {
      throw TrainingError(.file, "\(url.path): can't be read: \(reason(error))")
    }
    for line in text.split(separator: "\n").reversed() {
      let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
      if let value = object?[metric.rawValue] as? Double { return value }
    }
    return nil
  }

  private static func line(
    step: Int, stage: String, time: Double, metrics: MetricTotals
  ) -> String {
    var line = "{\"step\":\(step),\"stage\":\"\(stage)\",\"time\":\(fixed(time, 3))"
    for (key, value) in metrics.named where value.isFinite {
      line += ",\(JSONValue.string(key).text):\(value)"
    }
    return line + "}\n"
  }
}
