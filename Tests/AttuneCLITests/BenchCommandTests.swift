// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@Suite(.serialized)
struct BenchCommandTests {
  /// The fewest tokens that there can be: what they took is measured, not a difference of two runs.
  @Test(arguments: ["", "--optimizer adamw-8bit --sampler int8"])
  func `training and sampling are timed, by any optimiser and sampler`(options: String) throws {
    let bench = try Workbench()
    let line =
      "bench --model model --train-shape 2x8 --sample-batch 3 --sample-tokens 1 --steps 1 --threads 1 "
      + options
    let run = try bench.attune(line: line + " --json")
    #expect(run.code == 0, "\(run.errors)")
    let result = try run.object()
    for rate in [
      "train_tokens_per_second", "sample_tokens_per_second", "sample_tokens_per_second_single",
      "gemm_gflops", "peak_memory_mb",
    ] {
      let value = try #require(result[rate] as? Double, "\(rate) in \(run.output)")
      #expect(value > 0 && value.isFinite, "\(rate) \(value)")
    }
    let isOfCodes = options.contains("8bit")
    #expect(result["optimizer"] as? String == (isOfCodes ? "adamw-8bit" : "adamw"))
    #expect(result["sampler"] as? String == (isOfCodes ? "int8" : "same"))
    let words = try bench.attune(line: line).output
    #expect(words.contains(isOfCodes ? "with adamw-8bit" : "with adamw"), "\(words)")
  }

  @Test func `wrong usage is told`() throws {
    let bench = try Workbench()
    for (options, words) in [
      ("--train-shape 8", "8x128"), ("--sample-tokens 0", "give at least 1"),
      ("--optimizer sgd", "adamw-8bit"), ("--set optimizer=adamw", "leave out --set"),
    ] {
      let run = try bench.attune(line: "bench --model model \(options)")
      #expect(run.code == 64 && run.errors.contains(words), "\(options): \(run.errors)")
    }
  }
}
