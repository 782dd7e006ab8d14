// SPDX-License-Identifier: Apache-2.0

/// What an objective gives back for a piece of a batch.
///
/// The loss and the gradients are the piece's share of the batch's: the sum over the pieces is what
/// one pass over the whole batch gives. An array of gradients is shaped as the head scores that
/// came in, or empty where the objective does not read them.
public struct LossResult: Sendable, Equatable {
  /// This piece's share of the loss.
  public var loss = 0.0
  /// ∂loss/∂log-probability, a list a row.
  public var logProbabilities: [[Double]] = []
  /// ∂loss/∂entropy, a list a row.
  public var entropies: [[Double]] = []
  /// ∂loss/∂scalar (reward or value), a list a row or group.
  public var scalars: [[Double]] = []
  /// ∂loss/∂parameter for the scalars that the objective owns.
  public var parameters: [Double] = []
  /// What was measured on the way.
  public var metrics = MetricTotals()

  /// No loss, no gradient.
  public init() {}
}
