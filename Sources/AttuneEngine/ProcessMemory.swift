// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The largest resident memory of the process so far, in MB.
package func peakMemory() -> Double {
  var usage = rusage()
  #if canImport(Darwin)
    getrusage(RUSAGE_SELF, &usage)
    // In bytes there, in kB elsewhere.
    return Double(usage.ru_maxrss) / Double(1 << 20)
  #else
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return Double(usage.ru_maxrss) / 1024
  #endif
}

/// Forgets the largest resident memory so far, so that what comes next is measured by itself; where the
/// system can't (any but Linux), `peakMemory` stays that of the whole process.
package func resetPeakMemory() {
  let descriptor = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC)
  guard descriptor >= 0 else { return }
  defer { close(descriptor) }
  _ = write(descriptor, "5", 1)
}

/// The memory that this process can have.
package enum ProcessMemory {
  /// Bytes that it can have at most: memory and swap, or its limit of address space.
  package static var limit: Int {
    var bytes = Int(clamping: ProcessInfo.processInfo.physicalMemory)
    // Swap counts; the kernel's file has a line a quantity, in kB.
    let lines = (try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8)) ?? ""
    for line in lines.split(separator: "\n") where line.hasPrefix("SwapTotal:") {
      let number = line.split(separator: " ").dropFirst().first.flatMap { Int($0) }
      bytes += 1024 * (number ?? 0)
    }
    return addressSpaceLimit.map { min(bytes, $0) } ?? bytes
  }

  private static var addressSpaceLimit: Int? {
    #if canImport(Darwin)
      let resource = RLIMIT_AS
    #else
      let resource = __rlimit_resource_t(RLIMIT_AS.rawValue)
    #endif
    var limit = rlimit()
    guard getrlimit(resource, &limit) == 0, limit.rlim_cur < UInt64(Int.max) else { return nil }
    return Int(limit.rlim_cur)
  }

  /// Bytes that it has taken of what `limit` counts: resident memory, or addresses where those are
  /// fewer; 0 where the system does not say.
  package static var taken: Int {
    let pages =
      (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?
      .split(separator: " ").prefix(2).compactMap { Int($0) } ?? []
    guard pages.count == 2 else { return 0 }
    let isOfAddresses = addressSpaceLimit.map { $0 <= limit } ?? false
    return pages[isOfAddresses ? 0 : 1] * Int(getpagesize())
  }

  /// What of the address space is taken, where it is limited (`ulimit -v`).
  package static var addressSpace: String {
    guard let limit = addressSpaceLimit else { return "" }
    let pages = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?
      .split(separator: " ").first.flatMap { Int($0) }
    return ": ulimit -v allows \(limit >> 20) MB"
      + (pages.map { ", of which \(($0 * Int(getpagesize())) >> 20) MB are taken" } ?? "")
  }

  /// Zeroed pages, to be given back with `munmap`.
  ///
  /// - Parameter bytes: How many bytes.
  /// - Throws: `EngineError` if they can't be had.
  package static func map(_ bytes: Int) throws -> UnsafeMutableRawPointer {
    guard
      let memory = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0),
      memory != MAP_FAILED
    else {
      throw EngineError(
        .unavailable,
        "out of memory: \(bytes >> 20) MB can't be had\(addressSpace); take a smaller model, "
          + "batch or piece_tokens, or recompute")
    }
    return memory
  }
}

extension Array {
  /// An array that is written whole; where memory for it can't be had Swift's own would end the
  /// process.
  ///
  /// - Parameters:
  ///   - count: How many elements, as a file or a setting says.
  ///   - write: Writes all of them.
  /// - Throws: `EngineError` if the memory can't be had, and what `write` throws.
  package init(
    count: Int, _ write: (UnsafeMutableBufferPointer<Element>) throws -> Void
  ) throws {
    let bytes = count * MemoryLayout<Element>.stride
    if bytes >= 1 << 20 { munmap(try ProcessMemory.map(bytes), bytes) }
    try self.init(unsafeUninitializedCapacity: count) { buffer, initialized in
      try write(UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
      initialized = count
    }
  }
}
