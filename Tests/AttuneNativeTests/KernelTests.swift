// SPDX-License-Identifier: Apache-2.0

import AttuneTestSupport
import CAttuneKernels
import Foundation
import Synchronization
import Testing

/// The kernels against Double references. The pool belongs to the process, so these run one after
/// another; each test says how many threads it wants.
@Suite(.serialized) enum KernelTests {
  static let threads = [1, 2, 3]
  static let sizes = [1, 7, 8, 9, 33, 768]
}

extension KernelTests {
  @Suite struct Pool {
    @Test(arguments: [1, 2, 5], [0, 1, 3, 8, 1000])
    func `each index is run once`(threads: Int, count: Int) {
      #expect(atk_start(Int32(threads)) == 0)
      #expect(atk_threads() == Int32(threads))
      var runs = [Int32](repeating: 0, count: count + 1)
      runs.withUnsafeMutableBufferPointer { buffer in
        guard let base = buffer.baseAddress else { return }
        for _ in 0..<50 {
          atk_parallel_for(
            count,
            { context, begin, end in
              let runs = context?.assumingMemoryBound(to: Int32.self)
              for i in begin..<end { runs?[i] += 1 }
            }, base)
          atk_parallel_each(
            count, { context, i in context?.assumingMemoryBound(to: Int32.self)[i] += 1 }, base)
        }
      }
      #expect(runs == [Int32](repeating: 100, count: count) + [0])
    }

    @Test func `a call from inside a body is one part on that thread`() {
      _ = atk_start(3)
      var parts = [Int32](repeating: 0, count: 64)
      parts.withUnsafeMutableBufferPointer { buffer in
        atk_parallel_each(
          64,
          { context, i in
            atk_parallel_for(
              100,
              { slot, begin, end in
                let parts = slot?.assumingMemoryBound(to: Int32.self)
                parts?.pointee += begin == 0 && end == 100 ? 1 : 9
              }, context?.advanced(by: 4 * i))
          }, buffer.baseAddress)
      }
      #expect(parts == [Int32](repeating: 1, count: 64))
    }

    @Test func `several threads may call kernels at once`() async {
      _ = atk_start(2)
      let right = await withTaskGroup(of: Bool.self) { group in
        for seed in 0..<8 {
          group.addTask {
            var random = SplitMix(seed: UInt64(seed))
            let x = random.floats(70_000)
            let expected = x.reduce(0.0) { $0 + Double($1) * Double($1) }
            return (0..<20).allSatisfy { _ in
              abs(atk_sum_of_squares(x, x.count) - expected) < 1e-9 * expected
            }
          }
        }
        return await group.reduce(true) { $0 && $1 }
      }
      #expect(right)
    }

    @Test(arguments: [2, 3])
    func `bits do not depend on who took which part`(threads: Int) {
      _ = atk_start(Int32(threads))
      var random = SplitMix(seed: 7)
      let (n, width, vocabulary) = (24, 32, 3000)
      let hidden = random.floats(n * width)
      let weights = random.floats(vocabulary * width)
      let targets = (0..<n).map { Int32($0 * 100) }
      let gradient = random.floats(n)
      func pass() -> [UInt32] {
        var logProbability = [Float](repeating: 0, count: n)
        var dhidden = [Float](repeating: 0, count: n * width)
        var dweights = [Float](repeating: 0, count: vocabulary * width)
        atk_head_forward_backward(
          &logProbability, &dhidden, &dweights, gradient, hidden, weights, ATK_FLOAT32, targets, 1,
          0,
          n, width,
          vocabulary, ATK_PRODUCTS_FLOAT32)
        return (logProbability + dhidden + dweights).map(\.bitPattern)
      }
      let expected = pass()
      // Threads that want the same processors take turns with the pool's, so that now one of its
      // threads does all parts, now another.
      let hogs = (0..<2 * threads).map { _ in Hog() }
      defer { for hog in hogs { hog.stop() } }
      for _ in 0..<100 where pass() != expected { Issue.record("the bits differ") }
    }

    @Test func `short jobs follow one another while threads come and go`() {
      var counts = [Int32](repeating: 0, count: 7)
      let hogs = (0..<3).map { _ in Hog() }
      defer { for hog in hogs { hog.stop() } }
      counts.withUnsafeMutableBufferPointer { buffer in
        for round in 0..<40 {
          _ = atk_start(Int32(1 + round % 4))
          for _ in 0..<200 {
            atk_parallel_each(
              7, { context, i in context?.assumingMemoryBound(to: Int32.self)[i] += 1 },
              buffer.baseAddress)
          }
        }
      }
      #expect(counts == [Int32](repeating: 8000, count: 7))
    }

    @Test func `the BLAS says what it is`() {
      #expect(atk_start(2) == 0)
      #expect(String(cString: atk_blas_error()).isEmpty)
      #expect(!String(cString: atk_blas_core()).isEmpty)
      #expect(!String(cString: atk_blas_config()).isEmpty)
    }
  }
}

/// A thread that never waits, as another program's would.
private final class Hog: Sendable {
  private let isStopped = Mutex(false)

  init() {
    Thread.detachNewThread { [self] in
      while !isStopped.withLock({ $0 }) {}
    }
  }

  func stop() { isStopped.withLock { $0 = true } }
}
