// SPDX-License-Identifier: Apache-2.0

/// Rewrites a pattern of `tokenizer.json`, whose language is Oniguruma's, for PCRE2.
///
/// The two languages agree on what pre-tokenisers use, but not on the characters of a class: `\s`
/// is White_Space there and has U+180E besides here, and the tables of PCRE2 may be older. So
/// classes by property are spelled out. What means something else in the two is refused.
struct PatternTranslation {
  private let source: [Unicode.Scalar]
  private var position = 0
  private var output = ""

  /// What White_Space is.
  private static let space =
    #"\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"#

  private init(_ source: String) { self.source = Array(source.unicodeScalars) }

  /// The pattern in PCRE2's language.
  ///
  /// - Throws: `DataError` that names the construct which is not translated.
  static func translate(_ source: String) throws -> String {
    var translation = PatternTranslation(source)
    try translation.run()
    return translation.output
  }

  /// The members of a property, for use inside a character class; nil for an unknown one.
  static func members(of property: String) -> String? {
    if property == "Han" { return #"\p{sc:Han}"# + UnicodeAdditions.han }
    let majors = "CLMNPSZ"
    guard let major = property.first, majors.contains(major), property.count <= 2 else {
      return nil
    }
    let additions = UnicodeAdditions.categories
      .filter { property.count == 1 ? $0.key.first == major : $0.key == property }
      .sorted { $0.key < $1.key }.map(\.value).joined()
    return #"\p{\#(property)}"# + additions
  }

  private func refusal(_ construct: String) -> DataError {
    DataError(
      .badTokenizer,
      "the pre-tokenizer's pattern uses “\(construct)”, which is not read; use a model whose "
        + "tokenizer splits as GPT-2's, Llama-3's or Qwen2's")
  }

  private mutating func run() throws {
    while position < source.count {
      let scalar = source[position]
      position += 1
      switch scalar {
      case "\\": try escape(inClass: false)
      case "[": try characterClass()
      case "(":
        output.unicodeScalars.append(scalar)
        try groupOptions()
      default: output.unicodeScalars.append(scalar)
      }
    }
  }

  /// Inside `(?…`: Oniguruma's `m` lets the dot match line feeds, PCRE2's lets `^` match at lines.
  private func groupOptions() throws {
    guard position < source.count, source[position] == "?" else { return }
    for scalar in source[(position + 1)...] {
      switch scalar {
      case "m", "s", "x": throw refusal("(?\(scalar)")
      case "i", "-": continue
      default: return
      }
    }
  }

  private mutating func characterClass() throws {
    output.append("[")
    if position < source.count, source[position] == "^" {
      output.append("^")
      position += 1
    }
    while position < source.count {
      let scalar = source[position]
      position += 1
      switch scalar {
      case "]":
        output.append("]")
        return
      case "\\": try escape(inClass: true)
      case "[": throw refusal("a class inside a class")
      case "&" where position < source.count && source[position] == "&": throw refusal("&&")
      default: output.unicodeScalars.append(scalar)
      }
    }
  }

  private mutating func escape(inClass: Bool) throws {
    guard position < source.count else { throw refusal("\\ at the end") }
    let scalar = source[position]
    position += 1
    switch scalar {
    case "p", "P":
      let property = try propertyName()
      var negated = scalar == "P"
      var name = property
      if name.first == "^" {
        negated.toggle()
        name.removeFirst()
      }
      guard let members = Self.members(of: name) else { throw refusal("\\p{\(property)}") }
      try append(members, negated: negated, inClass: inClass, source: "\\P{\(name)}")
    case "s", "S":
      try append(Self.space, negated: scalar == "S", inClass: inClass, source: "\\S")
    case "d", "D":
      let members = Self.members(of: "Nd") ?? ""
      try append(members, negated: scalar == "D", inClass: inClass, source: "\\D")
    case "r", "n", "t", "f", "x":
      output.append("\\")
      output.unicodeScalars.append(scalar)
    case "u":
      let digits = source[position...].prefix(4)
      guard digits.count == 4, digits.allSatisfy({ $0.properties.isASCIIHexDigit }) else {
        throw refusal("\\u")
      }
      position += 4
      output.append("\\x{\(String(String.UnicodeScalarView(digits)))}")
    default:
      let isLetterOrDigit = scalar.isASCII && (scalar.properties.isAlphabetic || isDigit(scalar))
      if isLetterOrDigit { throw refusal("\\\(scalar)") }
      output.append("\\")
      output.unicodeScalars.append(scalar)
    }
  }

  private func isDigit(_ scalar: Unicode.Scalar) -> Bool { ("0"..."9").contains(scalar) }

  private mutating func propertyName() throws -> String {
    guard position < source.count, source[position] == "{",
      let end = source[position...].firstIndex(of: "}")
    else { throw refusal("\\p without {…}") }
    var name = String.UnicodeScalarView()
    name.append(contentsOf: source[(position + 1)..<end])
    position = end + 1
    return String(name)
  }

  private mutating func append(
    _ members: String, negated: Bool, inClass: Bool, source: String
  ) throws {
    if inClass {
      if negated { throw refusal("\(source) inside a class") }
      output.append(members)
    } else {
      output.append(negated ? "[^\(members)]" : "[\(members)]")
    }
  }
}
