// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import CAttuneKernels
import Foundation
import Testing

extension KernelTests {
  /// Weights as they are kept against their float32 copies.
  @Suite struct Stored {
    /// Those that this processor has.
    static let precisions =
      [ATK_PRODUCTS_FLOAT32, ATK_PRODUCTS_HIGH] + (atk_has_bf16() ? [ATK_PRODUCTS_BF16] : [])

    /// What floats are brought to; the others are only ever read from files.
    static let made: [WeightForm] = [.float32, .bfloat16, .nibbles, .bytes]

    struct Case: CustomTestStringConvertible, Sendable {
      var form: WeightForm
      var outputs: Int
      var inputs: Int
      var testDescription: String { "\(form), \(outputs) × \(inputs)" }

      /// One, some and many panels; remainders; columns that begin in the middle of a group where K is
      /// cut (800 and 2080), and that are none for bfloat16.
      static let all =
        WeightForm.allCases.flatMap { form in
          [(1, 32), (33, 64), (41, 96), (700, 800), (130, 2080)].map {
            Case(form: form, outputs: $0.0, inputs: $0.1)
          }
        }
        + [(7, 9), (33, 7), (700, 771)].map {
          Case(form: .bfloat16, outputs: $0.0, inputs: $0.1)
        }
    }

    /// A matrix as it is kept, and its float32 numbers.
    struct Weights {
      var kept: [UInt8]
      var floats: [Float]

      init(_ size: Case, _ values: [Float]) {
        kept = [UInt8](repeating: 0, count: size.form.bytes(values.count))
        floats = values
        if made.contains(size.form) {
          atk_weights_from_float(
            &kept, size.form.kernelFormat, values, size.outputs, size.inputs)
        } else {
          // As a file has them: random codes behind scales of few bits, and offsets.
          for i in kept.indices { kept[i] = UInt8(truncatingIfNeeded: values[i].bitPattern >> 8) }
          let (group, head) = (size.form.bytes(32), size.form == .fives ? 2 : 4)
          for place in 0..<kept.count / group * head {
            let (g, i) = place.quotientAndRemainder(dividingBy: head)
            let number = values[place].bitPattern & ~0xFF
            kept.withUnsafeMutableBytes {
              $0.storeBytes(of: number, toByteOffset: g * group + 4 * i, as: UInt32.self)
            }
          }
        }
        atk_weights_to_float(&floats, kept, size.form.kernelFormat, size.outputs, size.inputs)
      }
    }

    @Test(arguments: threads, Case.all)
    func `products are, bit for bit, those of the float32 copy`(threads: Int, size: Case) {
      _ = atk_start(Int32(threads))
      let (N, K, form) = (size.outputs, size.inputs, size.form.kernelFormat)
      var random = SplitMix(seed: 3)
      let weights = Weights(size, random.floats(N * K))
      let bias = random.floats(N)
      for M in [1, 3, 7, 8, 9, 33, 100, 260] {
        let (ldx, ldy) = (K + 1, N + 2)
        let (x, dy) = (random.floats(M * ldx), random.floats(M * ldy))
        for (accumulate, precision) in [Int32(0), 1].flatMap({ accumulate in
          Self.precisions.map { (accumulate, $0) }
        }) {
          var (y, expected) = (dy, dy)
          atk_linear_forward_stored(
            &y, x, weights.kept, form, bias, M, N, K, ldy, ldx, accumulate, precision)
          atk_linear_forward(
            &expected, x, weights.floats, bias, M, N, K, ldy, ldx, accumulate, precision)
          #expect(y == expected, "forward of \(M)")
          var (dx, expectedGradient) = (x, x)
          atk_linear_backward_input_stored(
            &dx, dy, weights.kept, form, M, N, K, ldx, ldy, accumulate, precision)
          atk_linear_backward_input(
            &expectedGradient, dy, weights.floats, M, N, K, ldx, ldy, accumulate, precision)
          #expect(dx == expectedGradient, "backward of \(M)")
        }
      }
    }

    @Test(arguments: threads, Case.all)
    func `heads and embeddings too`(threads: Int, size: Case) {
      _ = atk_start(Int32(threads))
      let (V, D) = (size.outputs, size.inputs)
      var random = SplitMix(seed: 4)
      let weights = Weights(size, random.floats(V * D))
      for n in [3, 40] {
        let hidden = random.floats(n * D)
        let ids = (0..<n).map { Int32(($0 * 7) % V) }
        let gradient = random.floats(n)
        func run(
          _ w: UnsafeRawPointer, _ form: atk_weights, _ precision: atk_precision
        ) -> [Float] {
          var log = [Float](repeating: 0, count: n)
          var (sum, entropy, supervised, kl, mixed) = (log, log, log, log, log)
          var dhidden = [Float](repeating: 0, count: n * D)
          var (once, rows, towards) = (dhidden, dhidden, dhidden)
          atk_head_forward(
            &log, &sum, &entropy, nil, 1, nil, nil, hidden, w, form, ids, nil, 0.7, 0, n, 0, D, V,
            precision
          )
          atk_head_backward(
            &dhidden, nil, gradient, gradient, hidden, w, form, ids, sum, entropy, nil, 0.7, 0, n,
            D,
            V, precision)
          atk_head_forward_backward(
            &supervised, &once, nil, gradient, hidden, w, form, ids, 1, 0, n, D, V, precision)
          atk_head_divergence(
            &kl, nil, nil, nil, hidden, w, form, 1, 0, D, hidden, weights.floats, ATK_FLOAT32, 1, 0,
            D,
            1, n, V, precision)
          #expect(kl.allSatisfy { $0 == 0 })
          atk_head_divergence(
            &mixed, &towards, nil, gradient, hidden, w, form, 1, 0, D, hidden, w, form, 0.5, 0, D,
            0.3,
            n, V, precision)
          atk_embedding_forward_stored(&rows, w, form, ids, n, D, 0)
          atk_embedding_forward_stored(&rows, w, form, ids, n, D, 1)
          return log + sum + entropy + supervised + mixed + dhidden + once + rows + towards
        }
        for precision in Self.precisions {
          #expect(
            run(weights.kept, size.form.kernelFormat, precision)
              == run(weights.floats, ATK_FLOAT32, precision))
        }
      }
    }

    /// Root mean square error over that of the weights: normal ones, then with groups of all sizes.
    @Test(arguments: threads)
    func `4- and 8-bit codes are as near as their steps allow`(threads: Int) {
      _ = atk_start(Int32(threads))
      var random = RandomStream(seed: 5, stream: 0)
      let (rows, columns) = (64, 1024)
      var values = (0..<rows * columns).map { _ in Float(random.normal()) }
      func error(_ form: WeightForm) -> Double {
        let floats = Weights(Case(form: form, outputs: rows, inputs: columns), values).floats
        let squares = zip(floats, values).reduce(0.0) { $0 + pow(Double($1.0) - Double($1.1), 2) }
        return (squares / values.reduce(0.0) { $0 + Double($1) * Double($1) }).squareRoot()
      }
      #expect(error(.nibbles) < 0.0700)
      #expect(error(.bytes) < 0.0050)
      #expect(error(.bfloat16) < 0.0020)
      #expect(error(.float32) == 0)
      for i in values.indices { values[i] *= Float(exp(4 * sin(Double(i / 32)))) }
      #expect(error(.nibbles) < 0.0700)
      #expect(error(.bytes) < 0.0050)
    }

    @Test func `the number of threads changes no code`() {
      var random = SplitMix(seed: 6)
      let values = random.floats(77 * 96)
      for form in Self.made {
        let all = [1, 2, 3].map { threads in
          _ = atk_start(Int32(threads))
          return Weights(Case(form: form, outputs: 77, inputs: 96), values).kept
        }
        #expect(all[0] == all[1] && all[0] == all[2])
      }
    }

    @Test func `groups of equal numbers are exact, and what is not finite shows`() {
      _ = atk_start(2)
      func kept(_ form: WeightForm, _ values: [Float]) -> [Float] {
        Weights(Case(form: form, outputs: 1, inputs: values.count), values).floats
      }
      for value: Float in [0, -1.25, 3e8, 2e-38] {
        #expect(
          kept(.nibbles, .init(repeating: value, count: 64)) == .init(repeating: value, count: 64))
      }
      #expect(kept(.bytes, .init(repeating: 0, count: 64)) == .init(repeating: 0, count: 64))
      // Sixteen levels are sixteen codes.
      let levels = (0..<64).map { Float($0 * 5 % 16) * 0.5 - 2 }
      #expect(zip(kept(.nibbles, levels), levels).allSatisfy { abs($0 - $1) < 1e-5 })
      for bad: Float in [.nan, .infinity, -.infinity] {
        for form in [WeightForm.nibbles, .bytes] {
          var values = [Float](repeating: 1, count: 64)
          values[40] = bad
          let result = kept(form, values)
          #expect(result[40].isNaN && result[..<32].allSatisfy { $0 == 1 })
        }
      }
    }
  }
}
