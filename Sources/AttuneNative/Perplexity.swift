// SPDX-License-Identifier: Apache-2.0

public import AttuneEngine
import Foundation

/// How well a model predicts a text: by its passes, and by the numbers that a sampler draws with.
public struct Perplexity: Codable, Sendable {
  /// Tokens of a window, each of which begins anew.
  public static let window = 512

  /// Tokens that were predicted: all but the first of each window.
  public var tokens: Int
  /// e to the mean of their negative log-probabilities in the model's passes.
  public var passes: Double
  /// The same of what a sampler would draw.
  public var sampled: Double

  /// Measures.
  ///
  /// - Parameters:
  ///   - model: A model of this engine.
  ///   - text: Token ids.
  ///   - sampler: Which numbers it samples with.
  /// - Throws: `EngineError` if the text has fewer than two tokens or the model is another engine's.
  public init(of model: any LanguageModel, _ text: [Int32], sampler: Sampler) throws {
    guard let model = model as? NativeModel, text.count > 1 else {
      throw EngineError(.badRequest, "a perplexity needs a text of two tokens or more")
    }
    var (count, byPasses, bySampler) = (0, 0.0, 0.0)
    let length = min(Self.window, model.spec.maximumPositions)
    for start in stride(from: 0, to: text.count - 1, by: length) {
      let window = Array(text[start..<min(start + length, text.count)])
      let scores = try model.score([Segment(window, scored: [1..<window.count])])
      byPasses -= scores.logProbabilities[0].reduce(0, +)
      bySampler -= try model.drawnLogProbabilities(window, sampler: sampler).reduce(0, +)
      count += window.count - 1
    }
    tokens = count
    passes = exp(byPasses / Double(count))
    sampled = exp(bySampler / Double(count))
  }
}
