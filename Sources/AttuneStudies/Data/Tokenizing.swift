// SPDX-License-Identifier: Apache-2.0

public import AttuneData
import AttuneFiles
import AttuneRewards
import AttuneTraining
public import Foundation

/// The lines of a text file as token ids.
public enum Tokenizing {
  /// Every line of a file as token ids: split at `\n` alone, no special token added, the text of
  /// special tokens parsed as Hugging Face does.
  ///
  /// - Parameters:
  ///   - tokenizer: The tokenizer.
  ///   - file: Text in UTF-8.
  ///   - line: Given the ids of each line.
  /// - Throws: An error if the file can't be read or is empty, and whatever `line` throws.
  public static func lines(
    _ tokenizer: Tokenizer, of file: URL, _ line: ([Int32]) throws -> Void
  ) throws {
    var parts = try bytes(of: file).split(separator: 0x0A, omittingEmptySubsequences: false)
    // What follows the last line's end is no line.
    if parts.last?.isEmpty == true { parts.removeLast() }
    for part in parts {
      try line(tokenizer.encode(String(decoding: part, as: UTF8.self), parsingSpecialTokens: true))
    }
  }

  /// A whole file as token ids, no special token added or parsed.
  ///
  /// - Parameters:
  ///   - tokenizer: The tokenizer.
  ///   - file: Text in UTF-8.
  /// - Throws: `TrainingError` if the file can't be read or is empty.
  public static func text(_ tokenizer: Tokenizer, of file: URL) throws -> [Int32] {
    tokenizer.encode(String(decoding: try bytes(of: file), as: UTF8.self))
  }

  private static func bytes(of file: URL) throws -> Data {
    let data: Data
    do {
      data = try Data(contentsOf: file)
    } catch {
      throw TrainingError(.file, "\(file.path): can't be read: \(reason(error))")
    }
    guard !data.isEmpty else { throw TrainingError(.badData, "\(file.path): the file is empty") }
    return data
  }
}

/// All lines of a file as ids: the object of `tokenize --json`.
public struct TokenizedLines: Codable, Sendable, Equatable {
  /// Version of this object's format.
  public var formatVersion = 1
  /// The ids of each line.
  public var lines: [[Int32]]

  /// Makes the object.
  public init(lines: [[Int32]]) { self.lines = lines }
}
