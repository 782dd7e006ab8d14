// SPDX-License-Identifier: Apache-2.0

extension ProceduralTask {
  static func sum(_ difficulty: Int, _ draw: inout TaskDraw) -> Problem {
    let ranges: [ClosedRange<Int>] =
      switch difficulty {
      case 1: [1...30, 1...30]
      case 2: [10...99, 1...9]
      case 3: [10...99, 10...99]
      case 4: [10...99, 10...99, 10...99]
      default: [100...999, 100...999, 10...99]
      }
    let terms = ranges.map { draw.number($0) }
    return Problem(
      "What is \(terms.map(String.init).joined(separator: " + "))?", "\(terms.reduce(0, +))",
      key: terms.sorted().map(String.init).joined(separator: "+"))
  }

  static func difference(_ difficulty: Int, _ draw: inout TaskDraw) -> Problem {
    let (a, b): (Int, Int)
    switch difficulty {
    case 1:
      let largest = draw.number(2...30)
      (a, b) = (largest, draw.number(1...largest))
    case 2: (a, b) = (draw.number(20...99), draw.number(1...9))
    case 3:
      let largest = draw.number(20...99)
      (a, b) = (largest, draw.number(10...largest))
    case 4: (a, b) = (draw.number(1...99), draw.number(1...99))
    default: (a, b) = (draw.number(1...999), draw.number(1...999))
    }
    return Problem("What is \(a) - \(b)?", "\(a - b)")
  }

  static func sorting(_ difficulty: Int, _ draw: inout TaskDraw) -> Problem {
    let most = difficulty < 3 ? 9 : 99
    let numbers = draw.some(2 + difficulty, of: Array(0...most))
    let isRising = difficulty < 2 || draw.number(0...1) == 0
    func list(_ numbers: [Int]) -> String {
      "[" + numbers.map(String.init).joined(separator: ", ") + "]"
    }
    return Problem(
      "Sort \(list(numbers)) from \(isRising ? "least to greatest" : "greatest to least"). Answer with "
        + "the list.", list(numbers.sorted { isRising ? $0 < $1 : $0 > $1 }))
  }

  private struct Unit {
    var large: String
    var small: String
    var factor: Int
  }

  private static let lengths = [
    Unit(large: "kilometres", small: "metres", factor: 1000),
    Unit(large: "metres", small: "centimetres", factor: 100),
    Unit(large: "centimetres", small: "millimetres", factor: 10),
  ]
  private static let others = [
    Unit(large: "kilograms", small: "grams", factor: 1000),
    Unit(large: "hours", small: "minutes", factor: 60),
    Unit(large: "minutes", small: "seconds", factor: 60),
    Unit(large: "weeks", small: "days", factor: 7),
    Unit(large: "days", small: "hours", factor: 24),
    Unit(large: "litres", small: "millilitres", factor: 1000),
  ]

  static func units(_ difficulty: Int, _ draw: inout TaskDraw) -> Problem {
    let unit = draw.one(difficulty < 3 ? lengths : lengths + others)
    let count = draw.number(2...200)
    let isBack = difficulty > 1 && draw.number(0...1) == 1
    // Tenths of units that are counted in tens.
    let hasTenths = difficulty > 3 && unit.factor % 10 == 0
    let tenths = count * 10 + (hasTenths ? draw.number(1...9) : 0)
    let large = tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
    let small = "\(tenths * unit.factor / 10)"
    return isBack
      ? Problem("How many \(unit.large) are \(small) \(unit.small)?", large)
      : Problem("How many \(unit.small) are \(large) \(unit.large)?", small)
  }

  static func date(_ difficulty: Int, _ draw: inout TaskDraw) -> Problem {
    let (year, month) = (draw.number(1990...2030), draw.number(1...12))
    let length = CivilDay.length(ofMonth: month, in: year)
    let (day, step): (Int, Int)
    switch difficulty {
    case 1:
      let start = draw.number(1...length - 1)
      (day, step) = (start, draw.number(1...min(7, length - start)))
    case 2: (day, step) = (draw.number(length - 6...length), draw.number(7...14))
    case 3: (day, step) = (draw.number(1...length), draw.number(15...45))
    case 4: (day, step) = (draw.number(1...length), draw.one([-1, 1]) * draw.number(15...90))
    default: (day, step) = (draw.number(1...length), draw.one([-1, 1]) * draw.number(90...400))
    }
    let start = CivilDay(year: year, month: month, day: day)
    let days = abs(step) == 1 ? "1 day" : "\(abs(step)) days"
    return Problem(
      "What date is \(days) \(step < 0 ? "before" : "after") \(start)? Answer as YYYY-MM-DD.",
      "\(start.adding(step))")
  }
}

/// A day of the Gregorian calendar.
struct CivilDay: CustomStringConvertible {
  var year: Int
  var month: Int
  var day: Int

  static func length(ofMonth month: Int, in year: Int) -> Int {
    let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    return month == 2 ? (isLeap ? 29 : 28) : [4, 6, 9, 11].contains(month) ? 30 : 31
  }

  /// The day so many days later, or earlier.
  func adding(_ days: Int) -> CivilDay {
    var date = self
    date.day += days
    while date.day < 1 {
      date.month -= 1
      if date.month < 1 { (date.year, date.month) = (date.year - 1, 12) }
      date.day += Self.length(ofMonth: date.month, in: date.year)
    }
    while date.day > Self.length(ofMonth: date.month, in: date.year) {
      date.day -= Self.length(ofMonth: date.month, in: date.year)
      date.month += 1
      if date.month > 12 { (date.year, date.month) = (date.year + 1, 1) }
    }
    return date
  }

  /// `2024-02-29`.
  var description: String {
    func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
    return "\(year)-\(two(month))-\(two(day))"
  }
}
