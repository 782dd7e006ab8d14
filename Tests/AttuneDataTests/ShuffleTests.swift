// SPDX-License-Identifier: Apache-2.0

import AttuneData
import Testing

struct ShuffleTests {
  @Test(arguments: [0, 1, 2, 7, 1000])
  func `every row comes once, in an order of seed and epoch`(count: Int) {
    let order = Shuffle.order(count: count, seed: 1, epoch: 0)
    #expect(order.sorted() == Array(0..<count))
    #expect(order == Shuffle.order(count: count, seed: 1, epoch: 0))
    guard count > 5 else { return }
    #expect(order != Shuffle.order(count: count, seed: 1, epoch: 1))
    #expect(order != Shuffle.order(count: count, seed: 2, epoch: 0))
    #expect(order != Array(0..<count))
  }

  @Test func `every place is as likely`() {
    var counts = [Int](repeating: 0, count: 5)
    for seed in 0..<5000 { counts[Shuffle.order(count: 5, seed: UInt64(seed), epoch: 0)[0]] += 1 }
    // 1000 each, standard deviation 28.
    for count in counts { #expect(abs(count - 1000) < 150) }
  }
}
