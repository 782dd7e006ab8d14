// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import CAttuneKernels
import Foundation
import Testing

struct Int8KernelTests {
  /// Weights in 8-bit codes, as the kernels lay them out.
  struct Codes {
    let buffer: FloatBuffer
    var pointer: UnsafeMutableRawPointer { UnsafeMutableRawPointer(buffer.pointer) }

    init(_ w: UnsafeRawPointer, _ format: atk_weights, _ n: Int, _ k: Int) throws {
      buffer = try FloatBuffer((atk_int8_bytes(format, n, k) + 3) / 4)
      atk_int8_pack(buffer.pointer, w, format, n, k)
    }
  }

  /// Groups of 32 of each row rounded as inputs are, to codes of the greatest over 127, or as weights
  /// are, to 255 steps between the least and the greatest.
  static func rounded(_ x: [Float], columns: Int, weights: Bool = false) -> [Double] {
    var result = [Double](repeating: 0, count: x.count)
    for row in stride(from: 0, to: x.count, by: columns) {
      for start in stride(from: row, to: row + columns, by: 32) {
        let end = min(start + 32, row + columns)
        // What is missing at the end of a row is zeros.
        let group = x[start..<end] + [Float](repeating: 0, count: start + 32 - end)
        let (least, greatest) = (group.min() ?? 0, group.max() ?? 0)
        let (low, steps) =
          weights ? (least, (greatest - least, Float(255))) : (0, (max(-least, greatest), 127))
        for i in start..<end where steps.0 > 0 {
          let code = ((x[i] - low) * (steps.1 / steps.0)).rounded(.toNearestOrEven)
          result[i] = Double(low) + Double(code) * Double(steps.0 / steps.1)
        }
        for i in start..<end where steps.0 == 0 { result[i] = Double(low) }
      }
    }
    return result
  }

  @Test(arguments: [(1, 1), (7, 8), (16, 64), (33, 7), (31, 65), (130, 576), (5, 1536), (48, 100)])
  func `a product is that of rounded numbers, and its rows do not see one another`(
    n: Int, k: Int
  ) throws {
    var random = SplitMix(seed: UInt64(n * 1000 + k))
    let most = 21
    let x = DecodeKernelTests.numbers(most * k, &random)
    let w = DecodeKernelTests.numbers(n * k, &random)
    let bias = DecodeKernelTests.numbers(n, &random)
    let codes = try Codes(w, ATK_FLOAT32, n, k)
    let exact = Reference.linear(
      Self.rounded(x, columns: k), Self.rounded(w, columns: k, weights: true),
      bias: bias.map(Double.init),
      rows: most, outputs: n, inputs: k)
    var whole = [Float](repeating: 0, count: most * n)
    atk_linear_int8(&whole, x, codes.pointer, bias, most, n, k, 0)
    for (a, b) in zip(whole, exact) { #expect(abs(Double(a) - b) < 1e-6 * Double(k + 4)) }
    for rows in [1, 2, 3, 5, 7, 8, 9, 17] {
      for first in [0, most - rows] {
        var some = [Float](repeating: 0, count: rows * n)
        atk_linear_int8(
          &some, Array(x[first * k..<(first + rows) * k]), codes.pointer, bias, rows,
          n, k, 0)
        #expect(some == Array(whole[first * n..<(first + rows) * n]))
      }
    }
  }

  @Test(arguments: [(1, 33, 576), (8, 64, 1536), (21, 17, 100), (3, 5, 1)])
  func `every processor gives the same bits`(m: Int, n: Int, k: Int) throws {
    var random = SplitMix(seed: UInt64(m + n + k))
    // Of very different sizes, one group all zeros, another too small to count.
    var x = DecodeKernelTests.numbers(m * k, &random)
    for i in x.indices { x[i] *= Float(exp2(Double(i % 23) - 9)) }
    for i in x.indices.prefix(64) { x[i] = 0 }
    for i in x.indices.dropFirst(64).prefix(64) { x[i] = 1e-36 }
    let w = DecodeKernelTests.numbers(n * k, &random)
    let codes = try Codes(w, ATK_FLOAT32, n, k)
    let start = DecodeKernelTests.numbers(m * n, &random)
    var (fast, plain) = (start, start)
    atk_linear_int8(&fast, x, codes.pointer, nil, m, n, k, 1)
    atk_linear_int8_plain(&plain, x, codes.pointer, nil, m, n, k, 1)
    #expect(fast == plain)
    var alone = start
    atk_linear_int8(&alone, x, codes.pointer, nil, m, n, k, 0)
    #expect(fast == zip(start, alone).map { $1 + $0 })
  }

  @Test func `codes at the ends of their range are multiplied exactly`() throws {
    // 255 · 127 in every place, of both signs: what a 16-bit sum of two products would not hold.
    let (n, k) = (16, 128)
    // A single 0 a group, so that all other codes are 255, or 0 where it is the greatest.
    let w = (0..<n * k).map { Float($0 % 32 == 0 ? 0 : $0 / k % 2 == 0 ? 1 : -1) }
    for sign in [Float(1), -1] {
      let x = [Float](repeating: sign, count: k)
      let codes = try Codes(w, ATK_FLOAT32, n, k)
      var (fast, plain) = ([Float](repeating: 0, count: n), [Float](repeating: 0, count: n))
      atk_linear_int8(&fast, x, codes.pointer, nil, 1, n, k, 0)
      atk_linear_int8_plain(&plain, x, codes.pointer, nil, 1, n, k, 0)
      for (i, y) in fast.enumerated() {
        #expect(abs(y - w[i * k + 1] * sign * Float(k - k / 32)) < 1e-4)
      }
      #expect(fast == plain)
    }
  }

  @Test func `codes of 4 bits at the end of their range are multiplied exactly`() throws {
    // 15 · 127 in every place: a group's sum still has room in 16 bits.
    let (n, k, most) = (19, 96, 11)
    var stored: [UInt8] = []
    for _ in 0..<n * k / 32 {
      withUnsafeBytes(of: (Float(1), Float(0))) { stored += $0 }
      stored += [UInt8](repeating: 255, count: 16)
    }
    let codes = try Codes(stored, ATK_NIBBLES, n, k)
    for (sign, rows) in [(Float(1), most), (-1, most), (1, 1), (-1, 3)] {
      let y = Self.product(
        [Float](repeating: sign, count: rows * k), codes, rows: rows, n, k)
      #expect(y.allSatisfy { abs($0 - sign * Float(15 * k)) < 1e-3 })
    }
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func `what is not finite makes its row so, and no other`(bad: Float) throws {
    try DecodeKernelTests.checkRow(of: bad) { y, x, w, m, n, k in
      let codes = try Codes(w, ATK_FLOAT32, n, k)
      atk_linear_int8(&y, x, codes.pointer, nil, m, n, k, 0)
    }
  }

  @Test func `bfloat16 weights give what their float values give`() throws {
    var random = SplitMix(seed: 4)
    let (n, k) = (19, 100)
    var half = [UInt16](repeating: 0, count: n * k)
    atk_bf16_from_float(&half, DecodeKernelTests.numbers(n * k, &random), n * k)
    let numbers = half.map { Float(bitPattern: UInt32($0) << 16) }
    let x = DecodeKernelTests.numbers(2 * k, &random)
    #expect(
      try Self.product(x, Codes(half, ATK_BFLOAT16, n, k), rows: 2, n, k)
        == Self.product(x, Codes(numbers, ATK_FLOAT32, n, k), rows: 2, n, k))
  }

  /// Codes of files: with one scale a group they are taken as they are, with two they are rounded anew.
  /// Scales that all are float16 numbers (half) are kept so, beside codes alone.
  @Test(arguments: [
    (WeightForm.nibbles, 1, false), (.fives, 1, false), (.bytes, 1, false), (.bytes, 1, true),
    (.bytes, 2, false), (.bytes, 2, true), (.fineNibbles, 2, false),
  ])
  func `a file's codes are taken as they are`(form: WeightForm, scales: Int, half: Bool) throws {
    var random = SplitMix(seed: UInt64(form.bytes(32) + scales))
    let (n, k, rows) = (67, 96, 21)
    var numbers: [Float] = []
    var stored: [UInt8] = []
    func put<Number>(_ value: Number) { withUnsafeBytes(of: value) { stored += $0 } }
    for group in 0..<n * k / 32 {
      // The second sixteen's scale and offset are as many times the first's.
      var scale = random.float() * 0.1
      if half {
        // The least of normal numbers, one below 0 and 0 itself.
        scale =
          group < 3 ? [0x1p-14, -0.125, 0][group] : Float(bitPattern: scale.bitPattern & ~0x1fff)
      }
      let offset = form == .bytes ? 0 : -7 * scale
      let factors = [1, Float(scales)]
      put(scale)
      if form == .bytes || form == .fineNibbles { put(factors[1] * scale) }
      if form != .bytes { put(offset) }
      if form == .fineNibbles { put(factors[1] * offset) }
      let codes: [Int]
      if form == .bytes {
        codes = (0..<32).map { _ in Int(random.next() % 256) - 128 }
        stored += codes.map { UInt8(truncatingIfNeeded: $0) }
      } else {
        codes = (0..<32).map { _ in Int(random.next() % (form == .fives ? 32 : 16)) }
        if form == .fives {
          put(codes.enumerated().reduce(UInt32(0)) { $0 | UInt32($1.1 >> 4) << UInt32($1.0) })
        }
        stored += (0..<16).map { UInt8(codes[$0] & 15 | (codes[$0 + 16] & 15) << 4) }
      }
      numbers += codes.enumerated().map { factors[$0 / 16] * (Float($1) * scale + offset) }
    }
    let x = DecodeKernelTests.numbers(rows * k, &random)
    let codes = try Codes(stored, form.kernelFormat, n, k)
    let y = Self.product(x, codes, rows: rows, n, k)
    var plain = [Float](repeating: 0, count: y.count)
    atk_linear_int8_plain(&plain, x, codes.pointer, nil, rows, n, k, 0)
    #expect(y == plain)
    // Few rows are multiplied in other tiles than many.
    #expect(Self.product(Array(x.prefix(2 * k)), codes, rows: 2, n, k) == Array(y.prefix(2 * n)))
    let weights =
      scales == 1 ? numbers.map(Double.init) : Self.rounded(numbers, columns: k, weights: true)
    let exact = Reference.linear(
      Self.rounded(x, columns: k), weights, rows: rows, outputs: n, inputs: k)
    for (a, b) in zip(y, exact) { #expect(abs(Double(a) - b) < 2e-5) }
    #expect(exact.contains { abs($0) > 1 })
  }

  private static func product(
    _ x: [Float], _ codes: Codes, rows: Int, _ n: Int, _ k: Int
  ) -> [Float] {
    var y = [Float](repeating: 0, count: rows * n)
    atk_linear_int8(&y, x, codes.pointer, nil, rows, n, k, 0)
    return y
  }
}
