// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// What the program says of itself: help, examples and knobs, and the documents that show them.
struct HelpTests {
  private static let repository = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  /// The commands by their words, with their examples and options.
  private struct Command {
    let words: [String]
    let discussion: String
    let options: [String]
  }

  private func commands() throws -> [Command] {
    let run = try CommandRun(["--experimental-dump-help"], in: .temporaryDirectory)
    let dump = try run.object()
    func walk(_ command: [String: Any], _ path: [String]) -> [Command] {
      let inner = (command["subcommands"] as? [[String: Any]] ?? []).filter {
        $0["commandName"] as? String != "help"
      }
      guard inner.isEmpty else {
        return inner.flatMap { walk($0, path + [$0["commandName"] as? String ?? ""]) }
      }
      let options = (command["arguments"] as? [[String: Any]] ?? []).flatMap {
        ($0["names"] as? [[String: String]] ?? []).compactMap { $0["name"] }
      }
      return [
        Command(
          words: path, discussion: command["discussion"] as? String ?? "", options: options)
      ]
    }
    return walk(try #require(dump["command"] as? [String: Any]), [])
  }

  /// A shell's line as arguments: quotes hold words together, a comment ends it.
  private func arguments(_ line: String) -> [String] {
    var words: [String] = []
    var word: String?
    var quote: Character?
    for character in line {
      if let open = quote {
        if character == open { quote = nil } else { word = (word ?? "") + String(character) }
      } else if character == "\"" || character == "'" {
        quote = character
        word = word ?? ""
      } else if character == "#", word == nil {
        break
      } else if character.isWhitespace {
        if let done = word { words.append(done) }
        word = nil
      } else {
        word = (word ?? "") + String(character)
      }
    }
    return words + (word.map { [$0] } ?? [])
  }

  /// Parses a line without running it: `--threads 0` is refused after every option was read.
  private func complaint(about words: [String]) throws -> String? {
    let run = try CommandRun(words + ["--threads", "0"], in: .temporaryDirectory)
    guard run.code == 64, run.errors.contains("--threads 0: give 1 to 1024") else {
      return "\(words.joined(separator: " ")): \(run.code) \(run.errors)"
    }
    return nil
  }

  @Test func `the example of every help parses, and stands there so that it works as it is`() throws
  {
    var seen = 0
    for command in try commands() where command.options.contains("threads") {
      let examples = command.discussion.split(separator: "\n").compactMap {
        $0.firstMatch(of: /(?:^|: )\s*(attune [a-z].*)$/).map { String($0.1) }
      }
      #expect(!examples.isEmpty, "\(command.words)")
      let help = try CommandRun(command.words + ["--help"], in: .temporaryDirectory).output
      // What a shell makes of a line that goes on.
      let joined = help.replacing(#/ \\\n +/#, with: " ")
      for example in examples {
        let words = Array(arguments(example).dropFirst())
        #expect(Array(words.prefix(command.words.count)) == command.words)
        let wrong = try complaint(about: words)
        #expect(wrong == nil, "\(wrong ?? "")")
        #expect(joined.contains(example), "\(example)")
        seen += 1
      }
    }
    #expect(seen > 35)
  }

  @Test func `every command of the README parses`() throws {
    let readme = try String(
      contentsOf: Self.repository.appending(path: "README.md"), encoding: .utf8)
    var lines: [String] = []
    var isCode = false
    for line in readme.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix("```") {
        isCode.toggle()
      } else if isCode, let last = lines.last, last.hasSuffix("\\") {
        lines[lines.count - 1] = String(last.dropLast()) + line
      } else if isCode, line.hasPrefix("attune ") {
        lines.append(String(line))
      }
    }
    #expect(lines.count > 10)
    let withoutThreads = Set(
      try commands().filter { !$0.options.contains("threads") }.map { $0.words[0] })
    for line in lines {
      let words = Array(arguments(line).dropFirst())
      guard !withoutThreads.contains(words[0]) else { continue }
      let wrong = try complaint(about: words)
      #expect(wrong == nil, "\(wrong ?? "")")
    }
  }

  @Test func `whatever takes --set shows its knobs, in help, by --knobs and as JSON`() throws {
    let sources = Self.repository.appending(path: "Sources/attune/Commands")
    for command in try commands() where command.options.contains("set") {
      let page = try CommandRun(command.words + ["--knobs"], in: .temporaryDirectory)
      let help = try CommandRun(command.words + ["--help"], in: .temporaryDirectory).output
      guard page.code == 0 else {
        // A command without knobs refuses --set; all of these files say so.
        #expect(page.code == 64 && page.failure.contains("has no knobs"), "\(page.errors)")
        let name = command.words[0].replacing("-", with: "")
        let file = try FileManager.default.contentsOfDirectory(atPath: sources.path).first {
          $0.lowercased() == name + "command.swift"
        }
        let text = try String(
          contentsOf: sources.appending(path: try #require(file)), encoding: .utf8)
        #expect(text.contains("refuseSettings()") && !help.contains("KNOBS"), "\(name)")
        continue
      }
      #expect(help.hasSuffix(page.output), "\(command.words)")
      let json = try CommandRun(command.words + ["--knobs", "--json"], in: .temporaryDirectory)
        .object()
      #expect(json["command"] as? String == command.words.joined(separator: " "))
      let knobs = try #require(json["knobs"] as? [[String: Any]])
      #expect(!knobs.isEmpty)
      for knob in knobs {
        let name = try #require(knob["knob"] as? String)
        #expect(knob["default"] != nil && knob["takes"] as? String != "", "\(name)")
        #expect((knob["meaning"] as? String ?? "").hasSuffix("."), "\(name)")
        #expect(page.output.contains("  \(name)="), "\(name)")
      }
    }
    let dpo = try CommandRun(["dpo", "--knobs"], in: .temporaryDirectory).output
    #expect(dpo.contains("train=\"lora\"") && dpo.contains("(full, last_layers, lora)"))
    #expect(dpo.contains("Highest learning rate; unless given it follows train"))
    let rlhf = try CommandRun(["rlhf", "--knobs"], in: .temporaryDirectory).output
    for knob in ["sample.n=6", "ppo.clip=0.2", "evaluation.confidence=0.95", "iterate.dpo.loss="] {
      #expect(rlhf.contains(knob), "\(knob)")
    }
  }

  @Test func `the document of knobs is what the program prints`() throws {
    let printed = try CommandRun(["--knobs"], in: .temporaryDirectory).output
    #expect(printed.hasPrefix("# Knobs\n"))
    let url = Self.repository.appending(path: "Documentation/Knobs.md")
    if ProcessInfo.processInfo.environment["ATTUNE_WRITE_DOCUMENTATION"] != nil {
      try Data(printed.utf8).write(to: url)
    }
    let there = try String(contentsOf: url, encoding: .utf8)
    #expect(
      there == printed,
      "Documentation/Knobs.md is not current: ATTUNE_WRITE_DOCUMENTATION=1 make test prints it")
  }

  @Test func `the program installs, runs from elsewhere, and is removed again`() throws {
    let folder = URL.temporaryDirectory.appending(path: "attune-install-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    func run(_ program: String, _ arguments: [String]) throws -> (Int32, String) {
      let process = Process()
      process.executableURL = URL(filePath: program)
      process.arguments = arguments
      process.currentDirectoryURL = folder
      let pipe = Pipe()
      process.standardOutput = pipe
      process.standardError = FileHandle.nullDevice
      try process.run()
      let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitUntilExit()
      return (process.terminationStatus, text)
    }
    let make = ["-C", Self.repository.path, "DESTDIR=\(folder.path)", "PREFIX=/opt/attune"]
    let missing = try run("/usr/bin/make", make + ["ATTUNE=/nowhere/attune", "install"])
    #expect(missing.0 != 0)
    let done = try run("/usr/bin/make", make + ["ATTUNE=\(CommandRun.program.path)", "install"])
    #expect(done.0 == 0, "\(done.1)")
    let binary = folder.appending(path: "opt/attune/bin/attune").path
    let version = try run(binary, ["--version"])
    #expect(version.0 == 0 && version.1.hasPrefix("0."))
    #expect(try run(binary, ["exactness", "--json"]).0 == 0)
    #expect(try run("/usr/bin/make", make + ["uninstall"]).0 == 0)
    #expect(!FileManager.default.fileExists(atPath: binary))
  }
}
