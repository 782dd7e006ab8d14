// SPDX-License-Identifier: Apache-2.0

import AttuneRewards
import AttuneTraining
import Foundation

/// A line chart as a piece of SVG that stands inside an HTML page.
///
/// Colours come from the page's CSS variables, so that one drawing serves a light and a dark page.
/// Points that are not finite are gaps in the line.
struct LineChart {
  /// One line, or one set of points.
  struct Series {
    /// What the legend says.
    var name: String
    /// The points, by rising x.
    var points: [(x: Double, y: Double)]
    /// For each point the ends of its whisker; empty for none.
    var intervals: [(low: Double, high: Double)] = []
    /// Drawn dashed and without points: a rule to compare with.
    var isGuide = false
    /// For each point what it is called where the mouse rests on it; empty for nothing.
    var labels: [String] = []
  }

  /// What the chart shows, in words.
  var title: String
  /// What runs along the bottom.
  var xLabel: String
  /// What runs up the side.
  var yLabel: String
  /// The lines; eight at most have colours of their own, which begin anew as dashes.
  var series: [Series]
  /// Dashed lines from top to bottom, each with its words.
  var marks: [(x: Double, text: String)] = []
  /// Bounds that the y axis must take in.
  var includingY: [Double] = []
  /// The x axis from one value to another in place of what the data need.
  var xRange: ClosedRange<Double>?
  /// The y axis from one value to another in place of what the data need.
  var yRange: ClosedRange<Double>?
  /// Whether the x axis has ticks at whole numbers alone.
  var wholeX = true
  /// Whether the x axis begins at 0: of what can't be negative but in its estimate, such as KL. What lies
  /// below is drawn at 0, its label tells the number.
  var startsXAtZero = false
  /// The same of the y axis.
  var startsYAtZero = false

  private static let width = 460.0
  private static let height = 270.0
  /// Left of the y axis at least; long tick labels take more.
  private static let leftAtLeast = 58.0
  private static let right = 14.0
  private static let top = 14.0
  private static let bottom = 44.0

  /// The drawing with its title and legend: a `<figure>`.
  var html: String {
    let drawn = series.filter { line in
      line.points.contains { $0.x.isFinite && $0.y.isFinite }
    }
    var out = "<figure class=\"chart\">\n<figcaption>\(escapedHTML(title))</figcaption>\n"
    guard drawn.contains(where: { !$0.isGuide }) else {
      return out + "<p class=\"quiet\">Nothing was recorded.</p>\n</figure>\n"
    }
    if drawn.count > 1 { out += Self.legend(drawn) }
    out += svg(drawn)
    return out + "</figure>\n"
  }

  /// The colour of the line of so many before it.
  static func style(_ number: Int) -> String { "c\(number % 8)" + (number < 8 ? "" : " more") }

  private static func legend(_ drawn: [Series]) -> String {
    var colour = 0
    var out = "<p class=\"legend\">"
    for line in drawn {
      let style = line.isGuide ? "guide" : Self.style(colour)
      if !line.isGuide { colour += 1 }
      out += "<span><i class=\"key \(style)\"></i>\(escapedHTML(line.name))</span>"
    }
    return out + "</p>\n"
  }

  private func svg(_ drawn: [Series]) -> String {
    let points = drawn.flatMap(\.points).filter { $0.x.isFinite && $0.y.isFinite }
    let whiskers = drawn.flatMap(\.intervals).flatMap { [$0.low, $0.high] }.filter(\.isFinite)
    func fromZero(_ values: [Double], _ isSet: Bool) -> [Double] {
      isSet ? [0] + values.map { max(0, $0) } : values
    }
    let xs = Axis(
      values: fromZero(points.map(\.x) + marks.map(\.x), startsXAtZero), range: xRange, ticks: 7,
      whole: wholeX, tight: true)
    let ys = Axis(
      values: fromZero(points.map(\.y) + whiskers + includingY, startsYAtZero), range: yRange,
      ticks: 5, whole: false, tight: false)
    // A digit of a tick takes 6.4, the label up the side and the gaps 29.
    let left = max(
      Self.leftAtLeast, 29 + 6.4 * Double(ys.ticks.map { ys.label($0).count }.max() ?? 0))
    let x = { (value: Double) -> Double in
      left + xs.share(of: startsXAtZero ? max(0, value) : value) * (Self.width - left - Self.right)
    }
    let y = { (value: Double) -> Double in
      let share = ys.share(of: startsYAtZero ? max(0, value) : value)
      return Self.height - Self.bottom - share * (Self.height - Self.top - Self.bottom)
    }

    var out = """
      <svg viewBox="0 0 \(Int(Self.width)) \(Int(Self.height))" role="img" \
      aria-label="\(escapedHTML(title))">

      """
    let floor = Self.height - Self.bottom
    for tick in ys.ticks {
      let at = Self.number(y(tick))
      out += "<line class=\"grid\" x1=\"\(Self.number(left))\" y1=\"\(at)\""
      out += " x2=\"\(Self.number(Self.width - Self.right))\" y2=\"\(at)\"/>"
      out += "<text class=\"tick\" text-anchor=\"end\" x=\"\(Self.number(left - 7))\""
      out += " y=\"\(Self.number(y(tick) + 4))\">\(ys.label(tick))</text>\n"
    }
    for tick in xs.ticks {
      let at = Self.number(x(tick))
      out += "<line class=\"axis\" x1=\"\(at)\" y1=\"\(Self.number(floor))\" x2=\"\(at)\""
      out += " y2=\"\(Self.number(floor + 4))\"/>"
      out += "<text class=\"tick\" text-anchor=\"middle\" x=\"\(at)\""
      out += " y=\"\(Self.number(floor + 17))\">\(xs.label(tick))</text>\n"
    }
    out += "<path class=\"axis\" d=\"M\(Self.number(left)) \(Self.number(Self.top))"
    out += "V\(Self.number(floor))H\(Self.number(Self.width - Self.right))\"/>\n"
    let middle = (left + Self.width - Self.right) / 2
    out += "<text class=\"label\" text-anchor=\"middle\" x=\"\(Self.number(middle))\""
    out += " y=\"\(Self.number(Self.height - 8))\">\(escapedHTML(xLabel))</text>\n"
    let half = (Self.top + floor) / 2
    out += "<text class=\"label\" text-anchor=\"middle\" transform=\"translate(13 "
    out += "\(Self.number(half))) rotate(-90)\">\(escapedHTML(yLabel))</text>\n"

    for (i, mark) in marks.enumerated() {
      let at = Self.number(x(mark.x))
      out += "<line class=\"mark\" x1=\"\(at)\" x2=\"\(at)\" y1=\"\(Self.number(Self.top))\""
      out += " y2=\"\(Self.number(floor))\"/>"
      // One below the other, on the side that has room.
      let isRight = x(mark.x) < Self.width / 2
      out += "<text class=\"tick\" text-anchor=\"\(isRight ? "start" : "end")\""
      out += " x=\"\(Self.number(x(mark.x) + (isRight ? 4 : -4)))\""
      out +=
        " y=\"\(Self.number(Self.top + 10 + 13 * Double(i)))\">\(escapedHTML(mark.text))</text>\n"
    }
    var colour = 0
    for line in drawn {
      if line.isGuide {
        out += "<path class=\"line guide\" d=\"\(Self.path(line.points, x, y))\"/>\n"
        continue
      }
      out += draw(line, style: Self.style(colour), x: x, y: y, xs: xs, ys: ys)
      colour += 1
    }
    return out + "</svg>\n"
  }

  private func draw(
    _ line: Series, style: String, x: (Double) -> Double, y: (Double) -> Double, xs: Axis,
    ys: Axis
  ) -> String {
    var out = "<path class=\"line \(style)\" d=\"\(Self.path(line.points, x, y))\"/>\n"
    for (point, interval) in zip(line.points, line.intervals)
    where point.x.isFinite && interval.low.isFinite && interval.high.isFinite {
      let at = Self.number(x(point.x))
      out += "<line class=\"whisker \(style)\" x1=\"\(at)\" x2=\"\(at)\""
      out += " y1=\"\(Self.number(y(interval.low)))\" y2=\"\(Self.number(y(interval.high)))\"/>\n"
    }
    // Past some eighty points the circles touch and hide the line.
    let radius = line.points.count > 80 ? 1.2 : 2.8
    for (i, point) in line.points.enumerated() where point.x.isFinite && point.y.isFinite {
      let label = i < line.labels.count ? " \(line.labels[i])" : ""
      out += "<circle class=\"dot \(style)\" r=\"\(Self.number(radius))\""
      out += " cx=\"\(Self.number(x(point.x)))\" cy=\"\(Self.number(y(point.y)))\">"
      out += "<title>\(escapedHTML(line.name + label)): \(readable(point.y, digits: 3)) at "
      out += "\(escapedHTML(xLabel)) \(xs.label(point.x))</title></circle>\n"
    }
    return out
  }

  /// A path through the points, broken where one is not finite.
  private static func path(
    _ points: [(x: Double, y: Double)], _ x: (Double) -> Double, _ y: (Double) -> Double
  ) -> String {
    var out = ""
    var isDrawing = false
    for point in points {
      guard point.x.isFinite, point.y.isFinite else {
        isDrawing = false
        continue
      }
      out += "\(isDrawing ? "L" : "M")\(number(x(point.x))) \(number(y(point.y)))"
      isDrawing = true
    }
    return out
  }

  /// A coordinate, to a tenth of a unit.
  private static func number(_ value: Double) -> String {
    let text = String(format: "%.1f", value)
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
  }
}

/// A linear axis with ticks at round numbers.
struct Axis {
  /// The value at its start.
  let low: Double
  /// The value at its end.
  let high: Double
  /// Where the ticks are.
  let ticks: [Double]
  private let digits: Int

  /// An axis for values.
  ///
  /// - Parameters:
  ///   - values: What it must take in; those that are not finite are left out.
  ///   - range: Its bounds, if they are given.
  ///   - count: About how many ticks.
  ///   - whole: Whether ticks are at whole numbers alone.
  ///   - tight: Whether it ends with the data rather than at the next tick.
  init(
    values: [Double], range: ClosedRange<Double>? = nil, ticks count: Int, whole: Bool,
    tight: Bool
  ) {
    // Beyond this the arithmetic of ticks loses its digits; nothing that is plotted gets there.
    let sane = values.filter { abs($0) < 1e15 }
    var low = range?.lowerBound ?? sane.min() ?? 0
    var high = range?.upperBound ?? sane.max() ?? 1
    if high - low <= max(abs(low), abs(high)) * 1e-9 {
      let room = low == 0 ? 1 : abs(low) * 0.1
      low -= room
      high += room
    }
    var step = Self.step(for: (high - low) / Double(max(count, 1)))
    if whole { step = max(1, step.rounded(.up)) }
    if range == nil && !tight {
      low = (low / step).rounded(.down) * step
      high = (high / step).rounded(.up) * step
    }
    self.low = low
    self.high = high
    digits = step >= 1 ? 0 : min(6, Int((-log10(step)).rounded(.up)))
    // The bounds carry rounding errors of their own.
    let first = Int(((low / step) - 1e-6).rounded(.up))
    let last = Int(((high / step) + 1e-6).rounded(.down))
    ticks = first <= last ? (first...last).map { Double($0) * step } : []
  }

  /// 1, 2 or 5 times a power of ten, at least `raw`.
  private static func step(for raw: Double) -> Double {
    let power = pow(10, log10(raw).rounded(.down))
    for factor in [1.0, 2, 5] where factor * power >= raw * 0.999 { return factor * power }
    return 10 * power
  }

  /// How far along the axis a value is, from 0 to 1.
  func share(of value: Double) -> Double { (value - low) / (high - low) }

  /// A tick's text; thousands are grouped by a thin space.
  func label(_ value: Double) -> String {
    if value == value.rounded(), abs(value) >= 10_000, abs(value) < 1e15 {
      var text = ""
      for (index, digit) in String(Int(abs(value))).reversed().enumerated() {
        if index > 0 && index % 3 == 0 { text.append("\u{2009}") }
        text.append(digit)
      }
      return (value < 0 ? "−" : "") + String(text.reversed())
    }
    return readable(value, digits: digits)
  }
}
