// SPDX-License-Identifier: Apache-2.0

import AttuneTestSupport
import Foundation

/// A run of the built program.
struct CommandRun {
  /// Exit code; 128 + the signal's number for a crash.
  let code: Int32
  let output: String
  let errors: String

  /// The lines on standard error.
  var errorLines: [Substring] { errors.split(separator: "\n") }

  /// The last line on standard error: where a failure is told.
  var failure: String { errorLines.last.map(String.init) ?? "" }

  /// Standard output as one JSON object.
  func object() throws -> [String: Any] {
    try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any] ?? [:]
  }

  /// The program that was built beside the tests.
  static let program: URL = {
    var folder = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
    for _ in 0..<4 {
      let program = folder.appending(path: "attune")
      if FileManager.default.isExecutableFile(atPath: program.path) { return program }
      folder = folder.deletingLastPathComponent()
    }
    return URL(filePath: "attune")
  }()

  /// Runs `attune` with arguments.
  ///
  /// - Parameters:
  ///   - arguments: After the program's name.
  ///   - folder: The working folder.
  ///   - output: A file that standard output goes to, in place of the result.
  ///   - seconds: When Ctrl-C is pressed; nil for never.
  ///   - words: What standard error has to say before those seconds begin.
  ///   - launcher: A program that starts this one, with its arguments.
  init(
    _ arguments: [String], in folder: URL, output: String? = nil,
    interruptedAfter seconds: Double? = nil, onceItSays words: String? = nil,
    launcher: [String] = []
  ) throws {
    let process = Process()
    process.executableURL = launcher.isEmpty ? Self.program : URL(filePath: "/usr/bin/env")
    process.arguments = launcher.isEmpty ? arguments : launcher + [Self.program.path] + arguments
    process.currentDirectoryURL = folder
    var environment = ProcessInfo.processInfo.environment
    environment["ATTUNE_CACHE"] = folder.appending(path: "cache").path
    process.environment = environment
    // Files, not pipes: a full pipe would stop the program.
    let outputFile = folder.appending(path: "out-\(UUID().uuidString)")
    let errorFile = folder.appending(path: "err-\(UUID().uuidString)")
    for file in [outputFile, errorFile] {
      try Data().write(to: file)
    }
    defer {
      for file in [outputFile, errorFile] { try? FileManager.default.removeItem(at: file) }
    }
    process.standardOutput = try FileHandle(
      forWritingTo: output.map { URL(filePath: $0) } ?? outputFile)
    process.standardError = try FileHandle(forWritingTo: errorFile)
    process.standardInput = FileHandle.nullDevice
    try process.run()
    if let seconds {
      // A machine that is busy takes its time to begin.
      for _ in 0..<600 where words != nil {
        if try String(contentsOf: errorFile, encoding: .utf8).contains(words ?? "") { break }
        Thread.sleep(forTimeInterval: 0.1)
      }
      Thread.sleep(forTimeInterval: seconds)
      process.interrupt()
    }
    process.waitUntilExit()
    let isCrash = process.terminationReason == .uncaughtSignal
    code = process.terminationStatus + (isCrash ? 128 : 0)
    self.output = try String(contentsOf: outputFile, encoding: .utf8)
    errors = try String(contentsOf: errorFile, encoding: .utf8)
  }
}

/// A folder of its own for a test, with a tiny model of random weights in `model`.
final class Workbench {
  let folder: URL

  init() throws {
    folder = URL.testFiles.appending(path: "attune-cli-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    try write(
      "config.json",
      """
      {"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":32,
       "intermediate_size":64,"num_hidden_layers":2,"num_attention_heads":4,
       "num_key_value_heads":2,"vocab_size":320,"max_position_embeddings":2048,
       "rms_norm_eps":1e-5,"rope_theta":10000,"hidden_act":"silu","tie_word_embeddings":true}
      """)
    try write("texts.jsonl", "{\"text\":\"the cat sat on the mat\"}\n{\"text\":\"a dog\"}\n")
    let run = try attune(
      "sft", "--init", "config.json", "--data", "texts.jsonl", "--output", "model", "--set",
      "max_steps=1", "--set", "warmup_steps=0")
    guard run.code == 0 else { throw Failure(message: run.errors) }
  }

  struct Failure: Error { let message: String }

  deinit { try? FileManager.default.removeItem(at: folder) }

  func url(_ name: String) -> URL { folder.appending(path: name) }

  func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: url(name).path) }

  func write(_ name: String, _ text: String) throws { try write(name, Data(text.utf8)) }

  func write(_ name: String, _ data: Data) throws {
    try FileManager.default.createDirectory(
      at: url(name).deletingLastPathComponent(), withIntermediateDirectories: true)
    try data.write(to: url(name))
  }

  /// Writes `prompts.jsonl`, with at most nine prompts.
  func writePrompts(_ count: Int = 9) throws {
    let words = ["cat", "dog", "sun", "tea", "sea", "hat", "map", "pen", "cup"].prefix(count)
    try write("prompts.jsonl", words.map { "{\"prompt\":\"a \($0)\"}\n" }.joined())
  }

  /// Prompts, and a recipe of the whole loop on next to nothing.
  ///
  /// - Parameter knobs: Further members of the recipe.
  func writeLoop(_ knobs: String = Workbench.ppo) throws {
    try writePrompts()
    try write(
      "recipe.json",
      """
      {"sample":{"n":3,"max_tokens":6},"reward":{"layers":1,"epochs":1},
       "evaluation":{"n":2,"max_tokens":6},\(knobs)}
      """)
  }

  static let ppo = """
    "ppo":{"layers":1,"rollouts":2,"prompts_per_rollout":2,"samples_per_prompt":2,"max_tokens":6}
    """

  func read(_ name: String) throws -> String { try String(contentsOf: url(name), encoding: .utf8) }

  /// A copy of the model to damage.
  func copyModel(_ name: String) throws {
    try FileManager.default.copyItem(at: url("model"), to: url(name))
  }

  func attune(_ arguments: String...) throws -> CommandRun {
    try CommandRun(arguments + ["--threads", "1"], in: folder)
  }

  /// Runs a command line, split at spaces.
  func attune(line: String, output: String? = nil) throws -> CommandRun {
    try CommandRun(line.split(separator: " ").map(String.init), in: folder, output: output)
  }

  /// Starts a command line, whose words nobody reads.
  ///
  /// - Parameter launcher: A program that starts this one, with its arguments.
  func start(line: String, launcher: [String] = []) throws -> Process {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments =
      launcher + [CommandRun.program.path] + line.split(separator: " ").map(String.init)
    process.currentDirectoryURL = folder
    (process.standardOutput, process.standardError) = (FileHandle.nullDevice, FileHandle.nullDevice)
    try process.run()
    return process
  }

  /// Runs a command line, and says the largest resident memory of its process in MB.
  func peak(line: String) throws -> Double {
    let process = try start(line: line)
    // The system keeps the largest of a process while that runs; what a parent is told when it has ended
    // is no less than the parent's own.
    var peak = 0.0
    while process.isRunning {
      let status = try? String(
        contentsOfFile: "/proc/\(process.processIdentifier)/status", encoding: .utf8)
      let line = status?.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
      let kilobytes = line?.split(separator: " ").dropFirst().first.flatMap { Double($0) }
      peak = max(peak, (kilobytes ?? 0) / 1024)
      Thread.sleep(forTimeInterval: 0.005)
    }
    guard process.terminationStatus == 0 else { throw Failure(message: "\(line) failed") }
    return peak
  }
}
