// SPDX-License-Identifier: Apache-2.0

import AttuneData
import Testing

@Suite("Rows in memory")
struct RowsInMemoryTests {
  private static let question = Content.messages([Message(role: "user", content: "why?")])
  private static let answer = Content.messages([Message(role: "assistant", content: "so")])

  @Test(
    "say after reading what they said before",
    arguments: [
      Example.text(.text("a text")),
      .text(
        .messages([Message(role: "user", content: "a"), Message(role: "assistant", content: "b")])),
      .prompt(.text("a")), .prompt(question),
      .completion(prompt: .text("a"), completion: .text("b")),
      .completion(prompt: question, completion: answer),
      .unpaired(prompt: question, completion: answer, label: false),
      .unpaired(prompt: .text("a"), completion: .text("b"), label: true),
      .preference(
        Preference(
          prompt: question, chosen: answer,
          rejected: .messages([Message(role: "assistant", content: "no")]),
          probability: 0.8, margin: 1.5, labeller: "me")),
      .ranking(
        RankingRow(prompt: .text("a"), completions: [.text("b"), .text("c")], scores: [1, 0.5])),
    ])
  func roundTrip(_ example: Example) throws {
    let data = try DataFile.rows([example])
    #expect(data.rows.map(\.example) == [example])
    #expect(data.kind == example.kind)
    #expect(data.unusedColumns.isEmpty)
    #expect(data.warning == nil)
  }

  @Test("are refused by their number")
  func refused() {
    let none = #expect(throws: DataError.self) { try DataFile.rows([]) }
    #expect(none?.message == "there are no rows; give at least one")
    let mixed = #expect(throws: DataError.self) {
      try DataFile.rows([.text(.text("a")), .prompt(.text("b"))])
    }
    #expect(mixed?.message.hasPrefix("rows:2: ") == true)
    let probability = #expect(throws: DataError.self) {
      try DataFile.rows([
        .preference(
          Preference(
            prompt: .text("a"), chosen: .text("b"), rejected: .text("c"), probability: 2))
      ])
    }
    #expect(probability?.message.hasPrefix("rows:1: ") == true)
  }
}
