// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Finds in a judge's words the order in which it puts some letters.
package struct OrderReader {
  private let letters: [String]

  package init(_ letters: [String]) { self.letters = letters }

  /// The places of the letters in their order.
  ///
  /// - Returns: Nil unless one line names all of them once, with nothing but numbers and marks between
  ///   them, or lines that hold one letter each do together.
  package func order(in said: String) -> [Int]? {
    guard let text = OptionReader.afterThoughts(said) else { return nil }
    let lines = text.split(whereSeparator: \.isNewline).map { words(of: $0) }
    let named = lines.compactMap { whole($0) }
    if let order = named.last { return named.allSatisfy { $0 == order } ? order : nil }
    let singles = lines.filter { $0.count == 1 }.compactMap { place(of: $0[0]) }
    return isWhole(singles) ? singles : nil
  }

  /// A line that holds the order: words may stand before it, as in “From best to worst: B > A”.
  private func whole(_ words: [Substring]) -> [Int]? {
    let places = words.suffix(letters.count).compactMap { place(of: $0) }
    guard isWhole(places) else { return nil }
    return words.dropLast(letters.count).contains { place(of: $0) != nil } ? nil : places
  }

  private func words(of line: Substring) -> [Substring] {
    line.split { !$0.isLetter && !$0.isNumber }.filter { !$0.allSatisfy(\.isNumber) }
  }

  private func place(of word: Substring) -> Int? { letters.firstIndex { $0 == word } }

  private func isWhole(_ places: [Int]) -> Bool {
    places.count == letters.count && Set(places).count == letters.count
  }
}
