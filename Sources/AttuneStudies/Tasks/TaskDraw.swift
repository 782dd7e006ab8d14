// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives

/// The random numbers of one problem, in their order.
struct TaskDraw {
  private let random: CounterRandom
  private var position: UInt64 = 0

  init(_ random: CounterRandom) { self.random = random }

  /// A number of a range.
  mutating func number(_ range: ClosedRange<Int>) -> Int {
    defer { position += 1 }
    return range.lowerBound + random.below(range.count, position)
  }

  /// One of some values.
  mutating func one<Value>(_ values: [Value]) -> Value { values[number(0...values.count - 1)] }

  /// Some different ones of some values, in random order.
  mutating func some<Value>(_ count: Int, of values: [Value]) -> [Value] {
    var left = values
    return (0..<min(count, values.count)).map { _ in left.remove(at: number(0...left.count - 1)) }
  }
}
