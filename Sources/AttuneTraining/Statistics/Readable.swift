// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A number for people: `digits` decimals, a true minus sign, a dash where it is not finite.
package func readable(_ value: Double?, digits: Int = 2) -> String {
  guard let value, value.isFinite else { return "–" }
  let text = String(format: "%.\(digits)f", value)
  // "-0.00" says nothing that "0.00" does not.
  if text.hasPrefix("-") {
    let isZero = !text.contains { ("1"..."9").contains($0) }
    return isZero ? String(text.dropFirst()) : "−" + text.dropFirst()
  }
  return text
}

/// A share as a percentage without decimals.
package func readablePercent(_ value: Double?, digits: Int = 0) -> String {
  guard let value, value.isFinite else { return "–" }
  return readable(value * 100, digits: digits) + " %"
}

/// Seconds for people: `8.4 s`, `52 s`, `4 min 05 s`, `1 h 02 min`.
package func readableSeconds(_ seconds: Double) -> String {
  guard seconds.isFinite, seconds >= 0, seconds < 1e9 else { return "–" }
  if seconds < 9.95 { return String(format: "%.1f s", seconds) }
  let whole = Int(seconds.rounded())
  if whole < 60 { return "\(whole) s" }
  if whole < 3600 { return String(format: "%d min %02d s", whole / 60, whole % 60) }
  return String(format: "%d h %02d min", whole / 3600, whole % 3600 / 60)
}
