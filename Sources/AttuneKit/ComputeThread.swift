// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Foundation
import Synchronization

/// The one thread on which all sessions compute.
///
/// An engine's models have one owner on one thread, and passes of a process do not overlap (the pool of
/// threads behind them is one). A thread of its own keeps them off the main actor and off Swift's pool,
/// which would stand still while a model trains.
final class ComputeThread: SerialExecutor {
  static let shared = ComputeThread()

  private let jobs = Mutex<[UnownedJob]>([])
  private let waiting = DispatchSemaphore(value: 0)

  private init() {
    let thread = Thread { [self] in
      while true {
        waiting.wait()
        let job = jobs.withLock { $0.removeFirst() }
        job.runSynchronously(on: asUnownedSerialExecutor())
      }
    }
    thread.stackSize = 8 << 20
    thread.start()
  }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    jobs.withLock { $0.append(job) }
    waiting.signal()
  }
}
