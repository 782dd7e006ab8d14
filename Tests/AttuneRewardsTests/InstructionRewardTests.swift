// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneRewards
import AttuneTraining
import Testing

/// IFEval's instructions on made-up rows: for each an answer that follows it and one that does not.
struct InstructionRewardTests {
  func reward(_ id: String, _ arguments: String, _ text: String, _ mode: String = "") throws
    -> Double
  {
    try reward([(id, arguments)], text, mode)
  }

  func reward(_ list: [(id: String, arguments: String)], _ text: String, _ mode: String) throws
    -> Double
  {
    let ids = list.map { "\"\($0.id)\"" }.joined(separator: ",")
    let arguments = list.map(\.arguments).joined(separator: ",")
    let json = try JSONValue(
      parsing: "{\"instruction_id_list\":[\(ids)],\"kwargs\":[\(arguments)]}")
    let prompt = DataPrompt(
      .text("p"), row: DataRow(line: 1, example: .prompt(.text("p")), json: json))
    return try InstructionReward(mode).checkedScores(
      prompts: [prompt], completions: [Completion(ids: [], text: text, endedByItself: true)],
      shared: nil)[0]
  }

  private static let cases: [(id: String, arguments: String, yes: [String], no: [String])] = [
    ("keywords:existence", #"{"keywords":["cat","dog"]}"#, ["A Cat, a DOG"], ["a cat"]),
    (
      "keywords:frequency", #"{"keyword":" cat","frequency":2,"relation":"at least"}"#,
      ["cat and Cats"], ["one cat"]
    ),
    (
      "keywords:frequency", #"{"keyword":"cat","frequency":2,"relation":"less than"}"#, ["one cat"],
      ["cat cat"]
    ),
    (
      "keywords:forbidden_words", #"{"forbidden_words":["bad"]}"#, ["badly put", "good"], ["BAD!"]
    ),
    (
      "keywords:letter_frequency",
      #"{"letter":"E","let_frequency":3,"let_relation":"at least"}"#, ["Eeek e"], ["see"]
    ),
    (
      "language:response_language", #"{"language":"de"}"#,
      ["Das ist ein Haus, und die Katze ist nicht da."],
      ["The house is here and the cat is not.", "C'est la maison de mon père."]
    ),
    (
      "language:response_language", #"{"language":"hi"}"#, ["यह एक घर है और वह बड़ा है।"],
      ["हे एक घर आहे आणि ते मोठे आहे.", "This is a house."]
    ),
    (
      "length_constraints:number_sentences", #"{"num_sentences":3,"relation":"less than"}"#,
      ["One. Two!", "Dr. Smith met Mr. Lee at 3.5 p.m. today."], ["One. Two? Three."]
    ),
    (
      "length_constraints:number_paragraphs", #"{"num_paragraphs":2}"#,
      ["one\n***\ntwo", "*** one *** two ***"], ["one", "one *** *** two"]
    ),
    (
      "length_constraints:number_words", #"{"num_words":3.0,"relation":"at least"}"#,
      ["it's two"], ["two words"]
    ),
    (
      "length_constraints:nth_paragraph_first_word",
      #"{"num_paragraphs":2,"nth_paragraph":2,"first_word":"Then"}"#, ["First.\n\n\"Then, we"],
      ["First.\n\nNext", "Then", "a\n\nthen\n\nb"]
    ),
    (
      "detectable_content:number_placeholders", #"{"num_placeholders":2}"#, ["[name], [address]"],
      ["[name] only"]
    ),
    (
      "detectable_content:postscript", #"{"postscript_marker":"P.S."}"#, ["Bye.\nP. S. more"],
      ["Bye"]
    ),
    (
      "detectable_content:postscript", #"{"postscript_marker":"P.P.S"}"#, ["P.P.S. more"],
      ["P.S. x"]
    ),
    (
      "detectable_format:number_bullet_lists", #"{"num_bullets":2}"#,
      ["* one\n- two", "  * a\n  * b"],
      ["* one", "* a\n* b\n* c", "**bold**"]
    ),
    (
      "detectable_format:constrained_response", "{}", ["Well: My answer is maybe."], ["Maybe."]
    ),
    (
      "detectable_format:number_highlighted_sections", #"{"num_highlights":2}"#,
      ["*one* and *two*", "*one* **two**"], ["*one*", "** **", "**both**"]
    ),
    (
      "detectable_format:multiple_sections", #"{"section_spliter":"Section","num_sections":2}"#,
      ["Section 1\na\nSection 2\nb"], ["Section 1 a", "SECTION 1 SECTION 2"]
    ),
    (
      "detectable_format:json_format", "{}", ["```json\n{\"a\": 1}\n```", "[1]"],
      ["{a: 1}", "text"]
    ),
    ("detectable_format:title", "null", ["<<A title>>\nText"], ["<< >>", "<A>"]),
    (
      "combination:two_responses", "{}", ["one\n******\ntwo", "******a******b"],
      ["one", "same******same", "a******  ******b", "a******b******c"]
    ),
    (
      "combination:repeat_prompt", #"{"prompt_to_repeat":"Say hello."}"#, [" say HELLO. Hello!"],
      ["Hello!"]
    ),
    (
      "startend:end_checker", #"{"end_phrase":"That is all."}"#, ["x \"that is all.\""],
      ["That is all. x"]
    ),
    ("startend:quotation", #"{}"#, ["\"all of it\"\n"], ["\"half", "\""]),
    (
      "change_case:capital_word_frequency",
      #"{"capital_frequency":2,"capital_relation":"at least"}"#,
      ["THE BIG one", "I'M in", "USA,UK"], ["ONE", "NASA2x"]
    ),
    (
      "change_case:english_capital", "{}", ["THIS IS THE END"],
      ["This is", "DAS IST DIE KATZE", "123"]
    ),
    ("change_case:english_lowercase", "{}", ["this is the end"], ["This is", "das ist die katze"]),
    ("punctuation:no_comma", "{}", ["no such mark"], ["a, b"]),
  ]

  @Test func `every instruction is followed by what follows it alone`() throws {
    #expect(Set(Self.cases.map(\.id)).count == 25)
    for (id, arguments, yes, no) in Self.cases {
      for text in yes { #expect(try reward(id, arguments, text) == 1, "\(id): \(text)") }
      for text in no + ["", " \n"] {
        #expect(try reward(id, arguments, text) == 0, "\(id): \(text)")
      }
    }
  }

  @Test func `loose takes an answer without its first and last line and its asterisks`() throws {
    let text = "Sure, here it is:\n\"quoted\""
    #expect(try reward("startend:quotation", "{}", text) == 0)
    #expect(try reward("startend:quotation", "{}", text, "loose") == 1)
    #expect(try reward("startend:quotation", "{}", "*\"quoted\"*\nBye", "loose") == 1)
  }

  @Test func `several instructions count together or in parts`() throws {
    let list = [
      (id: "punctuation:no_comma", arguments: "{}"), (id: "startend:quotation", arguments: "{}"),
    ]
    #expect(try reward(list, "\"a b\"", "") == 1)
    #expect(try reward(list, "a b", "") == 0)
    #expect(try reward(list, "a b", "partial=1") == 0.5)
    #expect(try reward(list, "\"a, b\"", "loose,partial=0.5") == 0.25)
    #expect(try RewardSpecification("ifeval@0.5").name == "ifeval")
    #expect(try RewardSpecification("ifeval@0.5").weight == 0.5)
    #expect(try RewardSpecification("ifeval:loose").name == "ifeval:loose")
    for form in ["ifeval:partial=1", "ifeval:,partial=1", "ifeval:loose,partial=1"] {
      #expect(try RewardSpecification(form).name == form)
    }
  }
}
