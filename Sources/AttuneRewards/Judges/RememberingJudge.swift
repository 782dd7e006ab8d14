// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneData
import AttuneTraining
import Foundation

/// A judge that remembers what it was asked: no question is put to it twice, also by a later run.
///
/// Answers are appended to a file as they come, so a run that is killed has lost at most those that
/// were on their way. The key of an answer is the digest of the judge's identity and of every word it
/// read, never of anything secret. An answer that could not be read is not kept: it is asked for again.
final class RememberingJudge {
  private struct Entry: KeyedEntry {
    var key: String
    var choice: JudgeChoice?
    var text: String?

    var isAnswer: Bool { choice?.isRead == true || text?.isEmpty == false }
  }

  private struct Told: Codable {
    var place: Int
    var entry: Entry
  }

  private struct Key: Encodable {
    var judge: String
    var turns: [[String]]
    var options: [String]
    var maxTokens: Int
  }

  let model: any JudgeModel
  /// Questions that were put to the model.
  private(set) var asked = 0
  /// Questions that were answered before.
  private(set) var remembered = 0
  /// What was said, or went wrong, where no option could be read; the first time.
  private(set) var unread: String?
  private let url: URL?
  private let keepsWhole: Bool
  private var opened: AnswerLog<Entry>?

  /// Takes a judge.
  ///
  /// - Parameters:
  ///   - model: The judge.
  ///   - url: The file of answers, read when it is first asked; nil remembers for as long as this lives.
  ///   - keepsWhole: Whether a model's answers are kept when all that were asked for together are there.
  ///     How texts are read together decides the last bits of a number: a run that is resumed then asks
  ///     the very questions together that it would have asked.
  init(_ model: any JudgeModel, url: URL?, keepsWhole: Bool = false) {
    self.model = model
    self.url = url
    self.keepsWhole = keepsWhole && model.dealsOut
  }

  /// What was answered so far.
  ///
  /// - Throws: `TrainingError.file` if it can't be read or written.
  private func log() throws -> AnswerLog<Entry> {
    if let opened { return opened }
    let log = try AnswerLog<Entry>(url)
    opened = log
    return log
  }

  /// The judge's choices, in the order of the questions.
  func choose(_ questions: [JudgeQuestion], progress: @escaping (Int) -> Void = { _ in }) throws
    -> [JudgeChoice]
  {
    let keys = try questions.map {
      try key($0.askingForOption, options: $0.options + [$0.lead], maxTokens: 0)
    }
    try answer(keys, progress: progress) { places, told in
      try model.choose(places.map { questions[$0] }) {
        if !$1.isRead, unread == nil { unread = $1.unread }
        try told($0, Entry(key: "", choice: $1, text: nil))
      }
    }
    return try keys.map { try log()[$0]?.choice ?? JudgeChoice(probabilities: nil) }
  }

  /// The judge's continuations, in the order of the conversations.
  func write(
    _ conversations: [[Message]], about subjects: [String?] = [], maxTokens: Int,
    progress: @escaping (Int) -> Void = { _ in }
  ) throws -> [String] {
    let keys = try conversations.map { try key($0, options: [], maxTokens: maxTokens) }
    try answer(keys, progress: progress) { places, told in
      try model.write(
        places.map { conversations[$0] },
        about: subjects.isEmpty ? [] : places.map { subjects[$0] },
        maxTokens: maxTokens
      ) {
        try told($0, Entry(key: "", choice: nil, text: $1))
      }
    }
    return try keys.map { try log()[$0]?.text ?? "" }
  }

  private func answer(
    _ keys: [String], progress: @escaping (Int) -> Void,
    ask: ([Int], (Int, Entry) throws -> Void) throws -> Void
  ) throws {
    let log = try log()
    var seen: Set<String> = []
    let missing = keys.indices.filter { log[keys[$0]] == nil && seen.insert(keys[$0]).inserted }
    remembered += keys.count - missing.count
    var done = keys.count - missing.count
    progress(done)
    guard !missing.isEmpty else { return }
    var held: [Entry] = []
    func keep(_ place: Int, _ entry: Entry) throws {
      var entry = entry
      entry.key = keys[missing[place]]
      asked += 1
      if keepsWhole { held.append(entry) } else { try log.keep(entry) }
      done += 1
      progress(done)
    }
    let ranks = Collective.current
    guard !ranks.isAlone, !model.dealsOut else {
      try ask(missing, keep)
      return try log.keep(held)
    }
    // Of many ranks the first one asks, and the others are told.
    let told = try ranks.first {
      var told: [Told] = []
      try ask(missing) { place, entry in
        told.append(Told(place: place, entry: entry))
        try keep(place, entry)
      }
      return told
    }
    if ranks.rank > 0 { for told in told { try keep(told.place, told.entry) } }
  }

  private func key(_ messages: [Message], options: [String], maxTokens: Int) throws -> String {
    try Fingerprint.of(
      value: Key(
        judge: model.identity, turns: messages.map { [$0.role, $0.content] }, options: options,
        maxTokens: maxTokens))
  }
}
