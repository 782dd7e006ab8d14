// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneServer
import AttuneStore
import Testing

@Suite struct QuestionQueueTests {
  static func answer(_ number: Int64, model: String = "m", text: String? = nil) -> AnswerSet.Entry {
    .init(number: number, content: .text(text ?? "answer \(number)"), model: model)
  }

  static func question(_ number: Int64, isGold: Bool = false) -> Question {
    Question(
      prompt: number, content: .text("prompt \(number)"),
      answers: [answer(number * 10), answer(number * 10 + 1)], isGold: isGold)
  }

  /// A queue of some questions.
  static func queue(
    _ count: Int, gold: Int = 0, priorities: [Double] = [],
    _ change: (inout CollectSettings) -> Void = { _ in }
  ) -> QuestionQueue {
    var settings = CollectSettings()
    settings.leaseSeconds = 60
    change(&settings)
    var queue = QuestionQueue(settings)
    for i in 0..<count {
      queue.add(question(Int64(i)))
      if i < priorities.count { queue.prioritise(question(Int64(i)).key, priorities[i]) }
    }
    for i in 0..<gold { queue.add(question(Int64(1000 + i), isGold: true)) }
    return queue
  }

  private struct NothingAsked: Error {}

  private static func asked(_ place: Int?) throws -> Int {
    guard let place else { throw NothingAsked() }
    return place
  }

  @Test func `a question goes to as many people as asked for and to nobody twice`() {
    var queue = Self.queue(5) { $0.votes = 2 }
    var asked: [Int: [String]] = [:]
    var number: Int64 = 0
    for round in 0..<20 {
      for name in ["anna", "bert", "carl"] {
        guard let place = queue.next(for: name, at: Double(round)) else { continue }
        asked[place, default: []].append(name)
        number += 1
        queue.record(number, at: place, by: name)
      }
    }
    #expect(asked.count == 5)
    for names in asked.values { #expect(names.count == 2 && Set(names).count == 2) }
    #expect(queue.finished == 5 && queue.judgements == 10)
    #expect(!queue.mayComeBack(to: "dora", at: 20))
  }

  @Test func `what nobody has looked at is dropped, and asked again where it is added again`()
    throws
  {
    var queue = Self.queue(5) { $0.votes = 2 }
    let judged = try Self.asked(queue.next(for: "anna", at: 0))
    queue.record(1, at: judged, by: "anna")
    let before = try Self.asked(queue.next(for: "anna", at: 10))
    let left = try Self.asked(queue.next(for: "bert", at: 10))
    #expect(left == judged, "what has a label comes first")
    queue.skip(left, by: "bert")
    queue.dropUntouched(at: 20)
    // The one with a label and the one that somebody has before them stay.
    #expect(queue.count == 2 && queue.untouched(at: 20) == 0)
    #expect(queue.next(for: "anna", at: 30) == before)
    queue.record(2, at: before, by: "anna")
    #expect(queue.next(for: "anna", at: 30) == nil)
    #expect(queue.judgements == 2 && queue.finished == 0)

    for i in 0..<5 { queue.add(Self.question(Int64(i))) }
    #expect(queue.count == 5 && queue.untouched(at: 30) == 3)
    #expect(queue.next(for: "anna", at: 30) != nil)
  }

  @Test func `a label of a dropped question that was still on a page counts`() throws {
    var queue = Self.queue(2)
    let place = try Self.asked(queue.next(for: "anna", at: 0))
    // Longer ago than a question is kept for somebody.
    queue.dropUntouched(at: 100)
    #expect(queue.count == 0)
    queue.record(7, at: place, by: "anna")
    #expect(queue.count == 1 && queue.finished == 1 && queue.judgements == 1)
    #expect(queue.next(for: "bert", at: 101) == nil)
  }

  @Test func `two people at once never have the same question before them where one is enough`() {
    var queue = Self.queue(2)
    let (a, b) = (queue.next(for: "anna", at: 0), queue.next(for: "bert", at: 0))
    #expect(a != nil && b != nil && a != b)
    // The same question again, as after a reload, and none for a third one for now.
    #expect(queue.next(for: "anna", at: 1) == a)
    #expect(queue.next(for: "carl", at: 1) == nil)
    #expect(queue.mayComeBack(to: "carl", at: 1))
  }

  @Test func `a question that was not answered comes back to the queue`() throws {
    var queue = Self.queue(1)
    let next = queue.next(for: "anna", at: 0)
    let place = try #require(next)
    #expect(queue.next(for: "bert", at: 59) == nil)
    #expect(queue.next(for: "bert", at: 61) == place)
    // Anna comes back late: her label is taken all the same.
    queue.record(1, at: place, by: "anna")
    #expect(queue.judgement(at: place, by: "anna") == 1)
    #expect(queue.finished == 1)
  }

  @Test func `gold questions come at their share, each once to everybody`() {
    var queue = Self.queue(400, gold: 20) {
      $0.goldShare = 0.25
      $0.votes = 2
    }
    for name in ["anna", "bert"] {
      var gold: [Int] = []
      var regular = 0
      for number in 0..<100 {
        guard let place = queue.next(for: name, at: 0) else { break }
        if queue.questions[place].isGold { gold.append(place) } else { regular += 1 }
        queue.record(Int64(number), at: place, by: name)
      }
      #expect(Set(gold).count == gold.count)
      #expect((10...20).contains(gold.count), "\(gold.count)")
      #expect(regular + gold.count == 100)
    }
    #expect(queue.count == 400, "gold questions are not counted among the questions")
  }

  @Test func `what was answered by some is finished first, then the most uncertain is asked`() {
    var queue = Self.queue(4, priorities: [0.1, 0.9, 0.5, .nan]) { $0.votes = 2 }
    #expect(queue.next(for: "anna", at: 0) == 1)
    queue.record(1, at: 1, by: "anna")
    #expect(queue.next(for: "anna", at: 0) == 2)
    // Bert gets what Anna has answered.
    #expect(queue.next(for: "bert", at: 0) == 1)
  }

  @Test func `undo brings the last question back, step by step, skipped ones too`() throws {
    var queue = Self.queue(3)
    let nextfirst = queue.next(for: "anna", at: 0)
    let first = try #require(nextfirst)
    queue.record(7, at: first, by: "anna")
    let nextsecond = queue.next(for: "anna", at: 0)
    let second = try #require(nextsecond)
    queue.skip(second, by: "anna")
    let nextthird = queue.next(for: "anna", at: 0)
    let third = try #require(nextthird)
    #expect(Set([first, second, third]).count == 3)
    #expect(queue.lastStep(of: "anna") == .skipped(place: second))
    queue.undo(.skipped(place: second), by: "anna", at: 0)
    #expect(queue.next(for: "anna", at: 0) == second)
    let step = try #require(queue.lastStep(of: "anna"))
    #expect(step == .judged(place: first, number: 7))
    queue.undo(step, by: "anna", at: 0)
    #expect(queue.next(for: "anna", at: 0) == first)
    #expect(queue.judgements == 0 && queue.finished == 0)
    #expect(queue.lastStep(of: "anna") == nil)
  }

  @Test func `a skipped question comes back to others alone`() throws {
    var queue = Self.queue(1)
    let next = queue.next(for: "anna", at: 0)
    let place = try #require(next)
    queue.skip(place, by: "anna")
    #expect(queue.next(for: "anna", at: 0) == nil)
    #expect(!queue.mayComeBack(to: "anna", at: 0))
    #expect(queue.next(for: "bert", at: 0) == place)
  }

  @Test func `judgements of an earlier run count`() {
    var queue = Self.queue(2)
    queue.restore(5, of: [11, 10], by: "anna")
    queue.restore(6, of: [77, 78], by: "anna")
    #expect(queue.finished == 1 && queue.judgements == 1)
    #expect(queue.next(for: "anna", at: 0) == 0)
  }

  @Test func `sides are random, fair, and the same when asked again`() {
    var firsts = 0
    for number in 0..<400 {
      let question = Self.question(Int64(number))
      let shown = question.shown(to: "anna", seed: 3)
      #expect(shown == question.shown(to: "anna", seed: 3))
      #expect(Set(shown) == Set(question.answers))
      if shown[0] == question.answers[0] { firsts += 1 }
    }
    #expect((150...250).contains(firsts), "\(firsts) of 400")
    let turned = (0..<100).count {
      let question = Self.question(Int64($0))
      return question.shown(to: "anna", seed: 3) != question.shown(to: "bert", seed: 3)
    }
    #expect((25...75).contains(turned), "two annotators see the same sides in \(100 - turned)")
  }

  @Test(.timeLimit(.minutes(1))) func `a hundred thousand questions are no trouble`() {
    var queue = Self.queue(100_000)
    let took = ContinuousClock().measure {
      for number in 0..<100 {
        guard let place = queue.next(for: "annotator \(number % 20)", at: 0) else { return }
        queue.record(Int64(number), at: place, by: "annotator \(number % 20)")
      }
    }
    #expect(queue.judgements == 100)
    #expect(took < .seconds(30))
  }
}

@Suite struct QuestionMakerTests {
  private func set(_ prompt: Int64, _ answers: [AnswerSet.Entry]) -> AnswerSet {
    AnswerSet(prompt: prompt, content: .text("p\(prompt)"), answers: answers)
  }

  private func maker(_ change: (inout CollectSettings) -> Void) -> QuestionMaker {
    var settings = CollectSettings()
    change(&settings)
    return QuestionMaker(settings)
  }

  private typealias Queue = QuestionQueueTests

  @Test func `pairs of different models come first, equal texts never, and one of each prompt`() {
    let sets = (1...3).flatMap { prompt in
      [
        set(
          prompt,
          [Queue.answer(prompt * 10, model: "a"), Queue.answer(prompt * 10 + 1, model: "a")]),
        set(
          prompt,
          [
            Queue.answer(prompt * 10 + 2, model: "b"),
            Queue.answer(prompt * 10 + 3, model: "b", text: "answer \(prompt * 10)"),
          ]),
      ]
    }
    let all = maker { _ in }.questions(sets)
    // Six pairs a prompt, less the one of equal texts.
    #expect(all.count == 15)
    #expect(Set(all.prefix(3).map(\.prompt)) == [1, 2, 3])
    for question in all {
      #expect(question.answers[0].content != question.answers[1].content)
    }
    let ofTwo = all.prefix(9).filter { $0.answers[0].model != $0.answers[1].model }
    #expect(ofTwo.count == 9)
    let limited = maker { $0.pairsPerPrompt = 2 }.questions(sets)
    #expect(limited.count == 6)
    #expect(limited.allSatisfy { $0.answers[0].model != $0.answers[1].model })
  }

  @Test func `rankings take different answers up to a number, thumbs one each`() {
    let answers = (1...6).map { Queue.answer($0) } + [Queue.answer(7, text: "answer 1")]
    let ranking = maker { $0.shape = .rankings }.questions([set(1, answers)])
    #expect(ranking.count == 1 && ranking[0].answers.count == 4)
    #expect(Set(ranking[0].answers.map(\.content)).count == 4)
    #expect(maker { $0.shape = .thumbs }.questions([set(1, answers)]).count == 6)
    #expect(maker { $0.shape = .rankings }.questions([set(1, [Queue.answer(1)])]).isEmpty)
  }
}
