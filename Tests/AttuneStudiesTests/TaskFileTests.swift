// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneNative
import AttuneRewards
import AttuneStudies
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

struct TaskFileTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private struct Row {
    var turns: [Message]
    var question: String
    var answer: String
  }

  private func write(
    _ task: ProceduralTask, _ change: (inout TaskSettings) -> Void = { _ in }
  ) throws -> (kept: [Row], held: [Row], data: DataFile) {
    var settings = TaskSettings()
    (settings.count, settings.heldOut) = (40, 12)
    change(&settings)
    let (output, other) = (
      folder.url.appending(path: "t.jsonl"), folder.url.appending(path: "h.jsonl")
    )
    let report = try TaskFile.write(task, settings: settings, to: output, heldOut: other)
    #expect(report.rows == settings.count && report.heldOutRows == settings.heldOut)
    func rows(_ data: DataFile) -> [Row] {
      data.rows.map { row in
        var turns: [Message] = []
        if case .messages(let all)? = row.example.prompt { turns = all }
        return Row(
          turns: turns, question: row.example.prompt?.lastText ?? "",
          answer: row.json["answer"]?.asString ?? "")
      }
    }
    let use = ColumnUse(carriesRows: true)
    let data = try DataFile.read(output, expecting: [.promptOnly], use: use)
    return (
      rows(data), rows(try DataFile.read(other, expecting: [.promptOnly], use: use)), data
    )
  }

  /// What tells problems apart, by their numbers and words alone.
  private func instance(_ row: Row) -> [String] {
    let parts = row.question.split { !$0.isLetter && !$0.isNumber }.map(String.init)
    return row.question.contains(" + ") ? parts.sorted() : [row.question]
  }

  @Test(arguments: ProceduralTask.allCases, 1...5)
  func `no problem is in both files or in one twice, and the reward knows the answers`(
    task: ProceduralTask, difficulty: Int
  ) throws {
    let (kept, held, data) = try write(task) {
      $0 = TaskSettings()
      $0.difficulty = difficulty
    }
    let instances = (kept + held).map(instance)
    #expect(Set(instances).count == instances.count)
    let source = try RewardSources([RewardSpecification(task.reward)], on: NativeEngine())
      .weighted[0].source
    try data.check(for: [source])
    func rewards(_ answers: [String]) throws -> [Double] {
      try source.checkedScores(
        prompts: try data.prompts(byRow: true),
        completions: answers.map { Completion(ids: [], text: $0, endedByItself: true) }, shared: nil
      )
    }
    #expect(try rewards(kept.map(\.answer)).allSatisfy { $0 == 1 })
    #expect(
      try rewards(kept.map { "The answer is \($0.answer)." }).allSatisfy { $0 == 1 }, "\(task)")
    // The answer of another problem, where it is another.
    let others = kept.indices.map { kept[($0 + 1) % kept.count].answer }
    for (reward, pair) in zip(try rewards(others), zip(others, kept)) where pair.0 != pair.1.answer
    {
      #expect(reward == 0, "\(pair)")
    }
  }

  @Test func `answers are right by another way of solving`() throws {
    for row in try write(.sums, { $0.difficulty = 4 }).kept {
      let numbers = row.question.split { !$0.isNumber }.compactMap { Int($0) }
      #expect(numbers.count == 3 && row.answer == "\(numbers.reduce(0, +))")
    }
    var isBelow = false
    for row in try write(.differences, { $0.difficulty = 5 }).kept {
      let numbers = row.question.split { !$0.isNumber }.compactMap { Int($0) }
      #expect(row.answer == "\(numbers[0] - numbers[1])")
      isBelow = isBelow || row.answer.hasPrefix("-")
    }
    #expect(isBelow)
    for row in try write(.letters, { $0.difficulty = 3 }).kept {
      let quoted = row.question.split(separator: "\"")
      #expect(row.answer == "\(quoted[3].filter { String($0) == quoted[1] }.count)")
      #expect(row.answer != "0")
    }
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = try #require(TimeZone(identifier: "UTC"))
    let format = Date.ISO8601FormatStyle().year().month().day()
    for row in try write(.dates, { ($0.difficulty, $0.count) = (5, 200) }).kept {
      let words = row.question.split(whereSeparator: { " ?.".contains($0) })
      let days = (Int(words[3]) ?? 0) * (words[5] == "before" ? -1 : 1)
      let start = try format.parse(String(words[6]))
      let end = try #require(calendar.date(byAdding: .day, value: days, to: start))
      #expect(row.answer == end.formatted(format), "\(row.question)")
    }
    for row in try write(.brackets, { $0.difficulty = 5 }).kept {
      let asked =
        row.question.split(separator: " ").first { "([{<".contains($0.first ?? "x") } ?? ""
      var open: [Character] = []
      let closing: [Character: Character] = [")": "(", "]": "[", "}": "{", ">": "<"]
      for bracket in asked + row.answer {
        if let opening = closing[bracket] {
          #expect(open.popLast() == opening)
        } else {
          open.append(bracket)
        }
      }
      #expect(open.isEmpty)
    }
    for row in try write(.picking, { $0.difficulty = 3 }).kept {
      let list = row.question.split(separator: ": ")[1].dropLast().components(separatedBy: ", ")
      let places = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh"]
      let place = places.firstIndex { row.question.contains(" \($0) ") } ?? list.count - 1
      #expect(list.count == 7 && row.answer == list[place])
    }
  }

  @Test func `shots stand before the question and are in neither file`() throws {
    let (kept, held, _) = try write(.reversing) { $0.shots = 3 }
    let shots = kept[0].turns.dropLast()
    #expect(shots.map(\.role) == ["user", "assistant", "user", "assistant", "user", "assistant"])
    let asked = Set(shots.filter { $0.role == "user" }.map(\.content))
    #expect(
      asked.count == 3 && (kept + held).allSatisfy { Array($0.turns.dropLast()) == Array(shots) })
    #expect((kept + held).allSatisfy { !asked.contains($0.question) })
    let word = shots[0].content.split(separator: "\"")[1]
    #expect(shots[1].content == String(word.reversed()))
    let texts = try write(.reversing) { ($0.shots, $0.form) = (1, .text) }
    #expect(texts.kept[0].question.hasPrefix("Q: Write \""))
    #expect(texts.kept[0].question.split(separator: "Q: ").count == 2)
    #expect(texts.kept[0].question.hasSuffix("backwards.\nA:"))
  }

  @Test func `the problems follow from the seed, and more begin with the same`() throws {
    func questions(_ change: (inout TaskSettings) -> Void) throws -> [String] {
      try write(.differences, change).kept.map(\.question)
    }
    let some = try questions { $0.seed = 1 }
    #expect(try questions { $0.seed = 1 } == some)
    #expect(try questions { ($0.seed, $0.count) = (1, 60) }.starts(with: some))
    #expect(try questions { $0.seed = 2 } != some)
  }

  @Test func `what can't be done is refused`() throws {
    let many = #expect(throws: TrainingError.self) { _ = try write(.sums) { $0.count = 466 } }
    #expect(
      many?.message.contains("has about 465 different problems") == true, "\(many?.message ?? "")")
    for (word, change) in [
      ("difficulty", { $0.difficulty = 6 }), ("count", { $0.count = 0 }),
      ("shots", { $0.shots = 33 }),
    ] as [(String, (inout TaskSettings) -> Void)] {
      let error = #expect(throws: TrainingError.self) { _ = try write(.sums, change) }
      #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
    }
    let one = folder.url.appending(path: "one.jsonl")
    #expect(throws: TrainingError.self) {
      try TaskFile.write(.sums, settings: TaskSettings(), to: one, heldOut: one)
    }
  }
}
