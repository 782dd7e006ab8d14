// SPDX-License-Identifier: Apache-2.0

/// Rows of words in columns: for a terminal and for a page.
package struct TextTable {
  /// The columns' names.
  var columns: [String]
  /// The rows, each with as many cells as there are columns.
  var rows: [[String]] = []
  /// How many columns are words, from the left; the others are numbers.
  var words = 1

  /// Makes a table.
  package init(columns: [String], rows: [[String]] = [], words: Int = 1) {
    (self.columns, self.rows, self.words) = (columns, rows, words)
  }

  /// The table with columns of one width each, a line a row.
  package var text: String {
    let all = [columns] + rows
    let widths = columns.indices.map { i in all.map { $0[i].count }.max() ?? 0 }
    return all.map { row in
      row.enumerated().map { i, cell in
        let room = String(repeating: " ", count: widths[i] - cell.count)
        return i < words ? cell + room : room + cell
      }.joined(separator: "  ").trimmingSuffix(" ") + "\n"
    }.joined()
  }

  /// The table as HTML.
  var html: String {
    func line(_ cells: [String], _ tag: String) -> String {
      let cells = cells.enumerated().map { i, cell in
        "<\(tag)\(i < words ? "" : " class=\"n\"")>\(escapedHTML(cell))</\(tag)>"
      }
      return "<tr>\(cells.joined())</tr>\n"
    }
    return "<div class=\"scroll\"><table>\n<thead>\(line(columns, "th"))</thead>\n<tbody>"
      + rows.map { line($0, "td") }.joined() + "</tbody></table></div>\n"
  }
}

extension String {
  /// The text without these characters at its end.
  fileprivate func trimmingSuffix(_ character: Character) -> String {
    var text = self
    while text.last == character { text.removeLast() }
    return text
  }
}
