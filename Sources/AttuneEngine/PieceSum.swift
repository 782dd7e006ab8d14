// SPDX-License-Identifier: Apache-2.0

/// The sum of a batch's pieces by a binary tree over the piece's index, whose shape depends on their
/// number alone: contiguous shares of the pieces that are summed apart and then joined give the sum of
/// the whole to the last bit.
///
/// A node of level l holds 2^l pieces, the first of which has an index that 2^l divides, as the sum of
/// its two halves. What is in no common node at the end is added from the right. At most log₂ of the
/// number of pieces sums are held, and twice as many of a share that begins in the middle.
package struct PieceSum<Sum> {
  private struct Node {
    let place: PiecePlace
    var sum: Sum
  }

  /// From left to right.
  private var nodes: [Node] = []
  private let first: Int
  private var next: Int
  /// Adds two neighbours; may use their memory.
  private let add: (_ left: Sum, _ right: Sum) -> Sum

  /// Begins a share.
  ///
  /// - Parameters:
  ///   - first: The index of its first piece.
  ///   - add: Adds two neighbours; may use their memory.
  package init(from first: Int = 0, _ add: @escaping (_ left: Sum, _ right: Sum) -> Sum) {
    self.first = first
    next = first
    self.add = add
  }

  /// Whether no piece was added.
  package var isEmpty: Bool { nodes.isEmpty }

  /// Adds the next piece.
  package mutating func append(_ piece: Sum) {
    append(piece, at: PiecePlace(level: 0, index: next))
    next += 1
  }

  /// Leaves out pieces that are in another share.
  package mutating func skip(_ pieces: Int) { next += pieces }

  /// The sums of this share, and where they stand.
  package var places: [(place: PiecePlace, sum: Sum)] { nodes.map { ($0.place, $0.sum) } }

  /// Adds a node of any share; those to its left are there.
  package mutating func append(_ sum: Sum, at place: PiecePlace) {
    var node = Node(place: place, sum: sum)
    while let left = nodes.last, left.place.level == node.place.level, left.place.index % 2 == 0,
      left.place.index + 1 == node.place.index
    {
      nodes.removeLast()
      node = Node(
        place: PiecePlace(level: node.place.level + 1, index: left.place.index / 2),
        sum: add(left.sum, node.sum))
    }
    nodes.append(node)
  }

  /// Adds the share that begins where this one ends.
  package mutating func append(_ share: PieceSum) {
    precondition(share.first == next, "shares are contiguous")
    for node in share.nodes { append(node.sum, at: node.place) }
    next = share.next
  }

  /// Takes the sum of all pieces out, and begins anew with the first one.
  ///
  /// - Returns: The sum; nil of no pieces.
  package mutating func take() -> Sum? {
    defer { self = PieceSum(from: first, add) }
    guard var sum = nodes.popLast()?.sum else { return nil }
    while let left = nodes.popLast() { sum = add(left.sum, sum) }
    return sum
  }
}

/// Where a sum stands in the tree over a batch's pieces.
package struct PiecePlace: Codable, Equatable {
  /// It holds 2^level pieces.
  package let level: Int
  /// Its place among the nodes of its level.
  package let index: Int

  package init(level: Int, index: Int) {
    self.level = level
    self.index = index
  }

  /// The first piece that it holds.
  package var first: Int { index << level }
}
