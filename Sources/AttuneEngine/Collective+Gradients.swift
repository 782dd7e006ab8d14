// SPDX-License-Identifier: Apache-2.0

package import AttuneCollective

extension Collective {
  /// The sum of what all ranks hold of a vector, by the tree of `PieceSum`: the same bits on every rank,
  /// and on any number of them.
  ///
  /// Each rank adds up a part of the vector for all, then all are told the parts: as many bytes cross the
  /// network as in a ring, where a rank holds one node; of more nodes all are sent.
  ///
  /// - Parameters:
  ///   - nodes: This rank's share, from left to right.
  ///   - sum: Receives the sum, and may be one of the nodes; zeros if no rank has a node.
  /// - Throws: `Failure` if messages can't be passed.
  package func sum(
    _ nodes: [(place: PiecePlace, numbers: UnsafeMutableBufferPointer<Float>)],
    into sum: UnsafeMutableBufferPointer<Float>
  ) throws {
    let places = try gather { [nodes.map(\.place)] }
    for begin in stride(from: 0, to: sum.count, by: Self.block) {
      let length = min(Self.block, sum.count - begin)
      func part(of rank: Int) -> Range<Int> {
        begin + length * rank / count..<begin + length * (rank + 1) / count
      }
      let received = try exchange(
        (0..<count).map { rank in nodes.flatMap { $0.numbers[part(of: rank)] } })
      let own = part(of: rank).count
      var tree = PieceSum<[Float]> { left, right in
        var left = left
        for i in left.indices { left[i] += right[i] }
        return left
      }
      let all = zip(places, received).flatMap { places, numbers in
        places.enumerated().map { ($1, Array(numbers[$0 * own..<($0 + 1) * own])) }
      }
      for (place, numbers) in all.sorted(by: { $0.0.first < $1.0.first }) {
        tree.append(numbers, at: place)
      }
      let mine = tree.take() ?? [Float](repeating: 0, count: own)
      var next = begin
      for numbers in try exchange(Array(repeating: mine, count: count)) {
        for number in numbers {
          sum[next] = number
          next += 1
        }
      }
    }
  }
}

extension Collective {
  /// Numbers a message, at most: a few megabytes, of which memory is taken for each rank.
  private static var block: Int { 1 << 22 }

  /// Tells all ranks the parts of a vector that each of them has changed.
  ///
  /// - Parameters:
  ///   - parts: For each rank the part that is its own.
  ///   - vector: Receives the parts of the others.
  /// - Throws: `Failure` if messages can't be passed.
  package func spread(
    _ parts: [Range<Int>], of vector: UnsafeMutableBufferPointer<Float>
  ) throws {
    guard !isAlone else { return }
    for begin in stride(from: 0, to: parts.map(\.count).max() ?? 0, by: Self.block) {
      func message(of rank: Int) -> Range<Int> {
        let part = parts[rank]
        return min(
          part.lowerBound + begin, part.upperBound)..<min(
            part.lowerBound + begin + Self.block, part.upperBound)
      }
      let own = Array(vector[message(of: rank)])
      for (sender, numbers) in try exchange(Array(repeating: own, count: count)).enumerated()
      where sender != rank {
        for (i, number) in zip(message(of: sender), numbers) { vector[i] = number }
      }
    }
  }
}

extension LanguageModel {
  /// Passes over the pieces of a batch that add to the gradients, each on one rank.
  ///
  /// - Parameters:
  ///   - pieces: All pieces, the same on every rank.
  ///   - body: One pass forward and one back; the result of a piece.
  /// - Returns: The results of all pieces, in their order.
  /// - Throws: As `Collective.map`.
  package func accumulate<Piece, Result: Codable>(
    _ pieces: [Piece], _ body: (Piece) throws -> Result
  ) throws -> [Result] {
    let ranks = Collective.current
    guard !ranks.isAlone else { return try pieces.map(body) }
    let share = ranks.share(of: pieces.count)
    return try ranks.gather {
      try skipGradients(share.lowerBound)
      let results = try pieces[share].map(body)
      try skipGradients(pieces.count - share.upperBound)
      return results
    }
  }
}
