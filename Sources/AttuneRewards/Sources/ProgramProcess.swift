// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneTraining
import Foundation

/// A program that runs beside this one and talks with it in lines.
///
/// Reading and writing are done by turns on the calling thread, whichever can go on, so that no side
/// ever waits for the other with full pipes. The program is the head of a process group of its own:
/// Ctrl-C at the terminal does not reach it in the middle of a batch, and what it started ends with
/// it. Where this process is killed, the program finds its input at an end.
final class ProgramProcess {
  /// Whether its output is at an end: it has died, or will answer nothing more.
  private(set) var isOver = false
  private var process: pid_t = 0
  private var input: Int32 = -1
  private var output: Int32 = -1
  private var errors: Int32 = -1
  /// What is still to be written, from `written` on.
  private var pending: [UInt8] = []
  private var written = 0
  private var unread = LineBuffer()
  private var unshown = LineBuffer()
  private var lastError = ""
  private let show: (String) -> Void

  /// Starts a command.
  ///
  /// - Parameters:
  ///   - command: What `/bin/sh -c` runs.
  ///   - show: Given every line of its standard error.
  /// - Throws: `TrainingError.unavailable` if there can be no further process.
  init(_ command: String, show: @escaping (String) -> Void) throws {
    self.show = show
    let (theirInput, ours) = try Self.pipe()
    input = ours
    var theirs = [theirInput]
    defer { for descriptor in theirs { close(descriptor) } }
    do {
      let (fromOutput, theirOutput) = try Self.pipe()
      output = fromOutput
      theirs.append(theirOutput)
      let (fromErrors, theirErrors) = try Self.pipe()
      errors = fromErrors
      theirs.append(theirErrors)
      process = try Self.spawn(command, streams: theirs)
    } catch {
      closeAll()
      throw error
    }
    for descriptor in [input, output, errors] {
      _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    }
    #if canImport(Darwin)
      _ = fcntl(input, F_SETNOSIGPIPE, 1)
    #endif
  }

  deinit { stop() }

  /// Puts lines into the queue of what is written.
  func send(_ lines: ArraySlice<String>) {
    pending.removeFirst(written)
    written = 0
    for line in lines {
      pending += Array(line.utf8)
      pending.append(UInt8(ascii: "\n"))
    }
  }

  /// Whether it said something without ending the line.
  var hasUnendedLine: Bool { !unread.rest.isEmpty }

  /// Ends its input, which asks it to end.
  func endInput() {
    guard input >= 0 else { return }
    close(input)
    input = -1
    pending = []
    written = 0
  }

  /// Writes and reads whatever can be, and waits for the first chance to.
  ///
  /// - Parameter time: How long to wait at most.
  /// - Returns: The whole lines that came, without line ends.
  /// - Throws: `TrainingError` for a line that never ends.
  func exchange(for time: Duration) throws -> [[UInt8]] {
    guard !isOver else { return [] }
    let wait =
      Int32(clamping: time.components.seconds * 1000)
      &+ Int32(
        time.components.attoseconds / 1_000_000_000_000_000)
    var polled = [
      pollfd(fd: output, events: Int16(POLLIN), revents: 0),
      pollfd(fd: errors, events: Int16(POLLIN), revents: 0),
      pollfd(fd: written < pending.count ? input : -1, events: Int16(POLLOUT), revents: 0),
    ]
    guard poll(&polled, nfds_t(polled.count), wait) > 0 else { return [] }
    if polled[2].revents != 0 { write() }
    if polled[1].revents != 0 { readErrors() }
    guard polled[0].revents != 0 else { return [] }
    var lines: [[UInt8]] = []
    isOver = !Self.read(output) { lines += self.unread.lines($0) }
    guard unread.rest.count < 1 << 20 else {
      throw TrainingError(.badData, "a program's line does not end within 1 MB")
    }
    return lines
  }

  /// Ends it: by the end of its input, then, a second later each, by SIGTERM and SIGKILL.
  ///
  /// - Parameter patiently: Whether it is given that time to end by itself.
  /// - Returns: How it ended, to be put after its name.
  @discardableResult
  package func stop(patiently: Bool = true) -> String {
    guard process > 0 else { return "has ended" }
    isOver = true
    endInput()
    close(output)
    output = -1
    if !(patiently && hasEnded(within: .seconds(1))) {
      kill(-process, SIGTERM)
      _ = hasEnded(within: .seconds(1))
    }
    // Its head has ended, or has to now; what is left of its group goes with it.
    kill(-process, SIGKILL)
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0, errno == EINTR {}
    process = 0
    readErrors()
    closeAll()
    let signal = status & 0x7F
    let how =
      signal == 0 ? "ended with status \(status >> 8 & 0xFF)" : "was ended by signal \(signal)"
    return lastError.isEmpty ? how : "\(how) (\(lastError))"
  }

  // MARK: Parts

  /// Waits for the head of the group, leaving its status to be read.
  private func hasEnded(within time: Duration) -> Bool {
    let deadline = ContinuousClock.now + time
    while true {
      var info = siginfo_t()
      if waitid(P_PID, id_t(process), &info, WEXITED | WNOHANG | WNOWAIT) < 0, errno != EINTR {
        return true
      }
      if info.si_signo == SIGCHLD { return true }
      guard ContinuousClock.now < deadline else { return false }
      // A full pipe would keep it from ending.
      readErrors()
      usleep(5000)
    }
  }

  private func write() {
    while written < pending.count {
      let (count, error) = pending.withUnsafeBytes { bytes in
        Self.writeWithoutSignal(
          input, UnsafeRawBufferPointer(rebasing: bytes[written...]))
      }
      if count > 0 {
        written += count
      } else if error != EINTR {
        // Who reads no more may still have said something: the end of the output tells.
        if error != EAGAIN { written = pending.count }
        return
      }
    }
  }

  private func readErrors() {
    guard errors >= 0 else { return }
    var lines: [[UInt8]] = []
    let goesOn = Self.read(errors) { lines += self.unshown.lines($0) }
    if !goesOn {
      if !unshown.rest.isEmpty { lines.append(unshown.rest) }
      unshown = LineBuffer()
      close(errors)
      errors = -1
    }
    for line in lines {
      let text = String(decoding: line, as: UTF8.self)
      if !text.allSatisfy(\.isWhitespace) { lastError = String(text.prefix(200)) }
      show(text)
    }
  }

  private func closeAll() {
    for descriptor in [input, output, errors] where descriptor >= 0 { close(descriptor) }
    (input, output, errors) = (-1, -1, -1)
  }

  /// Reads what is there.
  ///
  /// - Returns: Whether more may come.
  private static func read(_ descriptor: Int32, _ take: ([UInt8]) -> Void) -> Bool {
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = Foundation.read(descriptor, &bytes, bytes.count)
      if count > 0 {
        take(Array(bytes[..<count]))
      } else if count == 0 || (errno != EINTR && errno != EAGAIN) {
        return false
      } else if errno == EAGAIN {
        return true
      }
    }
  }

  /// A pipe whose ends no other program inherits.
  private static func pipe() throws -> (read: Int32, write: Int32) {
    var ends: [Int32] = [-1, -1]
    guard Foundation.pipe(&ends) == 0 else {
      throw TrainingError(
        .unavailable, "a program can't be talked to: \(String(cString: strerror(errno)))")
    }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return (ends[0], ends[1])
  }

  /// Starts `/bin/sh -c COMMAND` with these as standard input, output and error.
  private static func spawn(_ command: String, streams: [Int32]) throws -> pid_t {
    #if canImport(Darwin)
      var actions: posix_spawn_file_actions_t?
      var attributes: posix_spawnattr_t?
    #else
      var actions = posix_spawn_file_actions_t()
      var attributes = posix_spawnattr_t()
    #endif
    posix_spawn_file_actions_init(&actions)
    posix_spawnattr_init(&attributes)
    defer {
      posix_spawn_file_actions_destroy(&actions)
      posix_spawnattr_destroy(&attributes)
    }
    for (stream, descriptor) in streams.enumerated() {
      posix_spawn_file_actions_adddup2(&actions, descriptor, Int32(stream))
    }
    var none = sigset_t()
    var usual = sigset_t()
    sigemptyset(&none)
    sigemptyset(&usual)
    for signal in [SIGINT, SIGTERM, SIGPIPE] { sigaddset(&usual, signal) }
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &usual)
    posix_spawnattr_setpgroup(&attributes, 0)
    let flags =
      Int32(POSIX_SPAWN_SETPGROUP) | Int32(POSIX_SPAWN_SETSIGMASK)
      | Int32(POSIX_SPAWN_SETSIGDEF)
    posix_spawnattr_setflags(&attributes, Int16(flags))
    let environment = ProcessInfo.processInfo.environment
      .filter { !Collective.isOfLauncher($0.key) }.map { "\($0.key)=\($0.value)" }
    func copies(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] {
      texts.map { strdup($0) } + [nil]
    }
    var arguments = copies(["sh", "-c", command])
    var variables = copies(environment)
    defer { for text in arguments + variables { free(text) } }
    var process: pid_t = 0
    let failure = posix_spawn(
      &process, "/bin/sh", &actions, &attributes, &arguments, &variables)
    guard failure == 0 else {
      throw TrainingError(
        .unavailable, "/bin/sh can't be run: \(String(cString: strerror(failure)))")
    }
    return process
  }

  /// Writes to a pipe; where nobody reads any more that is an error and no signal, which would end
  /// this process.
  private static func writeWithoutSignal(
    _ descriptor: Int32, _ bytes: UnsafeRawBufferPointer
  ) -> (count: Int, error: Int32) {
    #if canImport(Darwin)
      let count = Foundation.write(descriptor, bytes.baseAddress, bytes.count)
      return (count, errno)
    #else
      var broken = sigset_t()
      var before = sigset_t()
      sigemptyset(&broken)
      sigaddset(&broken, SIGPIPE)
      pthread_sigmask(SIG_BLOCK, &broken, &before)
      let count = Foundation.write(descriptor, bytes.baseAddress, bytes.count)
      let error = errno
      if count < 0, error == EPIPE {
        // The signal waits for this thread; it is taken off before the mask is.
        var now = timespec()
        while sigtimedwait(&broken, nil, &now) < 0, errno == EINTR {}
      }
      pthread_sigmask(SIG_SETMASK, &before, nil)
      return (count, error)
    #endif
  }
}

/// Bytes that come in pieces, as lines.
private struct LineBuffer {
  /// What came after the last line end.
  private(set) var rest: [UInt8] = []

  /// The lines that a further piece completes, without their ends.
  mutating func lines(_ piece: [UInt8]) -> [[UInt8]] {
    var parts = piece.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    guard parts.count > 1 else {
      rest += piece
      return []
    }
    let last = Array(parts.removeLast())
    var lines = parts.map { Array($0) }
    lines[0] = rest + lines[0]
    rest = last
    return lines.map { $0.last == 13 ? Array($0.dropLast()) : $0 }
  }
}
