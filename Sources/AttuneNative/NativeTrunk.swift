// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine

/// Hidden states [tokens, D] below a layer.
final class NativeTrunk: Trunk {
  /// The segments that were run.
  let segments: [Segment]
  /// How many layers were run.
  let layers: Int
  let rows: [Int]
  let states: FloatBuffer
  let width: Int
  let origin: NativeModel.Origin

  init(
    segments: [Segment], layers: Int, rows: [Int], states: FloatBuffer, width: Int,
    origin: NativeModel.Origin
  ) {
    self.segments = segments
    self.layers = layers
    self.rows = rows
    self.states = states
    self.width = width
    self.origin = origin
  }

  func selecting(_ indices: [Int]) throws -> any Trunk {
    var place: [Int: Int] = [:]
    var chosen: [Segment] = []
    var newRows: [Int] = []
    var count = 0
    for (new, old) in indices.enumerated() {
      place[old] = new
      var segment = segments[old]
      if let parent = segment.parent {
        guard let newParent = place[parent] else {
          preconditionFailure("segment \(old) is chosen without its parent \(parent)")
        }
        segment.parent = newParent
      }
      chosen.append(segment)
      newRows.append(count)
      count += segment.ids.count
    }
    let selected = try FloatBuffer(count * width)
    for (new, old) in indices.enumerated() {
      (selected.pointer + newRows[new] * width)
        .update(from: states.pointer + rows[old] * width, count: chosen[new].ids.count * width)
    }
    return NativeTrunk(
      segments: chosen, layers: layers, rows: newRows, states: selected, width: width,
      origin: origin)
  }

  func joining(_ others: [any Trunk]) throws -> any Trunk {
    let trunks = [self] + others.compactMap { $0 as? NativeTrunk }
    precondition(
      trunks.count == others.count + 1
        && trunks.allSatisfy { $0.origin === origin && $0.layers == layers },
      "trunks of different models or depths can't be joined")
    var segments: [Segment] = []
    var rows: [Int] = []
    let joined = try FloatBuffer(
      trunks.reduce(0) { $0 + $1.segments.reduce(0) { $0 + $1.ids.count } } * width)
    var row = 0
    for trunk in trunks {
      let start = segments.count
      for (i, segment) in trunk.segments.enumerated() {
        var segment = segment
        segment.parent = segment.parent.map { $0 + start }
        (joined.pointer + row * width).update(
          from: trunk.states.pointer + trunk.rows[i] * width,
          count: segment.ids.count * width)
        segments.append(segment)
        rows.append(row)
        row += segment.ids.count
      }
    }
    return NativeTrunk(
      segments: segments, layers: layers, rows: rows, states: joined, width: width,
      origin: origin)
  }
}

extension NativeModel {
  package func accepts(_ trunk: any Trunk) -> Bool {
    (trunk as? NativeTrunk)?.origin === origin && trunk.layers <= sharedLayers
  }
}
