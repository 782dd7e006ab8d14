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
