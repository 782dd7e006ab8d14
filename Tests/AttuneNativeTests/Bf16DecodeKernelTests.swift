// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import CAttuneKernels
import Foundation
import Testing

/// Products of few rows in bfloat16.
@Suite(.enabled(if: atk_has_bf16()))
struct Bf16DecodeKernelTests {
  typealias Case = KernelTests.Stored.Case

  /// Also the halves of a pair, of a vector and of a panel, and K cut once and twice.
  static let cases =
    Case.all
    + [(16, 16), (17, 33), (48, 64), (49, 100), (64, 768), (130, 1536), (97, 31), (63, 1537)].map {
      Case(form: .float32, outputs: $0.0, inputs: $0.1)
    }

  /// What a matrix is laid out as before.
  private static func panels(_ w: [UInt8], _ size: Case) throws -> FloatBuffer {
    let buffer = try FloatBuffer((atk_bf16_bytes(size.outputs, size.inputs) + 3) / 4)
    atk_bf16_pack(buffer.pointer, w, size.form.kernelFormat, size.outputs, size.inputs)
    return buffer
  }

  private static func rounded(_ x: [Float]) -> [Double] {
    var halves = [UInt16](repeating: 0, count: x.count)
    atk_bf16_from_float(&halves, x, x.count)
    return halves.map { Double(Float(bitPattern: UInt32($0) << 16)) }
  }

  @Test(arguments: cases)
  func `a product has the bits of a pass, whatever is beside it`(size: Case) throws {
    let (n, k, form) = (size.outputs, size.inputs, size.form.kernelFormat)
    var random = SplitMix(seed: UInt64(n * 1000 + k))
    let weights = KernelTests.Stored.Weights(size, DecodeKernelTests.numbers(n * k, &random))
    let panels = try Self.panels(weights.kept, size)
    let bias = DecodeKernelTests.numbers(n, &random)
    let most = 33
    let x = DecodeKernelTests.numbers(most * k, &random)
    let start = DecodeKernelTests.numbers(most * n, &random)
    for accumulate in [Int32(0), 1] {
      var pass = start
      atk_linear_forward_stored(
        &pass, x, weights.kept, form, bias, most, n, k, n, k, accumulate, ATK_PRODUCTS_BF16)
      for rows in [1, 2, 3, 5, 8, 9, most] {
        for first in [0, most - rows] {
          let part = first * n..<(first + rows) * n
          for copy in [nil, UnsafeRawPointer(panels.pointer)] {
            var some = Array(start[part])
            atk_linear_decode_bf16(
              &some, Array(x[first * k..<(first + rows) * k]), weights.kept, form, copy, bias, rows,
              n, k, accumulate)
            #expect(some == Array(pass[part]))
          }
        }
      }
    }
    var y = [Float](repeating: 0, count: most * n)
    atk_linear_decode_bf16(&y, x, weights.kept, form, panels.pointer, nil, most, n, k, 0)
    let exact = Reference.linear(
      Self.rounded(x), Self.rounded(weights.floats), rows: most, outputs: n, inputs: k)
    for (a, b) in zip(y, exact) { #expect(abs(Double(a) - b) < 2e-6 * Double(k + 4)) }
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func `what is not finite makes its row so, and no other`(bad: Float) {
    DecodeKernelTests.checkRow(of: bad) { y, x, w, m, n, k in
      atk_linear_decode_bf16(&y, x, w, ATK_FLOAT32, nil, nil, m, n, k, 0)
    }
  }

  @Test func `numbers are rounded in place as they are on the way to memory`() {
    var random = SplitMix(seed: 10)
    var x =
      DecodeKernelTests.numbers(100, &random) + [
        0, -0.0, .infinity, -.infinity, 1e38, Float(bitPattern: 1),
      ]
    let expected = Self.rounded(x)
    atk_round_to_bf16(&x, x.count)
    #expect(x.map(Double.init) == expected)
    var bad = [Float(bitPattern: 0x7FFF_FFFF), Float(bitPattern: 0xFFFF_FFFF), .nan]
    atk_round_to_bf16(&bad, bad.count)
    for value in bad { #expect(value.isNaN) }
  }
}
