// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneFiles
import AttuneStore
import Foundation

/// What a completion's client is told, in OpenAI's shape: whole, or a piece at a time.
struct CompletionReply {
  /// Tokens of the prompts and of the answers so far.
  private var usage = (prompt: 0, completion: 0)

  private let call: CompletionCall
  let id: String
  private let created: Int
  private var model = ""
  private var fingerprint = ""
  private var texts: [String]
  private var tokens: [[TokenScore]]
  private var ends: [GenerationEnd?]
  /// Characters of each choice so far, where tokens' places are told.
  private var offsets: [Int]
  private var hasBegun: [Bool]

  init(_ call: CompletionCall) {
    self.call = call
    let random = (0..<12).map { _ in UInt8.random(in: 0 ... .max) }
    id = (call.kind == .chat ? "chatcmpl-" : "cmpl-") + hexadecimal(random)
    created = Int(Date().timeIntervalSince1970)
    let count = call.request.count
    texts = Array(repeating: "", count: count)
    tokens = Array(repeating: [], count: count)
    ends = Array(repeating: nil, count: count)
    offsets = Array(repeating: 0, count: count)
    hasBegun = Array(repeating: false, count: count)
  }

  /// The ends of all answers, once they are there.
  var finished: [GenerationEnd] { ends.compactMap { $0 } }

  /// Takes what has come.
  ///
  /// - Returns: The pieces that a stream is told.
  mutating func take(_ event: GenerationEvent) -> [JSONValue] {
    switch event {
    case .began(let model, let fingerprint, let count):
      (self.model, self.fingerprint) = (model, fingerprint)
      usage.prompt = count
      return []
    case .part(let choice, let text, let more):
      var pieces: [JSONValue] = []
      if call.streams {
        if call.kind == .chat, !hasBegun[choice] {
          pieces.append(piece([delta(choice, [.init("role", .string("assistant"))])]))
        }
        if !text.isEmpty || (call.request.listed != nil && !more.isEmpty) {
          pieces.append(piece([chunk(choice, text, more)]))
        }
      } else {
        texts[choice] += text
        if call.request.listed != nil { tokens[choice] += more }
      }
      hasBegun[choice] = true
      return pieces
    case .ended(let choice, let end):
      ends[choice] = end
      usage.completion += end.tokens
      guard call.streams else { return [] }
      return [piece([last(choice, end.reason)])]
    case .done, .failed: return []
    }
  }

  /// The last piece of a stream whose client asked for it.
  var usagePiece: JSONValue? {
    call.tellsUsage ? .object(head([]) + [.init("usage", usageJSON)]) : nil
  }

  /// The whole answer.
  mutating func whole() -> JSONValue {
    let choices = texts.indices.map { choice -> JSONValue in
      let reason = JSONValue.string(ends[choice]?.reason.rawValue ?? "stop")
      let logprobs = logprobs(choice, tokens[choice])
      guard call.kind == .chat else {
        return .object([
          .init("index", .int(choice)), .init("text", .string(texts[choice])),
          .init("logprobs", logprobs), .init("finish_reason", reason),
        ])
      }
      return .object([
        .init("index", .int(choice)),
        .init(
          "message",
          .object([
            .init("role", .string("assistant")), .init("content", .string(texts[choice])),
            .init("refusal", .null),
          ])),
        .init("logprobs", logprobs), .init("finish_reason", reason),
      ])
    }
    return .object(head(choices) + [.init("usage", usageJSON)])
  }

  // MARK: Parts

  private func head(_ choices: [JSONValue]) -> [JSONValue.Field] {
    let object =
      switch (call.kind, call.streams) {
      case (.chat, true): "chat.completion.chunk"
      case (.chat, false): "chat.completion"
      case (.text, _): "text_completion"
      }
    return [
      .init("id", .string(id)), .init("object", .string(object)), .init("created", .int(created)),
      .init("model", .string(model)), .init("system_fingerprint", .string(fingerprint)),
      .init("choices", .array(choices)),
    ]
  }

  private func piece(_ choices: [JSONValue]) -> JSONValue {
    .object(head(choices) + (call.tellsUsage ? [.init("usage", .null)] : []))
  }

  private var usageJSON: JSONValue {
    .object([
      .init("prompt_tokens", .int(usage.prompt)),
      .init("completion_tokens", .int(usage.completion)),
      .init("total_tokens", .int(usage.prompt + usage.completion)),
    ])
  }

  private func delta(_ choice: Int, _ fields: [JSONValue.Field]) -> JSONValue {
    .object([
      .init("index", .int(choice)), .init("delta", .object(fields)), .init("finish_reason", .null),
    ])
  }

  private mutating func chunk(_ choice: Int, _ text: String, _ more: [TokenScore]) -> JSONValue {
    let logprobs = logprobs(choice, more)
    guard call.kind == .chat else {
      return .object([
        .init("index", .int(choice)), .init("text", .string(text)), .init("logprobs", logprobs),
        .init("finish_reason", .null),
      ])
    }
    return .object([
      .init("index", .int(choice)), .init("delta", .object([.init("content", .string(text))])),
      .init("logprobs", logprobs), .init("finish_reason", .null),
    ])
  }

  private func last(_ choice: Int, _ reason: SampleRow.FinishReason) -> JSONValue {
    let end = JSONValue.Field("finish_reason", .string(reason.rawValue))
    return call.kind == .chat
      ? .object([.init("index", .int(choice)), .init("delta", .object([])), end])
      : .object([.init("index", .int(choice)), .init("text", .string("")), end])
  }

  // MARK: Log-probabilities

  private mutating func logprobs(_ choice: Int, _ tokens: [TokenScore]) -> JSONValue {
    guard let listed = call.request.listed else { return .null }
    return call.kind == .chat
      ? .object([.init("content", .array(tokens.map(Self.chat)))]) : text(choice, tokens, listed)
  }

  private static func chat(_ token: TokenScore) -> JSONValue {
    .object(
      entry(token.entry) + [.init("top_logprobs", .array(token.listed.map { .object(entry($0)) }))])
  }

  private static func entry(_ entry: TokenScore.Entry) -> [JSONValue.Field] {
    [
      .init("token", .string(entry.text)), .init("logprob", .double(entry.logProbability)),
      .init("bytes", .array(entry.bytes.map { .int(Int($0)) })),
    ]
  }

  /// Lists side by side; the likeliest tokens have the token itself among them.
  private mutating func text(_ choice: Int, _ tokens: [TokenScore], _ listed: Int) -> JSONValue {
    var offsets: [JSONValue] = []
    for token in tokens {
      offsets.append(.int(self.offsets[choice]))
      self.offsets[choice] += token.entry.text.count
    }
    let top = tokens.map { token -> JSONValue in
      guard listed > 0, !token.isFirst else { return .null }
      var fields = token.listed.map {
        JSONValue.Field($0.text, .double($0.logProbability))
      }
      if !token.listed.contains(where: { $0.text == token.entry.text }) {
        fields.append(.init(token.entry.text, .double(token.entry.logProbability)))
      }
      return .object(fields)
    }
    return .object([
      .init("tokens", .array(tokens.map { .string($0.entry.text) })),
      .init(
        "token_logprobs",
        .array(tokens.map { $0.isFirst ? .null : .double($0.entry.logProbability) })),
      .init("top_logprobs", listed > 0 ? .array(top) : .null),
      .init("text_offset", .array(offsets)),
    ])
  }
}
