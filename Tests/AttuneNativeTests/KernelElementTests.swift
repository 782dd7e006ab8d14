// SPDX-License-Identifier: Apache-2.0

import AttuneTestSupport
import CAttuneKernels
import Testing

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

extension KernelTests {
  @Suite struct Elements {
    @Test(arguments: threads, sizes)
    func `SwiGLU`(threads: Int, width: Int) {
      _ = atk_start(Int32(threads))
      let T = 7
      var random = SplitMix(seed: 1)
      let gateUp = random.floats(T * 2 * width, scale: 6)
      let dy = random.floats(T * width)
      for isGELU in [false, true] { Self.checkGated(isGELU, gateUp, dy, T, width) }
    }

    static func checkGated(
      _ isGELU: Bool, _ gateUp: [Float], _ dy: [Float], _ T: Int, _ width: Int
    ) {
      let forward = isGELU ? atk_geglu_forward : atk_swiglu_forward
      let backward = isGELU ? atk_geglu_backward : atk_swiglu_backward
      let reference = isGELU ? Reference.geglu : Reference.swiglu
      var y = [Float](repeating: 0, count: T * width)
      forward(&y, gateUp, T, width)
      #expect(relativeError(y, reference(doubles(gateUp), width)) < 1e-6)
      var gradient = [Float](repeating: 9, count: T * 2 * width)
      var again = [Float](repeating: 9, count: T * width)
      backward(&gradient, &again, dy, gateUp, T, width)
      #expect(relativeError(again, doubles(y)) < 1e-6)
      #expect(
        checkGradient(gradient, at: gateUp) { dot(reference($0, width), dy) } < 1e-5)
      var inPlace = gateUp
      inPlace.withUnsafeMutableBufferPointer {
        backward($0.baseAddress, nil, dy, $0.baseAddress, T, width)
      }
      #expect(relativeError(inPlace, doubles(gradient)) < 1e-6)
    }

    @Test(arguments: threads, sizes)
    func `GELU`(threads: Int, width: Int) {
      _ = atk_start(Int32(threads))
      let count = 9 * width
      var random = SplitMix(seed: 2)
      let x = random.floats(count, scale: 6)
      let dy = random.floats(count)
      var y = [Float](repeating: 0, count: count)
      atk_gelu_forward(&y, x, count)
      #expect(relativeError(y, Reference.gelu(doubles(x))) < 1e-6)
      var dx = y
      var again = y
      atk_gelu_backward(&dx, &again, dy, x, count)
      #expect(relativeError(again, doubles(y)) < 1e-6)
      #expect(checkGradient(dx, at: x) { dot(Reference.gelu($0), dy) } < 1e-5)
    }

    @Test func `activations far out are finite, and NaN shows`() {
      _ = atk_start(1)
      let gates: [Float] = [-1e30, -1000, -100, 0, 100, 1000, 1e30, .nan]
      let ups = [Float](repeating: 2, count: gates.count)
      var y = [Float](repeating: 0, count: gates.count)
      atk_swiglu_forward(&y, gates + ups, 1, gates.count)
      #expect(Array(y[0..<7]) == [0, 0, 0, 0, 200, 2000, 2e30])
      #expect(y[7].isNaN)
      var gradient = [Float](repeating: 0, count: 2 * gates.count)
      atk_swiglu_backward(&gradient, nil, ups, gates + ups, 1, gates.count)
      #expect(Array(gradient[0..<7]) == [0, 0, 0, 2, 4, 4, 4])
      #expect(gradient[7].isNaN)
      atk_gelu_forward(&y, gates, gates.count)
      #expect(Array(y[1..<7]) == [0, 0, 0, 100, 1000, 1e30])
      #expect(y[7].isNaN)
    }

    @Test func `exp is right over its whole range`() {
      _ = atk_start(1)
      // silu(x)/x = 1/(1 + exp(−x)): for large negative x that is exp(x) alone.
      let x = stride(from: Float(-87), to: 87, by: 0.37).map { $0 }
      var y = x
      atk_swiglu_forward(&y, x + [Float](repeating: 1, count: x.count), 1, x.count)
      for (value, result) in zip(x, y) {
        let expected = Double(value) / (1 + exp(-Double(value)))
        #expect(abs(Double(result) - expected) <= 4e-7 * abs(expected), "\(value)")
      }
    }

    @Test(arguments: threads, [2, 8, 18, 64])
    func `rotary positions turn and turn back`(threads: Int, turned: Int) {
      _ = atk_start(Int32(threads))
      // All of a head, and a part of it.
      for width in [turned, turned + 6] { Self.checkTurned(turned, of: width) }
    }

    static func checkTurned(_ turned: Int, of width: Int) {
      let (T, heads, positions) = (9, 3, 33)
      let (half, stride) = (turned / 2, heads * width + 5)
      var random = SplitMix(seed: 3)
      let angles = random.floats(positions * half, scale: 3)
      let cosine = angles.map { Float(cos(Double($0))) }
      let sine = angles.map { Float(sin(Double($0))) }
      let position = (0..<T).map { Int32(($0 * 7) % positions) }
      let x = random.floats(T * stride)
      var expected = doubles(x)
      for t in 0..<T {
        for head in 0..<heads {
          for i in 0..<half {
            let low = t * stride + head * width + i
            let angle = Double(angles[Int(position[t]) * half + i])
            let (a, b) = (Double(x[low]), Double(x[low + half]))
            expected[low] = a * cos(angle) - b * sin(angle)
            expected[low + half] = b * cos(angle) + a * sin(angle)
          }
        }
      }
      var y = x
      atk_rope_forward(&y, position, cosine, sine, T, heads, width, turned, stride)
      #expect(relativeError(y, expected) < 1e-6)
      atk_rope_backward(&y, position, cosine, sine, T, heads, width, turned, stride)
      #expect(relativeError(y, doubles(x)) < 1e-6)
    }

    @Test(arguments: threads, sizes)
    func `embedding, gather and scatter`(threads: Int, width: Int) {
      _ = atk_start(Int32(threads))
      let (rows, T) = (9, 33)
      var random = SplitMix(seed: 4)
      let table = random.floats(rows * width)
      let ids = (0..<T).map { Int32(($0 * $0) % rows) }
      let picked = ids.flatMap { table[Int($0) * width..<(Int($0) + 1) * width] }
      var y = [Float](repeating: 9, count: T * width)
      atk_embedding_forward(&y, table, ids, T, width, 0)
      #expect(y == picked)
      atk_embedding_forward(&y, table, ids, T, width, 1)
      #expect(y == picked.map { 2 * $0 })
      atk_gather_rows(&y, table, ids, T, width)
      #expect(y == picked)

      var narrow = [UInt16](repeating: 0, count: table.count)
      atk_bf16_from_float(&narrow, table, table.count)
      var wide = table
      atk_float_from_bf16(&wide, narrow, narrow.count)
      let pickedWide = ids.flatMap { wide[Int($0) * width..<(Int($0) + 1) * width] }
      atk_embedding_forward_stored(&y, narrow, ATK_BFLOAT16, ids, T, width, 0)
      #expect(y == pickedWide)
      atk_embedding_forward_stored(&y, narrow, ATK_BFLOAT16, ids, T, width, 1)
      #expect(y == pickedWide.map { 2 * $0 })

      let dy = random.floats(T * width)
      var expected = doubles(table)
      for t in 0..<T {
        for i in 0..<width { expected[Int(ids[t]) * width + i] += Double(dy[t * width + i]) }
      }
      var gradient = table
      atk_embedding_backward(&gradient, dy, ids, T, width)
      #expect(relativeError(gradient, expected) < 1e-6)
      var scattered = table
      atk_scatter_add_rows(&scattered, dy, ids, T, width)
      #expect(scattered == gradient)
    }

    @Test(arguments: threads, [0, 1, 7, 33, 70_000])
    func `vectors`(threads: Int, count: Int) {
      _ = atk_start(Int32(threads))
      var random = SplitMix(seed: 5)
      let x = random.floats(count)
      let start = random.floats(count)
      var y = start
      atk_add(&y, x, 0.5, count)
      #expect(relativeError(y, zip(start, x).map { Double($0) + 0.5 * Double($1) }) < 1e-6)
      y = x
      atk_scale(&y, -0.25, count)
      #expect(y == x.map { $0 * -0.25 })
      atk_zero(&y, count)
      #expect(y == [Float](repeating: 0, count: count))
      let squares = x.reduce(0.0) { $0 + Double($1) * Double($1) }
      let sum = atk_sum_of_squares(x, count)
      #expect(abs(sum - squares) <= 1e-12 * squares)
      _ = atk_start(1)
      #expect(atk_sum_of_squares(x, count) == sum)
    }

    @Test func `sum of squares shows what is not finite`() {
      _ = atk_start(2)
      var x = [Float](repeating: 1, count: 100_000)
      x[77_777] = .infinity
      #expect(atk_sum_of_squares(x, x.count) == .infinity)
      x[77_777] = .nan
      #expect(atk_sum_of_squares(x, x.count).isNaN)
      x[77_777] = .greatestFiniteMagnitude
      #expect(atk_sum_of_squares(x, x.count).isFinite)
    }

    @Test func `bfloat16 rounds to nearest even`() {
      _ = atk_start(1)
      let cases: [(Float, UInt16)] = [
        (0, 0), (-0.0, 0x8000), (1, 0x3F80), (1.00390625, 0x3F80),  // half way, down to even
        (1.01171875, 0x3F82),  // half way, up to even
        (1.004, 0x3F81), (.infinity, 0x7F80), (-.infinity, 0xFF80),
        (.greatestFiniteMagnitude, 0x7F80),
      ]
      var narrow = [UInt16](repeating: 0, count: cases.count)
      atk_bf16_from_float(&narrow, cases.map(\.0), cases.count)
      #expect(narrow == cases.map(\.1))
      var one: [UInt16] = [0]
      atk_bf16_from_float(&one, [Float(bitPattern: 0x7F80_0001)], 1)
      #expect((one[0] & 0x7FFF) > 0x7F80)
      var wide: [Float] = [0]
      atk_float_from_bf16(&wide, [0x3F81], 1)
      #expect(wide == [1.0078125])
    }

    @Test(arguments: threads, [1, 7, 33, 10_000])
    func `AdamW follows the paper's update`(threads: Int, count: Int) {
      _ = atk_start(Int32(threads))
      var random = SplitMix(seed: 6)
      var p = random.floats(count)
      var (m, v) = ([Float](repeating: 0, count: count), [Float](repeating: 0, count: count))
      var (exactP, exactM, exactV) = (doubles(p), doubles(m), doubles(v))
      let (rate, beta1, beta2, epsilon, decay, scale) = (1e-2, 0.9, 0.95, 1e-8, 0.1, 0.5)
      for step in 1...10 {
        let g = random.floats(count)
        let bias1 = 1 - pow(beta1, Double(step))
        let bias2 = 1 - pow(beta2, Double(step))
        atk_adamw_step(
          &p, &m, &v, g, Float(scale), Float(rate), Float(beta1), Float(beta2), Float(epsilon),
          Float(decay), Float(bias1), Float(bias2), count)
        for i in 0..<count {
          let gradient = Double(g[i]) * scale
          exactM[i] = beta1 * exactM[i] + (1 - beta1) * gradient
          exactV[i] = beta2 * exactV[i] + (1 - beta2) * gradient * gradient
          exactP[i] -= rate * decay * exactP[i]
          exactP[i] -= rate * (exactM[i] / bias1) / ((exactV[i] / bias2).squareRoot() + epsilon)
        }
      }
      #expect(relativeError(p, exactP) < 1e-6)
      #expect(relativeError(m, exactM) < 1e-6)
      #expect(relativeError(v, exactV) < 1e-5)
    }
  }
}
