// SPDX-License-Identifier: Apache-2.0

/// Why an expression has no value here.
struct NoValue: Error {
  /// What is in the way.
  let reason: String

  init(_ reason: String) { self.reason = reason }
}

/// A sum of products of symbols with exact coefficients: 2x² + √3 − 1/2.
///
/// A root of a prime is a symbol whose square is the prime, i one whose square is −1, so products of
/// roots come to one form: √6·√2 is 2√3.
private struct Polynomial: Hashable {
  /// Coefficients, none of them 0, of products: each symbol with its power.
  private(set) var terms: [[String: Int]: Rational] = [:]

  init(_ value: Rational) { add(value, [:]) }

  init(symbol: String) { add(Rational(1), [symbol: 1]) }

  var isZero: Bool { terms.isEmpty }

  /// The number that it is; nil if it has symbols.
  var number: Rational? {
    guard let term = terms.first else { return Rational(0) }
    return terms.count == 1 && term.key.isEmpty ? term.value : nil
  }

  private mutating func add(_ coefficient: Rational, _ powers: [String: Int]) {
    let sum = (terms[powers] ?? Rational(0)) + coefficient
    terms[powers] = sum.isZero ? nil : sum
  }

  static func + (a: Polynomial, b: Polynomial) -> Polynomial {
    b.terms.reduce(into: a) { $0.add($1.value, $1.key) }
  }

  /// Products of coefficients of 32 bits that one expression may take: at most some 0.4 s of a slow core. Answers of
  /// textbooks take hundreds of products; one that is (x + 1)⁴⁰⁰ took ten seconds.
  private static let mostWork = 20_000

  /// - Parameter work: What the expression took so far, to which this is added.
  /// - Throws: `NoValue` where it grows beyond what an answer is.
  static func times(_ a: Polynomial, _ b: Polynomial, _ work: inout Int) throws -> Polynomial {
    guard a.terms.count * b.terms.count <= 4096 else { throw NoValue("it has too many terms") }
    var product = Polynomial(Rational(0))
    for (powers, x) in a.terms {
      for (others, y) in b.terms {
        var coefficient = x * y
        guard coefficient.bits <= 2048 else { throw NoValue("its numbers are too long") }
        work += 1 + coefficient.bits / 32
        guard work <= mostWork else { throw NoValue("it takes too long to multiply out") }
        var joined = powers.merging(others, uniquingKeysWith: +)
        for (symbol, power) in joined where power > 1 {
          guard power <= 256 else { throw NoValue("its powers are too high") }
          guard let square = Self.square(of: symbol) else { continue }
          for _ in 0..<power / 2 { coefficient = coefficient * square }
          joined[symbol] = power % 2 == 1 ? 1 : nil
        }
        product.add(coefficient, joined)
      }
    }
    return product
  }

  /// What a symbol's square is; nil where it is free.
  private static func square(of symbol: String) -> Rational? {
    if symbol == "i" { return Rational(-1) }
    return symbol.first == "√" ? Int(symbol.dropFirst()).map { Rational($0) } : nil
  }
}

/// The exact value of an expression: a quotient of two polynomials over the fractions, with roots of
/// whole numbers, i, π, e and variables as symbols.
///
/// Two are equal if the products across are, which needs no common form. What has no such value
/// (functions such as sine, roots of other things) is `NoValue`.
struct MathsValue: Sendable {
  private let above: Polynomial
  private let below: Polynomial
  /// What it took to multiply out.
  private let work: Int

  private init(_ above: Polynomial, over below: Polynomial, work: Int) throws {
    guard !below.isZero else { throw NoValue("it divides by 0") }
    self.above = above
    self.below = below
    self.work = work
  }

  /// A number.
  init(_ value: Rational) {
    above = Polynomial(value)
    below = Polynomial(Rational(1))
    work = 0
  }

  /// A variable, π, e or i.
  init(symbol: String) {
    above = Polynomial(symbol: symbol)
    below = Polynomial(Rational(1))
    work = 0
  }

  /// The number that it is; nil if it has symbols.
  var number: Rational? {
    guard let a = above.number, let b = below.number else { return nil }
    return a * b.inverse
  }

  static prefix func - (a: MathsValue) throws -> MathsValue { try MathsValue(Rational(-1)) * a }

  static func + (a: MathsValue, b: MathsValue) throws -> MathsValue {
    var work = a.work + b.work
    let above =
      try Polynomial.times(a.above, b.below, &work) + Polynomial.times(b.above, a.below, &work)
    return try MathsValue(above, over: Polynomial.times(a.below, b.below, &work), work: work)
  }

  static func * (a: MathsValue, b: MathsValue) throws -> MathsValue {
    var work = a.work + b.work
    let above = try Polynomial.times(a.above, b.above, &work)
    return try MathsValue(above, over: Polynomial.times(a.below, b.below, &work), work: work)
  }

  static func / (a: MathsValue, b: MathsValue) throws -> MathsValue {
    try a * MathsValue(b.below, over: b.above, work: b.work)
  }

  /// Whether both are the same number or the same function of their variables.
  ///
  /// - Throws: `NoValue` where the products across grow too large to say.
  static func areEqual(_ a: MathsValue, _ b: MathsValue) throws -> Bool {
    var work = 0
    return try Polynomial.times(a.above, b.below, &work)
      == Polynomial.times(b.above, a.below, &work)
  }

  /// It raised to a whole power, or to a half of a whole number.
  func power(_ exponent: MathsValue) throws -> MathsValue {
    guard let number = exponent.number else { throw NoValue("a power has variables") }
    if number.denominator == BigInteger(2) {
      return try root(2).power(MathsValue(Rational(number.numerator)))
    }
    guard number.isWhole, let times = number.numerator.int, abs(times) <= 1024 else {
      throw NoValue("a power is no whole number up to 1024")
    }
    let base = times < 0 ? try MathsValue(Rational(1)) / self : self
    var result = MathsValue(Rational(1))
    for _ in 0..<abs(times) { result = try result * base }
    return result
  }

  /// Its root.
  ///
  /// - Parameter degree: 2 for the square root, whose value may have symbols; of higher ones it must be
  ///   a fraction.
  func root(_ degree: Int) throws -> MathsValue {
    guard let number, degree >= 2, degree <= 64 else {
      throw NoValue("a root is of no number")
    }
    guard let below = number.denominator.int, let above = number.numerator.int,
      abs(above) < 1 << 40, below < 1 << 20
    else { throw NoValue("a root is of too long a number") }
    guard above != 0 else { return MathsValue(Rational(0)) }
    guard degree == 2 else {
      guard let a = Self.whole(root: degree, of: abs(above)),
        let b = Self.whole(root: degree, of: below), above > 0 || degree % 2 == 1
      else { throw NoValue("a root is no fraction") }
      return MathsValue(Rational(BigInteger(above < 0 ? -a : a), over: BigInteger(b)))
    }
    // √(a/b) is √(a·b)/b.
    var (left, outside, factor) = (abs(above) * below, 1, 2)
    var result = MathsValue(Rational(1))
    while factor * factor <= left {
      while left % (factor * factor) == 0 {
        left /= factor * factor
        outside *= factor
      }
      if left % factor == 0 {
        left /= factor
        result = try result * MathsValue(symbol: "√\(factor)")
      }
      factor += 1
      guard factor < 1 << 20 else { throw NoValue("a root is of too long a number") }
    }
    if left > 1 { result = try result * MathsValue(symbol: "√\(left)") }
    if above < 0 { result = try result * MathsValue(symbol: "i") }
    return try result * MathsValue(Rational(BigInteger(outside), over: BigInteger(below)))
  }

  private static func whole(root degree: Int, of value: Int) -> Int? {
    var root = 1
    while BigInteger(root).power(degree) < BigInteger(value) {
      root += 1
      guard root < 1 << 16 else { return nil }
    }
    return BigInteger(root).power(degree) == BigInteger(value) ? root : nil
  }
}
