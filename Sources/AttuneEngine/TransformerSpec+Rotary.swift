// SPDX-License-Identifier: Apache-2.0

import Foundation

extension TransformerSpec {
  /// Angle a position, in radians, of each rotated pair of dimensions, half as many numbers as dimensions
  /// are rotated, scaling applied; empty for learned positions.
  public var rotaryFrequencies: [Double] { rotaryFrequencies(positions) }

  /// What cosines and sines are multiplied by: 1 but for YaRN and LongRoPE.
  public var rotaryAmplitude: Double { positions.amplitude }

  /// The frequencies by a layer's own rule.
  package func rotaryFrequencies(_ positions: Positions) -> [Double] {
    guard case .rotary(let theta, let scaling) = positions else { return [] }
    let width = rotaryWidth ?? headWidth
    let plain = (0..<width / 2).map { pow(theta, -Double(2 * $0) / Double(width)) }
    switch scaling {
    case .none, .dynamic:
      return plain
    case .linear(let factor):
      return plain.map { $0 / factor }
    case .llama3(let factor, let low, let high, let original):
      return plain.map { frequency in
        let turns = Double(original) * frequency / (2 * Double.pi)
        if turns < low { return frequency / factor }
        if turns > high { return frequency }
        let smooth = (turns - low) / (high - low)
        return (1 - smooth) * frequency / factor + smooth * frequency
      }
    case .yarn(let factor, _, let betaFast, let betaSlow, let original, let truncates):
      // The dimension that turns `turns` times within the original context.
      func dimension(_ turns: Double) -> Double {
        Double(width) * log(Double(original) / (turns * 2 * Double.pi)) / (2 * log(theta))
      }
      let (fast, slow) = (dimension(betaFast), dimension(betaSlow))
      let low = max(truncates ? fast.rounded(.down) : fast, 0)
      let end = min(truncates ? slow.rounded(.up) : slow, Double(width - 1))
      let high = end == low ? end + 0.001 : end
      return plain.enumerated().map { index, frequency in
        let ramp = min(max((Double(index) - low) / (high - low), 0), 1)
        return frequency / factor * ramp + frequency * (1 - ramp)
      }
    case .longRope(let factors, _, _, _):
      return zip(plain, factors).map { $0 / $1 }
    }
  }
}

extension TransformerSpec.Positions {
  /// What cosines and sines are multiplied by: 1 but for YaRN and LongRoPE.
  package var amplitude: Double {
    switch self {
    case .rotary(_, .yarn(_, let attentionFactor, _, _, _, _)),
      .rotary(_, .longRope(_, _, let attentionFactor, _)):
      attentionFactor
    default: 1
    }
  }
}

extension TransformerSpec {
  /// YaRN's amplitude where a file does not say it, and DeepSeek's scales of it.
  static func yarnAttentionFactor(_ factor: Double, scale: Double = 1) -> Double {
    factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1
  }

  /// LongRoPE's amplitude where a file does not say it.
  static func longRopeAttentionFactor(_ factor: Double, original: Int) -> Double {
    factor <= 1 ? 1 : (1 + log(factor) / log(Double(original))).squareRoot()
  }

  /// The longest text where a file says `positions`: YaRN reaches its factor times the original
  /// context, and files often keep what the model was first trained on; LongRoPE is read up to that.
  static func longestText(_ stated: Int, _ positions: Positions) -> Int {
    if case .rotary(_, .longRope(_, _, _, let original)) = positions {
      return min(stated, original)
    }
    guard case .rotary(_, .yarn(let factor, _, _, _, let original, _)) = positions else {
      return stated
    }
    let extended = (Double(original) * factor).rounded(.down)
    return extended.isFinite && extended <= 0x1p30 ? max(stated, Int(extended)) : stated
  }
}
