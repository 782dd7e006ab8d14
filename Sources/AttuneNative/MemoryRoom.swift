// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import Foundation

extension NativeEngine {
  /// Bytes that a process can have at most: memory and swap, or its limit of address space.
  static var memory: Int {
    var bytes = Int(clamping: ProcessInfo.processInfo.physicalMemory)
    // Swap counts; the kernel's file has a line a quantity, in kB.
    let lines = (try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8)) ?? ""
    for line in lines.split(separator: "\n") where line.hasPrefix("SwapTotal:") {
      let number = line.split(separator: " ").dropFirst().first.flatMap { Int($0) }
      bytes += 1024 * (number ?? 0)
    }
    var limit = rlimit()
    if getrlimit(addressSpaceLimit, &limit) == 0 {
      bytes = min(bytes, Int(clamping: limit.rlim_cur))
    }
    return bytes
  }
}

extension TransformerSpec {
  /// Refuses a model whose weights alone are more than this process can have: the system would
  /// stop it in the middle, or not for a long time.
  ///
  /// - Parameters:
  ///   - place: Where the model comes from, for the error.
  ///   - precision: How its layers are kept.
  /// - Throws: `EngineError` with both sizes.
  func requireMemory(_ place: String, precision: FrozenPrecision) throws {
    let layers = tensors.reduce(0) { $0 + ($1.layer == nil ? 0 : $1.count) }
    let saved = precision == .bfloat16 ? 2 * layers : 0
    let needed = 4 * parameterCount - saved
    let room = NativeEngine.memory
    guard needed <= room else {
      func gigabytes(_ bytes: Int) -> String {
        let tenths = bytes / (1 << 20) * 10 / 1024
        return "\(tenths / 10).\(tenths % 10) GB"
      }
      throw EngineError(
        .unavailable,
        "\(place): the weights need \(gigabytes(needed)) of memory, this process can have "
          + "\(gigabytes(room)); take a smaller model")
    }
  }
}
