// SPDX-License-Identifier: Apache-2.0

package import AttuneData
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

  private struct Told: Decodable {
    struct Choice: Decodable {
      struct Message: Decodable { var content: String? }
      struct Logprobs: Decodable { var content: [Position]? }
      var message: Message
      var logprobs: Logprobs?
    }
    struct Token: Decodable {
      var token: String
      var logprob: Double?
    }
    struct Position: Decodable {
      var token: String
      var logprob: Double?
      var topLogprobs: [Token]?

      private enum CodingKeys: String, CodingKey {
        case token, logprob
        case topLogprobs = "top_logprobs"
      }
    }
    var choices: [Choice]
  }

  private static let scoring = 0

  /// Asks for log-probabilities of the answer's first words, or for votes: each a sampled answer.
  package func choose(_ questions: [JudgeQuestion], told: (Int, JudgeChoice) throws -> Void) throws
  {
    var votes: [Int: [Int?]] = [:]
    let calls = questions.indices.flatMap { place in
      givesLogprobs == false ? ballots(questions[place], place) : [scored(questions[place], place)]
    }
    try server.send(calls) { call, reply in
      let question = questions[call.place]
      if call.kind == Self.scoring, try isWithoutLogprobs(reply) {
        guard settings.reading != .logprobs else {
          throw TrainingError(
            .unavailable, "\(name): gives no log-probabilities; use --set reading=votes")
        }
        givesLogprobs = false
        return ballots(question, call.place)
      }
      let choice = try read(reply)
      if call.kind == Self.scoring {
        givesLogprobs = true
        try told(call.place, Self.choice(choice.logprobs?.content ?? [], question.options))
        return []
      }
      votes[call.place, default: []].append(
        Self.option(in: choice.message.content ?? "", question.options))
      guard let all = votes[call.place], all.count == settings.votes else { return [] }
      let valid = all.compactMap { $0 }
      let shares = question.options.indices.map { option in
        Double(valid.count { $0 == option }) / Double(max(1, valid.count))
      }
      try told(call.place, JudgeChoice(probabilities: valid.isEmpty ? nil : shares))
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
      try told(call.place, try read(reply).message.content ?? "")
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

  private func read(_ reply: ChatServer.Reply) throws -> Told.Choice {
    guard reply.status == 200 else { throw server.refusal(reply) }
    guard let told = try? JSONDecoder().decode(Told.self, from: reply.data),
      let choice = told.choices.first
    else {
      throw TrainingError(
        .unavailable, "\(name): its answer is no chat completion; check the address")
    }
    return choice
  }

  private func isWithoutLogprobs(_ reply: ChatServer.Reply) throws -> Bool {
    if [400, 422].contains(reply.status) {
      return String(decoding: reply.data, as: UTF8.self).contains("logprob")
    }
    guard reply.status == 200 else { return false }
    return try read(reply).logprobs?.content?.contains { $0.topLogprobs?.isEmpty == false } != true
  }

  /// The options' shares at the first position where the judge names one of them.
  ///
  /// An option that is not among the listed tokens has at most the probability of the least listed
  /// one, and is given that.
  package static func choice(
    _ tokens: [String], _ lists: [[(token: String, logprob: Double)]], _ options: [String]
  ) -> JudgeChoice {
    func option(_ token: String) -> Int? {
      let word = token.trimmingCharacters(in: .whitespacesAndNewlines.union(.punctuationCharacters))
      return options.firstIndex(of: word)
    }
    guard let place = tokens.firstIndex(where: { option($0) != nil }), !lists[place].isEmpty else {
      return JudgeChoice(probabilities: nil)
    }
    var shares = options.map { _ in 0.0 }
    for (token, logprob) in lists[place] {
      if let option = option(token) { shares[option] += exp(logprob) }
    }
    let mass = shares.reduce(0, +)
    let least = exp(lists[place].map(\.logprob).min() ?? 0)
    for option in options.indices where shares[option] == 0 { shares[option] = least }
    let sum = shares.reduce(0, +)
    guard mass > 0, sum.isFinite else { return JudgeChoice(probabilities: nil) }
    return JudgeChoice(probabilities: shares.map { $0 / sum }, mass: min(1, mass))
  }

  private static func choice(_ positions: [Told.Position], _ options: [String]) -> JudgeChoice {
    choice(
      positions.map(\.token),
      positions.map { position in
        (position.topLogprobs ?? []).compactMap { token in
          token.logprob.map { (token.token, $0) }
        }
      }, options)
  }

  /// The option that a text names, and no other one; nil if it can't be told. A text is never taken
  /// for an option because it is not the other.
  package static func option(in text: String, _ options: [String]) -> Int? {
    let words = text.split { !$0.isLetter && !$0.isNumber }.map(String.init)
    if words.count == 1 { return options.firstIndex(of: words[0]) }
    let marked = options.indices.filter { option in
      ["(\(options[option]))", "**\(options[option])**"].contains { text.contains($0) }
    }
    if !marked.isEmpty { return marked.count == 1 ? marked[0] : nil }
    for (word, next) in zip(words, words.dropFirst())
    where ["option", "answer", "choice", "is", "grade"].contains(word.lowercased()) {
      let rest = words.contains { options.contains($0) && $0 != next }
      if let option = options.firstIndex(of: next), !rest { return option }
    }
    // "A: because …", but not "A better answer …".
    let start = text.drop { $0.isWhitespace || $0 == "*" || $0 == "(" }
    for (place, option) in options.enumerated() where start.hasPrefix(option) {
      if let next = start.dropFirst(option.count).first, ".:,;)\n*".contains(next) { return place }
    }
    return nil
  }
}
