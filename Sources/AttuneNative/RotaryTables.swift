// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import Foundation

/// Cosines and sines of rotary positions, [positions, C/2], made as far as they are needed.
///
/// Angles are rounded to float32 as transformers does, so that both see the same numbers.
final class RotaryTables {
  private let frequencies: [Float]
  private let amplitude: Double
  private let maximum: Int
  private var cosines: FloatBuffer
  private var sines: FloatBuffer
  private var made = 0

  init(_ spec: TransformerSpec) throws {
    (cosines, sines) = (try FloatBuffer(0), try FloatBuffer(0))
    maximum = spec.maximumPositions
    frequencies = spec.rotaryFrequencies.map { Float($0) }
    amplitude = spec.rotaryAmplitude
  }

  /// Tables for positions 0 ..< count.
  func tables(
    _ count: Int
  ) throws -> (cosine: UnsafePointer<Float>, sine: UnsafePointer<Float>) {
    if count > made, !frequencies.isEmpty {
      let more = min(maximum, max(count, 2 * made, 512)) * frequencies.count
      (cosines, sines) = (try FloatBuffer(more), try FloatBuffer(more))
      made = more / frequencies.count
      for position in 0..<made {
        for (i, frequency) in frequencies.enumerated() {
          let angle = Double(Float(position) * frequency)
          cosines.pointer[position * frequencies.count + i] = Float(cos(angle) * amplitude)
          sines.pointer[position * frequencies.count + i] = Float(sin(angle) * amplitude)
        }
      }
    }
    return (UnsafePointer(cosines.pointer), UnsafePointer(sines.pointer))
  }
}
