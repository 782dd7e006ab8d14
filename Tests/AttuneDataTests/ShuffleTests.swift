// SPDX-License-Identifier: Apache-2.0

import AttuneData
import Testing

struct ShuffleTests {
  @Test func `an order depends on seed and epoch alone`() {
    let order = Shuffle.order(count: 1000, seed: 1, epoch: 0)
    #expect(order.sorted() == Array(0..<1000))
    #expect(order == Shuffle.order(count: 1000, seed: 1, epoch: 0))
    #expect(order != Shuffle.order(count: 1000, seed: 1, epoch: 1))
    #expect(order != Shuffle.order(count: 1000, seed: 2, epoch: 0))
    // Recorded: another version of the toolchain must not change a run.
    #expect(Shuffle.order(count: 8, seed: 42, epoch: 3) == [2, 5, 1, 4, 7, 6, 3, 0])
    #expect(Shuffle.order(count: 0, seed: 1, epoch: 0) == [])
    #expect(Shuffle.order(count: 1, seed: 1, epoch: 0) == [0])
  }

  @Test func `every order is as likely as any other`() {
    var counts: [[Int]: Int] = [:]
    for seed in 0..<2400 {
      counts[Shuffle.order(count: 4, seed: UInt64(seed), epoch: 0), default: 0] += 1
    }
    #expect(counts.count == 24)
    // χ² with 23 degrees of freedom: above 49.7 in one case of a thousand.
    let chi2 = counts.values.reduce(0.0) { $0 + Double(($1 - 100) * ($1 - 100)) / 100 }
    #expect(chi2 < 49.7)
  }

  @Test func `a split keeps the rows of a prompt together`() {
    let keys = (0..<300).map { $0 % 97 }
    let (train, heldOut) = Shuffle.split(keys, heldOut: 20, seed: 5)
    #expect((train + heldOut).sorted() == Array(0..<300))
    let held = Set(heldOut.map { keys[$0] })
    #expect(held.count == 20 && held.isDisjoint(with: train.map { keys[$0] }))
    #expect(train == train.sorted() && heldOut == heldOut.sorted())
    #expect(Shuffle.split(keys, heldOut: 20, seed: 5).heldOut == heldOut)
    #expect(Shuffle.split(keys, heldOut: 20, seed: 6).heldOut != heldOut)
    #expect(Shuffle.split(keys, heldOut: 1000, seed: 6).train.isEmpty)
  }
}
