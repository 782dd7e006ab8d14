// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
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

  @Test func `the peak is that of this process in MB`() throws {
    let before = peakMemory()
    let floats = try [Float](count: 1 << 25) { $0.update(repeating: 1) }
    #expect(floats.count == 1 << 25)
    #expect((128..<100_000).contains(peakMemory()) && peakMemory() >= before)
  }
}
