// SPDX-License-Identifier: Apache-2.0

public import Foundation
import Synchronization

/// The date and time that chat templates read (`strftime_now`), one for a whole process: two texts
/// of a run must not differ because midnight lies between them.
///
/// It is the wall clock's where the process began, unless somebody sets it; a run keeps it in its
/// record, so that it goes on with the same text on another day.
public enum TemplateClock {
  private struct State {
    var now: Date
    var isPinned = false
  }

  private static let state: Mutex<State> = {
    let now = Date()
    let offset = TimeZone.current.secondsFromGMT(for: now)
    return Mutex(State(now: now.addingTimeInterval(Double(offset))))
  }()

  /// The wall clock's date and time, written as if this were Greenwich.
  public static var now: Date { state.withLock { $0.now } }

  /// The same as `2024-07-26T00:00:00`.
  public static var text: String { formatter("yyyy-MM-dd'T'HH:mm:ss").string(from: now) }

  /// Takes a date, `2024-07-26` or `2024-07-26T09:30:00`.
  ///
  /// - Parameters:
  ///   - text: The date.
  ///   - pinning: Whether it stays whatever ``resume(_:)`` is told.
  /// - Returns: Whether the text is a date.
  public static func set(_ text: String, pinning: Bool = true) -> Bool {
    for format in ["yyyy-MM-dd", "yyyy-MM-dd'T'HH:mm:ss"] {
      let formatter = formatter(format)
      // What is read must be written back the same: not 2024-02-30, nor a year of two digits.
      if let date = formatter.date(from: text), formatter.string(from: date) == text {
        state.withLock { $0 = State(now: date, isPinned: pinning || $0.isPinned) }
        return true
      }
    }
    return false
  }

  /// Goes on with the date of a run that was begun before, unless a person has set another.
  public static func resume(_ text: String) {
    guard !state.withLock({ $0.isPinned }) else { return }
    _ = set(text, pinning: false)
  }

  private static func formatter(_ format: String) -> DateFormatter {
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_US_POSIX")
    formatter.timeZone = .gmt
    formatter.isLenient = false
    formatter.dateFormat = format
    return formatter
  }
}
