// SPDX-License-Identifier: Apache-2.0

extension Trunk {
  /// One trunk of several, segments one after another and parents renumbered.
  ///
  /// - Parameter trunks: At least one; of one origin and number of layers.
  /// - Returns: A trunk of all segments.
  public static func joining(_ trunks: [Trunk]) -> Trunk {
    guard let first = trunks.first else { preconditionFailure("nothing to join") }
    precondition(
      trunks.allSatisfy { $0.origin === first.origin && $0.layers == first.layers },
      "trunks of different models or depths can't be joined")
    var segments: [Segment] = []
    var rows: [Int] = []
    let joined = FloatBuffer(
      trunks.reduce(0) { $0 + $1.segments.reduce(0) { $0 + $1.ids.count } } * first.width)
    var row = 0
    for trunk in trunks {
      let start = segments.count
      for (i, segment) in trunk.segments.enumerated() {
        var segment = segment
        segment.parent = segment.parent.map { $0 + start }
        (joined.pointer + row * first.width).update(
          from: trunk.states.pointer + trunk.rows[i] * first.width,
          count: segment.ids.count * first.width)
        segments.append(segment)
        rows.append(row)
        row += segment.ids.count
      }
    }
    return Trunk(
      segments: segments, layers: first.layers, rows: rows, states: joined, width: first.width,
      origin: first.origin)
  }
}

extension NativeModel {
  public func accepts(_ trunk: Trunk) -> Bool {
    trunk.origin === origin && trunk.layers <= sharedLayers
  }
}
