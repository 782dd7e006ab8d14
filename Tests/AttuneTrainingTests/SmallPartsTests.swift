// SPDX-License-Identifier: Apache-2.0

import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

struct FingerprintTests {
  @Test func `the digest is SHA-256`() throws {
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    #expect(Fingerprint.of(Data("abc".utf8)) == abc)
    let folder = try TemporaryFolder()
    #expect(try Fingerprint.of(file: folder.file("abc", "abc")) == abc)
  }

  @Test func `a model's digest is of its own files alone`() throws {
    let folder = try TemporaryFolder()
    _ = folder.file("config.json", "{}")
    let before = try Fingerprint.of(model: folder.url)
    _ = folder.file("metrics.jsonl", "{}")
    _ = folder.file("checkpoint.safetensors", "x")
    #expect(try Fingerprint.of(model: folder.url) == before)
    _ = folder.file("model.safetensors", "x")
    #expect(try Fingerprint.of(model: folder.url) != before)
  }
}

struct ScheduleTests {
  @Test func `the rate rises, then falls`() {
    let linear = Schedule(peak: 1, decay: .linear, warmupSteps: 2, totalSteps: 6)
    #expect((0..<6).map(linear.rate) == [0.5, 1, 1, 0.75, 0.5, 0.25])
    let cosine = Schedule(peak: 2, decay: .cosine, warmupSteps: 0, totalSteps: 4)
    #expect(abs(cosine.rate(2) - 1) < 1e-12 && cosine.rate(0) == 2)
    let constant = Schedule(peak: 3, decay: .constant, warmupSteps: 0, totalSteps: 4)
    #expect(constant.rate(99) == 3)
  }
}

struct PieceTests {
  @Test func `pieces end where the next group would not fit`() {
    #expect(cutIntoPieces([3, 4, 5, 20, 1], budget: 8) == [0..<2, 2..<3, 3..<4, 4..<5])
    #expect(cutIntoPieces([], budget: 8) == [])
  }

  @Test func `what groups begin with counts once a piece`() {
    let (long, short): (ArraySlice<Int32>, ArraySlice<Int32>) = ([1, 2, 3, 4, 5, 6], [1, 2])
    // 6 + 8 · 1: all of the budget behind a long opening.
    #expect(
      cutIntoPieces(
        Array(repeating: 7, count: 10), openings: Array(repeating: long, count: 10), budget: 8)
        == [0..<8, 8..<10])
    #expect(
      cutIntoPieces([4, 4, 4, 4], openings: Array(repeating: short, count: 4), budget: 8)
        == [0..<3, 3..<4])
    // Others are whole.
    #expect(
      cutIntoPieces([4, 4, 4], openings: [short, [2, 2], short], budget: 8) == [0..<2, 2..<3])
  }
}

struct ProgressTests {
  @Test func `a line says how far, how fast and how long still`() {
    #expect(
      ProgressLine.line(
        "sft", done: 30, first: 10, total: 90, unit: "steps", seconds: 10, note: "loss 2.1",
        bar: false) == "sft  30/90 steps  2.0 steps/s  0:30 left  loss 2.1")
    #expect(
      ProgressLine.line(
        "ppo", done: 1, first: 0, total: 3, unit: "rollouts", seconds: 3700, note: "", bar: true)
        == "ppo  [######..............]  1/3 rollouts  3700.0 s/rollout  2:03:20 left")
  }
}
