// SPDX-License-Identifier: Apache-2.0

import AttuneTestSupport
import CAttuneKernels
import Testing

extension KernelTests {
  struct AttentionCase: CustomTestStringConvertible {
    var testDescription: String
    var tree: Reference.Tree
    var heads: Int
    var keyValueHeads: Int
    var headWidth: Int
    var rule = atk_attention_rule()

    static let all = [
      AttentionCase(
        testDescription: "one token", tree: .init([(1, -1)]), heads: 1, keyValueHeads: 1,
        headWidth: 7),
      AttentionCase(
        testDescription: "two segments that know nothing of one another",
        tree: .init([(9, -1), (7, -1)]), heads: 3, keyValueHeads: 3, headWidth: 8),
      AttentionCase(
        testDescription: "longer than a block of rows", tree: .init([(150, -1)]), heads: 2,
        keyValueHeads: 1, headWidth: 8),
      AttentionCase(
        testDescription: "a prompt, its answers, a grandchild, an empty one, another prompt",
        tree: .init([(33, -1), (8, 0), (70, 0), (9, 2), (0, 0), (5, 4), (1, -1), (7, 6)]),
        heads: 6, keyValueHeads: 2, headWidth: 4),
      AttentionCase(
        testDescription: "a window of one", tree: .init([(9, -1)]), heads: 2, keyValueHeads: 1,
        headWidth: 8, rule: .init(scale: 0, cap: 0, window: 1)),
      AttentionCase(
        testDescription: "a window over a prompt, its answers and a grandchild",
        tree: .init([(33, -1), (8, 0), (70, 0), (9, 2), (0, 0), (5, 4)]), heads: 4,
        keyValueHeads: 2, headWidth: 8, rule: .init(scale: 0, cap: 0, window: 12)),
      AttentionCase(
        testDescription: "a scale, a cap and a window", tree: .init([(90, -1), (20, 0)]), heads: 2,
        keyValueHeads: 1, headWidth: 8, rule: .init(scale: 0.7, cap: 3, window: 40)),
    ]

    /// The same in Double.
    func expected(_ q: [Double], _ k: [Double], _ v: [Double]) -> (
      out: [Double], logSumExp: [Double]
    ) {
      Reference.attention(
        q, k, v, tree: tree, heads: heads, keyValueHeads: keyValueHeads, headWidth: headWidth,
        window: rule.window > 0 ? rule.window : nil,
        scale: rule.scale > 0 ? Double(rule.scale) : nil,
        cap: rule.cap > 0 ? Double(rule.cap) : nil)
    }
  }

  @Suite struct Attention {
    /// Rows of `parts` beside one another, followed by `padding` floats that nobody may touch.
    static func joined(_ parts: [[Float]], widths: [Int], rows: Int, padding: Int) -> [Float] {
      var fused: [Float] = []
      for t in 0..<rows {
        for (part, width) in zip(parts, widths) { fused += part[t * width..<(t + 1) * width] }
        fused += [Float](repeating: 7, count: padding)
      }
      return fused
    }

    /// What the kernels give for a tree.
    struct Run: Equatable {
      var out: [Float], logSumExp: [Float]
      var dq: [Float], dk: [Float], dv: [Float]
      /// What lies between the rows of the gradients, 7 before.
      var padding: [Float]
    }

    /// Forward and backward on one fused buffer, as the decoder has it.
    static func run(
      _ q: [Float], _ k: [Float], _ v: [Float], _ dout: [Float], _ tree: Reference.Tree,
      heads H: Int, keyValueHeads G: Int, headWidth C: Int,
      rule: atk_attention_rule = .init()
    ) -> Run {
      let T = tree.rows
      let widths = [H * C, G * C, G * C]
      let stride = widths.reduce(0, +) + 3
      let fused = joined([q, k, v], widths: widths, rows: T, padding: 3)
      var out = [Float](repeating: 9, count: T * H * C)
      var logSumExp = [Float](repeating: 9, count: T * H)
      var gradient = [Float](repeating: 7, count: fused.count)
      tree.row.withUnsafeBufferPointer { row in
        tree.count.withUnsafeBufferPointer { count in
          tree.parent.withUnsafeBufferPointer { parent in
            let segments = atk_segments(
              segment_row: row.baseAddress, segment_count: count.baseAddress,
              parent: parent.baseAddress, segments: row.count)
            fused.withUnsafeBufferPointer { fused in
              guard let q = fused.baseAddress else { return }
              let (k, v) = (q + H * C, q + (H + G) * C)
              atk_attention_forward(
                &out, &logSumExp, q, k, v, segments, H, G, C, stride, stride, stride, rule,
                ATK_PRODUCTS_FLOAT32)
              gradient.withUnsafeMutableBufferPointer { gradient in
                guard let dq = gradient.baseAddress else { return }
                atk_attention_backward(
                  dq, dq + H * C, dq + (H + G) * C, dout, q, k, v, out, logSumExp, segments, H, G,
                  C, stride, stride, stride, rule, ATK_PRODUCTS_FLOAT32)
              }
            }
          }
        }
      }
      func part(_ first: Int, _ width: Int) -> [Float] {
        (0..<T).flatMap { t in gradient[t * stride + first..<t * stride + first + width] }
      }
      return Run(
        out: out, logSumExp: logSumExp, dq: part(0, H * C), dk: part(H * C, G * C),
        dv: part((H + G) * C, G * C), padding: part(stride - 3, 3))
    }

    @Test(arguments: threads, AttentionCase.all)
    func `forward and backward against dense attention`(threads: Int, size: AttentionCase) throws {
      _ = atk_start(Int32(threads))
      try Self.check(size, samples: 16)
    }

    static func check(_ size: AttentionCase, samples: Int) throws {
      let (H, G, C, T) = (size.heads, size.keyValueHeads, size.headWidth, size.tree.rows)
      var random = SplitMix(seed: 1)
      let q = random.floats(T * H * C, scale: 2)
      let k = random.floats(T * G * C, scale: 2)
      let v = random.floats(T * G * C)
      let dout = random.floats(T * H * C)
      func attention(_ q: [Double], _ k: [Double], _ v: [Double]) -> [Double] {
        size.expected(q, k, v).out
      }
      let expected = size.expected(doubles(q), doubles(k), doubles(v))

      let result = Self.run(
        q, k, v, dout, size.tree, heads: H, keyValueHeads: G, headWidth: C, rule: size.rule)
      #expect(relativeError(result.out, expected.out) < 1e-5)
      #expect(relativeError(result.logSumExp, expected.logSumExp) < 1e-5)

      let (exactQ, exactK, exactV) = (doubles(q), doubles(k), doubles(v))
      #expect(
        checkGradient(result.dq, at: q, samples: samples) {
          dot(attention($0, exactK, exactV), dout)
        } < 1e-4)
      #expect(
        checkGradient(result.dk, at: k, samples: samples) {
          dot(attention(exactQ, $0, exactV), dout)
        } < 1e-4)
      #expect(
        checkGradient(result.dv, at: v, samples: samples) {
          dot(attention(exactQ, exactK, $0), dout)
        } < 1e-4)
      #expect(result.padding.allSatisfy { $0 == 7 })
    }

    @Test(arguments: threads)
    func `a shared prefix gives what separate copies of it give`(threads: Int) {
      _ = atk_start(Int32(threads))
      let (H, C, prompt, answer) = (2, 8, 33, 70)
      let width = H * C
      var random = SplitMix(seed: 2)
      let prefix = random.floats(prompt * width * 3)
      let answers = (0..<3).map { _ in random.floats(answer * width * 3) }
      func run(_ rows: [Float], _ tree: Reference.Tree) -> [Float] {
        var out = [Float](repeating: 0, count: tree.rows * width)
        var logSumExp = [Float](repeating: 0, count: tree.rows * H)
        tree.row.withUnsafeBufferPointer { row in
          tree.count.withUnsafeBufferPointer { count in
            tree.parent.withUnsafeBufferPointer { parent in
              let segments = atk_segments(
                segment_row: row.baseAddress, segment_count: count.baseAddress,
                parent: parent.baseAddress, segments: row.count)
              rows.withUnsafeBufferPointer { rows in
                guard let q = rows.baseAddress else { return }
                atk_attention_forward(
                  &out, &logSumExp, q, q + width, q + 2 * width, segments, H, H, C, 3 * width,
                  3 * width, 3 * width, .init(), ATK_PRODUCTS_FLOAT32)
              }
            }
          }
        }
        return out
      }
      let shared = run(
        prefix + answers.flatMap { $0 },
        .init([(prompt, -1), (answer, 0), (answer, 0), (answer, 0)]))
      for (index, rows) in answers.enumerated() {
        let alone = run(prefix + rows, .init([(prompt + answer, -1)]))
        let first = (prompt + index * answer) * width
        #expect(
          relativeError(
            Array(shared[first..<first + answer * width]),
            doubles(Array(alone[(prompt * width)...]))) < 1e-5)
      }
    }

    @Test func `scores of any size are safe`() {
      _ = atk_start(2)
      let (T, C) = (20, 8)
      var random = SplitMix(seed: 3)
      let q = random.floats(T * C, scale: 1e4)
      let v = random.floats(T * C)
      let tree = Reference.Tree([(T, -1)])
      var out = [Float](repeating: 0, count: T * C)
      var logSumExp = [Float](repeating: 0, count: T)
      tree.row.withUnsafeBufferPointer { row in
        tree.count.withUnsafeBufferPointer { count in
          tree.parent.withUnsafeBufferPointer { parent in
            let segments = atk_segments(
              segment_row: row.baseAddress, segment_count: count.baseAddress,
              parent: parent.baseAddress, segments: 1)
            atk_attention_forward(
              &out, &logSumExp, q, q, v, segments, 1, 1, C, C, C, C, .init(), ATK_PRODUCTS_FLOAT32)
          }
        }
      }
      let expected = Reference.attention(
        doubles(q), doubles(q), doubles(v), tree: tree, heads: 1, keyValueHeads: 1, headWidth: C)
      #expect(relativeError(out, expected.out) < 1e-4)
      #expect(relativeError(logSumExp, expected.logSumExp) < 1e-6)
    }
  }
}
