// SPDX-License-Identifier: Apache-2.0

import AttuneTestSupport
import CAttuneKernels
import Foundation
import Testing

extension KernelTests {
  /// Rows that meet their keys in more blocks than one (512 keys each).
  @Suite struct LongAttention {
    static let cases = [
      AttentionCase(
        testDescription: "one key fewer than a block", tree: .init([(511, -1)]), heads: 1,
        keyValueHeads: 1, headWidth: 16),
      AttentionCase(
        testDescription: "a block", tree: .init([(512, -1)]), heads: 3, keyValueHeads: 1,
        headWidth: 16),
      AttentionCase(
        testDescription: "one key more, width 64", tree: .init([(513, -1)]), heads: 1,
        keyValueHeads: 1, headWidth: 64),
      AttentionCase(
        testDescription: "a block and some rows, width 128", tree: .init([(521, -1)]), heads: 1,
        keyValueHeads: 1, headWidth: 128),
      AttentionCase(
        testDescription: "three blocks", tree: .init([(1030, -1)]), heads: 1, keyValueHeads: 1,
        headWidth: 16),
      AttentionCase(
        testDescription: "more heads of a key than are stacked", tree: .init([(530, -1)]), heads: 5,
        keyValueHeads: 1, headWidth: 8),
      AttentionCase(
        testDescription: "answers and a grandchild across the edges of blocks, another prompt",
        tree: .init([(500, -1), (40, 0), (9, 0), (0, 0), (520, 1), (1, 2), (515, -1)]), heads: 2,
        keyValueHeads: 1, headWidth: 8),
      AttentionCase(
        testDescription: "a window whose rows begin in other blocks", tree: .init([(1100, -1)]),
        heads: 1, keyValueHeads: 1, headWidth: 16, rule: .init(scale: 0, cap: 0, window: 30)),
      AttentionCase(
        testDescription: "a window longer than a block, and a cap", tree: .init([(1300, -1)]),
        heads: 1, keyValueHeads: 1, headWidth: 16, rule: .init(scale: 0, cap: 4, window: 600)),
      AttentionCase(
        testDescription: "a window over answers across the edges of blocks",
        tree: .init([(500, -1), (40, 0), (9, 0), (520, 1), (1, 2)]), heads: 2, keyValueHeads: 1,
        headWidth: 8, rule: .init(scale: 0, cap: 0, window: 100)),
    ]

    @Test(arguments: cases) func `forward and backward against dense attention`(
      size: AttentionCase
    ) throws {
      _ = atk_start(2)
      try Attention.check(size, samples: 3)
    }

    /// Queries, keys, values and gradients on the output, a row after the other.
    static func rows(_ count: Int, seed: UInt64) -> [[Float]] {
      var random = SplitMix(seed: seed)
      return [
        random.floats(count * heads * width, scale: 2), random.floats(count * width, scale: 2),
        random.floats(count * width), random.floats(count * heads * width),
      ]
    }
    static let (heads, width) = (3, 16)

    static func run(_ segments: [[[Float]]], _ tree: Reference.Tree) -> Attention.Run {
      let parts = (0..<4).map { part in segments.flatMap { $0[part] } }
      return Attention.run(
        parts[0], parts[1], parts[2], parts[3], tree, heads: heads, keyValueHeads: 1,
        headWidth: width)
    }

    @Test func `bits do not depend on the number of threads`() {
      let tree = Reference.Tree([(700, -1), (30, 0), (900, 0), (600, -1), (1200, -1)])
      let segments = tree.count.enumerated().map { Self.rows(Int($1), seed: UInt64($0)) }
      let runs = [1, 2, 3].map { threads in
        _ = atk_start(Int32(threads))
        return Self.run(segments, tree)
      }
      #expect(runs[1] == runs[0])
      #expect(runs[2] == runs[0])
    }

    @Test func `a row's bits depend neither on its siblings nor on other trees`() {
      _ = atk_start(2)
      let (prompt, answer) = (Self.rows(700, seed: 1), Self.rows(801, seed: 2))
      let (other, sibling) = (Self.rows(555, seed: 3), Self.rows(333, seed: 4))
      let alone = Self.run([prompt, answer], .init([(700, -1), (801, 0)]))
      let beside = Self.run(
        [other, prompt, sibling, answer, other],
        .init([(555, -1), (700, -1), (333, 1), (801, 1), (555, -1)]))
      // The prompt's rows and the answer's, among 555, 700, 333, 801 and 555.
      func rows(_ values: [Float], _ columns: Int) -> [Float] {
        Array(values[555 * columns..<1255 * columns] + values[1588 * columns..<2389 * columns])
      }
      let columns = Self.heads * Self.width
      #expect(rows(beside.out, columns) == alone.out)
      #expect(rows(beside.logSumExp, Self.heads) == alone.logSumExp)
      #expect(rows(beside.dq, columns) == alone.dq)
      // What nobody else sees.
      #expect(
        beside.dk[1588 * Self.width..<2389 * Self.width] == alone.dk[(700 * Self.width)...])
      #expect(
        beside.dv[1588 * Self.width..<2389 * Self.width] == alone.dv[(700 * Self.width)...])
    }

    @Test func `a row's bits do not depend on the rows after it`() {
      _ = atk_start(2)
      let rows = Self.rows(1300, seed: 5)
      func first(_ count: Int) -> [[Float]] {
        rows.map { Array($0.prefix($0.count / 1300 * count)) }
      }
      let long = Self.run([rows], .init([(1300, -1)]))
      let short = Self.run([first(1100)], .init([(1100, -1)]))
      // Products of fewer than 8 rows sum in another order: 1,100 ends in a block of 12.
      #expect(short.out == Array(long.out.prefix(short.out.count)))
      #expect(short.dq == Array(long.dq.prefix(short.dq.count)))
    }

    /// The last piece ends in a block of three rows.
    @Test(arguments: Stored.precisions, [64, 128, 320])
    func `a prompt in pieces has the bits of a pass`(precision: atk_precision, piece: Int) {
      for window in [0, 100] { Self.checkPieces(precision, piece, window) }
    }

    static func checkPieces(_ precision: atk_precision, _ piece: Int, _ window: Int) {
      let rule = atk_attention_rule(scale: 0, cap: 0, window: window)
      _ = atk_start(2)
      let (count, columns) = (1027, Self.heads * Self.width)
      var rows = Self.rows(count, seed: 7)
      // Keys and values as bfloat16 has them.
      let halves = [1, 2].map { i in
        var halves = [UInt16](repeating: 0, count: rows[i].count)
        atk_bf16_from_float(&halves, rows[i], rows[i].count)
        atk_round_to_bf16(&rows[i], rows[i].count)
        return halves
      }
      var (pass, pieces) = (
        [Float](repeating: 0, count: count * columns), [Float](repeating: 0, count: count * columns)
      )
      var logSumExp = [Float](repeating: 0, count: count * Self.heads)
      [0, Int32(count), -1].withUnsafeBufferPointer { tree in
        guard let row = tree.baseAddress else { return }
        atk_attention_forward(
          &pass, &logSumExp, rows[0], rows[1], rows[2],
          atk_segments(segment_row: row, segment_count: row + 1, parent: row + 2, segments: 1),
          Self.heads, 1, Self.width, columns, Self.width, Self.width, rule, precision)
      }
      for start in stride(from: 0, to: count, by: piece) {
        let end = min(start + piece, count)
        var out = [Float](repeating: 0, count: (end - start) * columns)
        atk_attention_prefill(
          &out, Array(rows[0][(start * columns)...]), Array(halves[0][..<(end * Self.width)]),
          Array(halves[1][..<(end * Self.width)]), start, end - start, Self.heads, 1, Self.width,
          columns, rule, precision)
        pieces.replaceSubrange(start * columns..<end * columns, with: out)
      }
      #expect(pieces == pass)
    }

    @Test func `working memory does not grow with the length of rows`() async {
      // On a thread of its own, which begins without any.
      let held = await withCheckedContinuation { continuation in
        let thread = Thread {
          _ = atk_start(1)
          continuation.resume(
            returning: [1024, 4096].map { count in
              _ = Self.run([Self.rows(count, seed: 6)], .init([(count, -1)]))
              return atk_scratch_held()
            })
        }
        thread.stackSize = 8 << 20
        thread.start()
      }
      #expect(held[0] > 0)
      // The list of blocks, 24 bytes for 64 rows, in whole pages.
      #expect(held[1] - held[0] <= 8192)
    }
  }
}
