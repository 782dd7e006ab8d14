// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// What the machine does not have is an error with the numbers, at once.
@Suite(.serialized)
struct LimitTests {
  private static let sft =
    "sft --model model --data texts.jsonl --threads 2 --set max_steps=1 --output out"

  /// What a command came to under a limit of the shell.
  private func run(
    _ bench: Workbench, _ limit: String, _ line: String
  ) throws -> (code: Int32, failure: String) {
    let process = Process()
    process.executableURL = URL(filePath: "/bin/sh")
    process.arguments =
      ["-c", "ulimit \(limit); exec \"$0\" \"$@\"", CommandRun.program.path]
      + line.split(separator: " ").map(String.init)
    process.currentDirectoryURL = bench.folder
    let errors = Pipe()
    process.standardError = errors
    process.standardOutput = FileHandle.nullDevice
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    let isCrash = process.terminationReason == .uncaughtSignal
    return (
      process.terminationStatus + (isCrash ? 128 : 0),
      text.split(separator: "\n").last.map(String.init) ?? ""
    )
  }

  /// OpenBLAS would try for ever to map its buffers.
  @Test(.timeLimit(.minutes(1))) func `too little address space is told with the numbers`() throws {
    let bench = try Workbench()
    let (code, failure) = try run(bench, "-v 300000", Self.sft)
    #expect(code == 1, "\(failure)")
    #expect(
      failure.hasPrefix("error: 256 MB for the matrix products of 2 threads can't be had: "),
      "\(failure)")
    #expect(failure.contains(#/ulimit -v allows 292 MB, of which [1-9]/#), "\(failure)")
    #expect(!bench.exists("out"))
  }

  @Test func `a limit on the size of files is an error of the write`() throws {
    let bench = try Workbench()
    let (code, failure) = try run(bench, "-f 16", Self.sft)
    #expect(code == 1)
    #expect(failure.contains("can't be written: larger than a file may be here"), "\(failure)")
    let left = try FileManager.default.contentsOfDirectory(atPath: bench.url("out").path)
    #expect(!left.contains { $0.hasSuffix(".part") || $0.hasSuffix(".safetensors") }, "\(left)")
    // Without the limit the same command goes on.
    #expect(try bench.attune(line: Self.sft).code == 0)
  }

  @Test(arguments: [4, 5, 6])
  func `too few descriptors are an error with the file`(count: Int) throws {
    let bench = try Workbench()
    let (code, failure) = try run(bench, "-n \(count)", Self.sft)
    #expect(code == 1 || (count > 4 && code == 0), "\(failure)")
    #expect(code == 0 || failure.hasPrefix("error: /") || failure.hasPrefix("error: "))
    #expect(try bench.attune(line: Self.sft).code == (code == 0 ? 1 : 0))
  }

  @Test func `the page needs descriptors to begin`() throws {
    let bench = try Workbench()
    try bench.write(
      "samples.jsonl",
      #"{"prompt":"p","completions":[{"text":"a","ids":[1],"logprob":-1,"finish_reason":"stop"},"#
        + #"{"text":"b","ids":[1],"logprob":-1,"finish_reason":"stop"}],"#
        + #""model":{"name":"m","fingerprint":"f"}}"# + "\n")
    let (code, failure) = try run(
      bench, "-n 14", "collect --samples samples.jsonl --store s.db --port 0")
    #expect(code == 1)
    #expect(failure.contains("the system allows 14"), "\(failure)")
  }

  /// The first asks for a clean end, which waits for the person's words here.
  @Test(.timeLimit(.minutes(1)), arguments: [(SIGTERM, SIGINT), (SIGINT, SIGTERM)])
  func `a second signal of either kind ends the process`(first: Int32, second: Int32) throws {
    let bench = try Workbench()
    let process = Process()
    process.executableURL = CommandRun.program
    process.arguments = ["chat", "--model", "model", "--threads", "1"]
    process.currentDirectoryURL = bench.folder
    let (input, output) = (Pipe(), Pipe())
    process.standardInput = input
    process.standardOutput = output
    process.standardError = output
    try process.run()
    // It speaks once it is ready to listen.
    #expect(!output.fileHandleForReading.availableData.isEmpty)
    kill(process.processIdentifier, first)
    Thread.sleep(forTimeInterval: 0.5)
    #expect(process.isRunning)
    kill(process.processIdentifier, second)
    process.waitUntilExit()
    #expect(process.terminationReason == .uncaughtSignal && process.terminationStatus == second)
    withExtendedLifetime(input) {}
  }
}
