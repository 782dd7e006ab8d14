// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneTestSupport
import Testing

struct PieceSumTests {
  typealias Numbers = [Float]

  static func sum(from first: Int = 0, _ pieces: some Sequence<Numbers>) -> PieceSum<Numbers> {
    var sum = PieceSum<Numbers>(from: first) { zip($0, $1).map { $0 + $1 } }
    for piece in pieces { sum.append(piece) }
    return sum
  }

  static func pieces(_ count: Int) -> [Numbers] {
    var random = SplitMix(seed: UInt64(count))
    // Of very different sizes, so that the order of a sum shows in its last bits.
    return (0..<count).map { _ in
      (0..<64).map { i in random.float() * (i % 3 == 0 ? 1000 : i % 3 == 1 ? 1 : 1e-3) }
    }
  }

  @Test(arguments: 1...17)
  func `contiguous shares summed apart give the bits of the whole`(count: Int) throws {
    let pieces = Self.pieces(count)
    var whole = Self.sum(pieces)
    let taken = whole.take()
    let expected = try #require(taken)
    for cut in 0...count {
      for other in cut...count {
        var joined = Self.sum(pieces[..<cut])
        joined.append(Self.sum(from: cut, pieces[cut..<other]))
        joined.append(Self.sum(from: other, pieces[other...]))
        let sum = joined.take()
        #expect(sum == expected, "cut at \(cut) and \(other)")
      }
    }
  }

  @Test(arguments: [1, 2, 3, 7, 64, 1000])
  func `the sum is the exact one but for rounding`(count: Int) throws {
    let pieces = Self.pieces(count)
    var whole = Self.sum(pieces)
    let taken = whole.take()
    let sum = try #require(taken)
    #expect(whole.isEmpty)
    for i in sum.indices {
      let exact = pieces.reduce(0.0) { $0 + Double($1[i]) }
      let size = pieces.reduce(0.0) { $0 + abs(Double($1[i])) }
      #expect(abs(Double(sum[i]) - exact) <= 1e-6 * size)
    }
  }
}
