// SPDX-License-Identifier: Apache-2.0

/// A forward pass with the way back from its scores.
///
/// It goes back once, before the next pass of its model or of any made from the same one: an engine
/// may use its memory again then. Later it throws; it never gives gradients of something else.
public struct Pass {
  /// What objectives see of the batch.
  public let scores: HeadScores
  private let goBack: (HeadGradients) throws -> Void

  /// Makes a pass: for engines.
  ///
  /// - Parameters:
  ///   - scores: A list a segment.
  ///   - backward: Accumulates the gradients of trained numbers, or throws if the pass is gone.
  public init(scores: HeadScores, backward: @escaping (HeadGradients) throws -> Void) {
    self.scores = scores
    goBack = backward
  }

  /// Accumulates the gradients of trained numbers from those on the scores.
  ///
  /// - Parameter gradients: The gradient of the loss on each score.
  /// - Throws: `EngineError` if the pass is gone, shapes differ, or a gradient is not finite.
  public func backward(_ gradients: HeadGradients) throws { try goBack(gradients) }
}
