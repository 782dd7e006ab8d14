// SPDX-License-Identifier: Apache-2.0

import AttuneFiles
import Foundation
import Testing

struct AtomicFileTests {
  func names(_ folder: URL) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
  }

  func folder() throws -> URL {
    let folder = URL.temporaryDirectory.appending(path: "attune-writer-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    return folder
  }

  @Test func `a file is whole or not there, and what a killed writer left goes`() throws {
    let folder = try folder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let target = folder.appending(path: "weights.bin")
    // What a kill leaves: nobody holds its lock.
    try Data("half".utf8).write(to: folder.appending(path: ".weights.bin.77.5.part"))
    try Data("half".utf8).write(to: folder.appending(path: ".other.bin.77.5.part"))
    try Data("mine".utf8).write(to: folder.appending(path: ".weights.bin.part"))
    let writer = try AtomicFile(target)
    try writer.write(Data("whole".utf8))
    #expect(!FileManager.default.fileExists(atPath: target.path))
    #expect(try names(folder).filter(AtomicFile.isPart).count == 2)

    // One that is being written is not taken for a dead one's.
    AtomicFile.removeParts(in: folder)
    #expect(try names(folder).filter(AtomicFile.isPart).count == 1)
    try writer.finish()
    #expect(try Data(contentsOf: target) == Data("whole".utf8))
    #expect(try names(folder) == [".weights.bin.part", "weights.bin"])
  }

  @Test func `a writer that is given up leaves the old file and no part`() throws {
    let folder = try folder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let target = folder.appending(path: "a.txt")
    try AtomicFile.write(Data("old".utf8), to: target)
    var writer: AtomicFile? = try AtomicFile(target)
    try writer?.write(Data(repeating: 0, count: 3 << 20))
    writer = nil
    #expect(try names(folder) == ["a.txt"])
    #expect(try Data(contentsOf: target) == Data("old".utf8))
  }

  @Test func `parts in folders below go too, as deep as is asked`() throws {
    let folder = try folder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let deep = folder.appending(path: "round-1/policy")
    try FileManager.default.createDirectory(at: deep, withIntermediateDirectories: true)
    let part = deep.appending(path: ".checkpoint.safetensors.9.9.part")
    try Data().write(to: part)
    AtomicFile.removeParts(in: folder, depth: 1)
    #expect(FileManager.default.fileExists(atPath: part.path))
    AtomicFile.removeParts(in: folder, depth: 2)
    #expect(!FileManager.default.fileExists(atPath: part.path))
  }

  @Test func `a full disk leaves nothing under the final name`() throws {
    let error = #expect(throws: FileError.self) {
      try AtomicFile.write("text", to: URL(filePath: "/dev/full"))
    }
    #expect(error?.message == "/dev/full: can't be written: No space left on device")
    let folder = try folder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let target = folder.appending(path: "no/such/folder/file")
    #expect(throws: FileError.self) { try AtomicFile.write("text", to: target) }
    #expect(!FileManager.default.fileExists(atPath: target.path))
  }

  @Test func `the digest of a text`() {
    #expect(
      SHA256Digest.of("abc")
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
  }

  @Test(arguments: [false, true])
  func `one holder at a time, named where it says who it is`(namesHolder: Bool) throws {
    struct Held: Error, Equatable { var holder: String }
    let folder = try folder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appending(path: "lock").path
    func take() throws -> FileLock {
      try FileLock(path, namesHolder: namesHolder, held: { Held(holder: $0) })
    }
    var lock: FileLock? = try take()
    #expect(throws: Held(holder: namesHolder ? "process \(getpid())" : "another process")) {
      try take()
    }
    #expect(lock != nil)
    lock = nil
    #expect(FileManager.default.fileExists(atPath: path) == !namesHolder)
    _ = try take()
    #expect(throws: FileError.self) {
      try FileLock(folder.path + "/no/lock", held: { Held(holder: $0) })
    }
  }
}
