// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneStore
import Foundation
import HTTPTypes

/// What a user says of an answer, as it came: the answer is known by the id of its response.
struct FeedbackCall {
  /// What is said.
  enum Said: Equatable {
    /// Good or bad; nil takes back what was said before.
    case rating(isGood: Bool?)
    /// Which of the response's answers is best; nil: none is better, or none is good enough.
    case preferred(Int?, isBothBad: Bool)
    /// What the answer should have been.
    case edited(String)
  }

  let id: String
  let choice: Int
  let said: Said
  let reason: String
  let user: String?
  let key: String
  let milliseconds: Int?

  /// Reads a request.
  ///
  /// - Throws: `APIError` that names the field at fault.
  init(_ json: JSONValue) throws {
    var fields = try RequestFields(json)
    guard let id = try fields.string("id", upTo: 200) else {
      throw APIError.bad("id", "id is missing: the one that the response carried")
    }
    self.id = id
    let choice = try fields.whole("index", 0 ... .max)
    self.choice = choice ?? 0
    var said: [(field: String, said: Said)] = []
    if let rating = try fields.string("rating", upTo: 20) {
      guard let known = Self.ratings[rating] else {
        throw fields.bad("rating", "must be up, down or none")
      }
      said.append(("rating", .rating(isGood: known)))
    }
    if let value = fields.take("preferred") {
      switch (value.asInt, value.asString) {
      case (let place?, _) where place >= 0:
        said.append(("preferred", .preferred(place, isBothBad: false)))
      case (_, "tie"): said.append(("preferred", .preferred(nil, isBothBad: false)))
      case (_, "both_bad"): said.append(("preferred", .preferred(nil, isBothBad: true)))
      default:
        throw fields.bad("preferred", "must be the index of a choice, tie or both_bad")
      }
    }
    if let text = try fields.string("edited") { said.append(("edited", .edited(text))) }
    guard let first = said.first, said.count == 1 else {
      throw APIError.bad(
        said.last?.field, "say one of rating, preferred and edited in a request")
    }
    self.said = first.said
    if first.field == "preferred", choice != nil {
      throw fields.bad("index", "says nothing beside preferred; leave it out")
    }
    reason = try fields.string("reason", upTo: 16_000) ?? ""
    user = try fields.string("user", upTo: 256)
    key = try fields.string("key", upTo: 200) ?? UUID().uuidString
    milliseconds = try fields.whole("milliseconds", 0...86_400_000)
    try fields.end()
  }

  private static let ratings: [String: Bool?] = ["up": true, "down": false, "none": nil]
}

extension FeedbackStore {
  /// Stores what a user says of a response's answers; by the time that this returns it is on the disk.
  ///
  /// - Parameters:
  ///   - call: What is said.
  ///   - annotator: Who says it.
  /// - Returns: Whether it is new; false for one that was sent before under its key.
  /// - Throws: `APIError` for what makes no sense, `StoreError` if it can't be written.
  func add(_ call: FeedbackCall, by annotator: String) async throws -> Bool {
    let given = try response(call.id)
    guard !given.isEmpty else {
      throw APIError(
        status: .notFound, message: "no response that was kept carried the id \(call.id)",
        field: "id", code: "response_not_found")
    }
    let (time, chosen) = (
      Date().timeIntervalSince1970, given.first { $0.choice == call.choice }
    )
    func submit(_ answers: [Int64], _ verdict: Submission.Verdict) async throws -> Bool {
      try await self.submit(
        Submission(
          key: call.key, annotator: annotator, prompt: (chosen ?? given[0]).prompt,
          answers: answers,
          verdict: verdict, reason: call.reason, time: time, milliseconds: call.milliseconds,
          supersedes: try standingJudgement(
            of: answers, by: annotator, isThumb: answers.count == 1))
      ).isNew
    }
    func choice() throws -> GivenAnswer {
      guard let chosen else {
        throw APIError.bad("index", "the response has no choice \(call.choice)")
      }
      return chosen
    }
    switch call.said {
    case .rating(let isGood?):
      return try await submit([try choice().answer.number], .thumb(isGood: isGood))
    case .rating(nil):
      guard
        let number = try standingJudgement(
          of: [try choice().answer.number], by: annotator, isThumb: true)
      else { return false }
      return try await withdraw(
        number, isThumb: true, annotator: annotator, key: call.key, time: time
      ).isNew
    case .preferred(let best, let isBothBad):
      guard Set(given.map(\.prompt)).count == 1, given.count > 1 else {
        throw APIError.bad(
          "preferred", "the response has no two answers to one prompt: ask for n of 2 or more")
      }
      guard Set(given.map(\.answer.number)).count == given.count else {
        throw APIError.bad("preferred", "the answers are the same: neither is better")
      }
      if let best, !given.contains(where: { $0.choice == best }) {
        throw APIError.bad("preferred", "the response has no choice \(best)")
      }
      let outcome: Comparison.Outcome = isBothBad ? .bothBad : best == nil ? .tie : .preferred
      return try await submit(
        given.map(\.answer.number),
        .comparison(
          outcome, ranks: given.map { best == nil || $0.choice == best ? 1 : 2 }, strength: nil))
    case .edited(let text):
      let answer = try choice()
      guard answer.content.answer(text) != answer.answer.content else {
        throw APIError.bad("edited", "the edited answer is the answer as it was")
      }
      return try await submit(
        [try add(edited: text, to: answer), answer.answer.number],
        .comparison(.preferred, ranks: [1, 2], strength: nil))
    }
  }

  /// An answer that a person wrote in place of a model's.
  private func add(edited text: String, to answer: GivenAnswer) throws -> Int64 {
    let row = SampleRow(
      prompt: answer.content,
      completions: [.init(text: text, ids: nil, logProbability: nil, finishReason: .stop)])
    guard let number = try add([row]).first?.answers.first?.number else {
      throw StoreError(.file, "the edited answer was not stored")
    }
    return number
  }
}
