// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import Testing

@Suite(.serialized)
struct GradientSumTests {
  /// The gradients of some passes, each from zero.
  private func alone(_ model: NativeModel, _ passes: [[Segment]]) throws -> [[Float]] {
    try passes.map { segments in
      model.zeroGradients()
      try accumulate(model, segments)
      return model.trainedGradients().flatMap(\.values)
    }
  }

  private func accumulate(_ model: NativeModel, _ segments: [Segment]) throws {
    _ = try model.supervise(
      segments, weights: segments.map { $0.scored.flatMap { $0.map { 1 / Double($0) } } })
  }

  @Test(arguments: [2, 3, 5, 6], [Trainable.lora(LoRASettings(rank: 4)), .lastLayers(1)])
  func `gradients are summed by the tree of their passes`(count: Int, trainable: Trainable) throws {
    let model = try NativeModel.random(TinyModel.llama.spec, seed: 7, on: NativeEngine())
      .copy(training: trainable)
    var random = SplitMix(seed: 5)
    try model.setTrainedParameters(
      model.trainedParameters().map { tensor in
        var tensor = tensor
        for i in tensor.values.indices { tensor.values[i] = random.float() * 0.3 }
        return tensor
      })
    let passes = (0..<count).map { i in
      [Segment([3, 1, Int32(4 + i), 1, Int32(9 - i)], scored: [1..<2, 4..<5])]
    }
    var tree = PieceSum<[Float]> { zip($0, $1).map { $0 + $1 } }
    for gradients in try alone(model, passes) { tree.append(gradients) }
    let taken = tree.take()
    let expected = try #require(taken)
    // Twice: the second time in buffers that were used before.
    for _ in 0..<2 {
      model.zeroGradients()
      for pass in passes { try accumulate(model, pass) }
      #expect(model.trainedGradients().flatMap(\.values) == expected)
      #expect(model.trainedGradients().flatMap(\.values) == expected)
    }
  }
}
