// SPDX-License-Identifier: Apache-2.0

import AttuneServer
import AttuneStore
import Foundation

/// A folder with samples and a store, and a server of them at a free port, until the test is over.
final class ServerBench: Sendable {
  let folder: URL
  let collector: Collector
  let server: PageServer

  var store: FeedbackStore {
    get throws { try FeedbackStore(folder.appending(path: "feedback.db")) }
  }

  /// Starts a server.
  ///
  /// - Parameters:
  ///   - rows: The lines of a samples file.
  ///   - gold: The lines of a file of gold questions.
  ///   - annotators: Those who may answer; anybody if empty.
  ///   - token: What has to be shown.
  ///   - guidelines: What stands beside the question, as Markdown.
  ///   - change: Changes the knobs.
  init(
    _ rows: [String], gold: [String] = [], annotators: [String] = [], token: String? = nil,
    guidelines: String? = nil, _ change: (inout CollectSettings) -> Void = { _ in }
  ) async throws {
    folder = URL.temporaryDirectory.appending(path: "attune-server-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    var settings = CollectSettings()
    change(&settings)
    let file = folder.appending(path: "samples.jsonl")
    try Data(rows.joined(separator: "\n").utf8).write(to: file)
    let rules = folder.appending(path: "guidelines.md")
    if let guidelines { try Data(guidelines.utf8).write(to: rules) }
    collector = try Collector(
      settings, store: try FeedbackStore(folder.appending(path: "feedback.db")),
      guidelines: guidelines == nil ? nil : rules)
    try collector.addSamples([file])
    if !gold.isEmpty {
      let key = folder.appending(path: "gold.jsonl")
      try Data(gold.joined(separator: "\n").utf8).write(to: key)
      _ = try collector.addGold(key)
    }
    var address = PageServer.Address()
    address.annotators = annotators
    address.token = token
    server = try await PageServer.start(collector, at: address)
  }

  deinit {
    let server = server
    Task.detached { await server.stop() }
    try? FileManager.default.removeItem(at: folder)
  }

  /// A row of samples: texts by a model.
  static func row(_ prompt: String, _ texts: [String], model: String = "base") -> String {
    let completions = texts.map {
      #"{"text":\#(quoted($0)),"ids":[1],"logprob":-1,"finish_reason":"stop"}"#
    }
    return #"{"prompt":\#(quoted(prompt)),"completions":[\#(completions.joined(separator: ","))],"#
      + #""model":{"name":"\#(model)","fingerprint":"f-\#(model)"},"sampling":{"temperature":1}}"#
  }

  /// Prompts with two answers each, one of each model.
  static func rows(_ count: Int) -> [String] {
    (0..<count).flatMap {
      [
        row("prompt \($0)", ["an answer \($0) of the first"], model: "secret-one"),
        row("prompt \($0)", ["another \($0) of the second"], model: "secret-two"),
      ]
    }
  }

  private static func quoted(_ text: String) -> String {
    String(decoding: (try? JSONEncoder().encode(text)) ?? Data(), as: UTF8.self)
  }
}
