// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneNative
import AttuneRewards
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

/// Graders as people use them: by their names.
struct AnswerRewardTests {
  /// The reward of an answer to a row.
  func reward(_ source: String, _ answer: String, row: String) throws -> Double {
    let json = try JSONValue(parsing: row)
    let prompt = DataPrompt(
      .text("p"), row: DataRow(line: 7, example: .prompt(.text("p")), json: json))
    let opened = try RewardSources([RewardSpecification(source)], on: NativeEngine()).weighted[0]
    return try opened.source.checkedScores(
      prompts: [prompt], completions: [Completion(ids: [], text: answer, endedByItself: true)],
      shared: nil)[0]
  }

  func reward(_ source: String, _ answer: String, right: String) throws -> Double {
    try reward(
      source, answer, row: JSONValue.object([.init("answer", .string(right))]).text)
  }

  // MARK: Numbers

  @Test(arguments: [
    ("The total is 1,234.50 dollars.", "1234.5"), ("72", "Natalia sold 48/2 = 24.\n#### 72"),
    ("So #### 72", "72.0"), ("x = -3", "-3"), ("5-3 leaves 2, or 10-12=-2", "-2"), ("7-4", "4"),
    ("It is 3/4 of it", "0.75"), ("That makes 1 1/2 cups", "3/2"), ("$5", "5.00"), ("5 km", "5"),
    ("50%", "50"), ("50 %", "1/2"), ("half, that is 0.5", "50%"), (#"\frac{3}{4}"#, "0.75"),
    (#"\boxed{1{,}000}"#, "1000"), ("1’000", "1000"), ("2.5e3", "2500"), ("−4", "-4"),
    (".5", "1/2"),
    ("<answer>12</answer> I am 99 % sure", "12"), ("1000.", "1000"), ("The 2 of them have 6", "6"),
  ])
  func `a number is found and is the same number`(answer: String, right: String) throws {
    #expect(try reward("answer:number", answer, right: right) == 1)
  }

  @Test(arguments: [
    ("71", "72"), ("72 apples, no, 73", "72"), ("50%", "0.05"), ("5%", "50%"), ("3/4", "4/3"),
    ("none", "0"), ("", "0"), ("1,23", "123"), ("1/0", "1"), ("-3", "3"), ("#### none, 72", "72.5"),
  ])
  func `another number is not`(answer: String, right: String) throws {
    #expect(try reward("answer:number", answer, right: right) == 0)
  }

  @Test func `where the answer stands is a knob, and so is what a wrong number gets`() throws {
    let text = "I think 5.\n#### 6\nOr \\boxed{\\frac{7}{1}}. <answer>8</answer> 9"
    for (place, right) in [
      ("hashes", "6"), ("boxed", "7"), ("tags", "8"), ("whole", "9"), ("any", "7"),
    ] {
      #expect(try reward("answer:number,extract=\(place)", text, right: right) == 1, "\(place)")
      #expect(try reward("answer:number,extract=\(place)", text, right: "5") == 0, "\(place)")
    }
    // Nothing stands there: not even a wrong answer.
    for place in ["hashes", "boxed", "tags"] {
      #expect(try reward("answer:number,extract=\(place),partial=0.1", "5", right: "5") == 0)
    }
    #expect(try reward("answer:number,partial=0.1", "6", right: "5") == 0.1)
    #expect(try reward("answer:number,partial=0.1", "six", right: "5") == 0)
    #expect(try reward("answer:number,column=n", "6", row: #"{"n":6.00}"#) == 1)
    // Several are right.
    #expect(try reward("answer:number", "6", row: #"{"answer":[5,"6"]}"#) == 1)
  }

  /// The rule of GSM8K's `is_correct`: what stands behind `####`, without commas.
  @Test(arguments: [
    ("18 eggs\n#### 18", true), ("#### 18.00", true), ("#### $18", true),
    ("The answer is 18", false), ("#### 17", false), ("#### 18\n#### 17", true), ("####18", true),
    ("#### -18", false), ("", false),
  ])
  func `GSM8K's rows are held against their last line`(answer: String, isRight: Bool) throws {
    let row = #"{"question":"q","answer":"She sells 16 - 3 = <<16-3=13>>13 eggs.\n#### 18"}"#
    #expect(try reward("answer:number,extract=hashes", answer, row: row) == (isRight ? 1 : 0))
  }

  // MARK: Other rules

  @Test(arguments: [
    ("B", true), ("(b)", true), ("b", true), ("**B**", true), ("B) Paris", true),
    ("B. Paris", true),
    ("The answer is (B).", true), ("The answer is B", true), ("Answer: B", true),
    ("A is wrong, so the answer is B.", true), ("I think it's (B) because A isn't.", true),
    ("It must be B", true), ("A) Rome", false), ("The correct choice is C", false),
    ("I don't know", false), ("\\boxed{B}", true), ("Paris", false), ("answer is option B", true),
  ])
  func `a letter is chosen`(answer: String, isRight: Bool) throws {
    for right in ["B", "(B)", "B) Paris"] {
      #expect(
        try reward("answer:choice", answer, right: right) == (isRight ? 1 : 0),
        "\(answer), \(right)")
    }
  }

  @Test(arguments: [
    ("1/2", "0.5"), (#"\frac{1}{2}"#, "2/4"), (#"$\frac12$"#, "0.5"), (#"3\frac{1}{2}"#, "7/2"),
    ("1 1/2", "1.5"), (#"\sqrt{12}"#, #"2\sqrt{3}"#),
    (#"\frac{1}{\sqrt{2}}"#, #"\frac{\sqrt{2}}{2}"#),
    ("(x+1)^2", "x^2+2x+1"), (#"\frac{x^2-1}{x-1}"#, "x+1"), (#"2\pi r"#, #"2r\cdot\pi"#),
    (#"\sqrt{2}\cdot\sqrt{6}"#, #"2\sqrt3"#), ("x = 5", "5"), ("5", "x=5"), (#"50\%"#, "50"),
    ("2^{10}", "1024"), ("2^{-1}", "0.5"), ("4^{1/2}", "2"), (#"\sqrt[3]{8}"#, "2"),
    ("1,000", "1000"),
    (#"10^{20}+1"#, "100000000000000000001"), (#"90^\circ"#, "90"), (#"5\text{ cm}"#, "5"),
    ("(1, 2)", #"\left(1,\frac{4}{2}\right)"#), (#"\{2, 1\}"#, #"\{1,2\}"#), ("3, -1", "-1,3"),
    ("So the answer is $x=\\frac{3}{4}$.", "3/4"), ("x^2 = 4 and x > 0, that is 2", "2"),
    ("(-2)^3", "-8"), ("-2^2", "-4"), (#"\sin x"#, #"\sin  x"#), (#"i^2"#, "-1"),
    (#"\sqrt{-4}"#, "2i"), ("[0,1)", "[0, 1)"), (#"\text{yes}"#, "yes"), ("6÷2", "3"),
    (#"\frac{a+b}{c}"#, "a/c + b/c"), ("12 345", "12 345"), (#"11\text{ cm}^2"#, "11"),
    (#"2\,\mathrm{m}^{3}"#, "2"), (#"11\text{ cm}²"#, #"11\text{ cm}^2"#), ("**5**", "5"),
    ("(x+1)^{20}", "((x+1)^4)^5"),
  ])
  func `expressions have exact values`(answer: String, right: String) throws {
    #expect(try reward("answer:maths", answer, right: right) == 1)
  }

  @Test func `what takes long to multiply out is given up in time`() throws {
    let roots = "(" + [2, 3, 5, 7, 11].map { "\\sqrt{\($0)}" }.joined(separator: "+") + ")"
    let long = [
      "(x+1)^{400}", roots + "^{300}", String(repeating: "(x+1)", count: 390), "((x+y+z)^{30})^{3}",
    ]
    let began = ContinuousClock.now
    for answer in long {
      #expect(try reward("answer:maths", answer, right: "1") == 0, "\(answer.prefix(20))")
      // It is compared as it is written.
      #expect(try reward("answer:maths", answer, right: answer) == 1, "\(answer.prefix(20))")
    }
    #expect(ContinuousClock.now - began < .seconds(20))
  }

  @Test(arguments: [
    ("0.333", "1/3"), ("x+1", "x-1"), (#"\sqrt{2}"#, "1.41421356"), (#"\pi"#, "3.14"), ("1/0", "0"),
    ("(1, 2)", "(2, 1)"), ("(0,1)", "[0,1]"), (#"\sin x"#, #"\cos x"#), ("1,2", "1,2,2"), ("", "0"),
    ("2(", "2"), ("x^{x}", "x"), ("((((((", "1"), (#"\frac{1}"#, "1"), ("(0,1)", "(0,1]"),
    ("9^9^9^9^9", "9"), (#"11\text{ cm}^2"#, "121"),
    ("1" + String(repeating: "0", count: 300), "1"),
  ])
  func `what differs is not right, and nothing makes it crash`(answer: String, right: String) throws
  {
    #expect(try reward("answer:maths", answer, right: right) == 0)
  }

  @Test func `text is the same but for space around, and a part of it may count`() throws {
    #expect(try reward("answer:exact", " olleh\n", right: "olleh") == 1)
    #expect(try reward("answer:exact", "Olleh", right: "olleh") == 0)
    #expect(try reward("answer:exact,partial=1", "it is olleh", right: "olleh") == 5.0 / 11)
    #expect(try reward("answer:exact,partial=0.5", "it is olleh", right: "olleh") == 2.5 / 11)
    #expect(try reward("answer:exact", "<answer> a b </answer>", right: "a b") == 1)
  }

  @Test(arguments: [
    "Paris", "Paris.", "The answer is Paris.", "Well,\nthe capital: **Paris**.", "It is \"Paris\"",
    "x = 1\ncity = Paris", "`Paris`\n",
  ])
  func `the last words of an answer may be it`(answer: String) throws {
    #expect(try reward("answer:exact,extract=last", answer, right: "Paris") == 1)
    #expect(try reward("answer:exact,extract=last", answer, right: "Rome") == 0)
    #expect(try reward("answer:exact,extract=last", "(", right: "(") == 1)
    #expect(try reward("answer:exact,extract=last", "", right: "(") == 0)
  }

  @Test func `JSON is equal whatever the order of its keys`() throws {
    let row = #"{"answer":{"name":"Ann","age":30,"tags":["a","b"]}}"#
    func grade(_ text: String, _ source: String = "answer:json") throws -> Double {
      try reward(source, text, row: row)
    }
    #expect(try grade(#"{"tags":["a","b"],"age":30.0,"name":"Ann"}"#) == 1)
    #expect(
      try grade("Here:\n```json\n{\"name\":\"Ann\",\"age\":30,\"tags\":[\"a\",\"b\"]}\n```") == 1)
    #expect(try grade(#"{"tags":["b","a"],"age":30,"name":"Ann"}"#) == 0)
    #expect(try grade(#"{"name":"Ann","age":30,"tags":["a","b"],"more":1}"#) == 0)
    #expect(try grade("no JSON") == 0)
    #expect(
      try grade(#"{"name":"Ann","age":31,"tags":["a","b"]}"#, "answer:json,partial=1") == 0.75)
    #expect(try grade(#"{"name":"Ann"}"#, "answer:json,partial=0.5") == 0.125)
    #expect(try grade(#"The object is {"name":"Ann","age":30,"tags":["a","b"]}. Right?"#) == 1)
    #expect(try reward("answer:json", "So [1], sorted, is [1, 2].", right: "[1,2]") == 1)
    // A string of the column is read as the JSON that it is.
    #expect(try reward("answer:json", "[1, 2]", right: "[1,2]") == 1)
  }

  @Test func `a schema describes JSON, and what of it is not read is refused`() throws {
    let folder = try TemporaryFolder()
    func schema(_ text: String) throws -> String {
      let url = folder.url.appending(path: "schema.json")
      try text.write(to: url, atomically: true, encoding: .utf8)
      return "answer:json:\(url.path)"
    }
    let source = try schema(
      """
      {"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",
       "properties":{"name":{"type":"string","minLength":1,"pattern":"^[A-Z]"},
         "age":{"type":"integer","minimum":0,"exclusiveMaximum":150},
         "tags":{"type":"array","items":{"enum":["a","b"]},"uniqueItems":true,"maxItems":2},
         "id":{"anyOf":[{"type":"null"},{"type":"number","multipleOf":0.5}]}},
       "required":["name","age"],"additionalProperties":false}
      """)
    for (text, isRight) in [
      (#"{"name":"Ann","age":30}"#, true), (#"{"name":"Ann","age":30,"tags":["b","a"]}"#, true),
      (#"{"name":"Ann","age":30,"id":null}"#, true), (#"{"name":"Ann","age":30,"id":1.5}"#, true),
      (#"{"name":"ann","age":30}"#, false), (#"{"name":"Ann","age":30.5}"#, false),
      (#"{"name":"Ann","age":150}"#, false), (#"{"name":"Ann"}"#, false),
      (#"{"name":"Ann","age":30,"x":1}"#, false), (#"{"name":"Ann","age":30,"tags":["c"]}"#, false),
      (#"{"name":"Ann","age":30,"tags":["a","a"]}"#, false),
      (#"{"name":"Ann","age":30,"id":1.2}"#, false),
      ("[]", false), ("text", false),
    ] { #expect(try reward(source, text, row: "{}") == (isRight ? 1 : 0), "\(text)") }
    for (text, word) in [
      (#"{"$ref":"x"}"#, "$ref"), (#"{"type":"text"}"#, "\"text\""), ("[", "is no JSON"),
      (#"{"pattern":"("}"#, "pattern"), ("3", "must be an object"),
    ] {
      let url = try schema(text)
      let error = #expect(throws: TrainingError.self) { try reward(url, "{}", row: "{}") }
      #expect(
        error?.message.contains(word) == true && error?.message.contains("schema.json") == true,
        "\(error?.message ?? "")")
    }
    #expect(throws: (any Error).self) { try reward("answer:json:nowhere.json", "{}", row: "{}") }
  }

  @Test func `a row's own pattern is found`() throws {
    #expect(try reward("answer:regex", "cats and dogs", right: #"\bdogs?\b"#) == 1)
    #expect(try reward("answer:regex", "cats", right: #"\bdogs?\b"#) == 0)
  }

  // MARK: What is refused

  @Test(arguments: [
    ("answer:nubmer", "did you mean number?"), ("answer:number:x", "with knobs behind commas"),
    ("answer:number,extract=box", "extract is any, hashes"), ("answer:number,partial=2", "0 to 1"),
    ("answer:number,partial=1", "as good as a right one"),
    ("answer:number,extra=1", "none of its knobs"),
    ("answer:number,partial=0.1,partial=0.2", "given twice"), ("answer:number,column=", "column="),
    ("answer:json:", "SCHEMA-FILE"), ("answer:json:f.json,column=x", "none of its knobs"),
    ("answer:regex,partial=0.1", "none of its knobs"), ("ifeval:lose", "none of its knobs"),
    ("tests:ruby", "python3 is the one"), ("tests:python3,seconds=0", "above 0"),
    ("likelihood:", "nothing stands after"), ("likelihood:log=1", "likelihood:COLUMN"),
    ("likelihood:answer,seconds=1", "none of its knobs"),
  ])
  func `what is wrong with a grader is said before anything is opened`(text: String, word: String) {
    let error = #expect(throws: TrainingError.self) { try RewardSpecification(text) }
    #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
  }

  @Test(arguments: [
    ("answer:number", #"{"prompt":"p"}"#, "\"answer\" is missing"),
    ("answer:number", #"{"prompt":"p","answer":"none"}"#, "has no number"),
    ("answer:number", #"{"prompt":"p","answer":{"a":1}}"#, "holds an object"),
    ("answer:number", #"{"prompt":"p","answer":[]}"#, "an empty list"),
    ("answer:choice", #"{"prompt":"p","answer":"Paris"}"#, "no letter from A to J"),
    ("answer:maths,column=x", #"{"prompt":"p","x":" "}"#, "\"x\" holds"),
    ("answer:regex", #"{"prompt":"p","answer":"("}"#, "not a regular expression"),
    ("ifeval", #"{"prompt":"p"}"#, "\"instruction_id_list\""),
    (
      "ifeval", #"{"prompt":"p","instruction_id_list":["punctuation:no_coma"],"kwargs":[{}]}"#,
      "did you mean punctuation:no_comma?"
    ),
    (
      "ifeval",
      #"{"prompt":"p","instruction_id_list":["length_constraints:number_words"],"kwargs":[{"num_words":9}]}"#,
      "needs \"relation\""
    ),
    (
      "ifeval", #"{"prompt":"p","instruction_id_list":["startend:quotation"],"kwargs":[]}"#,
      "\"kwargs\""
    ),
  ])
  func `a row that can't be graded is refused with file, line and column`(
    source: String, row: String, word: String
  ) throws {
    let folder = try TemporaryFolder()
    let data = try folder.rows("rows.jsonl", [row])
    let opened = try RewardSources([RewardSpecification(source)], on: NativeEngine()).weighted
    let error = #expect(throws: DataError.self) { try data.check(for: opened.map(\.source)) }
    #expect(
      error?.message.contains("rows.jsonl:1: column ") == true
        && error?.message.contains(word) == true, "\(error?.message ?? "")")
  }

  @Test func `a prompt that stands in no row is told`() throws {
    let source = try AnswerReward("number")
    #expect(source.readsRows && source.isChecked)
    let fault = #expect(throws: AnswerFault.self) {
      try source.checkedScores(
        prompts: [DataPrompt(.text("p"))],
        completions: [Completion(ids: [], text: "5", endedByItself: true)], shared: nil)
    }
    #expect(fault?.message.contains("stands in no row") == true)
  }

  @Test func `equal answers are given in one form`() throws {
    func given(_ rule: String, _ text: String) throws -> String? {
      try AnswerReward(rule).given(in: Completion(ids: [], text: text, endedByItself: true))
    }
    #expect(try given("number", "so 1,000.0") == given("number", "#### 1000"))
    #expect(try given("number", "none") == nil)
    #expect(try given("choice", "(B)") == "B" && given("choice", "answer: B") == "B")
    #expect(try given("maths", "0.5") == given("maths", #"\frac{1}{2}"#))
    #expect(try given("json", #"{"a":1,"b":2}"#) == given("json", #"{"b":2.0,"a":1}"#))
    #expect(try given("exact", " a ") == "a")
  }
}
