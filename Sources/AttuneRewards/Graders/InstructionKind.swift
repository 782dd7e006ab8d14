// SPDX-License-Identifier: Apache-2.0

import AttuneData

/// The instructions of IFEval whose following a program can check (Zhou et al. 2023, arXiv:2311.07911),
/// by their names in `instruction_id_list`.
///
/// The rules are the published ones. Three of them rest on tools that are not here: sentences (NLTK's
/// trained splitter) and words in capitals (its tokenizer) are told apart by plain rules, languages
/// (langdetect) by their scripts and commonest words, so a rare text may be judged otherwise.
enum InstructionKind: String, CaseIterable, Sendable {
  case keywords = "keywords:existence"
  case keywordFrequency = "keywords:frequency"
  case forbiddenWords = "keywords:forbidden_words"
  case letterFrequency = "keywords:letter_frequency"
  case language = "language:response_language"
  case sentences = "length_constraints:number_sentences"
  case paragraphs = "length_constraints:number_paragraphs"
  case words = "length_constraints:number_words"
  case paragraphsFirstWord = "length_constraints:nth_paragraph_first_word"
  case placeholders = "detectable_content:number_placeholders"
  case postscript = "detectable_content:postscript"
  case bullets = "detectable_format:number_bullet_lists"
  case constrained = "detectable_format:constrained_response"
  case highlights = "detectable_format:number_highlighted_sections"
  case sections = "detectable_format:multiple_sections"
  case json = "detectable_format:json_format"
  case title = "detectable_format:title"
  case twoResponses = "combination:two_responses"
  case repeatPrompt = "combination:repeat_prompt"
  case end = "startend:end_checker"
  case quotation = "startend:quotation"
  case capitalWords = "change_case:capital_word_frequency"
  case capitals = "change_case:english_capital"
  case lowercase = "change_case:english_lowercase"
  case noComma = "punctuation:no_comma"
}

/// An instruction with its arguments.
struct Instruction: Sendable {
  /// Whether an answer follows it; an empty one follows none.
  let isFollowed: @Sendable (String) -> Bool

  /// Reads an instruction.
  ///
  /// - Parameters:
  ///   - kind: Which one.
  ///   - arguments: The object of `kwargs`; what is null is missing.
  /// - Throws: ``DataError`` at the place that names the argument at fault.
  init(_ kind: InstructionKind, _ arguments: JSONValue, at place: DataPlace) throws {
    let read = InstructionArguments(kind: kind, json: arguments, place: place)
    isFollowed = try Self.rule(kind, read)
  }

  private typealias Rule = @Sendable (String) -> Bool

  private static func rule(_ kind: InstructionKind, _ read: InstructionArguments) throws -> Rule {
    switch kind {
    case .keywords:
      let patterns = try read.strings("keywords").map { try Self.pattern($0) }
      return { text in patterns.allSatisfy { $0.isFound(in: text) == true } }
    case .keywordFrequency:
      let pattern = try pattern(String(read.string("keyword")[...].trimmed))
      let holds = try read.relation("relation", "frequency")
      return { holds(pattern.matches(in: $0).count) }
    case .forbiddenWords:
      let patterns = try read.strings("forbidden_words").map {
        try Self.pattern($0, before: "\\b", behind: "\\b")
      }
      return { text in patterns.allSatisfy { $0.isFound(in: text) == false } }
    case .letterFrequency:
      let letter = try read.string("letter")[...].trimmed.lowercased()
      guard letter.count == 1, letter >= "a", letter <= "z" else {
        throw read.refuse("letter", "one letter from a to z")
      }
      let holds = try read.relation("let_relation", "let_frequency")
      return { text in holds(text.lowercased().unicodeScalars.count { String($0) == letter }) }
    case .language:
      let code = try read.string("language")
      guard let language = WrittenLanguage(rawValue: code) else {
        throw read.refuse(
          "language", "one of \(WrittenLanguage.allCases.map(\.rawValue).joined(separator: ", "))")
      }
      return { WrittenLanguage.of($0).map { $0 == language } ?? true }
    case .sentences:
      let holds = try read.relation("relation", "num_sentences")
      return { holds(Sentences.count(in: $0)) }
    case .words:
      let holds = try read.relation("relation", "num_words")
      let word = try RegularExpression("\\w+")
      return { holds(word.matches(in: $0).count) }
    case .paragraphs:
      let count = try read.count("num_paragraphs")
      let divider = try RegularExpression(#"\s?\*\*\*\s?"#)
      return { Self.paragraphs(of: $0, divider) == count }
    case .paragraphsFirstWord:
      let (count, place) = (try read.count("num_paragraphs"), try read.count("nth_paragraph"))
      let word = try read.string("first_word").lowercased()
      guard (1...max(1, count)).contains(place) else {
        throw read.refuse("nth_paragraph", "from 1 to num_paragraphs")
      }
      return { Self.first(ofParagraph: place, in: $0, count: count) == word }
    case .placeholders:
      let count = try read.count("num_placeholders")
      let pattern = try RegularExpression(#"\[.*?\]"#)
      return { pattern.matches(in: $0).count >= count }
    case .postscript:
      let marker = String(try read.string("postscript_marker")[...].trimmed)
      let pattern =
        switch marker {
        case "P.P.S": try RegularExpression(#"(?m)\s*p\.\s?p\.\s?s.*$"#)
        case "P.S.": try RegularExpression(#"(?m)\s*p\.\s?s\..*$"#)
        default: try Self.pattern(marker.lowercased(), before: "(?m)\\s*", behind: ".*$")
        }
      return { pattern.isFound(in: $0.lowercased()) == true }
    case .bullets:
      let count = try read.count("num_bullets")
      let star = try RegularExpression(#"(?m)^\s*\*[^\*].*$"#)
      let dash = try RegularExpression(#"(?m)^\s*-.*$"#)
      return { star.matches(in: $0).count + dash.matches(in: $0).count == count }
    case .constrained:
      let options = ["My answer is yes.", "My answer is no.", "My answer is maybe."]
      return { text in options.contains { text.contains($0) } }
    case .highlights:
      let count = try read.count("num_highlights")
      let one = try RegularExpression(#"\*[^\n\*]*\*"#)
      let two = try RegularExpression(#"\*\*[^\n\*]*\*\*"#)
      return { text in
        (one.matches(in: text) + two.matches(in: text)).count { part in
          part.contains { $0 != "*" && !$0.isWhitespace }
        } >= count
      }
    case .sections:
      let count = try read.count("num_sections")
      let pattern = try Self.pattern(
        String(read.string("section_spliter")[...].trimmed), before: "\\s?", behind: "\\s?\\d+\\s?",
        ignoringCase: false)
      return { pattern.matches(in: $0).count >= count }
    case .json: return { Self.isJSON($0) }
    case .title:
      let pattern = try RegularExpression(#"<<[^\n]+>>"#)
      return { text in
        pattern.matches(in: text).contains { title in
          title.contains { !"<>".contains($0) && !$0.isWhitespace }
        }
      }
    case .twoResponses: return { Self.hasTwoResponses($0) }
    case .repeatPrompt:
      let prompt = try read.string("prompt_to_repeat")[...].trimmed.lowercased()
      return { $0[...].trimmed.lowercased().hasPrefix(prompt) }
    case .end:
      let phrase = try read.string("end_phrase")[...].trimmed.lowercased()
      return { text in
        var text = text[...].trimmed
        while text.first == "\"" { text.removeFirst() }
        while text.last == "\"" { text.removeLast() }
        return text.lowercased().hasSuffix(phrase)
      }
    case .quotation:
      return { text in
        let text = text[...].trimmed
        return text.count > 1 && text.first == "\"" && text.last == "\""
      }
    case .capitalWords:
      let holds = try read.relation("capital_relation", "capital_frequency")
      return { holds(CapitalWords.count(in: $0)) }
    case .capitals: return { $0.isUpper && WrittenLanguage.of($0.lowercased()) ?? .en == .en }
    case .lowercase: return { $0.isLower && WrittenLanguage.of($0) ?? .en == .en }
    case .noComma: return { !$0.contains(",") }
    }
  }

  // MARK: Parts

  /// A keyword is a pattern, as the published rules have it; where it is none it is itself.
  private static func pattern(
    _ text: String, before: String = "", behind: String = "", ignoringCase: Bool = true
  ) throws -> RegularExpression {
    let flag = ignoringCase ? "(?i)" : ""
    if let pattern = try? RegularExpression("\(flag)\(before)\(text)\(behind)") { return pattern }
    return try RegularExpression(
      "\(flag)\(before)\\Q\(text.replacing("\\E", with: ""))\\E\(behind)")
  }

  /// Paragraphs between dividers; nil where one in the middle is empty.
  private static func paragraphs(of text: String, _ divider: RegularExpression) -> Int? {
    var parts: [Substring] = []
    var start = text.startIndex
    for mark in divider.matches(in: text) {
      parts.append(text[start..<mark.startIndex])
      start = mark.endIndex
    }
    parts.append(text[start...])
    let isEmpty = parts.map(\.trimmed.isEmpty)
    guard !isEmpty.dropFirst().dropLast().contains(true) else { return nil }
    return isEmpty.count { !$0 }
  }

  /// The first word of a paragraph in lower case, without marks; nil where there are not so many
  /// paragraphs.
  private static func first(ofParagraph place: Int, in text: String, count: Int) -> String? {
    let parts = text.split(separator: "\n\n", omittingEmptySubsequences: false)
    let full = parts.count { !$0.trimmed.isEmpty }
    guard place <= full, full == count, place <= parts.count,
      var word = parts[place - 1].split(whereSeparator: \.isWhitespace).first
    else { return nil }
    word = word.drop { $0 == "'" }.drop { $0 == "\"" }
    return word.prefix { !".,?!'\"".contains($0) }.lowercased()
  }

  private static func isJSON(_ text: String) -> Bool {
    var text = text[...].trimmed
    for fence in ["```json", "```Json", "```JSON", "```"] where text.hasPrefix(fence) {
      text = text.dropFirst(fence.count)
    }
    if text.hasSuffix("```") { text = text.dropLast(3) }
    return (try? JSONValue(parsing: String(text.trimmed))) != nil
  }

  private static func hasTwoResponses(_ text: String) -> Bool {
    let parts = text.split(separator: "******", omittingEmptySubsequences: false).map(\.trimmed)
    guard !parts.dropFirst().dropLast().contains(where: \.isEmpty) else { return false }
    let full = parts.filter { !$0.isEmpty }
    return full.count == 2 && full[0] != full[1]
  }
}

/// The arguments of an instruction.
private struct InstructionArguments {
  let kind: InstructionKind
  let json: JSONValue
  let place: DataPlace

  func refuse(_ name: String, _ what: String) -> DataError {
    place.error("column \"kwargs\": \(kind.rawValue) needs \"\(name)\", \(what)")
  }

  func string(_ name: String) throws -> String {
    guard let text = json.present(name)?.asString, !text.isEmpty else {
      throw refuse(name, "a string")
    }
    return text
  }

  func strings(_ name: String) throws -> [String] {
    let list = json.present(name)?.asArray ?? []
    guard !list.isEmpty, list.allSatisfy({ $0.asString != nil }) else {
      throw refuse(name, "a list of strings")
    }
    return list.compactMap(\.asString)
  }

  /// A whole number, also one that a table has made a decimal of: 3.0.
  func count(_ name: String) throws -> Int {
    guard let number = json.present(name)?.asDouble, let count = Int(exactly: number), count >= 0
    else { throw refuse(name, "a whole number") }
    return count
  }

  /// A comparison with a number: `less than` or `at least`.
  func relation(_ name: String, _ bound: String) throws -> @Sendable (Int) -> Bool {
    let bound = try count(bound)
    switch json.present(name)?.asString {
    case "less than": return { $0 < bound }
    case "at least": return { $0 >= bound }
    default: throw refuse(name, "\"less than\" or \"at least\"")
    }
  }
}
