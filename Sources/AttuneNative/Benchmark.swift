// SPDX-License-Identifier: Apache-2.0

public import AttuneEngine
import CAttuneKernels
import Foundation

/// How fast a model trains and samples on this machine.
public struct BenchmarkResult: Codable, Sendable {
  /// Tokens a second of a training step: loss at every position, forward, backward and AdamW, no prefix
  /// shared; the median step.
  public var trainTokensPerSecond: Double
  /// Seconds of the median step.
  public var trainStepSeconds: Double
  /// Time that the step's matrix products take alone on the same shapes, over
  /// the step's time.
  public var gemmShare: Double
  /// Those products alone, by the kernels that a step takes them by, in GFLOP/s.
  public var gemmGflops: Double
  /// Tokens a second of sampling as many sequences side by side as were asked for.
  public var sampleTokensPerSecond: Double
  /// The same for one sequence.
  public var sampleTokensPerSecondSingle: Double
  /// Which numbers they were sampled with.
  public var sampler: Sampler
  /// What made the training steps' weights new.
  public var optimizer: OptimizerName
  /// Peak resident memory after the training steps, in MB (2²⁰ bytes).
  public var peakMemoryMB: Double
  /// Rank of the adapters that were trained; nil: all weights were.
  public var rank: Int?
  /// Whether activations were computed again.
  public var recomputed: Bool
  /// How products were computed.
  public var precision: String
  /// How frozen matrices were kept.
  public var basePrecision: String
  /// Threads that computed.
  public var threads: Int
  /// The BLAS library and the kernels that it chose.
  public var blas: String
  /// How well a text is predicted, where one was given.
  public var perplexity: Perplexity?
}

/// Timing of the engine on one model.
public enum Benchmark {
  /// Tokens of a pass: the products of so many rows run at their full rate, and the activations of
  /// more would only take memory. Gradients of a batch's passes accumulate.
  public static let tokensPerPass = 512

  /// Trains and samples, and says how fast it was.
  ///
  /// - Parameters:
  ///   - load: Loads the frozen model; called once, and let go of when the copy to train is made,
  ///     so that peak memory is that of training alone.
  ///   - sequences: Sequences of a training step.
  ///   - length: Tokens of each.
  ///   - rank: Rank of the adapters that are trained; nil: all weights are.
  ///   - recomputing: Whether activations are computed again instead of kept.
  ///   - sampleBatch: Sequences sampled side by side.
  ///   - sampleTokens: Tokens sampled of each.
  ///   - sampler: Which numbers they are sampled with.
  ///   - optimizer: What makes weights new.
  ///   - steps: Training steps timed, after one that is not.
  ///   - seed: Decides the tokens that are scored and drawn.
  /// - Returns: The figures.
  /// - Throws: `EngineError` if the shape does not fit the model.
  public static func run(
    _ load: () throws -> any LanguageModel, sequences: Int, length: Int,
    rank: Int? = nil, recomputing: Bool = false, sampleBatch: Int,
    sampleTokens: Int = 64, sampler: Sampler = .same, optimizer: OptimizerName = .adamw,
    steps: Int = 5, seed: UInt64 = 1
  ) throws -> BenchmarkResult {
    guard sequences > 0, length > 1, sampleBatch > 0, sampleTokens > 0, steps > 0 else {
      throw EngineError(
        .badRequest, "bench needs at least one sequence of two tokens and one sample")
    }
    let (single, batch) = try sampling(
      load(), batch: sampleBatch, tokens: sampleTokens, sampler)
    let model = try load().copy(
      training: rank.map { .lora(LoRASettings(rank: $0, alpha: 2 * Double($0))) } ?? .full)
    model.recomputesActivations = recomputing
    var random = RandomStream(seed: seed, stream: 0)
    let segments = (0..<sequences).map { _ in
      Segment(
        (0..<length).map { _ in Int32(random.next() % UInt64(model.spec.vocabularySize)) },
        scored: [1..<length])
    }
    let weight = 1 / Double(sequences * (length - 1))
    let weights = [Double](repeating: weight, count: length - 1)
    let perPass = max(1, min(sequences, tokensPerPass / length))
    let adamW = AdamW(optimizer)
    var times: [Double] = []
    for _ in 0...steps {
      times.append(
        try seconds {
          model.zeroGradients()
          for start in stride(from: 0, to: sequences, by: perPass) {
            let pass = Array(segments[start..<min(sequences, start + perPass)])
            _ = try model.supervise(
              pass, weights: [[Double]](repeating: weights, count: pass.count))
          }
          try model.step(adamW, learningRate: 1e-5, maximumNorm: 1)
        })
    }
    let step = times.dropFirst().sorted()[steps / 2]
    let memory = peakMemory()
    let products = try matrixProducts(
      model.spec, rows: perPass * length, length: length, ofWeights: rank == nil,
      model.engine.record.precision)
    let passes = Double(sequences) / Double(perPass)
    let record = model.engine.record
    return BenchmarkResult(
      trainTokensPerSecond: Double(sequences * length) / step, trainStepSeconds: step,
      gemmShare: passes * products.seconds / step,
      gemmGflops: products.work / products.seconds * 1e-9,
      sampleTokensPerSecond: batch, sampleTokensPerSecondSingle: single, sampler: sampler,
      optimizer: adamW.name, peakMemoryMB: memory, rank: rank, recomputed: recomputing,
      precision: record.precision.rawValue, basePrecision: record.basePrecision.rawValue,
      threads: record.threads, blas: record.library)
  }

  private static func seconds(_ body: () throws -> Void) rethrows -> Double {
    seconds(try ContinuousClock().measure(body))
  }

  private static func seconds(_ duration: Duration) -> Double {
    Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
  }

  /// Tokens a second for one sequence and for a batch, prompts of 16 tokens not counted.
  private static func sampling(
    _ model: any LanguageModel, batch: Int, tokens: Int, _ sampler: Sampler
  ) throws -> (single: Double, batch: Double) {
    var random = RandomStream(seed: 2, stream: 0)
    let prompt = (0..<16).map { _ in Int32(random.next() % UInt64(model.spec.vocabularySize)) }
    func rate(_ count: Int) throws -> Double {
      var settings = SamplingSettings()
      settings.samplesPerPrompt = count
      settings.batch = count
      settings.stopIds = []
      settings.sampler = sampler
      /// Seconds from the first token of all answers to the last one.
      func time(_ tokens: Int) throws -> Double {
        settings.maxTokens = tokens + 1
        let clock = ContinuousClock()
        var (first, last) = (clock.now, clock.now)
        _ = try model.sample([prompt], settings) { event in
          last = clock.now
          if event.position == 0 { first = last }
          return true
        }
        return seconds(last - first)
      }
      _ = try time(2)
      return Double(tokens * count) / (try time(tokens))
    }
    return (try rate(1), try rate(batch))
  }

  /// The matrix products of a pass alone: seconds and floating-point operations. Those of the weights'
  /// gradients are left out where the weights are frozen; adapters' own are not counted, which are few.
  private static func matrixProducts(
    _ spec: TransformerSpec, rows: Int, length: Int, ofWeights: Bool, _ precision: Precision
  ) throws -> (seconds: Double, work: Double) {
    let scored = rows - rows / length
    let size = LayerSizes(spec, rows: rows)
    var shapes = [
      (rows, size.fused, size.width, spec.layers), (rows, size.width, size.queries, spec.layers),
      (rows, size.gates, size.width, spec.layers), (rows, size.width, size.mlp, spec.layers),
    ]
    // The head runs in chunks of rows, so that its logits never exist at once.
    let chunk = min(scored, NativeEngine.supervisedHeadRows(precision))
    shapes.append((chunk, spec.vocabularySize, size.width, (scored + chunk - 1) / chunk))
    var total = 0.0
    var work = 0.0
    for (m, n, k, times) in shapes {
      let x = try FloatBuffer(m * k)
      let y = try FloatBuffer(m * n)
      let w = try FloatBuffer(n * k)
      let dw = try FloatBuffer(n * k)
      for i in 0..<x.count { x.pointer[i] = Float(i % 7) * 0.1 }
      for i in 0..<y.count { y.pointer[i] = Float(i % 3) * 0.1 }
      for i in 0..<w.count { w.pointer[i] = Float(i % 5) * 0.1 }
      func once() {
        atk_product(
          x.pointer, ATK_PLAIN, y.pointer, ATK_PLAIN, w.pointer, m, k, n, 0, precision.ofProducts)
        if ofWeights {
          atk_product(
            dw.pointer, ATK_TRANSPOSED, y.pointer, ATK_PLAIN, x.pointer, n, k, m, 1,
            precision.ofProducts)
        }
        atk_product(
          y.pointer, ATK_PLAIN, x.pointer, ATK_TRANSPOSED, w.pointer, m, n, k, 0,
          precision.ofProducts)
      }
      once()
      var best = Double.infinity
      for _ in 0..<3 { best = min(best, seconds { once() }) }
      total += best * Double(times)
      work += (ofWeights ? 6 : 4) * Double(m) * Double(n) * Double(k) * Double(times)
    }
    return (total, work)
  }
}
