// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import CAttuneKernels
import Foundation

/// AdamW's two moments of every trained number.
enum Moments {
  case float32(first: FloatBuffer, second: FloatBuffer)
  case codes(MomentCodes)

  /// Moments that are 0, before an optimiser's first step.
  ///
  /// - Parameters:
  ///   - optimizer: The optimiser.
  ///   - tensors: The trained tensors.
  ///   - count: How many numbers are trained.
  /// - Throws: `EngineError` if the memory can't be had.
  init(of optimizer: OptimizerName, _ tensors: [ArenaTensor], count: Int) throws {
    switch optimizer {
    case .adamw: self = .float32(first: try FloatBuffer(count), second: try FloatBuffer(count))
    case .adamw8bit: self = .codes(try MomentCodes(tensors))
    }
  }

  /// Bytes of them.
  var bytes: Int {
    switch self {
    case .float32(let first, let second): 4 * (first.count + second.count)
    case .codes(let moments): moments.bytes
    }
  }

  /// Bytes of an optimiser's moments of some tensors.
  static func bytes(of optimizer: OptimizerName, _ tensors: [ArenaTensor]) -> Int {
    switch optimizer {
    case .adamw: 8 * tensors.reduce(0) { $0 + $1.count }
    case .adamw8bit: 4 * MomentCodes.place(tensors).floats
    }
  }

  /// The optimiser that they are of.
  var optimizer: OptimizerName {
    switch self {
    case .float32: .adamw
    case .codes: .adamw8bit
    }
  }

  /// One step of all trained numbers.
  ///
  /// - Parameters:
  ///   - arena: The numbers.
  ///   - gradients: Their gradients.
  ///   - scale: What the gradients are multiplied by.
  ///   - constants: AdamW's.
  ///   - learningRate: The step's.
  ///   - number: The step's, from 1 on.
  func step(
    _ arena: FloatBuffer, _ gradients: FloatBuffer, scale: Double, _ constants: AdamW,
    learningRate: Double, number: Int
  ) {
    let (beta1, beta2) = (Float(constants.beta1), Float(constants.beta2))
    let (epsilon, decay) = (Float(constants.epsilon), Float(constants.weightDecay))
    let bias1 = Float(1 - pow(constants.beta1, Double(number)))
    let bias2 = Float(1 - pow(constants.beta2, Double(number)))
    func step(
      at start: Int, _ count: Int, _ first: UnsafeMutablePointer<Float>,
      _ second: UnsafeMutablePointer<Float>
    ) {
      atk_adamw_step(
        arena.pointer + start, first, second, gradients.pointer + start, Float(scale),
        Float(learningRate), beta1, beta2, epsilon, decay, bias1, bias2, count)
    }
    switch self {
    case .float32(let first, let second): step(at: 0, arena.count, first.pointer, second.pointer)
    case .codes(let moments):
      for part in moments.parts where !part.isCodes {
        step(at: part.tensor.offset, part.count, moments.floats(part, 1), moments.floats(part, 2))
      }
      for part in moments.parts where part.isCodes {
        let start = part.tensor.offset
        atk_adamw8_step(
          arena.pointer + start, moments.codes(part, 1), moments.codes(part, 2),
          moments.scales(part, 1), moments.scales(part, 2), gradients.pointer + start,
          Float(scale), Float(learningRate), beta1, beta2, epsilon, decay, bias1, bias2,
          part.count)
      }
    }
  }
}
