// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
import CAttuneKernels
import Foundation

extension NativeModel {
  package func zeroGradients() {
    sumGradients()
    if let gradients { atk_zero(gradients.pointer, gradients.count) }
    hasGradients = false
  }

  /// Makes room for the gradients of one more pass.
  ///
  /// Those of adapters are kept apart from the passes before them, to be summed by a tree whose shape
  /// depends on the number of passes alone. Trained weights take one running sum: their buffers are as
  /// large as the model.
  func beginGradients() throws {
    guard trainsLittle, hasGradients, let filled = gradients else {
      hasGradients = true
      return
    }
    if earlierGradients == nil {
      earlierGradients = PieceSum { [unowned self] left, right in
        atk_add(left.pointer, right.pointer, 1, left.count)
        spareGradients.append(right)
        return left
      }
    }
    earlierGradients?.append(filled)
    let empty = try spareGradients.popLast() ?? FloatBuffer(filled.count)
    atk_zero(empty.pointer, empty.count)
    gradients = empty
  }

  /// Sums the gradients of all passes.
  private func sumGradients() {
    guard let last = gradients, earlierGradients?.isEmpty == false else { return }
    earlierGradients?.append(last)
    gradients = earlierGradients?.take()
  }

  /// Whether nothing but adapters and scalar head is trained.
  private var trainsLittle: Bool { adapters != nil || trainable == .frozen }

  package func gradientNorm() -> Double {
    sumGradients()
    guard let gradients else { return 0 }
    return atk_sum_of_squares(gradients.pointer, gradients.count).squareRoot()
  }

  @discardableResult
  package func step(
    _ optimizer: AdamW, learningRate: Double, maximumNorm: Double?
  ) throws -> Double {
    guard let arena else { throw EngineError(.badRequest, "a frozen model has nothing to train") }
    let norm = gradientNorm()
    guard norm.isFinite else {
      throw EngineError(
        .notFinite, "the gradient of step \(optimizerSteps + 1) is not finite (norm \(norm))")
    }
    let scale = maximumNorm.map { norm > $0 ? $0 / (norm + 1e-6) : 1 } ?? 1
    let first = try firstMoment ?? FloatBuffer(arena.count)
    let second = try secondMoment ?? FloatBuffer(arena.count)
    firstMoment = first
    secondMoment = second
    optimizerSteps += 1
    version += 1
    guard let gradients else { return norm }
    atk_adamw_step(
      arena.pointer, first.pointer, second.pointer, gradients.pointer, Float(scale),
      Float(learningRate), Float(optimizer.beta1), Float(optimizer.beta2),
      Float(optimizer.epsilon), Float(optimizer.weightDecay),
      Float(1 - pow(optimizer.beta1, Double(optimizerSteps))),
      Float(1 - pow(optimizer.beta2, Double(optimizerSteps))), arena.count)
    return norm
  }

  /// The arena's tensors: name, shape, offset.
  private var trainedTensors: [(name: String, shape: [Int], offset: Int)] {
    guard let arena else { return [] }
    var list: [(name: String, shape: [Int], offset: Int)] = []
    for block in blocks {
      for tensor in block.layout.tensors {
        guard let floats = block.floats(tensor) else { continue }
        let offset = floats - arena.pointer
        if offset >= 0, offset < arena.count { list.append((tensor.name, tensor.shape, offset)) }
      }
    }
    if let adapters {
      for i in adapters.firstLayer..<spec.layers {
        for adapter in adapters[layer: i]?.groups.flatMap(\.adapters) ?? [] {
          let name = adapter.module.name
          let rank = adapters.settings.rank
          list.append((name + ".lora_A.weight", [rank, adapter.inputs], adapter.a))
          list.append((name + ".lora_B.weight", [adapter.outputs, rank], adapter.b))
        }
      }
    }
    if let scalarHeadOffset { list.append(("score.weight", [1, spec.width], scalarHeadOffset)) }
    return list
  }

  private func tensors(of buffer: FloatBuffer) -> [NamedTensor] {
    trainedTensors.map { tensor in
      NamedTensor(
        name: tensor.name, shape: tensor.shape,
        values: Array(
          UnsafeBufferPointer(
            start: buffer.pointer + tensor.offset, count: tensor.shape.reduce(1, *))))
    }
  }

  package func trainedParameters() -> [NamedTensor] {
    arena.map { tensors(of: $0) } ?? []
  }

  package func trainedGradients() -> [NamedTensor] {
    sumGradients()
    return gradients.map { tensors(of: $0) } ?? []
  }

  package func setTrainedParameters(_ parameters: [NamedTensor]) throws {
    guard let arena else {
      throw EngineError(.badRequest, "a frozen model has no trained parameters to set")
    }
    try set(parameters, prefix: "", into: arena)
    version += 1
  }

  private func set(_ values: [NamedTensor], prefix: String, into buffer: FloatBuffer) throws {
    var left: [String: NamedTensor] = [:]
    for value in values { left[value.name] = value }
    for tensor in trainedTensors {
      guard let value = left.removeValue(forKey: prefix + tensor.name) else {
        throw EngineError(.badModel, "tensor \(prefix + tensor.name) is missing")
      }
      guard value.shape.reduce(1, *) == tensor.shape.reduce(1, *),
        value.values.count == tensor.shape.reduce(1, *)
      else {
        throw EngineError(
          .badModel,
          "tensor \(value.name) has shape \(value.shape), the model's is \(tensor.shape)")
      }
      (buffer.pointer + tensor.offset).update(from: value.values, count: value.values.count)
    }
    if let name = left.keys.min() {
      throw EngineError(.badModel, "tensor \(name) is not among those that this model trains")
    }
  }

  package var trainingTensors: [(name: String, shape: [Int])] {
    let tensors = trainedTensors
    return trainingBuffers.flatMap { prefix, _ in tensors.map { (prefix + $0.name, $0.shape) } }
  }

  package func withTrainingState(_ body: (NamedTensor) throws -> Void) rethrows {
    let tensors = trainedTensors
    for (prefix, buffer) in trainingBuffers {
      for (name, shape, offset) in tensors {
        let values = UnsafeBufferPointer(
          start: buffer.pointer + offset, count: shape.reduce(1, *))
        try body(NamedTensor(name: prefix + name, shape: shape, values: Array(values)))
      }
    }
  }

  private var trainingBuffers: [(prefix: String, buffer: FloatBuffer)] {
    var buffers = arena.map { [("", $0)] } ?? []
    if let firstMoment, let secondMoment {
      buffers += [("moment1.", firstMoment), ("moment2.", secondMoment)]
    }
    return buffers
  }

  package func restoreTrainingState(_ tensors: [NamedTensor], step: Int) throws {
    let first = tensors.filter { $0.name.hasPrefix("moment1.") }
    let second = tensors.filter { $0.name.hasPrefix("moment2.") }
    try setTrainedParameters(tensors.filter { !$0.name.hasPrefix("moment") })
    if let arena, !first.isEmpty || !second.isEmpty {
      let moments = (try FloatBuffer(arena.count), try FloatBuffer(arena.count))
      try set(first, prefix: "moment1.", into: moments.0)
      try set(second, prefix: "moment2.", into: moments.1)
      (firstMoment, secondMoment) = moments
    }
    optimizerSteps = step
  }

  package func weight(_ name: String) throws -> NamedTensor? {
    if name == "score.weight" {
      return scalarHeadWeights.map { NamedTensor(name: name, shape: [1, spec.width], values: $0) }
    }
    for (i, block) in blocks.enumerated() {
      guard let tensor = block.layout.tensors.first(where: { $0.name == name }) else { continue }
      let isLayer = i > 0 && i < blocks.count - 1
      let source = try isLayer ? plainBlock(i - 1) : block
      let values = try [Float](count: tensor.count) { buffer in
        if let start = buffer.baseAddress { source.copy(tensor, to: start) }
      }
      return NamedTensor(name: name, shape: tensor.shape, values: values)
    }
    return nil
  }

  package func frozenCopy(with weights: [NamedTensor]) throws -> NativeModel {
    var named: [String: NamedTensor] = [:]
    for weight in weights { named[weight.name] = weight }
    func values(_ name: String, _ shape: [Int]) throws -> [Float]? {
      guard let weight = named[name] else { return nil }
      guard weight.values.count == shape.reduce(1, *) else {
        throw EngineError(
          .badModel, "tensor \(name) has shape \(weight.shape), the model's is \(shape)")
      }
      return weight.values
    }
    let blocks = try BlockLayout.blocks(spec).map { layout in
      let block = try ParameterBlock(layout)
      for tensor in layout.tensors {
        guard let found = try values(tensor.name, tensor.shape) else {
          throw EngineError(.badModel, "tensor \(tensor.name) is missing")
        }
        block.set(tensor, from: found)
      }
      return block
    }
    let head = try values("score.weight", [1, spec.width]).map { weights in
      let buffer = try FloatBuffer(weights.count)
      buffer.pointer.update(from: weights, count: weights.count)
      return buffer
    }
    return NativeModel(
      spec: spec, origin: Origin(origin.engine), blocks: blocks, trainable: .frozen,
      frozenScalarHead: head,
      rotary: rotary, workspace: Workspace())
  }

  package func releaseMemory() {
    workspace.release()
    merged = [:]
  }
}
