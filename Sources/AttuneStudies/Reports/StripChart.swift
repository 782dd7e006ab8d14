// SPDX-License-Identifier: Apache-2.0

import AttuneRewards
import AttuneTraining
import Foundation

/// Numbers by name as a piece of SVG: a row for each name, a dot for each of its numbers.
struct StripChart {
  /// A row.
  struct Strip {
    /// What it is called.
    var name: String
    /// Its numbers, each with what it is called where the mouse rests on it.
    var values: [(value: Double, label: String)]
  }

  /// What the chart shows, in words.
  var title: String
  /// What runs along the bottom.
  var label: String
  /// The rows from the top; their colours are those of a line chart's series.
  var rows: [Strip]
  /// A dashed line to compare with.
  var guide: Double?

  private static let width = 460.0
  private static let left = 120.0
  private static let right = 20.0
  private static let rowHeight = 22.0
  private static let bottom = 44.0

  /// The drawing with its title: a `<figure>`.
  var html: String {
    let values = rows.flatMap(\.values).map(\.value).filter(\.isFinite) + [guide].compactMap { $0 }
    var out = "<figure class=\"chart\">\n<figcaption>\(escapedHTML(title))</figcaption>\n"
    guard rows.contains(where: { $0.values.contains { $0.value.isFinite } }) else {
      return out + "<p class=\"quiet\">Nothing was recorded.</p>\n</figure>\n"
    }
    let axis = Axis(values: values, ticks: 5, whole: false, tight: false)
    let floor = 10 + Self.rowHeight * Double(rows.count)
    func x(_ value: Double) -> String {
      Self.number(Self.left + axis.share(of: value) * (Self.width - Self.left - Self.right))
    }
    out += "<svg viewBox=\"0 0 \(Int(Self.width)) \(Int(floor + Self.bottom))\" role=\"img\""
    out += " aria-label=\"\(escapedHTML(title))\">\n"
    for tick in axis.ticks {
      out += "<line class=\"grid\" x1=\"\(x(tick))\" x2=\"\(x(tick))\" y1=\"6\""
      out += " y2=\"\(Self.number(floor))\"/><text class=\"tick\" text-anchor=\"middle\""
      out += " x=\"\(x(tick))\" y=\"\(Self.number(floor + 16))\">\(axis.label(tick))</text>\n"
    }
    if let guide, guide.isFinite {
      out += "<path class=\"line guide\" d=\"M\(x(guide)) 6V\(Self.number(floor))\"/>\n"
    }
    for (i, row) in rows.enumerated() {
      let y = 10 + Self.rowHeight * (Double(i) + 0.5)
      out += "<text class=\"label\" text-anchor=\"end\" x=\"\(Self.number(Self.left - 8))\""
      out += " y=\"\(Self.number(y + 4))\">\(escapedHTML(row.name))</text>\n"
      for point in row.values where point.value.isFinite {
        out += "<circle class=\"dot \(LineChart.style(i))\" r=\"4\" cx=\"\(x(point.value))\""
        out += " cy=\"\(Self.number(y))\"><title>\(escapedHTML(row.name + " " + point.label)): "
        out += "\(readable(point.value, digits: 3))</title></circle>\n"
      }
    }
    let middle = (Self.left + Self.width - Self.right) / 2
    out += "<text class=\"label\" text-anchor=\"middle\" x=\"\(Self.number(middle))\""
    out += " y=\"\(Self.number(floor + 36))\">\(escapedHTML(label))</text>\n"
    return out + "</svg>\n</figure>\n"
  }

  private static func number(_ value: Double) -> String { String(format: "%.1f", value) }
}
