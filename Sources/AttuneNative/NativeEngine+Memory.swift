// SPDX-License-Identifier: Apache-2.0

import AttuneCollective
public import AttuneEngine
import CAttuneKernels

extension LayerSizes {
  /// Columns of what a layer keeps for its backward pass.
  func columns(_ kept: Workspace.Kept) -> Int {
    switch kept {
    case .input, .middle: width
    case .rstd1, .mean1, .rstd2, .mean2: 1
    case .queryKeyValue: fused
    case .raw: queryNorms > 0 ? fused : 0
    case .rstdQuery: queryNorms
    case .rstdKey: keyNorms
    case .attention: queries
    case .logSumExp: heads
    case .gateUp: gates
    case .lowRankInput: 3 * rank
    case .lowRankGate: 2 * rank
    case .lowRankOutput, .lowRankDown: rank
    case .attentionOutput, .mlpOutput: normsAfter ? width : 0
    case .rstd3, .rstd4: normsAfter ? 1 : 0
    }
  }

  /// Columns of what all layers work in, one after another; 0 of what is no layer's.
  func columns(_ slot: Workspace.Slot) -> Int {
    switch slot {
    case .normed, .normedGradient: width
    case .branch, .branchGradient: addsApart ? width : 0
    case .parallelGradient: isParallel ? width : 0
    case .activated, .activatedGradient: mlp
    case .gateUpGradient: gates
    case .attentionGradient: queries
    case .queryKeyValueGradient: fused
    default: 0
    }
  }
}

/// How large the workspace gets in some passes, by the rules that they take its memory by.
struct WorkspaceSize {
  private let spec: TransformerSpec
  private let adapters: LoRALayout?
  private let recomputes: Bool
  /// Whether the wide activations that are kept are kept in bfloat16.
  private let keepsHalves: Bool
  /// Layers below this one are not trained.
  private let firstTrained: Int
  /// Whether the backward pass goes below the head.
  private let goesDown: Bool
  /// The largest count of floats of each slot; of what layers keep that of one of them, as layer 0.
  private var counts: [Workspace.Slot: Int] = [:]

  init(
    _ spec: TransformerSpec, _ work: ModelWork, _ adapters: LoRALayout?, _ precision: Precision
  ) {
    self.spec = spec
    keepsHalves = precision == .bf16
    self.adapters = adapters
    recomputes = work.recomputes
    firstTrained = work.trainable.frozenLayers(of: spec)
    goesDown = firstTrained < spec.layers
  }

  /// Bytes of the logits, and of everything else.
  var bytes: (logits: Int, activations: Int) {
    var (logits, others) = (0, 0)
    for (slot, count) in counts {
      switch slot {
      case .headLogits: logits += 4 * count
      case .layer(let layer, _) where layer >= 0, .halves(let layer, _) where layer >= 0:
        others += 4 * count * (spec.layers - firstTrained)
      default: others += 4 * count
      }
    }
    return (logits, others)
  }

  mutating func take(_ slot: Workspace.Slot, _ count: Int) {
    counts[slot] = max(counts[slot] ?? 0, count)
  }

  /// What `NativeModel.run`, `headStates` and `backward` take for a pass.
  mutating func add(_ pass: PassShape) {
    let size = LayerSizes(spec, rows: pass.rows, rank: adapters?.settings.rank ?? 0)
    let keeps = pass.kind != .scores
    take(.stream, size.rows * size.width)
    take(.normed, size)
    take(.activated, size)
    take(.branch, size)
    if !keeps || recomputes || firstTrained > 0 && !pass.fromTrunk { takeLayer(-1, size) }
    if keeps, goesDown {
      if recomputes {
        take(.layer(0, .input), size.rows * size.columns(Workspace.Kept.input))
      } else {
        takeLayer(0, size)
      }
    }
    addHead(pass)
    guard keeps else { return }
    let rows = pass.scored + pass.scalars
    take(.headNormedGradient, rows * size.width)
    take(.headRowsGradient, rows * size.width)
    guard goesDown else { return }
    take(.streamGradient, size.rows * size.width)
    for slot: Workspace.Slot in [
      .normedGradient, .activatedGradient, .gateUpGradient, .attentionGradient,
      .queryKeyValueGradient, .branchGradient, .parallelGradient,
    ] {
      take(slot, size)
    }
    if let adapters { take(.lowRankGradient, size.rows * adapters.mostRanks) }
  }

  private mutating func addHead(_ pass: PassShape) {
    let rows = pass.scored + pass.scalars
    take(.headRows, rows * spec.width)
    take(.headNormed, rows * spec.width)
    if rows > 0 {
      take(.headMean, rows)
      take(.headRstd, rows)
    }
    if pass.kind == .distilled {
      take(.otherHeadNormed, pass.scored * pass.teacherWidth)
      return
    }
    take(.headLogProbability, pass.scored)
    guard pass.kind != .supervised else { return }
    take(.headLogSumExp, pass.scored)
    take(.headEntropy, pass.entropies ? pass.scored : 0)
    if pass.kind == .gradients, !recomputes, let count = NativeModel.logits(pass.scored, spec) {
      take(.headLogits, count)
    }
  }

  /// What `NativeModel.mergeAdapter` takes, when a merged model is written beside what passes took.
  mutating func addMerging() {
    let outputs = adapters?.layers.flatMap(\.groups).flatMap(\.adapters).map(\.outputs).max()
    if let adapters, let outputs { take(.lowRank, outputs * adapters.settings.rank) }
  }

  private mutating func take(_ slot: Workspace.Slot, _ size: LayerSizes) {
    take(slot, size.rows * size.columns(slot))
  }

  private mutating func takeLayer(_ layer: Int, _ size: LayerSizes) {
    for kept in Workspace.Kept.allCases where kept != .raw || size.queryNorms > 0 {
      let count = size.rows * size.columns(kept)
      guard keepsHalves, layer >= 0, NativeModel.isWide(kept) else {
        take(.layer(layer, kept), count)
        continue
      }
      take(.layer(-1, kept), count)
      take(.halves(layer, kept), (count + 1) / 2)
    }
  }
}

extension NativeEngine {
  /// The memory of a run: weights by the layouts that they are allocated by, passes by the tables that
  /// the workspace is.
  public func memory(for work: ModelWork, of spec: TransformerSpec) throws -> MemoryEstimate {
    // The most that a file of any type needs.
    let form = (work.basePrecision ?? basePrecision).form(of: .float32)
    return try memory(for: work, of: spec) { _, _ in form }
  }

  /// The same.
  ///
  /// - Parameters:
  ///   - work: What the run asks for.
  ///   - spec: The model that it starts from.
  ///   - form: How the matrices of a group in one of its blocks are kept.
  func memory(
    for work: ModelWork, of spec: TransformerSpec,
    form: (_ block: Int, TransformerSpec.ModuleGroup) -> WeightForm
  ) throws -> MemoryEstimate {
    let layouts = BlockLayout.blocks(spec)
    let layout = try TrainedLayout(
      work.trainable, spec: spec, blocks: layouts, scalarHead: work.scalarHead)
    let stored = layouts.enumerated().map { block, layout in
      layout.bytes { form(block, $0) }
    }
    let whole = stored.reduce(0, +)
    let replaced = layout.blocks.reduce(0) { $0 + stored[$1] }
    let trained = 4 * layout.count * work.trainedModels
    var estimate = MemoryEstimate()
    // Of the last layers the start's own stay, since the layers below them are the start's.
    let letsGo = work.trainable == .full && !work.keepsStart
    estimate[.base] = whole - replaced
    estimate[.weights] = trained
    estimate[.reference] = (letsGo ? 0 : replaced) + 4 * layout.count * work.heldCopies
    // A pass's gradients are kept apart until they are summed by a tree.
    estimate[.gradients] =
      trained * (work.trainable.sumsByTree ? 1 + max(1, work.passesPerStep).binaryLogarithm : 1)
    // Of the rank that has most.
    let shares = Moments.shares(
      of: layout.tensors, ranks: work.shardsMoments ? Collective.current.count : 1)
    estimate[.moments] =
      work.trainedModels * (shares.map { Moments.bytes(of: work.optimizer, $0) }.max() ?? 0)
    estimate[.average] = work.averages ? 4 * layout.count : 0
    estimate[.trunk] =
      work.trainable.frozenLayers(of: spec) > 0 ? 4 * spec.width * work.trunkTokens : 0

    func copies(_ sampling: SamplingShape) -> Int {
      SamplerCopy(sampling.sampler, precision)?.bytes(of: spec) { block, group in
        layout.blocks.contains(block) ? .float32 : form(block, group)
      } ?? 0
    }
    if let sampling = work.sampling {
      estimate[.cache] = try SamplingRun.bytes(spec, layout.adapters, precision, sampling)
      estimate[.sampler] = copies(sampling)
    }
    let workspace = try workspaceBytes(for: work, of: spec)
    estimate[.activations] = workspace.activations
    estimate[.logits] = workspace.logits + headScratch(work, spec)
    estimate[.scratch] = record.threads * (4 << 20)

    // What was trained whole is written in float32.
    let written = layouts.reduce(0) { sum, layout in
      sum + layout.bytes { _ in (work.basePrecision ?? basePrecision).form(of: .float32) }
    }
    let isLittle = layout.adapters != nil && !work.merges || work.trainable == .frozen
    let read =
      isLittle
      ? 4 * layout.count : work.trainable == .full || work.merges ? written : 2 * replaced
    let asked =
      try work.asking.map {
        copies($0) + (try SamplingRun.bytes(spec, layout.adapters, precision, $0))
      } ?? 0
    // Gone by then: what passes and sampling work in, and what only training needs.
    let passes = estimate[.activations] + estimate[.logits] + estimate[.sampler]
    let training = estimate[.gradients] + estimate[.moments] + estimate[.average]
    // A checkpoint copies a tensor at a time.
    let copied = 4 * (layout.tensors.map(\.count).max() ?? 0)
    estimate[.check] = max(0, max(read, asked) - passes - training, copied - passes)
    return estimate
  }

  /// How large the workspace of a run gets, exactly.
  package func workspaceBytes(
    for work: ModelWork, of spec: TransformerSpec
  ) throws -> (logits: Int, activations: Int) {
    let layout = try TrainedLayout(
      work.trainable, spec: spec, blocks: BlockLayout.blocks(spec), scalarHead: work.scalarHead)
    var workspace = WorkspaceSize(spec, work, layout.adapters, precision)
    for pass in work.passes { workspace.add(pass) }
    if work.merges { workspace.addMerging() }
    return workspace.bytes
  }

  /// Rows of a chunk of the head's supervised pass at most (`lm_head.c`).
  static func supervisedHeadRows(_ precision: Precision) -> Int { precision == .bf16 ? 512 : 256 }

  /// What `lm_head.c` works in: logits of a chunk of rows, and each part's gradient on the states.
  private func headScratch(_ work: ModelWork, _ spec: TransformerSpec) -> Int {
    var (logits, partial, tiles) = (0, 0, 0)
    for pass in work.passes where pass.scored > 0 {
      tiles = record.threads * (2 << 20)
      let isSupervised = pass.kind == .supervised
      let supervisedRows = Self.supervisedHeadRows(precision)
      let isDistilled = pass.kind == .distilled
      let distilledRows = min(max((1 << 23) / spec.vocabularySize, 16), 256)
      let rows = Self.chunk(
        pass.scored,
        atMost: isSupervised ? supervisedRows : isDistilled ? distilledRows : 1024)
      if isSupervised { logits = max(logits, 4 * rows * spec.vocabularySize) }
      // The teacher's beside the model's own.
      if isDistilled { logits = max(logits, 8 * rows * spec.vocabularySize) }
      guard pass.kind != .scores else { continue }
      partial = max(partial, 4 * (max(record.threads, 8) - 1) * rows * spec.width)
    }
    return logits + partial + tiles
  }

  /// Rows of a chunk, of as equal a size as can be.
  private static func chunk(_ rows: Int, atMost most: Int) -> Int {
    let chunks = (rows + most - 1) / most
    return (rows + chunks - 1) / chunks
  }
}

extension BlockLayout {
  /// Bytes of a block whose groups' matrices are kept in some form.
  fileprivate func bytes(_ form: (TransformerSpec.ModuleGroup) -> WeightForm) -> Int {
    groups.filter(\.isMatrix).reduce(4 * vectorCount) {
      $0 + form($1).bytes($1.outputs * $1.inputs)
    }
  }
}

extension Int {
  /// ⌊log₂ n⌋: buffers that a tree of n sums needs beside one.
  fileprivate var binaryLogarithm: Int { Int.bitWidth - 1 - leadingZeroBitCount }
}
