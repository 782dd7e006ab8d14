// SPDX-License-Identifier: Apache-2.0

/// Reads an expression as people and LaTeX write it: `\frac{3}{4}`, `2\sqrt{3}`, `1 1/2`, `x^2-1`.
///
/// Signs between numbers bind as usual, a product without a sign as one with it: 1/2x is x/2. A whole number
/// directly before a fraction of numbers is a mixed number. Spaces, `\left`, `\text{cm}`, degrees and
/// dollars say nothing.
struct MathsReader {
  private enum Token: Equatable {
    case number(Rational)
    case symbol(String)
    case command(String)
    case sign(Character)
  }

  private var tokens: [Token]
  private var place = 0

  /// The value of an expression.
  ///
  /// - Throws: `NoValue` that says what is in the way.
  static func value(of text: some StringProtocol) throws -> MathsValue {
    guard text.utf8.count <= 2000 else { throw NoValue("it is longer than 2000 bytes") }
    var reader = MathsReader(tokens: try tokens(of: text))
    let value = try reader.sum()
    guard reader.place == reader.tokens.count else { throw NoValue("something stands behind it") }
    return value
  }

  // MARK: Tokens

  private static let greek: Set<String> = [
    "alpha", "beta", "gamma", "delta", "epsilon", "theta", "lambda", "mu", "phi", "omega", "tau",
  ]
  private static let spacing: Set<String> = [
    "left", "right", "displaystyle", "quad", "qquad", "circ", "degree", "big", "Big", "bigl",
    "bigr",
  ]
  private static let units: Set<String> = [
    "text", "mathrm", "textrm", "mbox", "textbf", "operatorname",
  ]

  private static func tokens(of text: some StringProtocol) throws -> [Token] {
    let characters = Array(text)
    var tokens: [Token] = []
    var at = 0
    func next(_ offset: Int = 0) -> Character? {
      at + offset < characters.count ? characters[at + offset] : nil
    }
    func isDigit(_ character: Character?) -> Bool {
      character.map { $0.isASCII && $0.isNumber } ?? false
    }
    while let character = next() {
      if isDigit(character) || (character == "." && isDigit(next(1))) {
        var digits = ""
        while true {
          if isDigit(next()) || (next() == "." && isDigit(next(1)) && !digits.contains(".")) {
            digits.append(characters[at])
            at += 1
          } else if let comma = thousands(characters, at) {
            at += comma
          } else {
            break
          }
        }
        guard let number = Rational(decimal: digits) else { throw NoValue("a number is too long") }
        tokens.append(.number(number))
        continue
      }
      at += 1
      switch character {
      case "\\":
        var name = ""
        while let letter = next(), letter.isASCII, letter.isLetter {
          name.append(letter)
          at += 1
        }
        if name.isEmpty {
          // `\,` and its like are spaces, `\{` a bracket.
          if let sign = next() {
            at += 1
            if "{}".contains(sign) { tokens.append(.sign(sign == "{" ? "(" : ")")) }
          }
        } else if units.contains(name) {
          guard let end = closing(characters, at) else { throw NoValue("a bracket is open") }
          at = end + powerOfUnit(characters, end)
        } else if !spacing.contains(name) {
          tokens.append(token(name))
        }
      case "−", "–": tokens.append(.sign("-"))
      case "×", "·", "⋅", "∗": tokens.append(.sign("*"))
      case "÷", "⁄": tokens.append(.sign("/"))
      case "²": tokens += [.sign("^"), .number(Rational(2))]
      case "³": tokens += [.sign("^"), .number(Rational(3))]
      case "√": tokens.append(.command("sqrt"))
      case "π": tokens.append(.symbol("π"))
      case "½": tokens.append(.number(Rational(BigInteger(1), over: BigInteger(2))))
      case "+", "-", "*", "/", "^", "(", ")", "[", "]", "{", "}": tokens.append(.sign(character))
      case "$", "~", "°": break
      case _ where character.isWhitespace: break
      case _ where character.isASCII && character.isLetter:
        guard next().map({ !($0.isASCII && $0.isLetter) }) ?? true else {
          throw NoValue("it has words")
        }
        tokens.append(.symbol(String(character)))
      default: throw NoValue("it has “\(character)”")
      }
    }
    // A power of nothing is what is left of `^\circ`, with or without braces.
    while let empty = tokens.indices.first(where: {
      tokens[$0] == .sign("^") && isEmpty(tokens, $0)
    }) {
      let hasBraces = tokens.dropFirst(empty + 1).prefix(2) == [.sign("{"), .sign("}")]
      tokens.removeSubrange(empty...(empty + (hasBraces ? 2 : 0)))
    }
    return tokens
  }

  private static func isEmpty(_ tokens: [Token], _ power: Int) -> Bool {
    let behind = tokens.dropFirst(power + 1)
    switch behind.first {
    case nil, .sign(")"), .sign("+"), .sign("*"), .sign("/"): return true
    default: return behind.prefix(2) == [.sign("{"), .sign("}")]
    }
  }

  /// How much of a comma between thousands is to be passed over; nil where there is none.
  private static func thousands(_ characters: [Character], _ at: Int) -> Int? {
    for comma in [",", "{,}", "\\!,"] where characters.dropFirst(at).starts(with: comma) {
      let behind = characters.dropFirst(at + comma.count).prefix(4)
      let digits = behind.prefix { $0.isASCII && $0.isNumber }.count
      if digits == 3 { return comma.count }
    }
    return nil
  }

  private static func closing(_ characters: [Character], _ at: Int) -> Int? {
    guard at < characters.count, characters[at] == "{" else { return nil }
    var depth = 0
    for end in at..<characters.count {
      if characters[end] == "{" { depth += 1 }
      if characters[end] == "}" {
        depth -= 1
        if depth == 0 { return end + 1 }
      }
    }
    return nil
  }

  /// How much of a power behind a unit is to be passed over: it is the unit's, of 11 \text{cm}^2 as of 11 cm².
  private static func powerOfUnit(_ characters: [Character], _ at: Int) -> Int {
    let behind = characters.dropFirst(at)
    if let mark = behind.first, "²³".contains(mark) { return 1 }
    guard behind.first == "^" else { return 0 }
    if let end = closing(characters, at + 1) { return end - at }
    return behind.dropFirst().first?.isNumber == true ? 2 : 0
  }

  private static func token(_ name: String) -> Token {
    switch name {
    case "cdot", "times", "ast": .sign("*")
    case "div": .sign("/")
    case "pi": .symbol("π")
    case "dfrac", "tfrac", "cfrac": .command("frac")
    case _ where greek.contains(name): .symbol("\\\(name)")
    default: .command(name)
    }
  }

  // MARK: Grammar

  private var next: Token? { place < tokens.count ? tokens[place] : nil }

  private mutating func take(_ sign: Character) -> Bool {
    guard next == .sign(sign) else { return false }
    place += 1
    return true
  }

  private mutating func sum() throws -> MathsValue {
    var value = try product()
    while true {
      if take("+") {
        value = try value + product()
      } else if take("-") {
        value = try value + -product()
      } else {
        return value
      }
    }
  }

  private mutating func product() throws -> MathsValue {
    if take("-") { return try -product() }
    if take("+") { return try product() }
    var value = try power()
    while let token = next {
      if take("*") {
        value = try value * signed()
      } else if take("/") {
        value = try value / signed()
      } else if case .sign(let sign) = token, !"([{".contains(sign) {
        return value
      } else if case .number = token {
        // Two numbers side by side are no product, but where the second one begins a fraction.
        value = try mixed(value)
      } else if token == .command("frac"), place > 0, case .number(let whole) = tokens[place - 1],
        whole.isWhole
      {
        let fraction = try power()
        value = fraction.number == nil ? try value * fraction : try value + fraction
      } else {
        value = try value * power()
      }
    }
    return value
  }

  private mutating func signed() throws -> MathsValue {
    take("-") ? try -signed() : try power()
  }

  private mutating func mixed(_ whole: MathsValue) throws -> MathsValue {
    guard case .number(let before) = tokens[place - 1], before.isWhole,
      case .number(let above) = tokens[place], tokens.count > place + 2,
      tokens[place + 1] == .sign("/"), case .number(let below) = tokens[place + 2], !below.isZero
    else { throw NoValue("two numbers stand side by side") }
    place += 3
    return try whole + MathsValue(above * below.inverse)
  }

  private mutating func power() throws -> MathsValue {
    let base = try atom()
    guard take("^") else { return base }
    let exponent = take("-") ? try -atom() : try atom()
    return try base.power(exponent)
  }

  private mutating func atom() throws -> MathsValue {
    guard let token = next else { throw NoValue("something is missing at its end") }
    place += 1
    switch token {
    case .number(let number): return MathsValue(number)
    case .symbol(let symbol): return MathsValue(symbol: symbol)
    case .sign(let open) where "([{".contains(open):
      guard place < 500 else { throw NoValue("it has too many brackets") }
      let value = try sum()
      guard take(open == "(" ? ")" : open == "[" ? "]" : "}") else {
        throw NoValue("a bracket is open")
      }
      return value
    case .sign(let sign): throw NoValue("“\(sign)” stands where a number is due")
    case .command("frac"):
      let above = try argument()
      return try above / argument()
    case .command("sqrt"):
      var degree = 2
      if take("[") {
        guard case .number(let number)? = next, let whole = number.numerator.int, number.isWhole
        else { throw NoValue("a root has no whole number") }
        place += 1
        degree = whole
        guard take("]") else { throw NoValue("a bracket is open") }
      }
      return try argument().root(degree)
    case .command(let name): throw NoValue("\\\(name) has no exact value here")
    }
  }

  /// What a command is of: a group, or one digit as in `\frac12`.
  private mutating func argument() throws -> MathsValue {
    guard case .number(let number)? = next, number.isWhole, let value = number.numerator.int,
      value > 9
    else { return try atom() }
    let digits = String(value).compactMap(\.wholeNumberValue)
    tokens.replaceSubrange(
      place...place,
      with: [
        .number(Rational(digits[0])),
        .number(Rational(digits.dropFirst().reduce(0) { $0 * 10 + $1 })),
      ])
    return try atom()
  }
}
