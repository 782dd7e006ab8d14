// SPDX-License-Identifier: Apache-2.0

public import AttuneEngine
import CAttuneKernels
import Foundation
import Synchronization

/// The engine of the CPU: one pool of threads and one BLAS for the whole process.
public struct NativeEngine: Engine {
  /// How many threads the pool was started with, as asked for: 0 for one a core.
  private static let started = Mutex<Int?>(nil)

  /// How the products of this engine's models are computed.
  let precision: Precision
  /// How the matrices of models that are opened are kept.
  let basePrecision: BasePrecision

  /// The precision with the fastest products of this processor: mixed precision where it multiplies
  /// bfloat16 numbers, else float32 with matrix tiles where it has some.
  public static var fastest: Precision { atk_has_bf16() ? .bf16 : .high }

  /// The sampler with the fastest products of this processor: 8-bit codes where it multiplies them faster than
  /// float32 numbers (AVX2, and more so AVX512-VNNI).
  public static var fastestSampler: Sampler { atk_int8_is_fast() ? .int8 : .same }

  /// Loads BLAS and starts the pool, unless that was done with as many threads before; another number
  /// holds for all models of the process from then on.
  ///
  /// - Parameters:
  ///   - threads: How many threads compute; 0 takes one a core.
  ///   - precision: How products are computed.
  ///   - basePrecision: How the matrices of models that are opened are kept.
  /// - Throws: `EngineError` if no BLAS library can be loaded, there is no memory for it, or the processor
  ///   does not compute in the precision.
  public init(
    threads: Int = 0, precision: Precision = .float32, basePrecision: BasePrecision = .asIs
  ) throws {
    self.precision = precision
    self.basePrecision = basePrecision
    guard precision != .bf16 || atk_has_bf16() else {
      throw EngineError(
        .unavailable,
        "precision bf16: this processor does not multiply bfloat16 numbers (it has no AVX512-BF16), and "
          + "without that it would be slower than float32; leave out --precision bf16")
    }
    try Self.started.withLock { started in
      if started == threads { return }
      try Self.start(threads: threads)
      started = threads
    }
  }

  private static func start(threads: Int) throws {
    let count = threads > 0 ? threads : ProcessInfo.processInfo.activeProcessorCount
    guard atk_start(Int32(clamping: count)) == 0 else {
      throw EngineError(
        .unavailable,
        "no BLAS library could be loaded (\(String(cString: atk_blas_error()))): "
          + "install libopenblas0-pthread, or run `make setup`")
    }
    let missing = atk_blas_reserve(atk_threads())
    guard missing == 0 else {
      throw EngineError(
        .unavailable,
        "\(missing >> 20) MB for the matrix products of \(atk_threads()) threads can't be had"
          + "\(ProcessMemory.addressSpace); give fewer --threads or more memory")
    }
  }

  /// The BLAS library with the processor type whose kernels it runs, and the pool as it is now.
  public var record: EngineRecord {
    EngineRecord(
      library: "\(String(cString: atk_blas_config())) (\(String(cString: atk_blas_core())))",
      threads: Int(atk_threads()), precision: precision, basePrecision: basePrecision)
  }

  /// Refuses a model whose weights are more than memory and swap, or the limit of address space.
  public func requireMemory(for checkpoint: Checkpoint) throws {
    try requireMemory(for: checkpoint.spec, in: checkpoint.tensors, at: checkpoint.url.path)
  }

  /// Reads a model; all of it is frozen.
  public func load(_ checkpoint: Checkpoint) throws -> any LanguageModel {
    try NativeModel.load(checkpoint, on: self)
  }

  /// A frozen model of random weights.
  public func random(_ spec: TransformerSpec, seed: UInt64) throws -> any LanguageModel {
    try NativeModel.random(spec, seed: seed, on: self)
  }

  /// The rate of BLAS alone, over one layer's products of 1024 rows, forward, for half a second.
  public func matrixProductRate(of spec: TransformerSpec) throws -> Double {
    try Self.productRate(of: spec, rows: 1024, seconds: 0.5)
  }

  private static func productRate(
    of spec: TransformerSpec, rows: Int, seconds: Double
  ) throws -> Double {
    let shapes = spec.groups(ofLayer: 0).filter(\.isMatrix).map { ($0.outputs, $0.inputs) }
    let widest = shapes.map { max($0.0, $0.1) }.max() ?? 1
    let x = try FloatBuffer(rows * widest)
    let y = try FloatBuffer(rows * widest)
    let w = try FloatBuffer(shapes.map { $0.0 * $0.1 }.max() ?? 1)
    for i in 0..<x.count { x.pointer[i] = Float(i % 7) * 0.1 }
    for i in 0..<w.count { w.pointer[i] = Float(i % 5) * 0.1 }
    func layer() {
      for (n, k) in shapes {
        atk_product(
          y.pointer, ATK_PLAIN, x.pointer, ATK_TRANSPOSED, w.pointer, rows, n, k, 0,
          ATK_PRODUCTS_FLOAT32)
      }
    }
    layer()
    let work = shapes.reduce(0.0) { $0 + 2 * Double(rows) * Double($1.0) * Double($1.1) }
    let clock = ContinuousClock()
    let start = clock.now
    var done = 0.0
    var elapsed = 0.0
    repeat {
      layer()
      done += work
      elapsed =
        Double((clock.now - start).components.seconds)
        + Double((clock.now - start).components.attoseconds) * 1e-18
    } while elapsed < seconds
    return done / elapsed * 1e-9
  }
}

extension Precision {
  /// What kernels call it.
  var ofProducts: atk_precision {
    switch self {
    case .float32: ATK_PRODUCTS_FLOAT32
    case .high: ATK_PRODUCTS_HIGH
    case .bf16: ATK_PRODUCTS_BF16
    }
  }
}
