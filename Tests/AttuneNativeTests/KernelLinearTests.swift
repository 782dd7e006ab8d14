// SPDX-License-Identifier: Apache-2.0

import AttuneTestSupport
import CAttuneKernels
import Testing

extension KernelTests {
  struct LinearCase: CustomTestStringConvertible {
    var rows: Int
    var outputs: Int
    var inputs: Int
    var testDescription: String { "\(rows) × \(outputs) × \(inputs)" }

    /// Awkward sizes in each place; the last cut by columns and by rows.
    static let all = [
      (1, 1, 1), (1, 7, 9), (7, 33, 8), (8, 8, 8), (9, 1, 768), (33, 9, 7), (33, 768, 33),
      (300, 33, 7), (3, 700, 768),
    ].map { LinearCase(rows: $0.0, outputs: $0.1, inputs: $0.2) }
  }

  @Suite struct Linear {
    @Test(arguments: threads, LinearCase.all)
    func `forward, with strides, bias and accumulation`(threads: Int, size: LinearCase) {
      _ = atk_start(Int32(threads))
      let (M, N, K) = (size.rows, size.outputs, size.inputs)
      var random = SplitMix(seed: 1)
      let (ldx, ldy) = (K + 3, N + 5)
      let x = random.floats(M * ldx)
      let w = random.floats(N * K)
      let bias = random.floats(N)
      let dense = (0..<M).flatMap { m in x[m * ldx..<m * ldx + K] }
      for accumulate in [false, true] {
        for withBias in [false, true] {
          let start = random.floats(M * ldy)
          var expected = doubles(start)
          let product = Reference.linear(
            doubles(dense), doubles(w), bias: withBias ? doubles(bias) : nil, rows: M, outputs: N,
            inputs: K)
          for m in 0..<M {
            for n in 0..<N {
              expected[m * ldy + n] =
                product[m * N + n] + (accumulate ? Double(start[m * ldy + n]) : 0)
            }
          }
          var y = start
          bias.withUnsafeBufferPointer { bias in
            atk_linear_forward(
              &y, x, w, withBias ? bias.baseAddress : nil, M, N, K, ldy, ldx, accumulate ? 1 : 0,
              ATK_PRODUCTS_FLOAT32)
          }
          #expect(relativeError(y, expected) < 1e-5)
        }
      }
    }

    @Test(.enabled(if: atk_has_bf16()), arguments: threads, [Int32(0), 1])
    func `a bias in bfloat16 is added to many rows as to few`(threads: Int, accumulate: Int32) {
      _ = atk_start(Int32(threads))
      var random = SplitMix(seed: 4)
      let (M, N, K) = (300, 70, 96)
      let (x, w, bias) = (random.floats(M * K), random.floats(N * K), random.floats(N))
      let start = random.floats(M * N)
      var (many, few) = (start, start)
      atk_linear_forward(&many, x, w, bias, M, N, K, N, K, accumulate, ATK_PRODUCTS_BF16)
      few.withUnsafeMutableBufferPointer { few in
        x.withUnsafeBufferPointer { x in
          guard let y = few.baseAddress, let x = x.baseAddress else { return }
          for row in stride(from: 0, to: M, by: 100) {
            atk_linear_forward(
              y + row * N, x + row * K, w, bias, 100, N, K, N, K, accumulate, ATK_PRODUCTS_BF16)
          }
        }
      }
      #expect(many == few)
    }

    @Test(arguments: threads, LinearCase.all)
    func `backward against central differences`(threads: Int, size: LinearCase) {
      _ = atk_start(Int32(threads))
      let (M, N, K) = (size.rows, size.outputs, size.inputs)
      var random = SplitMix(seed: 2)
      let x = random.floats(M * K)
      let w = random.floats(N * K)
      let bias = random.floats(N)
      let dy = random.floats(M * N)
      func loss(_ x: [Double], _ w: [Double], _ bias: [Double]) -> Double {
        dot(Reference.linear(x, w, bias: bias, rows: M, outputs: N, inputs: K), dy)
      }
      let samples = M * N * K > 100_000 ? 4 : 16
      var dx = random.floats(M * K)
      atk_linear_backward_input(&dx, dy, w, M, N, K, K, N, 0, ATK_PRODUCTS_FLOAT32)
      #expect(
        checkGradient(dx, at: x, samples: samples) { loss($0, doubles(w), doubles(bias)) } < 1e-5)

      let (scale, startWeight, startBias) = (Float(0.5), random.floats(N * K), random.floats(N))
      var (dw, dbias) = (startWeight, startBias)
      atk_linear_backward_weight(&dw, &dbias, dy, x, scale, M, N, K, N, K, ATK_PRODUCTS_FLOAT32)
      dw = zip(dw, startWeight).map { ($0 - $1) / scale }
      dbias = zip(dbias, startBias).map { $0 - $1 }
      #expect(
        checkGradient(dw, at: w, samples: samples) { loss(doubles(x), $0, doubles(bias)) } < 1e-5)
      #expect(
        checkGradient(dbias, at: bias, samples: samples) { loss(doubles(x), doubles(w), $0) }
          < 1e-5)

      var again = dx
      atk_linear_backward_input(&again, dy, w, M, N, K, K, N, 1, ATK_PRODUCTS_FLOAT32)
      #expect(relativeError(again, dx.map { 2 * Double($0) }) < 1e-5)
    }

    @Test func `no rows are no work`() {
      _ = atk_start(2)
      var y: [Float] = [5]
      atk_linear_forward(&y, [1], [1], nil, 0, 1, 1, 1, 1, 0, ATK_PRODUCTS_FLOAT32)
      atk_linear_forward_stored(
        &y, [1], [1] as [UInt16], ATK_BFLOAT16, nil, 0, 1, 1, 1, 1, 0, ATK_PRODUCTS_FLOAT32)
      #expect(y == [5])
      atk_linear_backward_weight(&y, nil, [1], [1], 1, 0, 1, 1, 1, 1, ATK_PRODUCTS_FLOAT32)
      #expect(y == [5])
    }
  }
}
