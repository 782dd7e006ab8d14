// SPDX-License-Identifier: Apache-2.0

import AttuneTraining
import Foundation

/// VADER's compound score of a text (Hutto & Gilbert 2014), number for number as version 3.3.2 of
/// its Python package gives it: negation, boosters, capitals, punctuation, "but", idioms, emoji.
public struct SentimentScorer: Sendable {
  private let lexicon: SentimentLexicon

  /// Makes a scorer with its lexicon.
  public init(_ lexicon: SentimentLexicon) { self.lexicon = lexicon }

  /// The compound score, from −1 (most negative) to 1 (most positive), to four decimals.
  public func compound(_ text: String) -> Double {
    let text = describingEmoji(text)
    let words = Self.words(text).map(Word.init)
    guard !words.isEmpty else { return 0 }
    let shouting = words.count { $0.isUpper }
    let capitalsStandOut = 0 < shouting && shouting < words.count

    var valences: [Double] = []
    for (i, word) in words.enumerated() {
      let isModifier =
        Self.boosters[word.lower] != nil
        || (word.lower == "kind" && i + 1 < words.count && words[i + 1].lower == "of")
      valences.append(isModifier ? 0 : valence(of: i, in: words, capitalsStandOut))
    }
    Self.weighAroundBut(&valences, words)
    var sum = valences.reduce(0, +)
    let emphasis = Self.emphasis(text)
    if sum > 0 { sum += emphasis } else if sum < 0 { sum -= emphasis }
    let compound = max(-1, min(1, sum / (sum * sum + 15).squareRoot()))
    return (compound * 1e4).rounded(.toNearestOrEven) / 1e4
  }

  // MARK: Words

  /// A word without the punctuation around it.
  private struct Word {
    let lower: String
    /// Whether it has letters of two cases in the script and all are capitals, as Python's `isupper`.
    let isUpper: Bool

    init(_ text: String) {
      lower = text.lowercased()
      let scalars = text.unicodeScalars
      let isTitle = scalars.contains { $0.properties.generalCategory == .titlecaseLetter }
      isUpper =
        !isTitle && scalars.contains { $0.properties.isUppercase }
        && !scalars.contains { $0.properties.isLowercase }
    }
  }

  private static func words(_ text: String) -> [String] {
    text.unicodeScalars.split(whereSeparator: isSpace).map { token in
      let isMark = { (scalar: Unicode.Scalar) in punctuation.contains(scalar) }
      let start = token.firstIndex { !isMark($0) } ?? token.endIndex
      let end = token.lastIndex { !isMark($0) }.map { token.index(after: $0) } ?? start
      let bare = token[start..<end]
      // What is left of an emoticon is too short to be a word: it stays as it was.
      return String(String.UnicodeScalarView(bare.count <= 2 ? token : bare))
    }
  }

  /// What Python's `split` takes as white space.
  private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
    scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
  }

  private static let punctuation = Set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~".unicodeScalars)

  private func describingEmoji(_ text: String) -> String {
    var out = String.UnicodeScalarView()
    var followsSpace = true
    for scalar in text.unicodeScalars {
      if let description = lexicon.emoji[scalar] {
        if !followsSpace { out.append(" ") }
        out.append(contentsOf: description.unicodeScalars)
        followsSpace = false
      } else {
        out.append(scalar)
        followsSpace = scalar == " "
      }
    }
    return String(out)
  }

  // MARK: Valence

  private func valence(of i: Int, in words: [Word], _ capitalsStandOut: Bool) -> Double {
    let word = words[i]
    guard let rating = lexicon.ratings[word.lower] else { return 0 }
    var valence = rating
    // "no" before a word of the lexicon negates it and says nothing itself.
    if word.lower == "no", i + 1 < words.count, lexicon.ratings[words[i + 1].lower] != nil {
      valence = 0
    }
    let before = { (distance: Int) -> String in i >= distance ? words[i - distance].lower : "" }
    if before(1) == "no" || before(2) == "no"
      || (before(3) == "no" && ["or", "nor"].contains(before(1)))
    {
      valence = rating * Self.negation
    }
    if word.isUpper && capitalsStandOut {
      valence += valence > 0 ? Self.capitals : -Self.capitals
    }
    for distance in 1...3 where i >= distance {
      let neighbour = words[i - distance]
      guard lexicon.ratings[neighbour.lower] == nil else { continue }
      var boost = Self.boost(neighbour, valence, capitalsStandOut)
      if distance == 2 { boost *= 0.95 }
      if distance == 3 { boost *= 0.9 }
      valence += boost
      valence *= Self.negationFactor(distance, before)
      if distance == 3 { valence = Self.idiomatic(valence, words, i) }
    }
    if before(1) == "least", lexicon.ratings["least"] == nil,
      i == 1 || (before(2) != "at" && before(2) != "very")
    {
      valence *= Self.negation
    }
    return valence
  }

  /// How much a word before another strengthens or weakens it.
  private static func boost(_ word: Word, _ valence: Double, _ capitalsStandOut: Bool) -> Double {
    guard var boost = boosters[word.lower] else { return 0 }
    if valence < 0 { boost = -boost }
    if word.isUpper && capitalsStandOut { boost += valence > 0 ? capitals : -capitals }
    return boost
  }

  private static func isNegation(_ word: String) -> Bool {
    negations.contains(word) || word.contains("n't")
  }

  /// What a negation `distance` words before does to a valence.
  private static func negationFactor(_ distance: Int, _ before: (Int) -> String) -> Double {
    let isSoOrThis = { (word: String) in word == "so" || word == "this" }
    switch distance {
    case 1: return isNegation(before(1)) ? negation : 1
    case 2:
      if before(2) == "never" && isSoOrThis(before(1)) { return 1.25 }
      if before(2) == "without" && before(1) == "doubt" { return 1 }
      return isNegation(before(2)) ? negation : 1
    default:
      // The package's own precedence of `and` before `or`.
      if (before(3) == "never" && isSoOrThis(before(2))) || isSoOrThis(before(1)) { return 1.25 }
      if before(3) == "without" && (before(2) == "doubt" || before(1) == "doubt") { return 1 }
      return isNegation(before(3)) ? negation : 1
    }
  }

  /// The valence where a word stands in an idiom, or after boosters of several words. Needs three
  /// words before it.
  private static func idiomatic(_ valence: Double, _ words: [Word], _ i: Int) -> Double {
    func phrase(_ range: ClosedRange<Int>) -> String {
      words[range].map(\.lower).joined(separator: " ")
    }
    var valence = valence
    let twoOne = phrase((i - 2)...(i - 1))
    let threeTwoOne = phrase((i - 3)...(i - 1))
    let threeTwo = phrase((i - 3)...(i - 2))
    let around = [phrase((i - 1)...i), phrase((i - 2)...i), twoOne, threeTwoOne, threeTwo]
    if let found = around.lazy.compactMap({ idioms[$0] }).first { valence = found }
    if i + 1 < words.count, let found = idioms[phrase(i...(i + 1))] { valence = found }
    if i + 2 < words.count, let found = idioms[phrase(i...(i + 2))] { valence = found }
    for words in [threeTwoOne, threeTwo, twoOne] { valence += boosters[words] ?? 0 }
    return valence
  }

  // MARK: The whole text

  /// Halves what is said before the first "but" and makes what follows half as strong again.
  ///
  /// As in the package, a valence is looked up by its value, so that where two are equal the first
  /// one is changed, possibly twice; its published scores depend on it.
  private static func weighAroundBut(_ valences: inout [Double], _ words: [Word]) {
    guard let but = words.firstIndex(where: { $0.lower == "but" }) else { return }
    for position in valences.indices {
      guard let first = valences.firstIndex(of: valences[position]) else { continue }
      if first < but { valences[first] *= 0.5 } else if first > but { valences[first] *= 1.5 }
    }
  }

  /// What exclamation and question marks add.
  private static func emphasis(_ text: String) -> Double {
    let exclamations = min(4, text.unicodeScalars.count { $0 == "!" })
    let questions = text.unicodeScalars.count { $0 == "?" }
    let asked = questions > 3 ? 0.96 : questions > 1 ? Double(questions) * 0.18 : 0
    return Double(exclamations) * 0.292 + asked
  }

  private static let capitals = 0.733
  private static let negation = -0.74

  private static let negations: Set<String> = Set(
    """
    aint arent cannot cant couldnt darent didnt doesnt ain't aren't can't couldn't daren't didn't
    doesn't dont hadnt hasnt havent isnt mightnt mustnt neither don't hadn't hasn't haven't isn't
    mightn't mustn't neednt needn't never none nope nor not nothing nowhere oughtnt shant shouldnt
    uhuh wasnt werent oughtn't shan't shouldn't uh-uh wasn't weren't without wont wouldnt won't
    wouldn't rarely seldom despite
    """.split(whereSeparator: \.isWhitespace).map(String.init))

  private static let boosters: [String: Double] = {
    let up = """
      absolutely amazingly awfully completely considerable considerably decidedly deeply effing
      enormous enormously entirely especially exceptional exceptionally extreme extremely fabulously
      flipping flippin frackin fracking fricking frickin frigging friggin fully fuckin fucking fuggin
      fugging greatly hella highly hugely incredible incredibly intensely major majorly more most
      particularly purely quite really remarkably so substantially thoroughly total totally
      tremendous tremendously uber unbelievably unusually utter utterly very
      """
    let down = """
      almost,barely,hardly,just enough,kind of,kinda,kindof,kind-of,less,little,marginal,marginally,\
      occasional,occasionally,partly,scarce,scarcely,slight,slightly,somewhat,sort of,sorta,sortof,\
      sort-of
      """
    var all: [String: Double] = [:]
    for word in up.split(whereSeparator: \.isWhitespace) { all[String(word)] = 0.293 }
    for word in down.split(separator: ",") { all[String(word)] = -0.293 }
    return all
  }()

  private static let idioms: [String: Double] = [
    "the shit": 3, "the bomb": 3, "bad ass": 1.5, "badass": 1.5, "bus stop": 0,
    "yeah right": -2, "kiss of death": -1.5, "to die for": 3, "beating heart": 3.5,
  ]
}
