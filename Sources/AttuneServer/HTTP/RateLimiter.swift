// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// How many requests somebody may make: buckets that fill at a steady rate.
package final class RateLimiter: Sendable {
  private let rate: Double
  private let burst: Double
  private let buckets = Mutex<[String: (left: Double, time: Double)]>([:])
  /// Names that are remembered at most; those whose bucket is full again are forgotten first.
  private let most: Int

  package init(perSecond rate: Double, burst: Int, remembering most: Int = 10_000) {
    self.rate = rate
    self.burst = Double(burst)
    self.most = most
  }

  /// Takes one request from somebody's bucket.
  ///
  /// - Returns: Whether there was one.
  package func admits(_ name: String, at time: Double) -> Bool {
    buckets.withLock { buckets in
      if buckets.count >= most, buckets[name] == nil {
        buckets = buckets.filter { ($1.left + (time - $1.time) * rate) < burst }
        // All of them busy: whoever is new waits.
        if buckets.count >= most { return false }
      }
      let (left, last) = buckets[name] ?? (burst, time)
      let now = min(burst, left + max(0, time - last) * rate)
      buckets[name] = (now >= 1 ? now - 1 : now, time)
      return now >= 1
    }
  }
}
