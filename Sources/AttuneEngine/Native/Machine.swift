// SPDX-License-Identifier: Apache-2.0

import CAttuneKernels
import Foundation
import Synchronization

/// The processor as the engine uses it: one pool of threads and one BLAS for the whole process.
public enum Machine {
  private static let state = Mutex((isStarted: false, precision: MatmulPrecision.highest))

  /// How large products of float32 matrices are computed, in PyTorch's words.
  public enum MatmulPrecision: String, Sendable, CaseIterable {
    /// In float32.
    case highest
    /// As sums of bfloat16 products, three for each product, where the processor has matrix tiles (Intel
    /// AMX): up to four times as fast, off by 4e-6 of the result in the root mean square.
    case high
  }

  /// Starts with all cores unless that was done before.
  static func startIfNeeded() throws {
    if !state.withLock({ $0.isStarted }) { try start() }
  }

  /// Loads BLAS and starts the pool; may be called again to change the number of threads.
  ///
  /// - Parameters:
  ///   - threads: How many threads compute; 0 takes one a core.
  ///   - precision: How large products are computed, by all models of this process.
  /// - Throws: `EngineError` if no BLAS library can be loaded, or there is no memory for it.
  public static func start(threads: Int = 0, precision: MatmulPrecision = .highest) throws {
    atk_allow_tiles(precision == .high)
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
          + "\(addressSpace); give fewer --threads or more memory")
    }
    state.withLock { $0 = (true, precision) }
  }

  /// What of the address space is taken, where it is limited (`ulimit -v`).
  static var addressSpace: String {
    var limit = rlimit()
    guard getrlimit(addressSpaceLimit, &limit) == 0, limit.rlim_cur < UInt64(Int.max) else {
      return ""
    }
    let pages = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?
      .split(separator: " ").first.flatMap { Int($0) }
    return ": ulimit -v allows \(limit.rlim_cur >> 20) MB"
      + (pages.map { ", of which \(($0 * Int(getpagesize())) >> 20) MB are taken" } ?? "")
  }

  /// How large products are computed, which is part of what decides a run's outcome.
  public static var precision: MatmulPrecision { state.withLock { $0.precision } }

  /// How many threads compute.
  public static var threads: Int { Int(atk_threads()) }

  /// The BLAS library and the processor type whose kernels it runs: a resumed run gives the same
  /// numbers only where this, the processor and the number of threads are the same.
  public static var blas: String {
    "\(String(cString: atk_blas_config())) (\(String(cString: atk_blas_core())))"
  }

  /// The rate of BLAS alone on the matrix products of a model's training step, in GFLOP/s.
  ///
  /// - Parameters:
  ///   - spec: The model whose shapes are timed.
  ///   - rows: Tokens in the products.
  ///   - seconds: About how long to measure.
  /// - Returns: Floating-point operations a nanosecond over one layer's products, forward.
  public static func matrixProductRate(
    of spec: TransformerSpec, rows: Int = 1024, seconds: Double = 0.5
  ) -> Double {
    let shapes = spec.groups(ofLayer: 0).filter(\.isMatrix).map { ($0.outputs, $0.inputs) }
    let widest = shapes.map { max($0.0, $0.1) }.max() ?? 1
    let x = FloatBuffer(rows * widest)
    let y = FloatBuffer(rows * widest)
    let w = FloatBuffer(shapes.map { $0.0 * $0.1 }.max() ?? 1)
    for i in 0..<x.count { x.pointer[i] = Float(i % 7) * 0.1 }
    for i in 0..<w.count { w.pointer[i] = Float(i % 5) * 0.1 }
    func layer() {
      for (n, k) in shapes {
        atk_blas_product(
          y.pointer, ATK_PLAIN, x.pointer, ATK_TRANSPOSED, w.pointer, rows, n, k, 0)
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

#if canImport(Darwin)
  let addressSpaceLimit = RLIMIT_AS
#else
  let addressSpaceLimit = __rlimit_resource_t(RLIMIT_AS.rawValue)
#endif
