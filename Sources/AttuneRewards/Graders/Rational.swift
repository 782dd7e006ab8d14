// SPDX-License-Identifier: Apache-2.0

/// A fraction in lowest terms, so that equal numbers are equal values: 0.50, 1/2 and 2/4 are one.
struct Rational: Sendable, Hashable {
  /// Above the line, with the sign.
  let numerator: BigInteger
  /// Below the line, above 0.
  let denominator: BigInteger

  /// Makes a fraction.
  ///
  /// - Parameters:
  ///   - numerator: Above the line.
  ///   - denominator: Below the line, not 0.
  init(_ numerator: BigInteger, over denominator: BigInteger = BigInteger(1)) {
    let divisor = numerator.commonDivisor(with: denominator)
    let isNegative = numerator.isNegative != denominator.isNegative
    let above = numerator.divided(by: divisor).quotient
    self.numerator = isNegative ? -above : above
    self.denominator = denominator.divided(by: divisor).quotient
  }

  /// A whole number.
  init(_ value: Int) { self.init(BigInteger(value)) }

  /// Reads digits with a decimal point and a power of ten behind them: `12`, `.5`, `1.50e-3`.
  ///
  /// - Returns: Nil for anything else, and for more than 200 digits or places.
  init?(decimal text: some StringProtocol) {
    let parts = text.split(omittingEmptySubsequences: false) { $0 == "e" || $0 == "E" }
    let halves = parts[0].split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count <= 2, halves.count <= 2, text.utf8.count <= 200,
      let whole = BigInteger(halves.joined()),
      let exponent = parts.count == 2 ? Int(parts[1]) : 0, abs(exponent) <= 200
    else { return nil }
    let places = (halves.count == 2 ? halves[1].count : 0) - exponent
    let ten = BigInteger(10).power(abs(places))
    self = places > 0 ? Rational(whole, over: ten) : Rational(whole * ten)
  }

  var isZero: Bool { numerator.isZero }
  var isWhole: Bool { denominator == BigInteger(1) }
  /// How many bits its parts have.
  var bits: Int { max(numerator.bits, denominator.bits) }

  /// 1 over it; it is not 0.
  var inverse: Rational { Rational(denominator, over: numerator) }

  static prefix func - (a: Rational) -> Rational { Rational(-a.numerator, over: a.denominator) }

  static func + (a: Rational, b: Rational) -> Rational {
    Rational(
      a.numerator * b.denominator + b.numerator * a.denominator, over: a.denominator * b.denominator
    )
  }

  static func * (a: Rational, b: Rational) -> Rational {
    Rational(a.numerator * b.numerator, over: a.denominator * b.denominator)
  }
}

extension Rational: CustomStringConvertible {
  /// `3`, `-1/2`.
  var description: String { isWhole ? "\(numerator)" : "\(numerator)/\(denominator)" }
}
