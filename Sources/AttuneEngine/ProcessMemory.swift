// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The largest resident memory of the process so far, in MB.
///
/// Where the system tells it, that of this program alone: `getrusage` begins with what the process that started
/// it had, which with `vfork` is all that one's memory.
package func peakMemory() -> Double {
  if let kilobytes = kilobytes("VmHWM", in: "/proc/self/status") { return Double(kilobytes) / 1024 }
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

/// A quantity of one of the kernel's files that have a line each, in kB; nil where there is none.
private func kilobytes(_ name: String, in path: String) -> Int? {
  let lines = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
  return lines.split(separator: "\n").first { $0.hasPrefix(name + ":") }
    .flatMap { $0.split(whereSeparator: \.isWhitespace).dropFirst().first }.flatMap { Int($0) }
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
  /// Bytes that it can have at most: memory and swap of the machine, or of its control groups where
  /// those have less (a container), or its limit of address space.
  package static var limit: Int {
    let memory = Int(clamping: ProcessInfo.processInfo.physicalMemory)
    let swap = kilobytes("SwapTotal", in: "/proc/meminfo") ?? 0
    let limits = [
      memory + 1024 * swap, controlGroupLimit(swap: 1024 * swap), addressSpaceLimit,
    ]
    return limits.compactMap(\.self).min() ?? memory
  }

  /// Bytes of memory and swap that the control groups of this process allow; nil without a limit.
  ///
  /// - Parameters:
  ///   - root: The folder that `proc` and `sys` are in.
  ///   - swap: The machine's swap.
  package static func controlGroupLimit(under root: String = "/", swap: Int) -> Int? {
    func read(_ path: String) -> String? {
      try? String(contentsOfFile: root + path, encoding: .utf8)
    }
    // "max" is no number; where the first version has no limit it says 2^63, less a page.
    func bytes(_ path: String) -> Int? {
      read(path).flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
        .flatMap { $0 < 1 << 60 ? $0 : nil }
    }
    var limits: [Int] = []
    // A line is number:controllers:path; the second version has no controllers. A group has at most what
    // those around it have, and a container sees its own at the top, whatever its path says.
    for line in (read("proc/self/cgroup") ?? "").split(separator: "\n") {
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { continue }
      let isSecond = parts[1].isEmpty
      guard isSecond || parts[1].split(separator: ",").contains("memory") else { continue }
      let names = parts[2].split(separator: "/")
      for depth in 0...names.count {
        let place =
          "sys/fs/cgroup/" + (isSecond ? "" : "memory/")
          + names.prefix(depth).map { $0 + "/" }.joined()
        if isSecond {
          let own = min(swap, bytes(place + "memory.swap.max") ?? swap)
          if let memory = bytes(place + "memory.max") { limits.append(memory + own) }
        } else {
          if let memory = bytes(place + "memory.limit_in_bytes") { limits.append(memory + swap) }
          if let both = bytes(place + "memory.memsw.limit_in_bytes") { limits.append(both) }
        }
      }
    }
    return limits.min()
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
