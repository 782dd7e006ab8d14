// SPDX-License-Identifier: Apache-2.0

import AttuneTestSupport
import CAttuneKernels
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

    @Test func `the BLAS says what it is`() {
      #expect(atk_start(2) == 0)
      #expect(String(cString: atk_blas_error()).isEmpty)
      #expect(!String(cString: atk_blas_core()).isEmpty)
      #expect(!String(cString: atk_blas_config()).isEmpty)
    }
  }
}
