// SPDX-License-Identifier: Apache-2.0

/// Hidden states of segments below a layer, shared by a policy, its reference, its reward model and
/// every epoch. Where they lie and what they are is the engine's own.
public protocol Trunk: AnyObject {
  /// The segments that were run.
  var segments: [Segment] { get }
  /// How many layers were run.
  var layers: Int { get }

  /// The part for some of the segments, in a new order; a segment's parent must be among them and
  /// come before it.
  ///
  /// - Parameter indices: Indices into `segments`.
  /// - Returns: A trunk of the segments chosen, parents renumbered.
  /// - Throws: `EngineError` if the memory can't be had.
  func selecting(_ indices: [Int]) throws -> any Trunk

  /// One trunk of several, segments one after another and parents renumbered.
  ///
  /// - Parameter others: Those that follow this one; of one origin and number of layers.
  /// - Returns: A trunk of all segments.
  /// - Throws: `EngineError` if the memory can't be had.
  func joining(_ others: [any Trunk]) throws -> any Trunk
}

extension Sequence<any Trunk> {
  /// One trunk of all, in their order; nil of none.
  public func joined() throws -> (any Trunk)? {
    let all = Array(self)
    return try all.first?.joining(Array(all.dropFirst()))
  }
}
