// SPDX-License-Identifier: Apache-2.0

/// What opens models and computes them: on which devices, with which library, how exactly.
///
/// A program chooses its engine once; every model knows its own (`LanguageModel.engine`), so that
/// whatever is opened beside one is of the same engine.
public protocol Engine: Sendable {
  /// What decides the last bits of a number.
  var record: EngineRecord { get }

  /// Knobs of how an engine works that it does not read, by their names in a recipe (`piece_tokens`,
  /// `recompute`, `trunk_megabytes`), each with why: a run that sets one of them is refused.
  var unreadKnobs: [(knob: String, why: String)] { get }

  /// Refuses a model whose weights alone, as they would be kept, are more than can be had: the system
  /// would stop the program in the middle, or not for a long time. `load` and `random` do so too.
  ///
  /// - Parameter checkpoint: An opened model directory or GGUF file.
  /// - Throws: `EngineError` with both sizes.
  func requireMemory(for checkpoint: Checkpoint) throws

  /// The memory that a run takes at its largest; nothing is allocated and no weight is read.
  ///
  /// - Parameters:
  ///   - work: What the run asks for.
  ///   - spec: The model that it starts from.
  /// - Returns: The bytes of each part.
  /// - Throws: `EngineError` if what is to be trained does not fit the model.
  func memory(for work: ModelWork, of spec: TransformerSpec) throws -> MemoryEstimate

  /// Reads a model; all of it is frozen.
  ///
  /// - Parameter checkpoint: An opened model directory or GGUF file. A `score.weight` becomes the
  ///   scalar head.
  /// - Returns: The model; the checkpoint's file is not needed any more.
  /// - Throws: `EngineError` that names the file and tensor at fault.
  func load(_ checkpoint: Checkpoint) throws -> any LanguageModel

  /// A frozen model of random weights, to be trained from nothing: normal with deviation 0.02,
  /// projections into the stream divided by √(2·layers) as in GPT-2, norms at 1, biases at 0.
  ///
  /// - Parameters:
  ///   - spec: The architecture.
  ///   - seed: The seed; each tensor has a stream of its own.
  /// - Returns: The model; the same for one seed.
  /// - Throws: `EngineError` if there is no room for so many weights.
  func random(_ spec: TransformerSpec, seed: UInt64) throws -> any LanguageModel

  /// The rate of the matrix products of a model's training step alone, in GFLOP/s: what tells a
  /// machine that was busy from a run that was slow.
  ///
  /// - Parameter spec: The model whose shapes are timed.
  /// - Returns: Floating-point operations a nanosecond.
  /// - Throws: `EngineError` if the memory can't be had.
  func matrixProductRate(of spec: TransformerSpec) throws -> Double
}

extension Engine {
  /// None: it reads all of them.
  public var unreadKnobs: [(knob: String, why: String)] { [] }
}

/// What an engine computes with: a resumed run gives the same numbers only where this and the
/// processor are the same.
public struct EngineRecord: Sendable, Equatable {
  /// The library of matrix products, and which of its kernels it chose.
  public var library: String
  /// How many threads compute.
  public var threads: Int
  /// How products are computed, which is part of what decides a run's outcome.
  public var precision: Precision
  /// How matrices of models that are opened are kept, which is part of it too.
  public var basePrecision: BasePrecision

  /// Makes a record.
  ///
  /// - Parameters:
  ///   - library: The library of matrix products.
  ///   - threads: How many threads compute.
  ///   - precision: How products are computed.
  ///   - basePrecision: How matrices of models that are opened are kept.
  public init(
    library: String, threads: Int, precision: Precision, basePrecision: BasePrecision = .asIs
  ) {
    self.library = library
    self.threads = threads
    self.precision = precision
    self.basePrecision = basePrecision
  }
}

/// How matrix products are computed. Trained weights, gradients, moments, norms, softmax, losses and all
/// sums are float32 in each.
public enum Precision: String, Sendable, CaseIterable {
  /// In float32.
  case float32
  /// Large ones as sums of bfloat16 products, three for each product, where the processor has matrix
  /// tiles (Intel AMX), else as float32: up to four times as fast, off by 4e-6 of the result in the root
  /// mean square. PyTorch's "high".
  case high
  /// Mixed precision: operands of products with weights are rounded to bfloat16, and so is what a pass
  /// keeps for its backward pass; twice the speed of float32 where the processor multiplies bfloat16
  /// (AVX512-BF16).
  case bf16
}
