// SPDX-License-Identifier: Apache-2.0

import Foundation

extension TransformerSpec {
  /// Angle a position, in radians, of each rotated pair of dimensions: `headWidth / 2` numbers,
  /// scaling applied; empty for learned positions.
  public var rotaryFrequencies: [Double] {
    guard case .rotary(let theta, let scaling) = positions else { return [] }
    let plain = (0..<headWidth / 2).map { pow(theta, -Double(2 * $0) / Double(headWidth)) }
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
        Double(headWidth) * log(Double(original) / (turns * 2 * Double.pi)) / (2 * log(theta))
      }
      let (fast, slow) = (dimension(betaFast), dimension(betaSlow))
      let low = max(truncates ? fast.rounded(.down) : fast, 0)
      let end = min(truncates ? slow.rounded(.up) : slow, Double(headWidth - 1))
      let high = end == low ? end + 0.001 : end
      return plain.enumerated().map { index, frequency in
        let ramp = min(max((Double(index) - low) / (high - low), 0), 1)
        return frequency / factor * ramp + frequency * (1 - ramp)
      }
    }
  }

  /// What cosines and sines are multiplied by: 1 but for YaRN.
  public var rotaryAmplitude: Double {
    if case .rotary(_, .yarn(_, let attentionFactor, _, _, _, _)) = positions {
      return attentionFactor
    }
    return 1
  }
}

extension TransformerSpec {
  /// YaRN's amplitude where a file does not say it, and DeepSeek's scales of it.
  static func yarnAttentionFactor(_ factor: Double, scale: Double = 1) -> Double {
    factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1
  }

  /// The longest text where a file says `positions`: YaRN reaches its factor times the original
  /// context, and files often keep what the model was first trained on.
  static func longestText(_ stated: Int, _ positions: Positions) -> Int {
    guard case .rotary(_, .yarn(let factor, _, _, _, let original, _)) = positions else {
      return stated
    }
    let extended = (Double(original) * factor).rounded(.down)
    return extended.isFinite && extended <= 0x1p30 ? max(stated, Int(extended)) : stated
  }
}
