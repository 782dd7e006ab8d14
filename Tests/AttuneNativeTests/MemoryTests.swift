// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import Foundation
import Testing

struct MemoryTests {
  /// More than the addresses of a process; Swift's own allocations would end it.
  private static let count = 1 << 46

  @Test func `memory that can't be had is an error with its size`() throws {
    let buffer = try #require(throws: EngineError.self) { try FloatBuffer(Self.count) }
    let array = try #require(throws: EngineError.self) {
      try [Float](count: Self.count) { _ in }
    }
    for error in [buffer, array] {
      #expect(error.code == .unavailable)
      #expect(error.message.hasPrefix("out of memory: \(Self.count >> 18) MB can't be had"))
    }
  }

  /// What a container may have is in files that lie where its path says, or at the top.
  @Test(
    arguments: [
      (
        [
          "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "3000\n",
          "sys/fs/cgroup/a/b/memory.max": "max\n",
        ], 3500
      ),
      (
        [
          "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "3000\n",
          "sys/fs/cgroup/memory.swap.max": "200\n",
        ], 3200
      ),
      (
        [
          "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/memory.max": "3000\n",
          "sys/fs/cgroup/a/memory.max": "2000\n", "sys/fs/cgroup/a/memory.swap.max": "max\n",
        ], 2500
      ),
      (
        [
          "proc/self/cgroup": "9:cpu:/x\n4:cpuset,memory:/y\n",
          "sys/fs/cgroup/memory/y/memory.limit_in_bytes": "1000\n",
          "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        ], 1500
      ),
      (
        [
          "proc/self/cgroup": "4:memory:/y\n",
          "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000\n",
          "sys/fs/cgroup/memory/memory.memsw.limit_in_bytes": "1100\n",
        ], 1100
      ),
      (["proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"], nil), ([:], nil),
    ] as [([String: String], Int?)])
  func `the memory of control groups is a limit`(files: [String: String], limit: Int?) throws {
    let folder = try TemporaryFolder()
    for (path, text) in files {
      let url = folder.url.appending(path: path)
      try FileManager.default.createDirectory(
        at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(text.utf8).write(to: url)
    }
    let root = folder.url.path.hasSuffix("/") ? folder.url.path : folder.url.path + "/"
    #expect(ProcessMemory.controlGroupLimit(under: root, swap: 500) == limit)
  }

  @Test func `the peak is that of this process in MB`() throws {
    let before = peakMemory()
    let floats = try [Float](count: 1 << 25) { $0.update(repeating: 1) }
    #expect(floats.count == 1 << 25)
    #expect((128..<100_000).contains(peakMemory()) && peakMemory() >= before)
  }
}
