// SPDX-License-Identifier: Apache-2.0

import AttuneTestSupport
import CAttuneKernels
import Foundation
import Testing

extension KernelTests {
  /// AdamW with moments of 8 bits.
  struct MomentTests {
    /// What the codes of a moment, 1 or 2, stand for.
    static func values(_ moment: Int32) -> [Double] {
      (0..<256).map { Double(atk_moment_value(moment, UInt8($0))) }
    }

    /// Blocks and what their numbers are in Double.
    struct Moments {
      var m, v: [UInt8]
      var scales: (m: [Float], v: [Float])

      init(_ count: Int) {
        (m, v) = ([UInt8](repeating: 0, count: count), [UInt8](repeating: 0, count: count))
        let none = [Float](repeating: 0, count: (count + 255) / 256)
        scales = (none, none)
      }

      var first: [Double] {
        let values = MomentTests.values(1)
        return m.indices.map { values[Int(m[$0])] * Double(scales.m[$0 / 256]) }
      }
      var second: [Double] {
        let values = MomentTests.values(2)
        return v.indices.map { values[Int(v[$0])] * Double(scales.v[$0 / 256]) }
      }

      mutating func step(
        _ p: inout [Float], _ g: [Float], scale: Double = 1, rate: Double = 0, beta1: Double = 0,
        beta2: Double = 0, decay: Double = 0, bias1: Double = 1, bias2: Double = 1
      ) {
        atk_adamw8_step(
          &p, &m, &v, &scales.m, &scales.v, g, Float(scale), Float(rate), Float(beta1),
          Float(beta2), 1e-8, Float(decay), Float(bias1), Float(bias2), m.count)
      }
    }

    /// Section 1.3 of the paper, as bitsandbytes has it: of the bits after the sign those before the
    /// first one are the decade, those after it a part of what is between a tenth and one.
    @Test(arguments: [Int32(1), 2]) func `codes are the paper's dynamic tree`(moment: Int32) {
      var tree = [0.0, 1]
      for decade in 0..<7 {
        let parts = 1 << (moment == 1 ? decade : decade + 1)
        for part in 0..<parts {
          let (low, high) = (Double(part) / Double(parts), Double(part + 1) / Double(parts))
          let middle = 0.1 + 0.9 * (low + high) / 2
          tree.append(middle * pow(10, Double(decade - 6)))
          if moment == 1 { tree.append(-middle * pow(10, Double(decade - 6))) }
        }
      }
      let found = Self.values(moment)
      #expect(tree.count == 256)
      for (code, value) in tree.sorted().enumerated() {
        #expect(abs(found[code] - value) <= 1e-6 * abs(value), "code \(code)")
      }
    }

    /// Wherever one code ends and the next begins, by vectors (the first 192 of a block of 255) and by
    /// tables (the others).
    @Test(arguments: [256, 255]) func `every moment has the nearest code`(count: Int) throws {
      _ = atk_start(1)
      let (first, second) = (Self.values(1), Self.values(2))
      var random = SplitMix(seed: 3)
      func nearest(_ share: Double, _ values: ArraySlice<Double>) -> Int? {
        values.indices.min { abs(values[$0] - share) < abs(values[$1] - share) }
      }
      for _ in 0..<200 {
        // With betas of 0 the gradient is the first moment, and its square the second.
        var g = (0..<count).map { _ in
          let code = Int(random.next() % 255)
          let middle =
            random.next() % 2 == 0
            ? (first[code] + first[code + 1]) / 2
            : ((second[code] + second[code + 1]) / 2).squareRoot()
          var x = Float(middle)
          for _ in 0..<random.next() % 3 { x = random.next() % 2 == 0 ? x.nextUp : x.nextDown }
          return random.next() % 20 == 0 ? random.float() : x
        }
        g[Int(random.next() % UInt64(count))] = 1
        var (p, moments) = ([Float](repeating: 0, count: count), Moments(count))
        moments.step(&p, g)
        #expect(moments.scales.m == [1] && moments.scales.v == [1])
        for i in g.indices {
          let found = (first[Int(moments.m[i])], second[Int(moments.v[i])])
          let square = Double(g[i] * g[i])
          let best = (
            try #require(nearest(Double(g[i]), first[...])),
            try #require(nearest(square, second[1...]))
          )
          #expect(abs(found.0 - Double(g[i])) == abs(first[best.0] - Double(g[i])), "\(g[i])")
          #expect(abs(found.1 - square) == abs(second[best.1] - square), "\(g[i])")
        }
      }
    }

    @Test(arguments: KernelTests.threads, [1, 65, 256, 10_000])
    func `a step is AdamW's of the moments that the codes stand for`(threads: Int, count: Int) {
      _ = atk_start(Int32(threads))
      var random = SplitMix(seed: 6)
      var (p, moments) = (random.floats(count), Moments(count))
      let (rate, beta1, beta2, decay, scale) = (1e-2, 0.9, 0.95, 0.1, 0.5)
      for step in 1...10 {
        let g = random.floats(count)
        let bias = (1 - pow(beta1, Double(step)), 1 - pow(beta2, Double(step)))
        var (exactP, m, v) = (doubles(p), moments.first, moments.second)
        for i in 0..<count {
          let gradient = Double(g[i]) * scale
          m[i] = beta1 * m[i] + (1 - beta1) * gradient
          v[i] = beta2 * v[i] + (1 - beta2) * gradient * gradient
          exactP[i] -= rate * decay * exactP[i]
          exactP[i] -= rate * (m[i] / bias.0) / ((v[i] / bias.1).squareRoot() + 1e-8)
        }
        moments.step(
          &p, g, scale: scale, rate: rate, beta1: beta1, beta2: beta2, decay: decay, bias1: bias.0,
          bias2: bias.1)
        #expect(relativeError(p, exactP) < 1e-6)
        let (first, second) = (moments.first, moments.second)
        for start in stride(from: 0, to: count, by: 256) {
          let block = start..<min(start + 256, count)
          let most = (block.map { abs(m[$0]) }.max() ?? 0, block.map { v[$0] }.max() ?? 0)
          #expect(abs(Double(moments.scales.m[start / 256]) - most.0) <= 1e-6 * most.0)
          #expect(abs(Double(moments.scales.v[start / 256]) - most.1) <= 1e-6 * most.1)
          for i in block {
            // Half of the widest gap between two codes, and a little for rounding.
            #expect(abs(first[i] - m[i]) <= 0.5001 * 0.0141 * most.0)
            #expect(abs(second[i] - v[i]) <= 0.5001 * 0.0071 * most.1)
          }
        }
      }
    }

    @Test func `a block is stepped alike whatever lies beside it, in any number of threads`() {
      let count = 256 * 301 + 77
      var random = SplitMix(seed: 8)
      let (start, gradients) = (random.floats(count), [random.floats(count), random.floats(count)])
      func steps(_ threads: Int32, from begin: Int, to end: Int) -> (p: [Float], Moments) {
        _ = atk_start(threads)
        var (p, moments) = (Array(start[begin..<end]), Moments(end - begin))
        for g in gradients {
          moments.step(&p, Array(g[begin..<end]), rate: 1e-2, beta1: 0.9, beta2: 0.95)
        }
        return (p, moments)
      }
      let (whole, moments) = steps(1, from: 0, to: count)
      for threads in [Int32(2), 3] {
        let (again, others) = steps(threads, from: 0, to: count)
        #expect(again == whole && others.m == moments.m && others.v == moments.v)
      }
      let (block, _) = steps(2, from: 256 * 7, to: 256 * 8)
      #expect(block == Array(whole[256 * 7..<256 * 8]))
    }

    /// A moment that rounds to 0 would let the next step divide by its gradient alone.
    @Test func `a second moment beside much larger ones never becomes 0`() {
      _ = atk_start(1)
      var (p, moments) = ([Float](repeating: 0, count: 256), Moments(256))
      var g = [Float](repeating: 1e-5, count: 256)
      g[200] = 1
      for step in 1...3 {
        moments.step(
          &p, g, rate: 1, beta1: 0.9, beta2: 0.999, bias1: 1 - pow(0.9, Double(step)),
          bias2: 1 - pow(0.999, Double(step)))
      }
      let before = p[3]
      g[3] = 0
      moments.step(
        &p, g, rate: 1, beta1: 0.9, beta2: 0.999, bias1: 1 - pow(0.9, 4), bias2: 1 - pow(0.999, 4))
      #expect(moments.second[3] > 0)
      #expect(abs(p[3] - before) < 1, "a step of \(p[3] - before)")
    }
  }
}
