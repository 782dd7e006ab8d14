// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A server that runs.
final class Served: Sendable {
  struct Failure: Error { let message: String }

  private let process = Process()
  private let outputFile: URL
  private let errorFile: URL

  /// Starts it.
  ///
  /// - Parameters:
  ///   - arguments: After the program's name.
  ///   - folder: The working folder.
  ///   - files: How many files and connections the system lets it have open.
  init(_ arguments: [String], in folder: URL, files: Int? = nil) throws {
    outputFile = folder.appending(path: "out-\(UUID().uuidString)")
    errorFile = folder.appending(path: "err-\(UUID().uuidString)")
    for file in [outputFile, errorFile] { try Data().write(to: file) }
    if let files {
      process.executableURL = URL(filePath: "/bin/sh")
      process.arguments =
        ["-c", "ulimit -n \(files) && exec \"$0\" \"$@\"", CommandRun.program.path] + arguments
    } else {
      process.executableURL = CommandRun.program
      process.arguments = arguments
    }
    process.currentDirectoryURL = folder
    process.standardOutput = try FileHandle(forWritingTo: outputFile)
    process.standardError = try FileHandle(forWritingTo: errorFile)
    process.standardInput = FileHandle.nullDevice
    try process.run()
  }

  deinit { if process.isRunning { kill() } }

  var number: Int32 { process.processIdentifier }

  var errors: String { (try? String(contentsOf: errorFile, encoding: .utf8)) ?? "" }

  private var addresses: [String] {
    errors.matches(of: /http:\/\/127\.0\.0\.1:\d+\//).map { String($0.output) }
  }

  /// Where it listens by now; empty as long as it does not.
  var url: String { addresses.last ?? "" }

  /// Waits until it listens.
  ///
  /// - Parameters:
  ///   - times: How often it has begun to.
  ///   - seconds: How long that may take.
  func listens(times: Int = 1, seconds: Double = 60) async throws {
    for _ in 0..<Int(seconds * 50) where addresses.count < times && process.isRunning {
      try await Task.sleep(for: .milliseconds(20))
    }
    guard addresses.count >= times else { throw Failure(message: errors) }
  }

  /// Ends it as a power cut would.
  func kill() {
    Foundation.kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
  }

  /// Waits until it ends by itself.
  ///
  /// - Returns: Its exit code; 128 + the signal's number for a crash.
  func end() -> Int32 {
    process.waitUntilExit()
    return process.terminationStatus + (process.terminationReason == .uncaughtSignal ? 128 : 0)
  }

  /// Ends it by Ctrl-C.
  ///
  /// - Returns: Its exit code.
  func interrupt() throws -> Int32 {
    process.interrupt()
    process.waitUntilExit()
    guard process.terminationReason == .exit else { throw Failure(message: errors) }
    return process.terminationStatus
  }

  func object() throws -> [String: Any] {
    try JSONSerialization.jsonObject(with: Data(contentsOf: outputFile)) as? [String: Any] ?? [:]
  }
}
