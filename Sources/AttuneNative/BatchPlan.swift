// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import CAttuneKernels

/// A checked list of segments as rows: what every pass over it needs to know.
///
/// A segment lies in one run of rows, or in two: an opening, which others may have in common with it, and what
/// follows. Where it is cut depends on the segment alone, so that its numbers do not depend on the others.
struct BatchPlan {
  let rows: Int
  let ids: [Int32]
  let positions: [Int32]
  /// Of each run its first row, its length, and the run that it continues, or −1.
  private let runRow: [Int32]
  private let runCount: [Int32]
  private let runParent: [Int32]
  /// Where each segment's tokens are: first rows and lengths of its runs, in their order.
  let places: [[Range<Int>]]
  /// For each scored token the row whose hidden state predicts it, and its id.
  let scoredRow: [Int32]
  let scoredTarget: [Int32]
  /// For each scalar the row that it is read at.
  let scalarRow: [Int32]
  /// How many scored tokens and scalars each segment has.
  let scoredPerSegment: [Int]
  let scalarsPerSegment: [Int]

  /// Makes a plan.
  ///
  /// - Parameters:
  ///   - segments: The segments.
  ///   - model: The model that reads them.
  /// - Throws: `EngineError` that names what does not fit.
  init(_ segments: [Segment], for model: NativeModel) throws {
    let spec = model.spec
    var ids: [Int32] = []
    var positions: [Int32] = []
    var runRow: [Int32] = []
    var runCount: [Int32] = []
    var runParent: [Int32] = []
    var places: [[Range<Int>]] = []
    /// Of each segment its last run, and how many tokens there are up to its end.
    var lastRun: [Int] = []
    var depth: [Int] = []
    var openings: [ArraySlice<Int32>: Int] = [:]
    /// Puts tokens behind a run, and says which run they are.
    func add(_ tokens: ArraySlice<Int32>, from start: Int, behind parent: Int?) -> Int {
      runRow.append(Int32(ids.count))
      runCount.append(Int32(tokens.count))
      runParent.append(Int32(parent ?? -1))
      ids += tokens
      positions += (start..<start + tokens.count).map { Int32($0) }
      return runRow.count - 1
    }
    func rows(_ run: Int) -> Range<Int> { Int(runRow[run])..<Int(runRow[run] + runCount[run]) }
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
        before = Int32(rows(lastRun[parent]).upperBound - 1)
      }
      guard start + segment.ids.count <= spec.maximumPositions else {
        throw EngineError(
          .badRequest,
          "a text of \(start + segment.ids.count) tokens is longer than the model's "
            + "\(spec.maximumPositions)")
      }
      depth.append(start + segment.ids.count)
      for id in segment.ids where id < 0 || Int(id) >= spec.vocabularySize {
        throw EngineError(
          .badRequest,
          "token id \(id) is outside the model's vocabulary of \(spec.vocabularySize)")
      }
      let cut =
        segment.parent == nil ? Segment.opening(of: segment.ids, turn: model.turnOpening) : 0
      var parent = segment.parent.map { lastRun[$0] }
      var own: [Range<Int>] = []
      if cut > 0 {
        let opening = segment.ids[..<cut]
        let run = openings[opening] ?? add(opening, from: 0, behind: nil)
        openings[opening] = run
        own.append(rows(run))
        parent = run
      }
      lastRun.append(add(segment.ids[cut...], from: start + cut, behind: parent))
      let rest = rows(lastRun[s])
      own.append(rest)
      places.append(own)
      func row(after token: Int) throws -> Int32 {
        guard token < segment.ids.count, token >= -1, token >= 0 || before >= 0 else {
          throw EngineError(
            .badRequest,
            "segment \(s) has \(segment.ids.count) tokens and no position \(token) to read")
        }
        if token < 0 { return before }
        return Int32(token < cut ? own[0].lowerBound + token : rest.lowerBound + token - cut)
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
    self.rows = ids.count
    self.ids = ids
    self.positions = positions
    self.runRow = runRow
    self.runCount = runCount
    self.runParent = runParent
    self.places = places
    self.scoredRow = scoredRow
    self.scoredTarget = scoredTarget
    self.scalarRow = scalarRow
    self.scoredPerSegment = scoredPerSegment
    self.scalarsPerSegment = scalarsPerSegment
  }

  /// Copies rows of so many columns from one run a segment, one behind another, to where they are worked on.
  func gather(
    _ rows: UnsafeMutablePointer<Float>, from segments: UnsafePointer<Float>, width: Int
  ) {
    var start = 0
    for place in places.joined() {
      atk_copy(rows + place.lowerBound * width, segments + start * width, place.count * width)
      start += place.count
    }
  }

  /// The other way: what segments have in common is written for each.
  func spread(
    _ rows: UnsafePointer<Float>, to segments: UnsafeMutablePointer<Float>, width: Int
  ) {
    var start = 0
    for place in places.joined() {
      atk_copy(segments + start * width, rows + place.lowerBound * width, place.count * width)
      start += place.count
    }
  }

  /// Longest position used, plus one.
  var positionCount: Int { Int(positions.max() ?? 0) + 1 }

  func withSegments(_ body: (atk_segments) -> Void) {
    runRow.withUnsafeBufferPointer { rows in
      runCount.withUnsafeBufferPointer { counts in
        runParent.withUnsafeBufferPointer { parents in
          body(
            atk_segments(
              segment_row: rows.baseAddress, segment_count: counts.baseAddress,
              parent: parents.baseAddress, segments: runRow.count))
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
