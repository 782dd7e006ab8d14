// SPDX-License-Identifier: Apache-2.0

/// A small seeded generator, so that a failing test fails again.
public struct SplitMix: RandomNumberGenerator {
  private var state: UInt64

  /// Starts at a seed.
  public init(seed: UInt64) { state = seed }

  /// The next 64 bits.
  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// A number between −1 and 1.
  public mutating func float() -> Float { Float.random(in: -1...1, using: &self) }
}
