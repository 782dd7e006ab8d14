// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import CAttuneKernels
import Foundation
import Testing

struct DecodeKernelTests {
  static func numbers(_ count: Int, _ random: inout SplitMix) -> [Float] {
    (0..<count).map { _ in random.float() }
  }

  /// Holds a product y[m, n] = x[m, k] · wᵀ of three rows, one of which has a number that is not finite:
  /// that row shows it, the others do not.
  static func checkRow(
    of bad: Float,
    _ product: (
      _ y: inout [Float], _ x: [Float], _ w: [Float], _ m: Int, _ n: Int, _ k: Int
    ) throws -> Void
  ) rethrows {
    var random = SplitMix(seed: 9)
    let (m, n, k) = (3, 20, 130)
    var x = numbers(m * k, &random)
    x[k + 70] = bad
    let w = numbers(n * k, &random)
    var y = [Float](repeating: 0, count: m * n)
    try product(&y, x, w, m, n, k)
    for (i, value) in y.enumerated() { #expect(value.isFinite == (i / n != 1)) }
  }

  @Test(arguments: [(1, 1), (7, 8), (9, 33), (33, 7), (64, 768), (130, 16), (5, 1)])
  func `a product is right, and its rows do not see one another`(n: Int, k: Int) {
    var random = SplitMix(seed: UInt64(n * 1000 + k))
    let most = 70
    let x = Self.numbers(most * k, &random)
    let w = Self.numbers(n * k, &random)
    let bias = Self.numbers(n, &random)
    var alone = [Float](repeating: 0, count: most * n)
    for m in 0..<most {
      alone.withUnsafeMutableBufferPointer { y in
        x.withUnsafeBufferPointer { x in
          guard let y = y.baseAddress, let x = x.baseAddress else { return }
          atk_linear_decode(y + m * n, x + m * k, w, ATK_FLOAT32, bias, 1, n, k, 0)
        }
      }
    }
    for i in 0..<most * n {
      let (m, j) = i.quotientAndRemainder(dividingBy: n)
      let exact = (0..<k).reduce(Double(bias[j])) {
        $0 + Double(x[m * k + $1]) * Double(w[j * k + $1])
      }
      #expect(abs(Double(alone[i]) - exact) < 2e-6 * Double(k + 4))
    }
    for rows in [2, 3, 4, 5, 7, 8, 64, 67, most] {
      var together = [Float](repeating: 0, count: rows * n)
      atk_linear_decode(&together, x, w, ATK_FLOAT32, bias, rows, n, k, 0)
      #expect(together == Array(alone.prefix(rows * n)))
    }
  }

  @Test func `a product is added to what is there`() {
    var random = SplitMix(seed: 1)
    let (m, n, k) = (5, 9, 19)
    let x = Self.numbers(m * k, &random)
    let w = Self.numbers(n * k, &random)
    let start = Self.numbers(m * n, &random)
    var product = start
    atk_linear_decode(&product, x, w, ATK_FLOAT32, nil, m, n, k, 0)
    var sum = start
    atk_linear_decode(&sum, x, w, ATK_FLOAT32, nil, m, n, k, 1)
    #expect(sum == zip(start, product).map { $0 + $1 })
  }

  @Test(arguments: [(3, 33), (17, 768)])
  func `bfloat16 weights give what their float values give`(n: Int, k: Int) {
    var random = SplitMix(seed: 2)
    let x = Self.numbers(6 * k, &random)
    let w = Self.numbers(n * k, &random)
    var half = [UInt16](repeating: 0, count: n * k)
    atk_bf16_from_float(&half, w, n * k)
    let rounded = half.map { Float(bitPattern: UInt32($0) << 16) }
    var y = [Float](repeating: 0, count: 6 * n)
    var expected = y
    atk_linear_decode(&y, x, half, ATK_BFLOAT16, nil, 6, n, k, 0)
    atk_linear_decode(&expected, x, rounded, ATK_FLOAT32, nil, 6, n, k, 0)
    #expect(y == expected)
  }

  /// Blocks of every quantised type, of random bytes: the codes and scales of a file, whatever they are.
  @Test(arguments: GGUFType.allCases.filter { $0.weightForm != .float32 })
  func `compact weights give, bit for bit, what their float values give`(type: GGUFType) {
    let form = type.weightForm
    var random = SplitMix(seed: UInt64(type.rawValue))
    // A block of columns more than fits the first-level cache, and rows that fill no tile.
    let (m, n, k) = (5, 13, 1024)
    var stored = (0..<n * k / type.blockElements * type.blockBytes).map { _ in
      UInt8(truncatingIfNeeded: random.next())
    }
    // Half-precision scales (and bfloat16 numbers) of moderate size: no infinities, no NaN.
    for block in stride(from: 0, to: stored.count, by: type.blockBytes) {
      for byte in type.scales {
        stored[block + byte] = stored[block + byte] & 0x83 | 0x24
      }
    }
    var w = [Float](repeating: 0, count: n * k)
    var compact = [UInt8](repeating: 0, count: form.bytes(n * k))
    stored.withUnsafeBytes { bytes in
      w.withUnsafeMutableBufferPointer { w in
        if let start = w.baseAddress { type.dequantise(bytes, into: start, count: n * k) }
      }
      compact.withUnsafeMutableBytes { compact in
        if let start = compact.baseAddress { type.compact(bytes, into: start, count: n * k) }
      }
    }
    #expect(w.allSatisfy(\.isFinite) && Set(w).count > 16)
    let x = Self.numbers(m * k, &random)
    var expected = [Float](repeating: 0, count: m * n)
    var y = expected
    atk_linear_decode(&expected, x, w, ATK_FLOAT32, nil, m, n, k, 0)
    atk_linear_decode(&y, x, compact, form.kernelFormat, nil, m, n, k, 0)
    #expect(y == expected)
  }

  struct AttentionCase: Sendable {
    var heads: Int
    var groups: Int
    var width: Int
    var prefix: Int
    var own: Int
  }

  @Test(arguments: [
    AttentionCase(heads: 1, groups: 1, width: 4, prefix: 0, own: 1),
    AttentionCase(heads: 6, groups: 2, width: 8, prefix: 5, own: 3),
    AttentionCase(heads: 9, groups: 3, width: 64, prefix: 33, own: 18),
    AttentionCase(heads: 4, groups: 4, width: 80, prefix: 17, own: 1),
    AttentionCase(heads: 2, groups: 1, width: 7, prefix: 0, own: 40),
    AttentionCase(heads: 14, groups: 2, width: 72, prefix: 34, own: 37),
  ])
  func `attention is right and does not see where the prefix ends`(_ size: AttentionCase) {
    let (h, g, c) = (size.heads, size.groups, size.width)
    let n = size.prefix + size.own
    var random = SplitMix(seed: 3)
    let q = Self.numbers(h * c, &random).map { $0 * 3 }
    let k = Self.numbers(n * g * c, &random)
    let v = Self.numbers(n * g * c, &random)
    func run<Number>(
      prefix: Int, _ k: [Number], _ v: [Number], _ cached: atk_weights
    ) -> [Float] {
      var out = [Float](repeating: 0, count: h * c)
      k.withUnsafeBufferPointer { k in
        v.withUnsafeBufferPointer { v in
          guard let k = k.baseAddress, let v = v.baseAddress else { return }
          let (own, values) = (k + prefix * g * c, v + prefix * g * c)
          atk_attention_decode(
            &out, q, [UnsafeRawPointer(k)], [UnsafeRawPointer(v)], [UnsafeRawPointer(own)],
            [UnsafeRawPointer(values)], cached,
            [Int32(prefix)], [Int32(n - prefix)], 1, h, g, c, h * c, .init(),
            ATK_PRODUCTS_FLOAT32)
        }
      }
      return out
    }
    let out = run(prefix: size.prefix, k, v, ATK_FLOAT32)
    #expect(out == run(prefix: 0, k, v, ATK_FLOAT32))
    // Kept in bfloat16 they give what the rounded ones give in float32.
    let narrow = [k, v].map { numbers in
      var halves = [UInt16](repeating: 0, count: numbers.count)
      atk_bf16_from_float(&halves, numbers, numbers.count)
      return halves
    }
    let rounded = [k, v].map { numbers in
      var numbers = numbers
      atk_round_to_bf16(&numbers, numbers.count)
      return numbers
    }
    #expect(rounded[0] != k)
    for prefix in [0, size.prefix] {
      #expect(
        run(prefix: prefix, narrow[0], narrow[1], ATK_BFLOAT16)
          == run(prefix: 0, rounded[0], rounded[1], ATK_FLOAT32))
    }
    for head in 0..<h {
      let group = head / (h / g)
      let weights = (0..<n).map { p in
        exp(
          (0..<c).reduce(0.0) {
            $0 + Double(q[head * c + $1]) * Double(k[(p * g + group) * c + $1])
          } / Double(c).squareRoot())
      }
      let sum = weights.reduce(0, +)
      for i in 0..<c {
        let exact = (0..<n).reduce(0.0) {
          $0 + weights[$1] * Double(v[($1 * g + group) * c + i])
        }
        #expect(abs(Double(out[head * c + i]) - exact / sum) < 2e-6)
      }
    }
  }

  /// Many rows are shared out by their positions, and each fetches what the next one reads.
  @Test(
    arguments: [
      AttentionCase(heads: 9, groups: 3, width: 64, prefix: 40, own: 80),
      AttentionCase(heads: 14, groups: 2, width: 20, prefix: 40, own: 80),
      AttentionCase(heads: 4, groups: 4, width: 80, prefix: 40, own: 80),
    ], [WeightForm.float32, .bfloat16])
  func `a row among many attends as it does alone`(_ size: AttentionCase, cached: WeightForm) {
    let (h, g, c) = (size.heads, size.groups, size.width)
    let rows = 41
    var random = SplitMix(seed: UInt64(h * c))
    let q = Self.numbers(rows * h * c, &random)
    let positions = rows + size.prefix + size.own
    let numbers = [0, 1].map { _ in Self.numbers(positions * g * c, &random) }
    let bytes = numbers.map { numbers in
      var halves = [UInt16](repeating: 0, count: numbers.count)
      atk_bf16_from_float(&halves, numbers, numbers.count)
      return cached == .bfloat16
        ? halves.withUnsafeBytes(Array.init) : numbers.withUnsafeBytes(Array.init)
    }
    // One row has nothing before it at all.
    let prefixes = (0..<rows).map {
      $0 == 7 ? Int32(0) : Int32(random.next() % UInt64(size.prefix))
    }
    let owns = (0..<rows).map { $0 == 7 ? Int32(0) : Int32(random.next() % UInt64(size.own)) }
    func attend(_ chosen: Range<Int>) -> [Float] {
      var out = [Float](repeating: .nan, count: chosen.count * h * c)
      bytes[0].withUnsafeBytes { k in
        bytes[1].withUnsafeBytes { v in
          func places(_ numbers: UnsafeRawBufferPointer, after: Int) -> [UnsafeRawPointer?] {
            chosen.map { row in
              numbers.baseAddress.map { $0 + cached.bytes((row + after) * g * c) }
            }
          }
          atk_attention_decode(
            &out, Array(q[chosen.lowerBound * h * c..<chosen.upperBound * h * c]),
            places(k, after: 0), places(v, after: 0), places(k, after: size.prefix),
            places(v, after: size.prefix), cached.kernelFormat, Array(prefixes[chosen]),
            Array(owns[chosen]), chosen.count, h, g, c, h * c, .init(), ATK_PRODUCTS_FLOAT32)
        }
      }
      return out
    }
    let together = attend(0..<rows)
    #expect(together == (0..<rows).flatMap { attend($0..<$0 + 1) })
    #expect(together[7 * h * c..<8 * h * c].allSatisfy { $0 == 0 })
  }

  /// Equal scores: every share is 1/51, which bfloat16 does not have.
  @Test func `shares of values are rounded where passes round them`() {
    let (n, c) = (51, 20)
    var random = SplitMix(seed: 8)
    let v = Self.numbers(n * c, &random)
    let zeros = [Float](repeating: 0, count: n * c)
    for precision in [ATK_PRODUCTS_FLOAT32, ATK_PRODUCTS_BF16] {
      var out = [Float](repeating: 0, count: c)
      zeros.withUnsafeBufferPointer { k in
        v.withUnsafeBufferPointer { v in
          atk_attention_decode(
            &out, zeros, [k.baseAddress.map { UnsafeRawPointer($0) }],
            [v.baseAddress.map { UnsafeRawPointer($0) }], [nil], [nil], ATK_FLOAT32, [Int32(n)],
            [0], 1, 1, 1, c, c, .init(), precision)
        }
      }
      var share = 1 / Float(n)
      if precision == ATK_PRODUCTS_BF16 { atk_round_to_bf16(&share, 1) }
      for i in 0..<c {
        let sum = (0..<n).reduce(0.0) { $0 + Double(v[$1 * c + i]) }
        #expect(abs(Double(out[i]) - sum * Double(share)) < 1e-6)
      }
    }
  }

  @Test(arguments: [1, 15, 16, 255, 256, 257, 5000])
  func `log-sum-exp is right`(_ v: Int) {
    var random = SplitMix(seed: 4)
    let logits = Self.numbers(2 * v, &random).map { $0 * 20 }
    var result = [0.0, 0.0]
    atk_log_sum_exp(&result, logits, 0.8, 2, v)
    for m in 0..<2 {
      let exact = log(logits[m * v..<(m + 1) * v].reduce(0) { $0 + exp(0.8 * Double($1)) })
      #expect(abs(result[m] - exact) < 1e-5)
    }
  }
}
