// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneNative
import AttuneTestSupport
import AttuneTraining
import Foundation
import Synchronization

/// A model of random weights over bytes, small enough for a test.
public func tinyModel(
  seed: UInt64 = 1, width: Int = 32, layers: Int = 2, on engine: NativeEngine? = nil
) throws -> LoadedModel {
  try LoadedModel.random(
    TransformerSpec(
      architecture: .llama, vocabularySize: 259, width: width, layers: layers, heads: 4,
      keyValueHeads: 2, mlpWidth: 2 * width, maximumPositions: 128, tiedHead: true),
    seed: seed, on: engine ?? NativeEngine())
}

/// A table of few tokens, for what a trainer does whatever the model is.
public func tableModel(seed: UInt64 = 1) throws -> LoadedModel {
  let tokenizer = try letters.get()
  return try LoadedModel.random(
    TabularEngine.spec(vocabulary: tokenizer.vocabularySize), tokenizer: tokenizer, seed: seed,
    on: TabularEngine(gain: 8))
}

/// A tokenizer of 41 tokens: letters, digits, what stands between words here, and the end. What a text
/// holds beside them is left out.
private let letters = Result {
  try withTemporaryFolder { folder in
    let tokens = "abcdefghijklmnopqrstuvwxyz0123456789Ġ:.W"
    let ids = tokens.enumerated().map { "\"\($1)\":\($0)" }.joined(separator: ",")
    let words = #""pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}"#
    let end = #""added_tokens":[{"id":\#(tokens.count),"content":"<end>","special":true}]"#
    for (name, json) in [
      ("tokenizer", #"{"model":{"type":"BPE","vocab":{\#(ids)},"merges":[]},\#(words),\#(end)}"#),
      ("tokenizer_config", #"{"bos_token":"<end>","eos_token":"<end>"}"#),
    ] {
      try Data(json.utf8).write(to: folder.appending(path: "\(name).json"))
    }
    return try Tokenizer.load(directory: folder)
  }
}

extension RunOptions {
  /// Silent.
  public static var quiet: RunOptions {
    var options = RunOptions()
    options.progress = .silent
    options.shouldStop = { false }
    return options
  }

  /// Asks for a stop after being asked so many times.
  public static func stopping(after count: Int) -> RunOptions {
    var options = quiet
    let asked = Counter()
    options.shouldStop = { asked.next() >= count }
    return options
  }
}

/// Counts calls.
public final class Counter: Sendable {
  private let count = Atomic<Int>(0)

  /// None yet.
  public init() {}

  /// One more.
  public func next() -> Int { count.add(1, ordering: .relaxed).newValue }
}

extension TemporaryFolder {
  /// A data file of rows given as JSON.
  public func rows(_ name: String, _ rows: [String]) throws -> DataFile {
    try DataFile.read(file(name, rows.joined(separator: "\n") + "\n"))
  }
}
