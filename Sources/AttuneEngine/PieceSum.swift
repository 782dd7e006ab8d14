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
    let level: Int
    /// Its place among the nodes of its level.
    let index: Int
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
    append(Node(level: 0, index: next, sum: piece))
    next += 1
  }

  /// Adds the share that begins where this one ends.
  package mutating func append(_ share: PieceSum) {
    precondition(share.first == next, "shares are contiguous")
    for node in share.nodes { append(node) }
    next = share.next
  }

  private mutating func append(_ node: Node) {
    var node = node
    while let left = nodes.last, left.level == node.level, left.index % 2 == 0 {
      nodes.removeLast()
      node = Node(level: node.level + 1, index: left.index / 2, sum: add(left.sum, node.sum))
    }
    nodes.append(node)
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
