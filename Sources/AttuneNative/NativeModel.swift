// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
import CAttuneKernels
import Foundation

/// A decoder on the CPU: scores, gradients, optimiser steps and samples.
///
/// One owner on one thread (it is not `Sendable`). A model that is loaded is frozen; models to train
/// are copies of it that share whatever stays frozen, so a policy, its reference and its reward
/// model cost only what differs. Everything below `sharedLayers` can be computed once for all of
/// them (`trunk`).
package final class NativeModel: LanguageModel {
  /// What models made from one another have in common.
  final class Origin {
    let engine: NativeEngine
    var turnOpening: [Int32] = []

    init(_ engine: NativeEngine) { self.engine = engine }
  }

  package var engine: any Engine { origin.engine }
  package var turnOpening: [Int32] {
    get { origin.turnOpening }
    set { origin.turnOpening = newValue }
  }
  /// The architecture.
  package let spec: TransformerSpec
  /// Which numbers are trained.
  package let trainable: Trainable
  /// Computes layers again in the backward pass instead of keeping what they computed: about a
  /// third more time, a small part of the memory.
  package var recomputesActivations = false

  let origin: Origin
  /// Embeddings, each layer, final norm and head.
  let blocks: [ParameterBlock]
  let adapters: LoRALayout?
  /// Whether there is a scalar head, and where it starts in the arena; frozen models keep it apart.
  let scalarHeadOffset: Int?
  let frozenScalarHead: FloatBuffer?

  /// All trained numbers: adapters or weights, then the scalar head.
  let arena: FloatBuffer?
  /// Its tensors.
  let trainedTensors: [ArenaTensor]
  /// Gradients of the pass that is accumulated now, or of all of them.
  var gradients: FloatBuffer?
  /// Gradients of the passes before it.
  var earlierGradients: PieceSum<FloatBuffer>?
  /// Buffers that such sums have used, for the next ones.
  var spareGradients: [FloatBuffer] = []
  /// Whether `gradients` holds any pass.
  var hasGradients = false
  /// AdamW's, from its first step on.
  var moments: Moments?
  package var shardsMoments = false
  package var averageDecay = 0.0
  /// The mean of the arena over steps, from the first one on.
  var average: FloatBuffer?
  /// Whether gradients and moments have been given back.
  var hasEnded = false
  /// Optimiser steps taken.
  package internal(set) var optimizerSteps = 0
  /// Counts changes of weights, so that a sampler's codes of them are made anew when they are stale.
  var version = 0

  let rotary: RotaryTables
  let workspace: Workspace

  init(
    spec: TransformerSpec, origin: Origin, blocks: [ParameterBlock], trainable: Trainable,
    adapters: LoRALayout? = nil, arena: FloatBuffer? = nil, trainedTensors: [ArenaTensor] = [],
    gradients: FloatBuffer? = nil, scalarHeadOffset: Int? = nil,
    frozenScalarHead: FloatBuffer? = nil, rotary: RotaryTables, workspace: Workspace
  ) {
    self.spec = spec
    self.origin = origin
    self.blocks = blocks
    self.trainable = trainable
    self.adapters = adapters
    self.arena = arena
    self.trainedTensors = trainedTensors
    self.gradients = gradients
    self.scalarHeadOffset = scalarHeadOffset
    self.frozenScalarHead = frozenScalarHead
    self.rotary = rotary
    self.workspace = workspace
  }

  /// How many numbers the model has, adapters and scalar head not counted.
  package var parameterCount: Int { blocks.reduce(0) { $0 + $1.layout.count } }

  /// Bytes of what passes of this model and those made from the same one work in.
  package var workspaceBytes: Int { workspace.bytes }

  package func memory(for work: ModelWork) throws -> MemoryEstimate {
    try origin.engine.memory(for: work, of: spec) {
      let form = self.blocks[$0].form(of: $1)
      return work.basePrecision?.form(of: form) ?? form
    }
  }

  /// Bytes of what a sampler has made of the weights.
  package var samplerBytes: Int { blocks.reduce(0) { $0 + $1.copiesBytes } }

  /// Bytes of AdamW's moments; 0 before its first step.
  package var momentBytes: Int { moments?.bytes ?? 0 }

  /// How many numbers are trained.
  package var trainedCount: Int { arena?.count ?? 0 }

  /// Layers below this one are those of the model that this one was copied from.
  package var sharedLayers: Int { trainable.frozenLayers(of: spec) }

  /// The scalar head's D weights.
  package var scalarHeadWeights: [Float]? {
    scalarHead.map { Array(UnsafeBufferPointer(start: $0, count: spec.width)) }
  }

  var scalarHead: UnsafeMutablePointer<Float>? {
    if let scalarHeadOffset, let arena { return arena.pointer + scalarHeadOffset }
    return frozenScalarHead?.pointer
  }

  var embeddingBlock: ParameterBlock { blocks[0] }
  var finalBlock: ParameterBlock { blocks[blocks.count - 1] }
  func layerBlock(_ i: Int) -> ParameterBlock { blocks[i + 1] }

  /// The head's matrix [V, D]: the embeddings where they are tied.
  var headMatrix: Matrix {
    guard
      let matrix = spec.tiedHead ? embeddingBlock.matrix(.embedding) : finalBlock.matrix(.head)
    else { preconditionFailure("a model has a head or embeddings for one") }
    return matrix
  }

  package func copy(
    training trainable: Trainable, scalarHead start: ScalarHeadStart?
  ) throws -> NativeModel {
    guard arena == nil || self.trainable == .frozen else {
      throw EngineError(
        .badRequest, "a copy is made from a frozen model: write this one and load it again")
    }
    let headStart: ScalarHeadStart? = start ?? scalarHeadWeights.map { .weights($0) }
    let layout = try TrainedLayout(
      trainable, spec: spec, blocks: blocks.map(\.layout), scalarHead: headStart != nil)
    let (adapters, count, headOffset) = (layout.adapters, layout.count, layout.scalarHeadOffset)
    var newBlocks = blocks
    let arena = try count > 0 ? FloatBuffer(count) : nil
    if let arena {
      var offset = 0
      for i in layout.blocks {
        let block = ParameterBlock(blocks[i].layout, arena: arena, at: offset)
        for tensor in block.layout.tensors {
          if let floats = block.floats(tensor) { blocks[i].copy(tensor, to: floats) }
        }
        newBlocks[i] = block
        offset += block.layout.count
      }
      if let adapters { initialise(adapters, in: arena) }
      if let headStart, let headOffset {
        try initialise(head: headStart, at: arena.pointer + headOffset)
      }
    }
    return NativeModel(
      spec: spec, origin: origin, blocks: newBlocks, trainable: trainable, adapters: adapters,
      arena: arena, trainedTensors: layout.tensors,
      gradients: try arena.map { try FloatBuffer($0.count) },
      scalarHeadOffset: headOffset, rotary: rotary, workspace: workspace)
  }

  /// A starts uniform in ±1/√inputs as PEFT's does, B at zero.
  private func initialise(_ adapters: LoRALayout, in arena: FloatBuffer) {
    var random = RandomStream(seed: 0x10FA, stream: 0)
    for layer in adapters.layers {
      for group in layer.groups {
        for adapter in group.adapters {
          let bound = 1 / Float(adapter.inputs).squareRoot()
          for i in 0..<adapters.settings.rank * adapter.inputs {
            arena.pointer[adapter.a + i] = Float(random.uniform() * 2 - 1) * bound
          }
        }
      }
    }
  }

  private func initialise(
    head: ScalarHeadStart, at pointer: UnsafeMutablePointer<Float>
  ) throws {
    switch head {
    case .zero: pointer.update(repeating: 0, count: spec.width)
    case .normal(let seed):
      var random = RandomStream(seed: seed, stream: 1)
      let deviation = 1 / Double(spec.width + 1).squareRoot()
      for i in 0..<spec.width { pointer[i] = Float(random.normal() * deviation) }
    case .weights(let weights):
      guard weights.count == spec.width else {
        throw EngineError(
          .badRequest,
          "a scalar head of \(weights.count) weights does not fit a width of \(spec.width)")
      }
      pointer.update(from: weights, count: weights.count)
    }
  }
}

/// Random numbers one after another, to start weights with: the same for one seed and stream, whatever
/// was drawn elsewhere.
package struct RandomStream {
  private var state: UInt64

  package init(seed: UInt64, stream: UInt64) {
    // Not a multiple of the increment below: streams would be one another's, a draw later.
    state =
      seed &* 0xD134_2543_DE82_EF95 &+ stream &* 0xBF58_476D_1CE4_E5B9 &+ 0x632B_E59B_D9B4_E019
  }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// In 0 ..< 1.
  package mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

  /// Standard normal (Box–Muller).
  package mutating func normal() -> Double {
    let radius = (-2 * Foundation.log(1 - uniform())).squareRoot()
    return radius * Foundation.cos(2 * Double.pi * uniform())
  }
}
