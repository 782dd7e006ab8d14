// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import AttuneEngine
import AttuneNative
import AttuneStudies
import AttuneTraining
import Foundation

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Times a training step and sampling, and says how much memory training took.",
    discussion: """
      A step has a loss at every position, forward, backward and AdamW, of all weights or, with --rank, of \
      adapters; no prefix is shared. gemm_share is the time that its matrix products take \
      alone on the same shapes, by the kernels that a step takes them by (Attune's own, of float32 the \
      weights' gradients by BLAS), over the step's time; Benchmarks/peers/compare.py holds it against a \
      library's rate in that precision (PyTorch's, that is oneDNN's or MKL's). \
      With --text the perplexity of a text is measured too, in windows of 512 tokens: by the model's \
      passes, and by the numbers that --sampler draws with.

      Example: attune bench --model smollm2 --train-shape 8x128 --sample-batch 32 --json
      """)

  @OptionGroup var model: ModelOption

  @Option(
    name: [.long, .customLong("shape")],
    help: ArgumentHelp("Sequences × tokens of a training step.", valueName: "8x128"))
  var trainShape = "8x128"

  @Option(
    help: ArgumentHelp(
      "Train adapters of this rank beside every frozen matrix, in place of all weights.",
      valueName: "n"))
  var rank: Int?

  @Flag(help: "Compute activations again instead of keeping them.")
  var recompute = false

  @Option(help: ArgumentHelp("Sequences sampled side by side.", valueName: "n"))
  var sampleBatch = 32

  @Option(help: ArgumentHelp("Tokens sampled of each.", valueName: "n"))
  var sampleTokens = 64

  @OptionGroup var sampler: SamplerOption
  @OptionGroup var moments: OptimizerOption

  @Option(help: ArgumentHelp("Training steps that are timed.", valueName: "n"))
  var steps = 5

  @Option(help: ArgumentHelp("A text whose perplexity is measured.", valueName: "file"))
  var text: String?

  @OptionGroup var shared: SharedOptions

  func validate() throws {
    guard shape != nil else {
      throw ValidationError("--train-shape \(trainShape): write sequences x tokens, as 8x128.")
    }
    for (name, value) in [
      ("--rank", rank ?? 1), ("--sample-batch", sampleBatch), ("--sample-tokens", sampleTokens),
      ("--steps", steps),
    ] where value < 1 {
      throw ValidationError("\(name) \(value): give at least 1.")
    }
  }

  private var shape: (sequences: Int, length: Int)? {
    let parts = trainShape.lowercased().split(separator: "x").compactMap { Int($0) }
    guard parts.count == 2, parts[0] > 0, parts[1] > 1 else { return nil }
    return (parts[0], parts[1])
  }

  func run() throws {
    try shared.refuseSettings()
    let engine = try shared.engine()
    guard let shape else { return }
    let place = try LoadedModel.resolve(model.model)
    // First, so that a file that is not there is known before anything is timed.
    let ids = try text.map {
      try Tokenizing.text(LoadedModel.tokenizer(model.model), of: URL(fileURLWithPath: $0))
    }
    var result = try Benchmark.run(
      { try engine.load(Checkpoint.open(place)) }, sequences: shape.sequences,
      length: shape.length, rank: rank, recomputing: recompute, sampleBatch: sampleBatch,
      sampleTokens: sampleTokens, sampler: sampler.sampler ?? .same,
      optimizer: moments.optimizer ?? .adamw, steps: steps, seed: shared.seed ?? 1)
    if let ids {
      result.perplexity = try Perplexity(
        of: engine.load(Checkpoint.open(place)), ids, sampler: result.sampler)
    }
    if shared.json { return try Output.json(result) }
    try Output.line(
      """
      training   \(fixed(result.trainTokensPerSecond, 0)) tokens/s, \
      \(fixed(result.trainStepSeconds, 2)) s a step of \(trainShape)
      products   \(fixed(result.gemmShare * 100, 0)) % of the step at the \
      \(fixed(result.gemmGflops, 0)) GFLOP/s of \(result.precision)
      sampling   \(fixed(result.sampleTokensPerSecondSingle, 0)) tokens/s for one sequence, \
      \(fixed(result.sampleTokensPerSecond, 0)) for \(sampleBatch), sampler \(result.sampler.rawValue)
      memory     \(fixed(result.peakMemoryMB, 0)) MB at most, training with \(result.optimizer.rawValue)
      machine    \(result.threads) threads, \(result.blas)
      """)
    guard let perplexity = result.perplexity else { return }
    try Output.line(
      """
      perplexity \(fixed(perplexity.passes, 3)) by passes, \(fixed(perplexity.sampled, 3)) as sampled, \
      of \(perplexity.tokens) tokens
      """)
  }
}
