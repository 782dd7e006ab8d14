// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
import AttuneTestSupport
import AttuneTraining
import Foundation
import Testing

struct TrackerTests {
  private struct Knobs: Encodable { var beta = 0.1 }

  private static func record() throws -> RunRecord {
    try RunRecord(stage: "dpo", settings: Knobs(), inputs: [("data", "abc")])
  }

  private static func totals(_ loss: Double) -> MetricTotals {
    var totals = MetricTotals()
    totals.add(.loss, loss)
    totals.add(.preferenceLoss, loss)
    return totals
  }

  /// A run of three steps that goes on behind the second one, with its final table.
  private static func run(_ kinds: [TrackerKind], in folder: URL) throws {
    var kept = 0
    do {
      let metrics = try MetricsFile(in: folder, stage: "dpo", track: kinds, of: record())
      for step in 1...2 { try metrics.append(step: step, totals(1 / Double(step))) }
      kept = metrics.bytes
      // Lost: the checkpoint does not count on it.
      try metrics.append(step: 3, totals(99))
    }
    let metrics = try MetricsFile(
      in: folder, stage: "dpo", keeping: kept, upTo: 2, track: kinds, of: record())
    try metrics.append(step: 3, totals(0.25))
    try Data("{\"held_out\":[{\"metric\":\"accuracy\",\"value\":0.75}]}".utf8).write(
      to: folder.appending(path: "report.json"))
    try metrics.finish()
  }

  @Test func `a table has a row a step and the final figures`() throws {
    try withTemporaryFolder { folder in
      try Self.run([.csv], in: folder)
      let lines = try String(contentsOf: folder.appending(path: "metrics.csv"), encoding: .utf8)
        .split(separator: "\n").map { $0.split(separator: ",", omittingEmptySubsequences: false) }
      #expect(lines.map(\.count) == [5, 5, 5, 5, 5])
      #expect(lines[0] == ["step", "time", "loss", "loss/preference", "held_out/accuracy"])
      #expect(lines[1...3].map { $0[2] } == ["1.0", "0.5", "0.25"])
      #expect(lines[4][0] == "3" && lines[4][4] == "0.75")
    }
  }

  @Test func `event files hold each step once, with right checksums`() throws {
    try withTemporaryFolder { folder in
      try Self.run([.tensorboard], in: folder)
      let own = folder.appending(path: "tensorboard")
      let names = try FileManager.default.contentsOfDirectory(atPath: own.path)
      #expect(names.count == 1 && names[0].hasPrefix("events.out.tfevents."))
      let bytes = Array(try Data(contentsOf: own.appending(path: names[0])))
      var records: [[UInt8]] = []
      var at = 0
      while at < bytes.count {
        let length = bytes[at..<at + 8].reversed().reduce(0) { $0 << 8 | Int($1) }
        records.append(Array(bytes[(at + 12)..<(at + 12 + length)]))
        at += 16 + length
      }
      #expect(at == bytes.count)
      // The version, the settings, three steps, the figures and their table.
      #expect(records.count == 7)
      #expect(records[0].suffix(13).elementsEqual("brain.Event:2".utf8))
      func has(_ record: [UInt8], _ text: String) -> Bool {
        Data(record).range(of: Data(text.utf8)) != nil
      }
      #expect(
        has(records[1], "beta") && has(records[4], "loss") && has(records[6], "held_out/accuracy"))
      // CRC-32C of "123456789" is E3069283: the first record's length, 24 in eight bytes, has its own.
      #expect(Array(bytes[..<12]) == [24, 0, 0, 0, 0, 0, 0, 0, 163, 127, 75, 34])
    }
  }

  @Test func `MLflow's store has the run once, with its settings and state`() throws {
    try withTemporaryFolder { parent in
      let folder = parent.appending(path: "run")
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      try Self.run([.mlflow], in: folder)
      let runs = try FileManager.default.contentsOfDirectory(
        atPath: parent.appending(path: "mlruns/0").path
      ).filter { $0 != "meta.yaml" }
      #expect(runs.count == 1 && runs[0].count == 32)
      let run = parent.appending(path: "mlruns/0/\(runs[0])")
      func text(_ path: String) throws -> String {
        try String(contentsOf: run.appending(path: path), encoding: .utf8)
      }
      #expect(try text("metrics/loss/preference") == text("metrics/loss/total"))
      let lines = try text("metrics/loss/total").split(separator: "\n")
        .map { $0.split(separator: " ") }
      #expect(
        lines.map { $0[1] } == ["1.0", "0.5", "0.25"] && lines.map { $0[2] } == ["1", "2", "3"])
      #expect(try text("params/beta") == "0.1" && text("tags/mlflow.runName") == "run")
      #expect(try text("metrics/held_out/accuracy").contains(" 0.75 3"))
      #expect(try text("meta.yaml").contains("status: 3"))
    }
  }
}
