// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
package import AttuneEngine
import CAttuneKernels
import Foundation

extension NativeModel {
  package func zeroGradients() {
    sumGradients()
    earlierGradients = nil
    if let gradients { atk_zero(gradients.pointer, gradients.count) }
    hasGradients = false
  }

  /// Makes room for the gradients of one more pass.
  ///
  /// They are kept apart from those of the passes before, to be summed by a tree whose shape depends on the
  /// number of passes alone. Where all weights are trained there is one running sum.
  func beginGradients() throws {
    try requireTraining()
    try keepGradients()
    hasGradients = true
  }

  package func skipGradients(_ passes: Int) throws {
    guard passes > 0, trainable.sumsByTree else { return }
    try keepGradients()
    tree.skip(passes)
  }

  private var tree: PieceSum<FloatBuffer> {
    get {
      earlierGradients
        ?? PieceSum { [unowned self] left, right in
          atk_add(left.pointer, right.pointer, 1, left.count)
          spareGradients.append(right)
          return left
        }
    }
    _modify {
      var tree = self.tree
      earlierGradients = nil
      defer { earlierGradients = tree }
      yield &tree
    }
  }

  /// Puts the gradients of the last pass into the tree, if there is one.
  private func keepGradients() throws {
    guard trainable.sumsByTree, hasGradients, let filled = gradients else { return }
    tree.append(filled)
    let empty = try spareGradients.popLast() ?? FloatBuffer(filled.count)
    atk_zero(empty.pointer, empty.count)
    (gradients, hasGradients) = (empty, false)
  }

  /// Sums the gradients of all passes of this process.
  func sumGradients() {
    guard let last = gradients, earlierGradients?.isEmpty == false else { return }
    if hasGradients { tree.append(last) } else { spareGradients.append(last) }
    gradients = tree.take()
    hasGradients = true
  }

  /// Sums the gradients of all ranks: those of adapters by the tree of all passes, so that any number of
  /// ranks has the same bits; those of trained weights rank by rank.
  private func joinGradients() throws {
    let ranks = Collective.current
    guard !ranks.isAlone, let last = gradients else { return }
    guard trainable.sumsByTree else {
      return try ranks.sum(
        [(PiecePlace(level: 0, index: ranks.rank), last.mutableBuffer)], into: last.mutableBuffer)
    }
    try keepGradients()
    guard let own = gradients else { return }
    try ranks.sum(
      tree.places.map { ($0.place, $0.sum.mutableBuffer) }, into: own.mutableBuffer)
    spareGradients += tree.places.map(\.sum)
    earlierGradients = nil
    hasGradients = true
  }

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
    try requireTraining()
    try joinGradients()
    let norm = gradientNorm()
    guard norm.isFinite else {
      throw EngineError(
        .notFinite, "the gradient of step \(optimizerSteps + 1) is not finite (norm \(norm))")
    }
    let scale = maximumNorm.map { norm > $0 ? $0 / (norm + 1e-6) : 1 } ?? 1
    let moments = try moments ?? Moments(of: optimizer.name, ownMomentShare)
    try moments.optimizer.require(optimizer.name)
    self.moments = moments
    optimizerSteps += 1
    version += 1
    guard let gradients else { return norm }
    moments.step(
      arena, gradients, scale: scale, optimizer, learningRate: learningRate,
      number: optimizerSteps)
    if shardsMoments {
      try Collective.current.spread(
        momentShares.map { Moments.numbers($0) }, of: arena.mutableBuffer)
    }
    if averageDecay > 0 {
      let average = try average ?? FloatBuffer(arena.count)
      self.average = average
      let share = (1 - averageDecay) / (1 - pow(averageDecay, Double(optimizerSteps)))
      atk_approach(average.pointer, arena.pointer, Float(share), arena.count)
    }
    return norm
  }

  package func exchangeAverage() {
    guard let arena, let average else { return }
    for i in 0..<arena.count { swap(&arena.pointer[i], &average.pointer[i]) }
    version += 1
  }

  /// The tensors whose moments each rank keeps (ZeRO-1, Rajbhandari et al. 2020, arXiv:1910.02054); where
  /// they are not dealt out one share, which all keep.
  var momentShares: [ArraySlice<ArenaTensor>] {
    Moments.shares(of: trainedTensors, ranks: shardsMoments ? Collective.current.count : 1)
  }

  /// This rank's.
  var ownMomentShare: ArraySlice<ArenaTensor> {
    momentShares[shardsMoments ? Collective.current.rank : 0]
  }

  package func endTraining() {
    hasEnded = true
    (gradients, earlierGradients, spareGradients, hasGradients) = (nil, nil, [], false)
    (moments, average) = (nil, nil)
  }

  private func requireTraining() throws {
    guard !hasEnded else {
      throw EngineError(.badRequest, "training of this model has ended: load what was written")
    }
  }

  package func weight(_ name: String) throws -> NamedTensor? {
    if name == "score.weight" {
      return scalarHeadWeights.map { NamedTensor(name: name, shape: [1, spec.width], values: $0) }
    }
    for (i, block) in blocks.enumerated() {
      guard let tensor = block.layout.tensors.first(where: { $0.name == name }) else { continue }
      let isLayer = i > 0 && i < blocks.count - 1
      let values = try [Float](count: tensor.count) { buffer in
        guard let start = buffer.baseAddress else { return }
        block.copy(tensor, to: start)
        if isLayer { try mergeAdapter(of: tensor, ofLayer: i - 1, into: start) }
      }
      return NamedTensor(name: name, shape: tensor.shape, values: values)
    }
    return nil
  }

  package func frozenCopy(
    of weight: (_ name: String) throws -> NamedTensor?
  ) throws -> NativeModel {
    func values(_ name: String, _ shape: [Int]) throws -> [Float]? {
      guard let weight = try weight(name) else { return nil }
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
    for block in blocks { block.releaseCopies() }
  }
}
