// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import CAttuneKernels
import Foundation

/// AdamW's two moments of trained numbers: of all, or of the tensors that are a rank's share.
enum Moments {
  /// Of the numbers of the arena from `start` on.
  case float32(first: FloatBuffer, second: FloatBuffer, start: Int)
  case codes(MomentCodes)

  /// Moments that are 0, before an optimiser's first step.
  ///
  /// - Parameters:
  ///   - optimizer: The optimiser.
  ///   - tensors: The tensors, which follow one another in the arena.
  /// - Throws: `EngineError` if the memory can't be had.
  init(of optimizer: OptimizerName, _ tensors: some Collection<ArenaTensor>) throws {
    switch optimizer {
    case .adamw:
      let numbers = Self.numbers(tensors)
      self = .float32(
        first: try FloatBuffer(numbers.count), second: try FloatBuffer(numbers.count),
        start: numbers.lowerBound)
    case .adamw8bit: self = .codes(try MomentCodes(tensors))
    }
  }

  /// The part of the arena that tensors take.
  static func numbers(_ tensors: some Collection<ArenaTensor>) -> Range<Int> {
    let start = tensors.first?.offset ?? 0
    return start..<(tensors.map { $0.offset + $0.count }.max() ?? start)
  }

  /// The tensors whose moments each of so many ranks keeps: those that follow one another in the arena, about
  /// as many numbers each.
  static func shares(of tensors: [ArenaTensor], ranks: Int) -> [ArraySlice<ArenaTensor>] {
    let tensors = tensors.sorted { $0.offset < $1.offset }
    let all = numbers(tensors).count
    // A tensor is whose share its middle lies in.
    func rank(_ tensor: ArenaTensor) -> Int {
      min(ranks - 1, (tensor.offset + tensor.count / 2) * ranks / max(1, all))
    }
    var end = 0
    return (0..<ranks).map { share in
      let start = end
      while end < tensors.count, rank(tensors[end]) <= share { end += 1 }
      return tensors[start..<end]
    }
  }

  /// Bytes of them.
  var bytes: Int {
    switch self {
    case .float32(let first, let second, _): 4 * (first.count + second.count)
    case .codes(let moments): moments.bytes
    }
  }

  /// Bytes of an optimiser's moments of some tensors.
  static func bytes(of optimizer: OptimizerName, _ tensors: some Collection<ArenaTensor>) -> Int {
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

  /// One step of the numbers that they are of.
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
    case .float32(let first, let second, let start):
      step(at: start, first.count, first.pointer, second.pointer)
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
