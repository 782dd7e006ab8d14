// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import Foundation

/// Cosines and sines of rotary positions as the kernels take them.
package struct RotaryTable {
  /// [positions, turned / 2] each.
  package let cosine: UnsafePointer<Float>
  package let sine: UnsafePointer<Float>
  /// How many dimensions of a head they turn.
  package let turned: Int
}

/// The tables of a model's layers, made as far as they are needed: one for each rule that its layers have.
///
/// Angles are rounded to float32 as transformers does, so that both see the same numbers.
final class RotaryTables {
  private final class Rule {
    let frequencies: [Float]
    let amplitude: Double
    var cosines: FloatBuffer
    var sines: FloatBuffer
    var made = 0

    init(_ positions: TransformerSpec.Positions, _ spec: TransformerSpec) throws {
      (cosines, sines) = (try FloatBuffer(0), try FloatBuffer(0))
      frequencies = spec.rotaryFrequencies(positions).map { Float($0) }
      amplitude = positions.amplitude
    }

    func make(_ count: Int) throws {
      (cosines, sines) = (
        try FloatBuffer(count * frequencies.count), try FloatBuffer(count * frequencies.count)
      )
      made = count
      for position in 0..<count {
        for (i, frequency) in frequencies.enumerated() {
          let angle = Double(Float(position) * frequency)
          cosines.pointer[position * frequencies.count + i] = Float(cos(angle) * amplitude)
          sines.pointer[position * frequencies.count + i] = Float(sin(angle) * amplitude)
        }
      }
    }
  }

  private let rules: [Rule]
  /// Of each layer the place of its rule; nil where nothing is rotated.
  private let ruleOfLayer: [Int?]
  private let maximum: Int

  init(_ spec: TransformerSpec) throws {
    maximum = spec.maximumPositions
    var known: [TransformerSpec.Positions] = []
    ruleOfLayer = (0..<spec.layers).map { layer in
      guard let positions = spec.attention(ofLayer: layer).positions, positions != .learned else {
        return nil
      }
      if let place = known.firstIndex(of: positions) { return place }
      known.append(positions)
      return known.count - 1
    }
    rules = try known.map { try Rule($0, spec) }
  }

  /// A layer's tables for positions 0 ..< count; nil where nothing is rotated.
  func tables(_ layer: Int, _ count: Int) throws -> RotaryTable? {
    guard let rule = ruleOfLayer[layer].map({ rules[$0] }) else { return nil }
    if count > rule.made { try rule.make(min(maximum, max(count, 2 * rule.made, 512))) }
    return RotaryTable(
      cosine: UnsafePointer(rule.cosines.pointer), sine: UnsafePointer(rule.sines.pointer),
      turned: 2 * rule.frequencies.count)
  }
}
