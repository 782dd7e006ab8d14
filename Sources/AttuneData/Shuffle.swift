// SPDX-License-Identifier: Apache-2.0

/// Orders and splits that depend on a seed and nothing else: the same on every machine, and for an
/// epoch without those before it.
public enum Shuffle {
  /// The order in which an epoch goes through its rows.
  ///
  /// - Parameters:
  ///   - count: How many rows there are.
  ///   - seed: The seed of the run.
  ///   - epoch: The epoch, from 0.
  /// - Returns: 0 ..< count, each once; every permutation is equally likely over seeds.
  public static func order(count: Int, seed: UInt64, epoch: Int) -> [Int] {
    var generator = CounterGenerator(seed: seed, stream: UInt64(bitPattern: Int64(epoch)))
    return permutation(count, &generator)
  }

  /// Parts rows into those to train on and those held out, so that rows of one key (the prompt) are
  /// all on one side.
  ///
  /// - Parameters:
  ///   - keys: The key of every row.
  ///   - heldOut: How many different keys to hold out, at most all.
  ///   - seed: The seed of the run.
  /// - Returns: Indices of rows, both in the order of the rows.
  public static func split<Key: Hashable>(
    _ keys: [Key], heldOut: Int, seed: UInt64
  ) -> (train: [Int], heldOut: [Int]) {
    var numbers: [Key: Int] = [:]
    let groups = keys.map { key in
      if let number = numbers[key] { return number }
      let number = numbers.count
      numbers[key] = number
      return number
    }
    var generator = CounterGenerator(seed: seed, stream: 0x5350_4C49_54)
    let chosen = Set(permutation(numbers.count, &generator).prefix(max(0, heldOut)))
    let indices = groups.indices
    return (
      train: indices.filter { !chosen.contains(groups[$0]) },
      heldOut: indices.filter { chosen.contains(groups[$0]) }
    )
  }

  private static func permutation(_ count: Int, _ generator: inout CounterGenerator) -> [Int] {
    var order = Array(0..<max(0, count))
    var left = order.count
    while left > 1 {
      order.swapAt(left - 1, generator.below(left))
      left -= 1
    }
    return order
  }
}

/// Numbers of which the n-th depends on seed, stream and n alone (SplitMix64's finisher over a
/// counter, Steele et al. 2014).
struct CounterGenerator: RandomNumberGenerator {
  private let key: UInt64
  private var counter: UInt64 = 0

  init(seed: UInt64, stream: UInt64) {
    key = Self.mixed(Self.mixed(seed) ^ Self.mixed(stream &+ 0x9E37_79B9_7F4A_7C15))
  }

  mutating func next() -> UInt64 {
    counter &+= 1
    return Self.mixed(key &+ counter &* 0x9E37_79B9_7F4A_7C15)
  }

  /// A number of 0 ..< bound, every one equally likely (Lemire 2019): Swift's own way of doing this
  /// may change between its versions.
  mutating func below(_ bound: Int) -> Int {
    let bound = UInt64(bound)
    var product = next().multipliedFullWidth(by: bound)
    if product.low < bound {
      let least = (0 &- bound) % bound
      while product.low < least { product = next().multipliedFullWidth(by: bound) }
    }
    return Int(product.high)
  }

  private static func mixed(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
