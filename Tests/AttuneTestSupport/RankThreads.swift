// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import Foundation
import Synchronization

/// Ranks as threads of one process, which pass messages through memory.
package final class RankThreads: Sendable {
  private let count: Int
  private let condition = NSCondition()
  private let state: Mutex<(parts: [Int: [Data]], left: Int, round: Int)>

  private init(_ count: Int) {
    self.count = count
    state = Mutex(([:], 0, 0))
  }

  private func exchange(_ rank: Int, _ parts: [Data]) -> [Data] {
    condition.lock()
    defer { condition.unlock() }
    // Those of the exchange before have all been taken.
    while state.withLock({ $0.parts[rank] != nil }) { condition.wait() }
    state.withLock { $0.parts[rank] = parts }
    condition.broadcast()
    let round = state.withLock { $0.round }
    while state.withLock({ $0.parts.count < count && $0.round == round }) { condition.wait() }
    let received = state.withLock { state in
      (0..<count).map { state.parts[$0]?[rank] ?? Data() }
    }
    state.withLock {
      $0.left += 1
      if $0.left == count { $0 = ([:], 0, $0.round + 1) }
    }
    condition.broadcast()
    while state.withLock({ $0.round == round }) { condition.wait() }
    return received
  }

  /// What each rank makes, in their order.
  package static func run<Value: Sendable>(
    _ count: Int, _ body: @escaping @Sendable (Collective) -> Value
  ) -> [Value] {
    let table = RankThreads(count)
    let made = Mutex<[Int: Value]>([:])
    let done = DispatchGroup()
    for rank in 0..<count {
      done.enter()
      Thread {
        let value = body(
          Collective(rank: rank, count: count) { table.exchange(rank, $0) })
        made.withLock { $0[rank] = value }
        done.leave()
      }.start()
    }
    done.wait()
    return made.withLock { made in (0..<count).compactMap { made[$0] } }
  }
}
