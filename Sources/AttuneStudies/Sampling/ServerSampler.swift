// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneRewards
import AttuneTraining
import Foundation

/// An answer of a model behind a server.
struct ServerAnswer: KeyedEntry {
  var key: String
  /// Nil where the server gave none: it can be asked again.
  var text: String?
  /// Where there is no text, why.
  var whyEmpty: String?
  var isCut: Bool
  /// Its length, if the server says so.
  var tokens: Int?

  var isAnswer: Bool { text != nil }
}

/// Answers of a model behind an OpenAI-compatible server. Such a server tells neither token ids nor
/// log-probabilities at the sampling temperature, so its answers are no draws from a known distribution.
struct ServerSampler {
  private struct Key: Encodable {
    var server: String
    var turns: [[String]]
    /// What the turns bring beside words, where they do.
    var fields: [JSONValue]?
    var settings: SampleSettings
    var index: Int
  }

  private let server: ChatServer
  private let settings: SampleSettings

  /// Address and model.
  var name: String { server.name }

  /// Whether a name is a server's address.
  static func isAddress(_ name: String) -> Bool {
    name.hasPrefix("http://") || name.hasPrefix("https://")
  }

  /// The environment variable with the key of the n-th server of a command line, from 0: a key reaches
  /// the server that it is meant for alone.
  static func keyVariable(_ place: Int) -> String {
    "ATTUNE_SERVER_KEY" + (place == 0 ? "" : "_\(place + 1)")
  }

  /// Reaches a server.
  ///
  /// - Parameters:
  ///   - address: Its address, with `#MODEL` behind it where it has several models.
  ///   - settings: The knobs.
  ///   - place: Which server of the command line it is, from 0.
  ///   - transport: Requests at once, and how long the server may be silent.
  init(
    _ address: String, settings: SampleSettings, place: Int, transport: Sampling.Transport
  ) throws {
    let parts = address.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
    let plain = SampleSettings()
    let unread = [
      ("top_k", settings.topK != plain.topK), ("min_p", settings.minP != plain.minP),
      ("repetition_penalty", settings.repetitionPenalty != plain.repetitionPenalty),
      ("sampler", settings.sampler != plain.sampler),
    ]
    if let knob = unread.first(where: \.1)?.0 {
      throw TrainingError(
        .badSetting,
        "\(parts[0]): \(knob) is set, and OpenAI's protocol has no such setting; leave it out")
    }
    var knobs = JudgeSettings()
    knobs.serverModel = parts.count > 1 ? String(parts[1]) : ""
    knobs.keyVariable = Self.keyVariable(place)
    knobs.parallel = transport.parallel
    knobs.timeout = transport.timeout
    try knobs.validate()
    server = try ChatServer(
      String(parts[0]), settings: knobs, modelOption: "\(parts[0])#MODEL",
      timeoutOption: "--timeout SECONDS")
    self.settings = settings
  }

  /// Asks for answers to conversations.
  ///
  /// - Parameters:
  ///   - conversations: Each ends in a turn of the user or of a tool, or in one of the assistant that
  ///     the server is to go on with.
  ///   - log: What was answered before, and where answers are kept.
  ///   - style: Where progress goes.
  /// - Returns: For each conversation its answers.
  func answers(
    _ conversations: [[Message]], log: AnswerLog<ServerAnswer>, style: ProgressLine.Style
  ) throws -> [[ServerAnswer]] {
    let keys = try conversations.map { conversation in
      try (0..<settings.n).map { index in
        try Fingerprint.of(
          value: Key(
            server: name, turns: conversation.map { [$0.role, $0.content] },
            fields: conversation.contains { !$0.fields.isEmpty }
              ? conversation.map { .object($0.fields) } : nil,
            settings: settings, index: index))
      }
    }
    var asked: Set<String> = []
    var calls: [ChatServer.Call] = []
    for (place, conversation) in conversations.enumerated() {
      for index in 0..<settings.n
      where log[keys[place][index]] == nil && asked.insert(keys[place][index]).inserted {
        calls.append(
          ChatServer.Call(place: place, kind: index, body: body(conversation, index)))
      }
    }
    var progress = ProgressLine(
      "sample", total: calls.count, unit: "answers", style: style)
    var done = 0
    try server.send(calls) { call, reply in
      try log.keep(try answer(reply, key: keys[call.place][call.kind]))
      done += 1
      progress.update(done)
      return []
    }
    return keys.map { $0.compactMap { log[$0] } }
  }

  private func body(_ conversation: [Message], _ index: Int) -> JSONValue {
    var fields: [JSONValue.Field] = [
      .init("max_tokens", .int(settings.maxTokens)),
      .init("temperature", .double(settings.temperature)),
      .init("seed", .int(Int(settings.seed & 0xffff) * 1000 + index)),
    ]
    if settings.topP != 1 { fields.append(.init("top_p", .double(settings.topP))) }
    if !settings.stop.isEmpty {
      fields.append(.init("stop", .array(settings.stop.map { .string($0) })))
    }
    if let tools = conversation.tools { fields.append(.init("tools", tools)) }
    return server.body(conversation, fields)
  }

  private func answer(_ reply: ChatServer.Reply, key: String) throws -> ServerAnswer {
    let said = try server.completion(reply)
    return ServerAnswer(
      key: key, text: said.text, whyEmpty: said.text == nil ? said.whyEmpty : nil,
      isCut: !said.isWhole, tokens: said.tokens)
  }
}
