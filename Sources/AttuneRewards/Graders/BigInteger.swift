// SPDX-License-Identifier: Apache-2.0

/// A whole number of any size: what exact fractions are made of.
struct BigInteger: Sendable, Hashable {
  /// Whether it is below 0; 0 is not.
  private(set) var isNegative: Bool
  /// Digits in base 2³², the least first, none of the last ones 0; of 0 there are none.
  private var digits: [UInt32]

  private init(_ digits: [UInt32], isNegative: Bool) {
    self.digits = digits
    while self.digits.last == 0 { self.digits.removeLast() }
    self.isNegative = isNegative && !self.digits.isEmpty
  }

  /// Takes over a number.
  init(_ value: Int) {
    let magnitude = value.magnitude
    self.init(
      [UInt32(truncatingIfNeeded: magnitude), UInt32(magnitude >> 32)], isNegative: value < 0)
  }

  /// Reads decimal digits; nil for anything else.
  init?(_ text: some StringProtocol) {
    guard !text.isEmpty else { return nil }
    self.init(0)
    for byte in text.utf8 {
      guard (0x30...0x39).contains(byte) else { return nil }
      digits = Self.times(digits, 10, plus: UInt32(byte - 0x30))
    }
  }

  var isZero: Bool { digits.isEmpty }

  /// How many bits it has.
  var bits: Int { digits.last.map { 32 * digits.count - $0.leadingZeroBitCount } ?? 0 }

  /// It as an `Int`; nil if it is too large.
  var int: Int? {
    guard bits < 63 else { return nil }
    let magnitude = digits.reversed().reduce(0) { $0 << 32 | Int($1) }
    return isNegative ? -magnitude : magnitude
  }

  var magnitude: BigInteger { BigInteger(digits, isNegative: false) }

  static prefix func - (value: BigInteger) -> BigInteger {
    BigInteger(value.digits, isNegative: !value.isNegative)
  }

  static func + (a: BigInteger, b: BigInteger) -> BigInteger {
    if a.isNegative == b.isNegative {
      return BigInteger(sum(a.digits, b.digits), isNegative: a.isNegative)
    }
    return isLess(a.digits, b.digits)
      ? BigInteger(difference(b.digits, a.digits), isNegative: b.isNegative)
      : BigInteger(difference(a.digits, b.digits), isNegative: a.isNegative)
  }

  static func - (a: BigInteger, b: BigInteger) -> BigInteger { a + -b }

  static func * (a: BigInteger, b: BigInteger) -> BigInteger {
    var product = [UInt32](repeating: 0, count: a.digits.count + b.digits.count)
    for (i, x) in a.digits.enumerated() {
      var carry: UInt64 = 0
      for (j, y) in b.digits.enumerated() {
        carry += UInt64(x) * UInt64(y) + UInt64(product[i + j])
        product[i + j] = UInt32(truncatingIfNeeded: carry)
        carry >>= 32
      }
      product[i + b.digits.count] = UInt32(carry)
    }
    return BigInteger(product, isNegative: a.isNegative != b.isNegative)
  }

  /// Quotient and remainder, both of the magnitudes: the caller takes care of signs.
  func divided(by divisor: BigInteger) -> (quotient: BigInteger, remainder: BigInteger) {
    precondition(!divisor.isZero, "division by 0")
    var quotient = [UInt32](repeating: 0, count: digits.count)
    // The first digits, fewer than the divisor's, are less than it; then bit by bit: numbers are short.
    let begun = min(digits.count, divisor.digits.count - 1)
    var remainder = Array(digits.suffix(begun))
    for place in stride(from: 32 * (digits.count - begun) - 1, through: 0, by: -1) {
      remainder = Self.times(remainder, 2, plus: digits[place / 32] >> UInt32(place % 32) & 1)
      guard !Self.isLess(remainder, divisor.digits) else { continue }
      remainder = Self.difference(remainder, divisor.digits)
      while remainder.last == 0 { remainder.removeLast() }
      quotient[place / 32] |= 1 << UInt32(place % 32)
    }
    return (BigInteger(quotient, isNegative: false), BigInteger(remainder, isNegative: false))
  }

  /// The greatest common divisor, which is not below 0.
  func commonDivisor(with other: BigInteger) -> BigInteger {
    var (a, b) = (magnitude, other.magnitude)
    while !b.isZero { (a, b) = (b, a.divided(by: b).remainder) }
    return a
  }

  /// The number times itself, so many times.
  func power(_ exponent: Int) -> BigInteger {
    var (result, square, left) = (BigInteger(1), self, exponent)
    while left > 0 {
      if left & 1 == 1 { result = result * square }
      left >>= 1
      if left > 0 { square = square * square }
    }
    return result
  }

  // MARK: Magnitudes

  private static func times(_ a: [UInt32], _ factor: UInt32, plus: UInt32) -> [UInt32] {
    var carry = UInt64(plus)
    var result = a.map { digit -> UInt32 in
      carry += UInt64(digit) * UInt64(factor)
      defer { carry >>= 32 }
      return UInt32(truncatingIfNeeded: carry)
    }
    if carry > 0 { result.append(UInt32(carry)) }
    return result
  }

  private static func sum(_ a: [UInt32], _ b: [UInt32]) -> [UInt32] {
    var carry: UInt64 = 0
    var result = (0..<max(a.count, b.count)).map { i -> UInt32 in
      carry += UInt64(i < a.count ? a[i] : 0) + UInt64(i < b.count ? b[i] : 0)
      defer { carry >>= 32 }
      return UInt32(truncatingIfNeeded: carry)
    }
    if carry > 0 { result.append(UInt32(carry)) }
    return result
  }

  /// a − b, where a is not less.
  private static func difference(_ a: [UInt32], _ b: [UInt32]) -> [UInt32] {
    var borrow: Int64 = 0
    return a.indices.map { i in
      let digit = Int64(a[i]) - Int64(i < b.count ? b[i] : 0) - borrow
      borrow = digit < 0 ? 1 : 0
      return UInt32(truncatingIfNeeded: digit)
    }
  }

  private static func isLess(_ a: [UInt32], _ b: [UInt32]) -> Bool {
    guard a.count == b.count else { return a.count < b.count }
    for (x, y) in zip(a.reversed(), b.reversed()) where x != y { return x < y }
    return false
  }
}

extension BigInteger: Comparable {
  static func < (a: BigInteger, b: BigInteger) -> Bool { (a - b).isNegative }
}

extension BigInteger: CustomStringConvertible {
  /// Its decimal digits.
  var description: String {
    var (left, text) = (magnitude, "")
    let billion = BigInteger(1_000_000_000)
    repeat {
      let (quotient, remainder) = left.divided(by: billion)
      let part = String(remainder.int ?? 0)
      left = quotient
      text = (left.isZero ? part : String(repeating: "0", count: 9 - part.count) + part) + text
    } while !left.isZero
    return (isNegative ? "-" : "") + text
  }
}
