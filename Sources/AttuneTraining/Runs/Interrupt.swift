// SPDX-License-Identifier: Apache-2.0

import AttuneCollective

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// Ctrl-C, `kill` and cancelled tasks: the trainers look at this between steps, write a checkpoint and end.
public enum Interrupt {
  /// Takes SIGINT and SIGTERM over: the first one asks for a clean end, a second one of either ends
  /// the process at once, wherever it is. A limit on the size of files is an error of the write
  /// that meets it, not the end.
  public static func install() {
    // Who started this process may have blocked them, as threads of libdispatch do.
    var signals = sigset_t()
    sigemptyset(&signals)
    for number in [SIGINT, SIGTERM] { sigaddset(&signals, number) }
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    for number in [SIGINT, SIGTERM] {
      signal(number) { _ in
        Stop.ask()
        signal(SIGINT, SIG_DFL)
        signal(SIGTERM, SIG_DFL)
      }
    }
    signal(SIGXFSZ, SIG_IGN)
  }

  /// Whether a clean end was asked for: by a signal, or by cancelling the task that asks.
  public static var isRequested: Bool { Stop.isRequested || Task.isCancelled }
}
