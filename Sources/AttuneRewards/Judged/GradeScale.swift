// SPDX-License-Identifier: Apache-2.0

/// The grades that a judge chooses from: single digits, or letters of which A is the best.
package struct GradeScale: Sendable, Equatable {
  /// The grades as the judge writes them.
  let options: [String]
  /// What each of them counts.
  let values: [Double]

  /// 1 to 5.
  package init() {
    options = (1...5).map(String.init)
    values = [1, 2, 3, 4, 5]
  }

  /// Reads a scale.
  ///
  /// - Parameter text: `1-5`, or any other two digits; `A-E`, or any other letter from B on: the last
  ///   letter counts 1.
  /// - Returns: Nil for anything else.
  package init?(_ text: String) {
    let ends = text.split(separator: "-", omittingEmptySubsequences: false)
    guard ends.count == 2, ends.allSatisfy({ $0.utf8.count == 1 }), let low = ends[0].utf8.first,
      let high = ends[1].utf8.first, low < high
    else { return nil }
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    let capitals = UInt8(ascii: "A")...UInt8(ascii: "Z")
    options = (low...high).map { String(UnicodeScalar($0)) }
    if digits.contains(low), digits.contains(high) {
      values = (low...high).map { Double($0 - digits.lowerBound) }
    } else if low == capitals.lowerBound, capitals.contains(high) {
      values = options.indices.reversed().map { Double($0 + 1) }
    } else {
      return nil
    }
  }

  /// What its ends mean.
  var words: String {
    let (first, last) = (options[0], options[options.count - 1])
    let (least, most) = values[0] == values.min() ? (first, last) : (last, first)
    return "from \(least) (not at all) to \(most) (fully)"
  }

  /// The expected grade.
  package func mean(_ probabilities: [Double]) -> Double {
    zip(values, probabilities).reduce(0) { $0 + $1.0 * $1.1 }
  }
}
