// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneFiles
import AttuneTraining
package import Foundation

/// What a model once said, with what tells its question from all others.
package protocol KeyedEntry: Codable {
  /// The digest of the question.
  var key: String { get }
  /// Whether it is an answer that another run can take. What could not be read is none: the server may
  /// be mended by then.
  var isAnswer: Bool { get }
}

/// Answers that were dear to get, in a file that they are appended to as they come: a run that is killed
/// has lost at most those that were on their way.
package final class AnswerLog<Entry: KeyedEntry> {
  private var known: [String: Entry] = [:]
  private var file: FileHandle?
  private let url: URL?

  /// Reads what was answered before.
  ///
  /// - Parameter url: The file of answers; nil remembers for as long as this lives.
  /// - Throws: `TrainingError.file` if it can't be read or written.
  package init(_ url: URL?) throws {
    self.url = url
    guard let url else { return }
    var length = 0
    if let data = try? Data(contentsOf: url) {
      // A line that a kill cut in two is dropped; the file goes on before it.
      for line in data.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
        guard line.endIndex < data.endIndex,
          let entry = try? JSONDecoder().decode(Entry.self, from: line)
        else { break }
        if entry.isAnswer { known[entry.key] = entry }
        length = data.distance(from: data.startIndex, to: line.endIndex) + 1
      }
      guard length == data.count || data[length...].firstIndex(of: UInt8(ascii: "\n")) == nil else {
        throw TrainingError(
          .badOutput,
          "\(url.path): is no file of a model's answers; give another one, or remove it")
      }
    }
    try Collective.current.first { file = try Self.open(url, keeping: length) }
  }

  private static func open(_ url: URL, keeping length: Int) throws -> FileHandle {
    guard
      FileManager.default.fileExists(atPath: url.path)
        || FileManager.default.createFile(atPath: url.path, contents: nil)
    else { throw TrainingError(.file, "\(url.path): can't be written") }
    do {
      let handle = try FileHandle(forWritingTo: url)
      try handle.truncate(atOffset: UInt64(length))
      return handle
    } catch {
      throw TrainingError(.file, "\(url.path): can't be written: \(reason(error))")
    }
  }

  deinit { try? file?.close() }

  /// What was said; nil where it was not asked.
  package subscript(key: String) -> Entry? { known[key] }

  /// Adds answers, on the disk too if they are some: all of them in one write.
  package func keep(_ entries: Entry...) throws { try keep(entries) }

  /// The same of a list.
  package func keep(_ entries: [Entry]) throws {
    for entry in entries { known[entry.key] = entry }
    let answers = entries.filter(\.isAnswer)
    guard !answers.isEmpty, let file, let url else { return }
    do {
      let lines = try answers.map { try JSONEncoder().encode($0) + Data("\n".utf8) }
      try file.seekToEnd()
      try file.write(contentsOf: Data(lines.joined()))
    } catch {
      throw TrainingError(.file, "\(url.path): can't be written: \(reason(error))")
    }
  }
}
