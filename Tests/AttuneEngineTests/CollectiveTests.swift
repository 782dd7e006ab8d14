// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
import AttuneEngine
import AttuneTestSupport
import Foundation
import Synchronization
import Testing

struct CollectiveTests {
  @Test(arguments: [1, 2, 3, 5, 8])
  func `every piece is run once and all are told in order`(ranks: Int) {
    let counts = Mutex([Int: Int]())
    let told = RankThreads.run(ranks) { collective -> [Double] in
      (try? collective.map(Array(0..<7)) { piece in
        counts.withLock { $0[piece, default: 0] += 1 }
        return Double(piece) / 3
      }) ?? []
    }
    for values in told { #expect(values == (0..<7).map { Double($0) / 3 }) }
    #expect(told.count == ranks && counts.withLock { $0.values.allSatisfy { $0 == 1 } })
  }

  @Test func `numbers that are not finite arrive as they are`() {
    let told = RankThreads.run(2) { collective -> [Double] in
      (try? collective.gather {
        [collective.rank == 0 ? Double.infinity : -.infinity, .nan, 0.1]
      }) ?? []
    }
    for values in told {
      #expect(values.count == 6 && values[0] == .infinity && values[3] == -.infinity)
      #expect(values[1].isNaN && values[5] == 0.1)
    }
  }

  @Test func `an error of one rank ends all`() {
    struct Broken: Error {}
    let errors = RankThreads.run(3) { collective -> (isOwn: Bool, rank: Int?) in
      do {
        _ = try collective.map(Array(0..<3)) { piece in
          if piece == 1 { throw Broken() }
          return piece
        }
        return (false, nil)
      } catch {
        return (error is Broken, (error as? Collective.Failure)?.rank)
      }
    }
    #expect(errors[1].isOwn)
    #expect(errors[0].rank == 1 && errors[2].rank == 1)
  }

  @Test func `the first makes a value, and inside of it is alone`() {
    let told = RankThreads.run(3) { collective -> [Int]? in
      try? collective.first { [collective.rank, Collective.current.count] }
    }
    #expect(told.allSatisfy { $0 == [0, 1] })
  }

  @Test(arguments: 1...9, [1, 2, 3, 4, 7])
  func `gradients of all ranks have the bits of one`(pieces: Int, ranks: Int) {
    let length = 13
    @Sendable func numbers(_ piece: Int) -> [Float] {
      (0..<length).map { Float(sin(Double(piece * 31 + $0 * 7)) * pow(10, Double($0 % 5) - 2)) }
    }
    @Sendable func add(_ left: [Float], _ right: [Float]) -> [Float] {
      zip(left, right).map { $0 + $1 }
    }
    var whole = PieceSum<[Float]>(add)
    for piece in 0..<pieces { whole.append(numbers(piece)) }
    let expected = whole.take()
    let sums = RankThreads.run(ranks) { collective -> [Float] in
      let share = collective.share(of: pieces)
      var own = PieceSum<[Float]>(add)
      own.skip(share.lowerBound)
      for piece in share { own.append(numbers(piece)) }
      var places: [(place: PiecePlace, numbers: UnsafeMutableBufferPointer<Float>)] = []
      for (place, sum) in own.places {
        let buffer = UnsafeMutableBufferPointer<Float>.allocate(capacity: length)
        _ = buffer.initialize(from: sum)
        places.append((place, buffer))
      }
      defer { for (_, buffer) in places { buffer.deallocate() } }
      var sum = [Float](repeating: -1, count: length)
      sum.withUnsafeMutableBufferPointer { try? collective.sum(places, into: $0) }
      return sum
    }
    #expect(sums.count == ranks && sums.allSatisfy { $0 == expected })
  }
}
