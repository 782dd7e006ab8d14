// SPDX-License-Identifier: Apache-2.0

/// Unicode's normalisation form C (Unicode Standard Annex 15), with the tables of Hugging Face's
/// library, so that Qwen's texts give the same ids.
struct CanonicalComposition: Sendable {
  static let shared = CanonicalComposition()

  private var classes: [UInt32: UInt8] = [:]
  private var decompositions: [UInt32: [UInt32]] = [:]
  private var compositions: [UInt64: UInt32] = [:]
  /// Scalars whose presence makes a text worth a closer look.
  private var suspects: Set<UInt32> = []

  private static let hangul: Range<UInt32> = 0xAC00..<0xAC00 + 11172

  private init() {
    func numbers(_ text: Substring, _ separator: Character) -> [UInt32] {
      text.split(separator: separator).compactMap { UInt32($0, radix: 16) }
    }
    for entry in CanonicalTables.combiningClasses.split(separator: " ") {
      let sides = entry.split(separator: "=")
      let range = numbers(sides[0], "-")
      for scalar in range[0]...range[range.count - 1] {
        classes[scalar] = UInt8(sides[1], radix: 16) ?? 0
        suspects.insert(scalar)
      }
    }
    var steps: [UInt32: [UInt32]] = [:]
    for entry in CanonicalTables.decompositions.split(separator: " ") {
      let sides = entry.split { $0 == "=" || $0 == ":" }
      let scalar = numbers(sides[0], "+")[0]
      let parts = numbers(sides[1], "+")
      steps[scalar] = parts
      if parts.count == 2, entry.contains("=") {
        compositions[UInt64(parts[0]) << 32 | UInt64(parts[1])] = scalar
        suspects.insert(parts[1])
      } else {
        suspects.insert(scalar)
      }
    }
    func whole(_ scalar: UInt32) -> [UInt32] { steps[scalar]?.flatMap(whole) ?? [scalar] }
    decompositions = Dictionary(uniqueKeysWithValues: steps.keys.map { ($0, whole($0)) })
    suspects.formUnion(0x1161...0x1175)
    suspects.formUnion(0x11A8...0x11C2)
  }

  /// The text in form C.
  func normalize(_ text: String) -> String {
    let isComposed = text.unicodeScalars.allSatisfy {
      $0.value < 0x300 || !suspects.contains($0.value)
    }
    return isComposed ? text : compose(decompose(text))
  }

  private func decompose(_ text: String) -> [UInt32] {
    var result: [UInt32] = []
    result.reserveCapacity(text.utf8.count)
    for scalar in text.unicodeScalars {
      let value = scalar.value
      if value < 0xC0 {
        result.append(value)
      } else if Self.hangul.contains(value) {
        let index = value - Self.hangul.lowerBound
        result.append(0x1100 + index / 588)
        result.append(0x1161 + index % 588 / 28)
        if index % 28 != 0 { result.append(0x11A7 + index % 28) }
      } else if let parts = decompositions[value] {
        result.append(contentsOf: parts)
      } else {
        result.append(value)
      }
    }
    // Marks go in the order of their classes; those of one class stay in theirs.
    var start = 0
    while start < result.count {
      guard classes[result[start]] != nil else {
        start += 1
        continue
      }
      var end = start + 1
      while end < result.count, classes[result[end]] != nil { end += 1 }
      if end - start > 1 {
        let ordered = result[start..<end].enumerated().sorted {
          (classes[$0.element] ?? 0, $0.offset) < (classes[$1.element] ?? 0, $1.offset)
        }
        result.replaceSubrange(start..<end, with: ordered.map(\.element))
      }
      start = end
    }
    return result
  }

  private func compose(_ scalars: [UInt32]) -> String {
    var result: [UInt32] = []
    result.reserveCapacity(scalars.count)
    var starter: Int?
    // The class of the last mark that stayed between the starter and the next scalar.
    var lastClass: UInt8 = 0
    for scalar in scalars {
      let ownClass = classes[scalar] ?? 0
      if let place = starter {
        let isAdjacent = place == result.count - 1
        if isAdjacent || lastClass < ownClass, let whole = pair(result[place], scalar) {
          result[place] = whole
          continue
        }
      }
      result.append(scalar)
      lastClass = ownClass
      if ownClass == 0 { starter = result.count - 1 }
    }
    var text = String.UnicodeScalarView()
    for value in result { text.append(Unicode.Scalar(value) ?? "\u{FFFD}") }
    return String(text)
  }

  private func pair(_ first: UInt32, _ second: UInt32) -> UInt32? {
    if (0x1100...0x1112).contains(first), (0x1161...0x1175).contains(second) {
      return Self.hangul.lowerBound + ((first - 0x1100) * 21 + (second - 0x1161)) * 28
    }
    if Self.hangul.contains(first), (first - Self.hangul.lowerBound) % 28 == 0,
      (0x11A8...0x11C2).contains(second)
    {
      return first + (second - 0x11A7)
    }
    return compositions[UInt64(first) << 32 | UInt64(second)]
  }
}
