// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// Random numbers that depend on a seed and a place alone, not on how many were drawn before.
///
/// Each number is a SplitMix64 finaliser over the counters, so a run that is resumed, or does its
/// rows in another order, draws the same ones.
package struct CounterRandom: Sendable {
  private let key: UInt64

  /// A stream of its own for a seed and a list of counters.
  package init(seed: UInt64, _ counters: UInt64...) {
    key = counters.reduce(Self.mix(seed &+ 0x9E37_79B9_7F4A_7C15)) {
      Self.mix($0 ^ Self.mix($1 &+ 0xD1B5_4A32_D192_ED03))
    }
  }

  /// 64 random bits at a position of the stream.
  package func bits(_ position: UInt64) -> UInt64 {
    Self.mix(key &+ (position &+ 1) &* 0x9E37_79B9_7F4A_7C15)
  }

  /// A number above 0 and below 1.
  package func uniform(_ position: UInt64) -> Double {
    (Double(bits(position) >> 11) + 0.5) * 0x1p-53
  }

  /// A number of 0 ..< bound, by the upper half of a product (bias below bound/2⁶⁴).
  package func below(_ bound: Int, _ position: UInt64) -> Int {
    precondition(bound > 0, "an empty range has no member")
    return Int(bits(position).multipliedFullWidth(by: UInt64(bound)).high)
  }

  /// Values in random order, by the numbers 0, 1, … of the stream.
  package func shuffled<Value>(_ values: some Sequence<Value>) -> [Value] {
    var values = Array(values)
    for place in values.indices.dropLast() {
      values.swapAt(place, place + below(values.count - place, UInt64(place)))
    }
    return values
  }

  /// A draw of the standard Gumbel distribution.
  package func gumbel(_ position: UInt64) -> Double {
    -log(-log(uniform(position)))
  }

  private static func mix(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
