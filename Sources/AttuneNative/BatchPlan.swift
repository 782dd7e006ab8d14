// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import CAttuneKernels

/// A checked list of segments as rows: what every pass over it needs to know.
struct BatchPlan {
  let rows: Int
  let ids: [Int32]
  let positions: [Int32]
  let segmentRow: [Int32]
  let segmentCount: [Int32]
  let parent: [Int32]
  /// For each scored token the row whose hidden state predicts it, and its id.
  let scoredRow: [Int32]
  let scoredTarget: [Int32]
  /// For each scalar the row that it is read at.
  let scalarRow: [Int32]
  /// How many scored tokens and scalars each segment has.
  let scoredPerSegment: [Int]
  let scalarsPerSegment: [Int]

  init(_ segments: [Segment], spec: TransformerSpec) throws {
    var ids: [Int32] = []
    var positions: [Int32] = []
    var rowOf: [Int32] = []
    var depth: [Int] = []
    var scoredRow: [Int32] = []
    var scoredTarget: [Int32] = []
    var scalarRow: [Int32] = []
    var scoredPerSegment: [Int] = []
    var scalarsPerSegment: [Int] = []
    for (s, segment) in segments.enumerated() {
      guard !segment.ids.isEmpty else {
        throw EngineError(.badRequest, "segment \(s) of the batch has no tokens")
      }
      var start = 0
      var before: Int32 = -1
      if let parent = segment.parent {
        guard (0..<s).contains(parent) else {
          throw EngineError(
            .badRequest, "segment \(s) continues segment \(parent), which does not come before it")
        }
        start = depth[parent]
        before = rowOf[parent] + Int32(segments[parent].ids.count) - 1
      }
      guard start + segment.ids.count <= spec.maximumPositions else {
        throw EngineError(
          .badRequest,
          "a text of \(start + segment.ids.count) tokens is longer than the model's "
            + "\(spec.maximumPositions)")
      }
      let firstRow = Int32(ids.count)
      rowOf.append(firstRow)
      depth.append(start + segment.ids.count)
      for (i, id) in segment.ids.enumerated() {
        guard id >= 0, Int(id) < spec.vocabularySize else {
          throw EngineError(
            .badRequest,
            "token id \(id) is outside the model's vocabulary of \(spec.vocabularySize)")
        }
        ids.append(id)
        positions.append(Int32(start + i))
      }
      func row(after token: Int) throws -> Int32 {
        guard token < segment.ids.count, token >= -1, token >= 0 || before >= 0 else {
          throw EngineError(
            .badRequest,
            "segment \(s) has \(segment.ids.count) tokens and no position \(token) to read")
        }
        return token < 0 ? before : firstRow + Int32(token)
      }
      var scored = 0
      for range in segment.scored {
        for token in range {
          scoredRow.append(try row(after: token - 1))
          guard token < segment.ids.count else {
            throw EngineError(
              .badRequest,
              "segment \(s) has \(segment.ids.count) tokens and no token \(token) to score")
          }
          scoredTarget.append(segment.ids[token])
          scored += 1
        }
      }
      for token in segment.scalarsAfter { scalarRow.append(try row(after: token)) }
      scoredPerSegment.append(scored)
      scalarsPerSegment.append(segment.scalarsAfter.count)
    }
    rows = ids.count
    self.ids = ids
    self.positions = positions
    segmentRow = rowOf
    segmentCount = segments.map { Int32($0.ids.count) }
    parent = segments.map { Int32($0.parent ?? -1) }
    self.scoredRow = scoredRow
    self.scoredTarget = scoredTarget
    self.scalarRow = scalarRow
    self.scoredPerSegment = scoredPerSegment
    self.scalarsPerSegment = scalarsPerSegment
  }

  /// Longest position used, plus one.
  var positionCount: Int { Int(positions.max() ?? 0) + 1 }

  func withSegments(_ body: (atk_segments) -> Void) {
    segmentRow.withUnsafeBufferPointer { rows in
      segmentCount.withUnsafeBufferPointer { counts in
        parent.withUnsafeBufferPointer { parents in
          body(
            atk_segments(
              segment_row: rows.baseAddress, segment_count: counts.baseAddress,
              parent: parents.baseAddress, segments: segmentRow.count))
        }
      }
    }
  }

  /// A flat list of values cut into one list a segment.
  static func cut<T>(_ values: [T], _ counts: [Int]) -> [[T]] {
    var start = 0
    return counts.map { count in
      defer { start += count }
      return Array(values[start..<start + count])
    }
  }

  /// The reverse, checked: one list a segment joined; an empty list of lists means all zero.
  static func join(_ values: [[Double]], _ counts: [Int], _ what: String) throws -> [Float]? {
    if values.allSatisfy(\.isEmpty) { return nil }
    guard values.map(\.count) == counts else {
      throw EngineError(
        .badRequest, "gradients on \(what) do not have the shape of the scores they belong to")
    }
    let joined = values.joined().map { Float($0) }
    guard joined.allSatisfy(\.isFinite) else {
      throw EngineError(.notFinite, "a gradient on \(what) is not finite")
    }
    return joined
  }
}
