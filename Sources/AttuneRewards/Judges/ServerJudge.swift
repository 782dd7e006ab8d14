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

  package var name: String { server.name }
  package var identity: String {
    "server \(server.name) \(settings.reading.rawValue) \(settings.votes) \(settings.seed)"
  }

  init(_ server: ChatServer, settings: JudgeSettings) {
    self.server = server
    self.settings = settings
    if settings.reading == .votes { givesLogprobs = false }
  }

  private static let scoring = 0

  /// Asks for log-probabilities of the answer's first words, or for votes: each a sampled answer.
  package func choose(_ questions: [JudgeQuestion], told: (Int, JudgeChoice) throws -> Void) throws
  {
    var votes: [Int: [Int?]] = [:]
    let calls = questions.indices.flatMap { place in
      givesLogprobs == false ? ballots(questions[place], place) : [scored(questions[place], place)]
    }
    var unread: [Int: String] = [:]
    try server.send(calls) { call, reply in
      let question = questions[call.place]
      func withoutLogprobs() throws -> [ChatServer.Call] {
        guard settings.reading != .logprobs else {
          throw TrainingError(
            .unavailable, "\(name): gives no log-probabilities; use --set reading=votes")
        }
        givesLogprobs = false
        return ballots(question, call.place)
      }
      if call.kind == Self.scoring, refusesLogprobs(reply) { return try withoutLogprobs() }
      let said = try server.completion(reply)
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
          Self.choice(text, said.positions, isWhole: said.isWhole, question.options))
        return []
      }
      let option = said.text.flatMap {
        Self.option(in: $0, isWhole: said.isWhole, question.options)
      }
      if option == nil {
        unread[call.place] =
          said.text.map { "it said “\(ChatCompletion.excerpt($0))”" }
          ?? said.whyEmpty
      }
      votes[call.place, default: []].append(option)
      guard let all = votes[call.place], all.count == settings.votes else { return [] }
      let valid = all.compactMap { $0 }
      let shares = question.options.indices.map { option in
        Double(valid.count { $0 == option }) / Double(max(1, valid.count))
      }
      try told(
        call.place,
        JudgeChoice(
          probabilities: valid.isEmpty ? nil : shares,
          unread: valid.isEmpty ? unread[call.place] : nil))
      return []
    }
  }

  package func write(
    _ conversations: [[Message]], maxTokens: Int, told: (Int, String) throws -> Void
  ) throws {
    let calls = conversations.enumerated().map { place, conversation in
      ChatServer.Call(
        place: place, kind: Self.scoring,
        body: server.body(
          conversation,
          [.init("max_tokens", .int(maxTokens)), .init("temperature", .int(0))]))
    }
    try server.send(calls) { call, reply in
      try told(call.place, try server.completion(reply).text ?? "")
      return []
    }
  }

  // MARK: Parts

  private func scored(_ question: JudgeQuestion, _ place: Int) -> ChatServer.Call {
    ChatServer.Call(
      place: place, kind: Self.scoring,
      body: server.body(
        question.askingForOption,
        [
          .init("max_tokens", .int(8)), .init("temperature", .int(0)),
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
            .init("max_tokens", .int(16)), .init("temperature", .int(1)),
            .init("seed", .int(Int(settings.seed & 0xffff) * 1000 + vote)),
          ]))
    }
  }

  private func refusesLogprobs(_ reply: ChatServer.Reply) -> Bool {
    [400, 422].contains(reply.status)
      && String(decoding: reply.data, as: UTF8.self).contains("logprob")
  }

  /// The options' shares at the place at which the text names the one that it chose: the same place that
  /// votes read.
  ///
  /// An option that is not among the listed tokens has at most the probability of the least listed
  /// one, and is given that.
  package static func choice(
    _ text: String, _ positions: [(token: String, listed: [(token: String, logprob: Double)])],
    isWhole: Bool, _ options: [String]
  ) -> JudgeChoice {
    func option(_ token: String) -> Int? {
      let word = token.trimmingCharacters(in: .whitespacesAndNewlines.union(.punctuationCharacters))
      return options.firstIndex(of: word)
    }
    let unread = JudgeChoice(
      probabilities: nil, unread: "it said “\(ChatCompletion.excerpt(text))”")
    guard let place = place(of: text, positions.map(\.token), isWhole: isWhole, options) else {
      return unread
    }
    let listed = positions[place].listed
    var shares = options.map { _ in 0.0 }
    for (token, logprob) in listed {
      if let option = option(token) { shares[option] += exp(logprob) }
    }
    let mass = shares.reduce(0, +)
    let least = exp(listed.map(\.logprob).min() ?? 0)
    for option in options.indices where shares[option] == 0 { shares[option] = least }
    let sum = shares.reduce(0, +)
    guard mass > 0, sum.isFinite else { return unread }
    return JudgeChoice(probabilities: shares.map { $0 / sum }, mass: min(1, mass))
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
