// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneServer
import AttuneStore
import AttuneTestSupport
import Foundation
import Synchronization

/// A service whose models are a script, a store, and a server of it at a free port, until the test is over.
final class ServiceBench: Sendable {
  let folder: URL
  let service: ModelService
  let server: PageServer
  private let isOver = Mutex(false)
  /// Requests that the script leaves unanswered until they are given up.
  private let held = Mutex<[GenerationJob]>([])

  var store: FeedbackStore {
    get throws { try FeedbackStore(folder.appending(path: "feedback.db")) }
  }

  /// Starts a server.
  ///
  /// - Parameters:
  ///   - key: What has to be shown.
  ///   - origins: Origins whose pages may ask.
  ///   - keeps: Whether there is a store.
  ///   - change: Changes the knobs.
  init(
    key: String? = nil, origins: Set<String> = [], keeps: Bool = true,
    _ change: (inout ServeSettings) -> Void = { _ in }
  ) async throws {
    folder = URL.temporaryDirectory.appending(path: "attune-service-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    var settings = ServeSettings()
    change(&settings)
    service = try ModelService(
      settings,
      store: keeps ? try FeedbackStore(folder.appending(path: "feedback.db")) : nil)
    service.setModels([
      ServedModel(name: "echo", fingerprint: "f-echo", created: 1, context: 64),
      ServedModel(name: "other/one", fingerprint: "f-other", created: 2),
    ])
    var address = PageServer.Address()
    address.token = key
    server = try await PageServer.start(service, at: address, origins: origins)
    Thread.detachNewThread { self.work() }
  }

  /// Whether the script has left so many requests unanswered.
  func holds(_ count: Int) -> Bool { held.withLock { $0.count == count } }

  /// Ends the script and the server.
  func close() async {
    isOver.withLock { $0 = true }
    await server.stop()
    try? FileManager.default.removeItem(at: folder)
  }

  private func work() {
    while !isOver.withLock({ $0 }) {
      service.queue.wait(seconds: 0.02)
      while let job = service.queue.take() { answer(job) }
      let left = held.withLock { jobs in
        jobs.removeAll(where: \.isCancelled)
        return jobs.count
      }
      service.queue.setRunning(left)
    }
  }

  /// Says the last words again, a word at a time and a word more for each choice; "hold" holds the request.
  private func answer(_ job: GenerationJob) {
    let request = job.request
    guard ["echo", "other/one"].contains(request.model) else {
      return job.tell(.failed(.init(.noModel, "there is no model \(request.model)")))
    }
    job.tell(
      .began(model: request.model, fingerprint: "fp_1", promptTokens: 7 * request.inputs.count))
    for choice in 0..<request.count {
      var content: Content?
      var words = "ids"
      if case .content(let given) = request.inputs[choice / request.n] {
        (content, words) = (given, given.lastText)
      }
      if words == "hold" {
        held.withLock { $0.append(job) }
        return
      }
      let answer = words + String(repeating: " again", count: choice)
      for (i, word) in answer.split(separator: " ").enumerated() {
        let text = (i > 0 ? " " : "") + word
        let entry = TokenScore.Entry(text: text, bytes: Array(text.utf8), logProbability: -0.5)
        let other = TokenScore.Entry(text: "?", bytes: [63], logProbability: -2)
        job.tell(
          .part(
            choice: choice, text: text,
            tokens: request.listed == nil ? [] : [TokenScore(entry, listed: [entry, other])]))
      }
      job.tell(
        .ended(
          choice: choice,
          GenerationEnd(
            reason: .stop, tokens: 3, text: answer,
            model: .init(name: "echo@\(choice)", fingerprint: "f-\(choice)"), prompt: content,
            sampling: .object([.init("seed", .number(String(request.seed)))]))))
    }
    job.tell(.done)
  }
}

/// Runs a test's body with a service that is closed behind it.
func withService(
  key: String? = nil, origins: Set<String> = [], keeps: Bool = true,
  _ change: (inout ServeSettings) -> Void = { _ in },
  _ body: (ServiceBench) async throws -> Void
) async throws {
  let bench = try await ServiceBench(key: key, origins: origins, keeps: keeps, change)
  do {
    try await body(bench)
  } catch {
    await bench.close()
    throw error
  }
  await bench.close()
}

extension PageClient {
  /// Asks for an answer to a turn.
  func chat(
    _ words: String, _ more: [String: Any] = [:], headers: [String: String] = [:]
  ) async throws -> Response {
    try await post(
      "v1/chat/completions",
      ["model": "echo", "messages": [["role": "user", "content": words]]].merging(more) { $1 },
      headers: headers)
  }
}

extension PageClient.Response {
  /// What an error of the interface says.
  var failure: (message: String, field: String?, code: String?) {
    let error = object["error"] as? [String: Any] ?? [:]
    return (error["message"] as? String ?? "", error["param"] as? String, error["code"] as? String)
  }

  /// The objects of a stream.
  var events: [[String: Any]] {
    String(decoding: data, as: UTF8.self).split(separator: "\n\n").compactMap {
      (try? JSONSerialization.jsonObject(with: Data($0.dropFirst("data: ".count).utf8)))
        as? [String: Any]
    }
  }

  var choices: [[String: Any]] { object["choices"] as? [[String: Any]] ?? [] }
}
