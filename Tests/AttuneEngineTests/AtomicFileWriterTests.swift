// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import Foundation
import Testing

struct AtomicFileWriterTests {
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
    let writer = try AtomicFileWriter(target)
    try writer.write(Data("whole".utf8))
    #expect(!FileManager.default.fileExists(atPath: target.path))
    #expect(try names(folder).filter(AtomicFileWriter.isPart).count == 2)

    // One that is being written is not taken for a dead one's.
    AtomicFileWriter.removeParts(in: folder)
    #expect(try names(folder).filter(AtomicFileWriter.isPart).count == 1)
    try writer.finish()
    #expect(try Data(contentsOf: target) == Data("whole".utf8))
    #expect(try names(folder) == [".weights.bin.part", "weights.bin"])
  }

  @Test func `a writer that is given up leaves the old file and no part`() throws {
    let folder = try folder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let target = folder.appending(path: "a.txt")
    try AtomicFileWriter.write(Data("old".utf8), to: target)
    var writer: AtomicFileWriter? = try AtomicFileWriter(target)
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
    AtomicFileWriter.removeParts(in: folder, depth: 1)
    #expect(FileManager.default.fileExists(atPath: part.path))
    AtomicFileWriter.removeParts(in: folder, depth: 2)
    #expect(!FileManager.default.fileExists(atPath: part.path))
  }
}
