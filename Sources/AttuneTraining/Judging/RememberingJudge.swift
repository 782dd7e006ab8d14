// SPDX-License-Identifier: Apache-2.0

import AttuneData
import Foundation

/// A judge that remembers what it was asked: no question is put to it twice, also by a later run.
///
/// Answers are appended to a file as they come, so a run that is killed has lost at most those that
/// were on their way. The key of an answer is the digest of the judge's identity and of every word it
/// read, never of anything secret.
final class RememberingJudge {
  private struct Entry: Codable {
    var key: String
    var choice: JudgeChoice?
    var text: String?
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
  private var known: [String: Entry] = [:]
  private var file: FileHandle?
  private let url: URL?

  /// Reads what was answered before.
  ///
  /// - Parameters:
  ///   - model: The judge.
  ///   - url: The file of answers; nil remembers for as long as this lives.
  /// - Throws: `TrainingError.file` if it can't be read or written.
  init(_ model: any JudgeModel, url: URL?) throws {
    self.model = model
    self.url = url
    guard let url else { return }
    var length = 0
    if let data = try? Data(contentsOf: url) {
      // A line that a kill cut in two is dropped; the file goes on before it.
      for line in data.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
        guard line.endIndex < data.endIndex,
          let entry = try? JSONDecoder().decode(Entry.self, from: line)
        else { break }
        known[entry.key] = entry
        length = data.distance(from: data.startIndex, to: line.endIndex) + 1
      }
      guard length == data.count || data[length...].firstIndex(of: UInt8(ascii: "\n")) == nil else {
        throw TrainingError(
          .badOutput,
          "\(url.path): is no file of a judge's answers; give another one, or remove it")
      }
    } else if !FileManager.default.createFile(atPath: url.path, contents: nil) {
      throw TrainingError(.file, "\(url.path): can't be written")
    }
    do {
      let handle = try FileHandle(forWritingTo: url)
      try handle.truncate(atOffset: UInt64(length))
      file = handle
    } catch {
      throw TrainingError(.file, "\(url.path): can't be written: \(reason(error))")
    }
  }

  deinit { try? file?.close() }

  /// The judge's choices, in the order of the questions.
  func choose(_ questions: [JudgeQuestion], progress: @escaping (Int) -> Void = { _ in }) throws
    -> [JudgeChoice]
  {
    let keys = try questions.map {
      try key($0.askingForOption, options: $0.options + [$0.lead], maxTokens: 0)
    }
    try answer(keys, progress: progress) { places, told in
      try model.choose(places.map { questions[$0] }) {
        try told($0, Entry(key: "", choice: $1, text: nil))
      }
    }
    return keys.map { known[$0]?.choice ?? JudgeChoice(probabilities: nil) }
  }

  /// The judge's continuations, in the order of the conversations.
  func write(
    _ conversations: [[Message]], maxTokens: Int, progress: @escaping (Int) -> Void = { _ in }
  ) throws -> [String] {
    let keys = try conversations.map { try key($0, options: [], maxTokens: maxTokens) }
    try answer(keys, progress: progress) { places, told in
      try model.write(places.map { conversations[$0] }, maxTokens: maxTokens) {
        try told($0, Entry(key: "", choice: nil, text: $1))
      }
    }
    return keys.map { known[$0]?.text ?? "" }
  }

  private func answer(
    _ keys: [String], progress: @escaping (Int) -> Void,
    ask: ([Int], (Int, Entry) throws -> Void) throws -> Void
  ) throws {
    var seen: Set<String> = []
    let missing = keys.indices.filter { known[keys[$0]] == nil && seen.insert(keys[$0]).inserted }
    remembered += keys.count - missing.count
    var done = keys.count - missing.count
    progress(done)
    guard !missing.isEmpty else { return }
    try ask(missing) { place, entry in
      var entry = entry
      entry.key = keys[missing[place]]
      known[entry.key] = entry
      asked += 1
      try keep(entry)
      done += 1
      progress(done)
    }
  }

  private func keep(_ entry: Entry) throws {
    guard let file, let url else { return }
    do {
      let line = try JSONEncoder().encode(entry) + Data("\n".utf8)
      try file.seekToEnd()
      try file.write(contentsOf: line)
    } catch {
      throw TrainingError(.file, "\(url.path): can't be written: \(reason(error))")
    }
  }

  private func key(_ messages: [Message], options: [String], maxTokens: Int) throws -> String {
    try Fingerprint.of(
      value: Key(
        judge: model.identity, turns: messages.map { [$0.role, $0.content] }, options: options,
        maxTokens: maxTokens))
  }
}
