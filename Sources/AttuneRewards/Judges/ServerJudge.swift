// SPDX-License-Identifier: Apache-2.0

package import AttuneData
import AttuneTraining
import Foundation

/// How a server's judge is read.
public enum ServerReading: String, CaseIterable, Codable, Sendable {
  /// Log-probabilities if the server gives them, else votes.
  case automatic
  /// Log-probabilities, or an error.
  case logprobs
  /// Sampled votes.
  case votes
}

/// A judge behind an OpenAI-compatible server.
package final class ServerJudge: JudgeModel {
  private let server: ChatServer
  private let settings: JudgeSettings
  /// Whether the server gives log-probabilities, once it is known.
  private var givesLogprobs: Bool?
  /// How a person has it read without them.
  private let votesOption: String
  package private(set) var work = JudgeWork()

  package var name: String { server.name }
  package var identity: String {
    "server \(server.name) \(settings.reading.rawValue) \(settings.votes) \(settings.seed)"
  }

  init(
    _ server: ChatServer, settings: JudgeSettings, votesOption: String = "--set reading=votes"
  ) {
    self.server = server
    self.settings = settings
    self.votesOption = votesOption
    if settings.reading == .votes { givesLogprobs = false }
  }

  private static let scoring = 0

  /// Asks for log-probabilities of the answer's first words, or for votes: each a sampled answer.
  package func choose(_ questions: [JudgeQuestion], told: (Int, JudgeChoice) throws -> Void) throws
  {
    var votes: [Int: [[Int]?]] = [:]
    let calls = questions.indices.flatMap { place in
      givesLogprobs == false ? ballots(questions[place], place) : [scored(questions[place], place)]
    }
    var unread: [Int: String] = [:]
    try server.send(calls, about: { questions[$0.place].subject }) { call, reply in
      let question = questions[call.place]
      func withoutLogprobs() throws -> [ChatServer.Call] {
        guard settings.reading != .logprobs else {
          throw TrainingError(
            .unavailable, "\(name): gives no log-probabilities; use \(votesOption)")
        }
        if givesLogprobs != false {
          standardError(
            "warning: \(name): gives no log-probabilities; \(settings.votes) sampled answers to each "
              + "question are counted in their place")
        }
        givesLogprobs = false
        return ballots(question, call.place)
      }
      if call.kind == Self.scoring, refusesLogprobs(reply) { return try withoutLogprobs() }
      let said = try completion(reply, about: question.subject)
      if call.kind == Self.scoring {
        guard let text = said.text else {
          try told(call.place, JudgeChoice(probabilities: nil, unread: said.whyEmpty))
          return []
        }
        guard said.positions.contains(where: { !$0.listed.isEmpty }) else {
          return try withoutLogprobs()
        }
        givesLogprobs = true
        try told(
          call.place,
          Self.choice(text, said.positions, isWhole: said.isWhole, question))
        return []
      }
      let vote = said.text.flatMap { Self.options(in: $0, isWhole: said.isWhole, question) }
      if vote == nil {
        unread[call.place] =
          said.text.map { "it said “\(ChatCompletion.excerpt($0))”" }
          ?? said.whyEmpty
      }
      votes[call.place, default: []].append(vote)
      guard let all = votes[call.place], all.count == settings.votes else { return [] }
      let valid = all.compactMap { $0 }
      guard !valid.isEmpty else {
        try told(call.place, JudgeChoice(probabilities: nil, unread: unread[call.place]))
        return []
      }
      let shares = (0..<question.count).map { thing in
        question.options.indices.map { option in
          Double(valid.count { $0[thing] == option }) / Double(valid.count)
        }
      }
      try told(call.place, JudgeChoice(shares, mass: nil))
      return []
    }
  }

  package func write(
    _ conversations: [[Message]], about subjects: [String?], maxTokens: Int,
    told: (Int, String) throws -> Void
  ) throws {
    let calls = conversations.enumerated().map { place, conversation in
      ChatServer.Call(
        place: place, kind: Self.scoring,
        body: server.body(
          conversation,
          [.init("max_tokens", .int(maxTokens)), .init("temperature", .int(0))]))
    }
    func subject(_ call: ChatServer.Call) -> String? {
      call.place < subjects.count ? subjects[call.place] : nil
    }
    try server.send(calls, about: subject) { call, reply in
      try told(call.place, try completion(reply, about: subject(call)).text ?? "")
      return []
    }
  }

  /// What the server answered, counted.
  ///
  /// - Throws: `TrainingError` for a refusal, with what was asked about.
  private func completion(
    _ reply: ChatServer.Reply, about subject: String?
  ) throws -> ChatCompletion {
    do {
      let completion = try server.completion(reply)
      work.calls += 1
      work.tokens += (completion.promptTokens ?? 0) + (completion.tokens ?? 0)
      return completion
    } catch let error as TrainingError {
      throw ChatServer.naming(subject, in: error)
    }
  }

  // MARK: Parts

  private func scored(_ question: JudgeQuestion, _ place: Int) -> ChatServer.Call {
    ChatServer.Call(
      place: place, kind: Self.scoring,
      body: server.body(
        question.askingForOption,
        [
          .init("max_tokens", .int(8 * question.count)), .init("temperature", .int(0)),
          .init("logprobs", .bool(true)), .init("top_logprobs", .int(20)),
        ]))
  }

  private func ballots(_ question: JudgeQuestion, _ place: Int) -> [ChatServer.Call] {
    (1...settings.votes).map { vote in
      ChatServer.Call(
        place: place, kind: vote,
        body: server.body(
          question.askingForOption,
          [
            .init("max_tokens", .int(8 + 8 * question.count)), .init("temperature", .int(1)),
            .init("seed", .int(Int(settings.seed & 0xffff) * 1000 + vote)),
          ]))
    }
  }

  private func refusesLogprobs(_ reply: ChatServer.Reply) -> Bool {
    [400, 422].contains(reply.status)
      && String(decoding: reply.data, as: UTF8.self).contains("logprob")
  }

  /// What a text and its tokens say to a question: of each thing that it is about the options' shares at
  /// the place at which the text names the one that was chosen, the same place that votes read.
  static func choice(
    _ text: String, _ positions: [ChatCompletion.Position], isWhole: Bool,
    _ question: JudgeQuestion
  ) -> JudgeChoice {
    guard question.count > 1 else {
      return choice(text, positions, isWhole: isWhole, question.options)
    }
    let joined = positions.map(\.token).joined()
    guard let found = NumberedOptions(question).places(in: joined) else { return unread(text) }
    let starts = positions.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.token.utf8.count) }
    var all: [(shares: [Double], mass: Double)] = []
    for place in found {
      guard let token = starts.lastIndex(where: { $0 <= place.offset }), token < positions.count,
        let shares = shares(positions[token].listed, question.options)
      else { return unread(text) }
      all.append(shares)
    }
    return JudgeChoice(
      all.map(\.shares), mass: all.reduce(0) { $0 + $1.mass } / Double(all.count))
  }

  /// The options that a text names, one a thing that is asked about; nil where one can't be told.
  static func options(in text: String, isWhole: Bool, _ question: JudgeQuestion) -> [Int]? {
    guard question.count > 1 else {
      return option(in: text, isWhole: isWhole, question.options).map { [$0] }
    }
    return NumberedOptions(question).places(in: text)?.map(\.option)
  }

  private static func unread(_ text: String) -> JudgeChoice {
    JudgeChoice(probabilities: nil, unread: "it said “\(ChatCompletion.excerpt(text))”")
  }

  /// The same of one thing.
  ///
  /// An option that is not among the listed tokens has at most the probability of the least listed
  /// one, and all of them together at most what the list leaves: it is given the smaller of both.
  package static func choice(
    _ text: String, _ positions: [(token: String, listed: [(token: String, logprob: Double)])],
    isWhole: Bool, _ options: [String]
  ) -> JudgeChoice {
    guard let place = place(of: text, positions.map(\.token), isWhole: isWhole, options),
      let (shares, mass) = shares(positions[place].listed, options)
    else { return unread(text) }
    return JudgeChoice(probabilities: shares, mass: mass)
  }

  /// The options' shares among the tokens that are listed at a place, and what they have together; nil where
  /// no option is listed.
  private static func shares(
    _ listed: [(token: String, logprob: Double)], _ options: [String]
  ) -> (shares: [Double], mass: Double)? {
    let reader = OptionReader(options)
    var shares = options.map { _ in 0.0 }
    for (token, logprob) in listed {
      let word = token.trimmingCharacters(in: .whitespacesAndNewlines.union(.punctuationCharacters))
      if let option = reader.option(named: word) { shares[option] += exp(logprob) }
    }
    let mass = shares.reduce(0, +)
    // What is not listed is no likelier than the least that is, and all of it together than what is left.
    let least = exp(listed.map(\.logprob).min() ?? 0)
    let left = max(0, 1 - listed.reduce(0) { $0 + exp($1.logprob) })
    let missing = options.indices.filter { shares[$0] == 0 }
    for option in missing { shares[option] = min(least, left / Double(missing.count)) }
    let sum = shares.reduce(0, +)
    guard mass > 0, sum.isFinite else { return nil }
    return (shares.map { $0 / sum }, min(1, mass))
  }

  /// The token at which a text names its option.
  ///
  /// Tokens may hold more than the text, thoughts that the server took out of it, or less, where only the
  /// first ones have log-probabilities.
  private static func place(
    of text: String, _ tokens: [String], isWhole: Bool, _ options: [String]
  ) -> Int? {
    let joined = tokens.joined()
    let said = text.trimmingCharacters(in: .whitespacesAndNewlines)
    var (read, isWhole) = (joined, isWhole)
    var start = 0
    if let range = joined.range(of: said, options: .backwards) {
      read = said
      start = joined.utf8.distance(from: joined.startIndex, to: range.lowerBound)
    } else if said.hasPrefix(joined) {
      isWhole = false
    }
    guard let answer = OptionReader(options).answer(in: read, isWhole: isWhole) else { return nil }
    let at = start + read.utf8.distance(from: read.startIndex, to: answer.range.lowerBound)
    var end = 0
    return tokens.firstIndex { token in
      end += token.utf8.count
      return end > at
    }
  }

  /// The option that a text names as its answer; nil if it can't be told.
  package static func option(
    in text: String, isWhole: Bool = true, _ options: [String]
  ) -> Int? {
    OptionReader(options).answer(in: text, isWhole: isWhole)?.option
  }
}
