// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Synchronization

/// A request on its way: told of by the thread that models work on, followed by the one that answers.
public final class GenerationJob: Sendable {
  /// What is wanted.
  public let request: GenerationRequest
  /// What comes of it.
  let events: AsyncStream<GenerationEvent>
  private let continuation: AsyncStream<GenerationEvent>.Continuation
  private let isGone = Mutex(false)

  /// Makes a job.
  package init(_ request: GenerationRequest) {
    self.request = request
    (events, continuation) = AsyncStream.makeStream()
  }

  /// Whether nobody waits for it any more.
  public var isCancelled: Bool { isGone.withLock { $0 } }

  /// Gives it up: the client has gone.
  func cancel() {
    isGone.withLock { $0 = true }
    continuation.finish()
  }

  /// Tells what has come of it.
  public func tell(_ event: GenerationEvent) {
    continuation.yield(event)
    switch event {
    case .failed, .done: continuation.finish()
    case .began, .part, .ended: break
    }
  }
}

/// The requests that wait for a model.
public final class GenerationQueue: Sendable {
  private struct State {
    var waiting: [GenerationJob] = []
    var running = 0
    var isClosed = false
  }

  private let state = Mutex(State())
  private let arrivals = DispatchSemaphore(value: 0)
  private let most: Int

  /// - Parameter most: How many may wait.
  package init(most: Int) { self.most = most }

  /// Puts a request at the end.
  ///
  /// - Returns: False if so many wait already.
  package func add(_ job: GenerationJob) -> Bool {
    let isTaken = state.withLock { state in
      state.waiting.removeAll(where: \.isCancelled)
      guard state.waiting.count < most, !state.isClosed else { return false }
      state.waiting.append(job)
      return true
    }
    if isTaken { arrivals.signal() }
    return isTaken
  }

  /// Takes the first request that somebody still waits for.
  public func take() -> GenerationJob? {
    // What is taken is not waited for.
    _ = arrivals.wait(timeout: .now())
    return state.withLock { state in
      while !state.waiting.isEmpty {
        let job = state.waiting.removeFirst()
        guard !job.isCancelled else { continue }
        return job
      }
      return nil
    }
  }

  /// Waits until a request comes; not to be called on one of the pool's threads.
  ///
  /// - Parameter seconds: No longer than this.
  public func wait(seconds: Double) { _ = arrivals.wait(timeout: .now() + seconds) }

  /// Says how many requests are being answered.
  public func setRunning(_ count: Int) { state.withLock { $0.running = count } }

  /// How many are being answered, and how many wait.
  var counts: (running: Int, waiting: Int) { state.withLock { ($0.running, $0.waiting.count) } }

  /// Takes no further request, and gives up those that wait.
  package func close() {
    let left = state.withLock { state in
      state.isClosed = true
      defer { state.waiting = [] }
      return state.waiting
    }
    for job in left { job.tell(.failed(.init(.server, "the server is being stopped"))) }
  }
}
