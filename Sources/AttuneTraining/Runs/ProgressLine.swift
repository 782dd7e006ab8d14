// SPDX-License-Identifier: Apache-2.0

import Foundation

/// How far a piece of work is, on standard error: one line that is written over on a terminal,
/// plain lines at intervals elsewhere.
public struct ProgressLine {
  /// Where progress goes.
  public enum Style: Sendable, Equatable {
    /// A bar on a terminal, plain lines elsewhere.
    case automatic
    /// A bar.
    case bar
    /// Plain lines.
    case lines
    /// Nothing.
    case silent
  }

  private let label: String
  private let total: Int
  private var first: Int
  private let unit: String
  private let style: Style
  private let start = ContinuousClock.now
  private var shown: ContinuousClock.Instant?
  private var width = 0

  /// Starts.
  ///
  /// - Parameters:
  ///   - label: What is being done: `sft`, `reward`.
  ///   - total: How much there is to do.
  ///   - first: How much an earlier run had done.
  ///   - unit: What is counted: `steps`.
  ///   - style: Where it goes.
  public init(
    _ label: String, total: Int, first: Int = 0, unit: String = "steps", style: Style = .automatic
  ) {
    self.label = label
    self.total = total
    self.first = first
    self.unit = unit
    self.style = style == .automatic ? (isatty(2) == 1 ? .bar : .lines) : style
  }

  /// Says how much an earlier run had done.
  public mutating func resume(at done: Int) { first = done }

  /// Says how much is done.
  ///
  /// - Parameters:
  ///   - done: How much, with what an earlier run had done.
  ///   - note: A few words: the loss.
  public mutating func update(_ done: Int, _ note: String = "") {
    guard style != .silent else { return }
    let now = ContinuousClock.now
    let interval: Duration = style == .bar ? .milliseconds(100) : .seconds(10)
    if let shown, now - shown < interval, done < total { return }
    shown = now
    let line = Self.line(
      label, done: done, first: first, total: total, unit: unit, seconds: seconds(now - start),
      note: note, bar: style == .bar)
    if style == .bar {
      let gap = String(repeating: " ", count: max(0, width - line.count))
      width = line.count
      Self.write("\r" + line + gap + (done >= total ? "\n" : ""))
      if done >= total { width = 0 }
    } else {
      Self.write(line + "\n")
    }
  }

  /// Writes a line of its own, above the bar.
  public mutating func say(_ text: String) {
    guard style != .silent else { return }
    if style == .bar, width > 0 {
      Self.write("\r" + String(repeating: " ", count: width) + "\r")
      width = 0
      shown = nil
    }
    Self.write(text + "\n")
  }

  /// The text of one update.
  package static func line(
    _ label: String, done: Int, first: Int, total: Int, unit: String, seconds: Double,
    note: String, bar: Bool
  ) -> String {
    var parts = [label]
    if bar, total > 0 {
      let full = min(20, 20 * done / total)
      parts.append(
        "[" + String(repeating: "#", count: full) + String(repeating: ".", count: 20 - full) + "]")
    }
    parts.append("\(done)/\(total) \(unit)")
    if done > first, seconds > 0 {
      let rate = Double(done - first) / seconds
      parts.append(
        rate >= 1
          ? "\(fixed(rate, 1)) \(unit)/s" : "\(fixed(1 / rate, 1)) s/\(unit.dropLast(1))")
      if done < total { parts.append("\(clock(Double(total - done) / rate)) left") }
    }
    if !note.isEmpty { parts.append(note) }
    return parts.joined(separator: "  ")
  }

  private static func clock(_ seconds: Double) -> String {
    let whole = Int(min(seconds.rounded(), 359_999))
    let two = { (value: Int) in value < 10 ? "0\(value)" : "\(value)" }
    return whole >= 3600
      ? "\(whole / 3600):\(two(whole / 60 % 60)):\(two(whole % 60))"
      : "\(whole / 60):\(two(whole % 60))"
  }

  private static func write(_ text: String) {
    // Progress is not worth a failure: where nobody listens, it is lost.
    try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
  }
}

/// A duration in seconds.
package func seconds(_ duration: Duration) -> Double {
  Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
}

/// A number with so many places after the point.
package func fixed(_ value: Double, _ places: Int) -> String {
  guard value.isFinite else { return "\(value)" }
  return String(format: "%.\(places)f", value)
}
