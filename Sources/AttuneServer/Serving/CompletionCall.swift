// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneStore
import HTTPTypes

/// A request for completions as it came: what is wanted of a model, and how it is to be told.
struct CompletionCall {
  /// Which of the two interfaces it came by.
  enum Kind { case chat, text }

  let kind: Kind
  var request: GenerationRequest
  /// Whether the answer comes as it is drawn.
  var streams = false
  /// Whether a stream ends with the usage.
  var tellsUsage = false
  /// Whether it is kept to be rated; nil: it is where there is a store.
  var keeps: Bool?
  /// Who asks, as the client says it.
  var user: String?

  /// Longest list of stop texts, and most tokens that are listed at a place.
  private static let (mostStops, mostListed) = (16, 20)

  /// Reads a request.
  ///
  /// - Parameter most: Most answers that it may ask for.
  /// - Throws: `APIError` that names the field at fault.
  init(_ kind: Kind, _ json: JSONValue, most: Int) throws {
    self.kind = kind
    var fields = try RequestFields(json)
    guard let model = try fields.string("model", upTo: 400) else {
      throw APIError.bad("model", "model is missing: name one of /v1/models")
    }
    let inputs = try kind == .chat ? Self.messages(&fields) : Self.prompts(&fields)
    let seed = try fields.whole("seed", .min ... .max)
    request = GenerationRequest(
      model: model, inputs: inputs,
      seed: seed.map { UInt64(bitPattern: Int64($0)) } ?? .random(in: 0 ... .max))
    request.n = try fields.whole("n", 1...most) ?? 1
    guard request.count <= most else {
      throw fields.bad("n", "and the prompts ask for \(request.count) answers: at most \(most)")
    }
    let tokens = try fields.whole("max_tokens", 1 ... .max)
    request.maxTokens = tokens ?? (kind == .text ? 16 : nil)
    request.temperature = try fields.number("temperature", 0...100) ?? 1
    request.topP = try fields.number("top_p", Double.leastNonzeroMagnitude...1) ?? 1
    request.topK = try fields.whole("top_k", -1 ... .max).map { max(0, $0) } ?? 0
    request.minP = try fields.number("min_p", 0...1) ?? 0
    request.repetitionPenalty = try fields.number("repetition_penalty", 0.01...100) ?? 1
    request.stop = try fields.texts("stop", most: Self.mostStops)
    streams = try fields.flag("stream") ?? false
    try readStreamOptions(&fields)
    keeps = try fields.flag("store")
    user = try fields.string("user", upTo: 256)
    request.compares = try fields.flag("compare") ?? false
    switch kind {
    case .chat: try readChat(&fields, tokens)
    case .text: try readText(&fields)
    }
    try Self.refuseOthers(&fields)
    try fields.end()
  }

  private mutating func readStreamOptions(_ fields: inout RequestFields) throws {
    guard let value = fields.take("stream_options") else { return }
    guard streams else { throw fields.bad("stream_options", "is of use with stream alone") }
    var options = try RequestFields(value, in: "stream_options.")
    tellsUsage = try options.flag("include_usage") ?? false
    try options.end()
  }

  private mutating func readChat(_ fields: inout RequestFields, _ tokens: Int?) throws {
    if let most = try fields.whole("max_completion_tokens", 1 ... .max) {
      guard tokens == nil || tokens == most else {
        throw fields.bad("max_completion_tokens", "and max_tokens say different numbers")
      }
      request.maxTokens = most
    }
    let listed = try fields.whole("top_logprobs", 0...Self.mostListed)
    let wants = try fields.flag("logprobs") ?? false
    guard listed == nil || wants else {
      throw fields.bad("top_logprobs", "is of use with logprobs alone: set that to true")
    }
    if wants { request.listed = listed ?? 0 }
    try fields.refuse("tools", unless: [.array([])], "no tools are called")
    try fields.refuse("tool_choice", unless: [.string("none")], "no tools are called")
    try fields.refuse(
      "response_format", unless: [.object([.init("type", .string("text"))])],
      "answers are drawn without a grammar")
    try fields.refuse(
      "modalities", unless: [.array([.string("text")])], "models read and write text alone")
  }

  private mutating func readText(_ fields: inout RequestFields) throws {
    request.listed = try fields.whole("logprobs", 0...Self.mostListed)
    request.echo = try fields.flag("echo") ?? false
    try fields.refuse(
      "best_of", unless: [.int(request.n)], "every answer that is drawn is given")
    try fields.refuse("suffix", unless: [], "models go on at a text's end")
  }

  /// Fields of OpenAI's that say something only with other values than these.
  private static func refuseOthers(_ fields: inout RequestFields) throws {
    let penalty = "of penalties there is repetition_penalty"
    try fields.refuse("frequency_penalty", unless: [.int(0)], penalty)
    try fields.refuse("presence_penalty", unless: [.int(0)], penalty)
    try fields.refuse("logit_bias", unless: [.object([])], "logits are the model's own")
    try fields.refuse(
      "service_tier", unless: [.string("auto"), .string("default")], "there is one queue for all")
  }

  // MARK: Prompts

  private static func messages(_ fields: inout RequestFields) throws -> [GenerationRequest.Input] {
    guard let value = fields.take("messages") else {
      throw APIError.bad("messages", "messages is missing")
    }
    guard case .array = value else { throw fields.bad("messages", "must be a list of messages") }
    do {
      return [
        .content(try Content(value, name: "messages", at: DataPlace(file: "the request", line: 1)))
      ]
    } catch let error as DataError {
      throw APIError.bad("messages", error.message.replacing("the request:1: ", with: ""))
    }
  }

  private static func prompts(_ fields: inout RequestFields) throws -> [GenerationRequest.Input] {
    guard let value = fields.take("prompt") else {
      throw APIError.bad("prompt", "prompt is missing")
    }
    func ids(_ value: JSONValue) -> [Int32]? {
      guard let all = value.asArray, !all.isEmpty else { return nil }
      let ids = all.compactMap { $0.asInt.flatMap { Int32(exactly: $0) } }
      return ids.count == all.count ? ids : nil
    }
    func one(_ value: JSONValue) -> GenerationRequest.Input? {
      value.asString.map { .content(.text($0)) } ?? ids(value).map { .ids($0) }
    }
    if let single = one(value) { return [single] }
    let all = (value.asArray ?? []).compactMap(one)
    guard !all.isEmpty, all.count == value.asArray?.count else {
      throw fields.bad(
        "prompt", "must be a text, token ids, or a list of texts or of lists of token ids")
    }
    return all
  }
}
