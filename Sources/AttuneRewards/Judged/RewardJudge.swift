// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneTraining
import Foundation

/// The judge behind a reward: it is asked, asked again where its answer can't be read, and what that
/// costs is counted.
final class RewardJudge {
  /// Something that one option says of an answer: its grade under a principle, whether it meets a
  /// criterion.
  struct Item {
    var answer: Int
    /// The answer, for errors; nil where it is several.
    var completion: Completion?
    /// The question about it alone.
    var question: JudgeQuestion
  }

  /// How often a question is put before its answer is given up.
  private static let times = 3

  let name: String
  let panel: JudgePanel
  private var time = Duration.zero
  private var reported = RewardCost(calls: 0, remembered: 0, tokens: 0, seconds: 0)

  private var judge: RememberingJudge { panel.judges[0] }

  /// Opens a judge.
  ///
  /// - Parameters:
  ///   - name: The source, for errors.
  ///   - knobs: What it is told.
  ///   - answers: Where its answers are kept; nil: for as long as this lives.
  ///   - engine: What computes models.
  ///   - policy: A model that is open already.
  init(
    _ name: String, _ knobs: JudgedKnobs, answers: URL?, on engine: any Engine,
    beside policy: LoadedModel?
  ) throws {
    self.name = name
    panel = try JudgePanel(
      knobs.judge, answers: answers, on: engine, beside: policy, style: .silent, isSource: true)
  }

  /// What tells it from others: the model or server, how it is asked, and its principles.
  func fingerprint(with others: [String]) throws -> String {
    try Fingerprint.of(value: [judge.model.identity] + panel.constitution.principles + others)
  }

  /// Whether it is a model here.
  var isLocal: Bool { judge.model.readsLead }

  /// The principles for the answers to a prompt: they depend on the prompt alone, so that an answer gets
  /// the same reward whenever it comes.
  func principles(for prompt: Content) throws -> [String] {
    let digest = Fingerprint.of(Data(prompt.json.text.utf8))
    let place = UInt64(digest.prefix(16), radix: 16) ?? 0
    return panel.draw([place]).map { panel.constitution.principles[$0] }
  }

  /// Asks about items.
  ///
  /// - Parameters:
  ///   - items: What is asked about.
  ///   - requests: Their places, those together that one request is about.
  ///   - several: The question about several of them.
  ///   - prompts: For each answer its prompt.
  /// - Returns: For each item the options' probabilities.
  /// - Throws: `AnswerFault` where what is said of one can't be read.
  func probabilities(
    _ items: [Item], in requests: [Range<Int>], several: (Range<Int>) -> JudgeQuestion,
    prompts: [DataPrompt]
  ) throws -> [[Double]] {
    try counting {
      var found: [[Double]?] = items.map { _ in nil }
      let shared = requests.filter { $0.count > 1 }
      let choices = try panel.ask(
        judge, shared.map { named(several($0), items[$0.lowerBound].answer, prompts) })
      for (request, choice) in zip(shared, choices) {
        for (item, shares) in zip(request, choice.each ?? []) { found[item] = shares }
      }
      // What could not be read of several at once is asked for one by one.
      var unread: [Int: String] = [:]
      for time in 1...(isLocal ? 1 : Self.times) {
        let open = items.indices.filter { found[$0] == nil }
        guard !open.isEmpty else { break }
        let asked = open.map { named(items[$0].question, items[$0].answer, prompts) }
        for (item, choice) in zip(
          open, try panel.ask(judge, time == 1 ? asked : asked.map { $0.again(time) }))
        {
          found[item] = choice.probabilities
          unread[item] = choice.unread
        }
      }
      if let item = found.firstIndex(where: { $0 == nil }) {
        throw fault(items[item], unread[item])
      }
      return found.compactMap(\.self)
    }
  }

  /// Has answers put in order.
  ///
  /// - Parameters:
  ///   - items: Questions for an order, each with the first answer that it is about.
  ///   - prompts: For each answer its prompt.
  /// - Returns: For each the places of its options, the best first.
  /// - Throws: `AnswerFault` where an order can't be read.
  func orders(_ items: [Item], prompts: [DataPrompt]) throws -> [[Int]] {
    let asked = items.map { named($0.question, $0.answer, prompts) }
    return try counting {
      isLocal ? try localOrders(asked, items) : try writtenOrders(asked, items)
    }
  }

  /// A model's own order: letter by letter the most probable of those that are left.
  private func localOrders(_ named: [JudgeQuestion], _ items: [Item]) throws -> [[Int]] {
    var orders: [[Int]] = named.map { _ in [] }
    while true {
      let open = named.indices.filter { orders[$0].count < named[$0].options.count - 1 }
      guard !open.isEmpty else { break }
      let asked = open.map { named[$0].next(after: orders[$0]) }
      for (place, choice) in zip(open, try panel.ask(judge, asked)) {
        let left = named[place].options.indices.filter { !orders[place].contains($0) }
        guard let shares = choice.probabilities,
          let best = shares.indices.max(by: { shares[$0] < shares[$1] })
        else { throw fault(items[place], choice.unread) }
        orders[place].append(left[best])
      }
    }
    return zip(named, orders).map { question, order in
      order + question.options.indices.filter { !order.contains($0) }
    }
  }

  /// The order that a server's judge writes.
  private func writtenOrders(_ named: [JudgeQuestion], _ items: [Item]) throws -> [[Int]] {
    var orders: [[Int]?] = named.map { _ in nil }
    var said: [Int: String] = [:]
    for time in 1...Self.times {
      let open = named.indices.filter { orders[$0] == nil }
      guard !open.isEmpty else { break }
      let asked = open.map { time == 1 ? named[$0] : named[$0].again(time) }
      let most = asked.map(\.options.count).max() ?? 0
      for (place, text) in zip(open, try panel.write(judge, asked, maxTokens: 16 + 8 * most)) {
        orders[place] = OrderReader(named[place].options).order(in: text)
        said[place] =
          text.isEmpty ? "it said nothing" : "it said “\(ChatCompletion.excerpt(text))”"
      }
    }
    if let place = orders.firstIndex(where: { $0 == nil }) {
      throw fault(items[place], said[place])
    }
    return orders.compactMap(\.self)
  }

  /// What asking has cost since this was last read.
  func takeCost() -> RewardCost {
    let now = RewardCost(
      calls: judge.model.work.calls, remembered: judge.remembered, tokens: judge.model.work.tokens,
      seconds: seconds(time))
    defer { reported = now }
    return now - reported
  }

  // MARK: Parts

  private func counting<Value>(_ body: () throws -> Value) rethrows -> Value {
    let began = ContinuousClock.now
    defer { time += ContinuousClock.now - began }
    return try body()
  }

  private func named(
    _ question: JudgeQuestion, _ answer: Int, _ prompts: [DataPrompt]
  ) -> JudgeQuestion {
    var question = question
    let line = prompts[answer].row.map { ", to the prompt of line \($0.line)" } ?? ""
    question.subject = "answer \(answer + 1)\(line)"
    return question
  }

  private func fault(_ item: Item, _ unread: String?) -> AnswerFault {
    AnswerFault(
      source: name, answer: item.answer,
      message:
        "what the judge says \(item.completion.map { "of “\($0.excerpt)” " } ?? "")can't be read"
        + (isLocal ? "" : ", asked \(Self.times) times") + (unread.map { ": \($0)" } ?? ""))
  }
}

extension Collection<DataPrompt> where Index == Int {
  /// The answers to each prompt, where those to one stand side by side.
  var groups: [Range<Int>] {
    var groups: [Range<Int>] = []
    for i in indices {
      if let last = groups.last, self[last.lowerBound] == self[i] {
        groups[groups.count - 1] = last.lowerBound..<i + 1
      } else {
        groups.append(i..<i + 1)
      }
    }
    return groups
  }
}
