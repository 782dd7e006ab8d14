// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import CAttuneKernels

/// Runs tokens of any number of sequences through a model, against cached keys and values.
///
/// What a row gives does not depend, bit for bit, on the rows beside it: products are
/// `atk_linear_decode`'s, `atk_linear_decode_bf16`'s or `atk_linear_int8`'s, which sum in one order
/// whatever the number of rows. So a prompt may be run in any pieces, together with others, and a
/// sequence continued in any batch. Rows of one sequence may come in one step if its earlier positions
/// come in it or came before.
///
/// Where products are not in float32, attention is too much of a long prompt's time: from position 256 on,
/// rows of a step without logits are run in blocks, as a pass runs them. The pieces of a prompt begin at
/// multiples of 64 positions then.
///
/// Where a model's passes are in bfloat16 so is its decoding: products with weights have the very bits of
/// those of a pass, attention rounds what a pass rounds and sums in another order.
package final class IncrementalDecoder {
  /// The model, valid while a step runs: lent anew where it was not kept.
  package var weights: ModelWeights
  private let spec: TransformerSpec
  private let maximumRows: Int
  private let stream: FloatBuffer
  private let normed: FloatBuffer
  /// What a block gives, where that is added to the stream apart.
  private let branch: FloatBuffer
  private let queryKeyValue: FloatBuffer
  private let attention: FloatBuffer
  private let gateUp: FloatBuffer
  private let activated: FloatBuffer
  /// x·Aᵀ of adapters that read one input.
  private let lowRank: FloatBuffer
  private let logits: FloatBuffer
  private var ids: [Int32]
  private var positions: [Int32]
  private var prefixCounts: [Int32]
  private var ownCounts: [Int32]
  /// Per row: keys and values of the prefix, then of the sequence's own positions.
  private var cached: [[UnsafeRawPointer?]]
  /// Rows of this step that follow one another in one sequence and are run in blocks.
  private var runs: [Range<Int>] = []
  private var isInRun: [Bool]

  /// Where a piece of a prompt may begin.
  package static let pieceUnit = 64
  /// From where on a prompt's rows are run in blocks.
  static let firstBlock = 256

  private var queries: Int { spec.heads * spec.headWidth }
  private var keys: Int { spec.keyValueHeads * spec.headWidth }
  private var fused: Int { queries + 2 * keys }
  private let gates: Int

  /// Makes a decoder with its working memory.
  ///
  /// - Parameters:
  ///   - weights: The model, which must be valid whenever a step runs.
  ///   - maximumRows: Most rows of a step without logits.
  ///   - maximumBatch: Most rows of a step with logits.
  /// - Throws: `EngineError` if the memory can't be had.
  package init(weights: ModelWeights, maximumRows: Int, maximumBatch: Int) throws {
    self.weights = weights
    spec = weights.spec
    let rows = max(maximumRows, maximumBatch)
    self.maximumRows = rows
    let size = LayerSizes(spec, rows: rows)
    gates = size.gates
    stream = try FloatBuffer(rows * spec.width)
    normed = try FloatBuffer(rows * spec.width)
    branch = try FloatBuffer(size.addsApart ? rows * spec.width : 0)
    queryKeyValue = try FloatBuffer(rows * size.fused)
    attention = try FloatBuffer(rows * size.queries)
    gateUp = try FloatBuffer(rows * size.gates)
    activated = try FloatBuffer(rows * spec.mlpWidth)
    lowRank = try FloatBuffer(rows * (weights.adapters?.layout.mostRanks ?? 0))
    logits = try FloatBuffer(maximumBatch * spec.vocabularySize)
    ids = Array(repeating: 0, count: rows)
    positions = ids
    prefixCounts = ids
    ownCounts = ids
    isInRun = Array(repeating: false, count: rows)
    cached = Array(repeating: Array(repeating: nil, count: rows), count: 4)
  }

  /// Bytes that a decoder works in.
  static func bytes(
    _ spec: TransformerSpec, _ adapters: LoRALayout?, maximumRows: Int, maximumBatch: Int
  ) -> Int {
    let size = LayerSizes(spec, rows: max(maximumRows, maximumBatch))
    let columns =
      2 * size.width + size.columns(Workspace.Slot.branch) + size.fused + size.queries
      + size.gates + size.mlp + (adapters?.mostRanks ?? 0)
    return 4 * (size.rows * columns + maximumBatch * spec.vocabularySize)
  }

  /// Runs one step.
  ///
  /// - Parameters:
  ///   - rows: The tokens; at most `maximumRows`, or `maximumBatch` with logits.
  ///   - wantsLogits: Whether the head runs too.
  /// - Returns: The logits [rows, V], valid until the next step; the caller may write to them.
  @discardableResult
  package func step(
    _ rows: [DecodeRow], wantsLogits: Bool
  ) -> UnsafeMutablePointer<Float> {
    let count = rows.count
    precondition(
      count <= maximumRows && (!wantsLogits || count * spec.vocabularySize <= logits.count))
    for (m, row) in rows.enumerated() {
      ids[m] = row.id
      positions[m] = Int32(row.prefixCount + row.ownIndex)
      isInRun[m] = false
    }
    runs = wantsLogits || weights.copies == nil ? [] : Self.runs(of: rows)
    for m in runs.joined() { isInRun[m] = true }
    embed(count)
    for layer in 0..<spec.layers { run(layer, rows) }
    guard wantsLogits else { return logits.pointer }
    norm(weights.final, .finalNorm, count)
    linear(logits.pointer, normed.pointer, weights.head, bias: nil, count)
    let size = count * spec.vocabularySize
    if spec.logitsDivisor != 1 { atk_scale(logits.pointer, Float(1 / spec.logitsDivisor), size) }
    if let cap = spec.logitsCap { atk_cap_logits(logits.pointer, Float(cap), size) }
    return logits.pointer
  }

  /// How many of the first tokens that a prompt has in common with a text it may take over, so that it gets the
  /// very bits that reading it anew gives.
  ///
  /// - Parameters:
  ///   - common: How many they have in common.
  ///   - read: How many of the text's were read as a prompt and not drawn, which beyond the first block have
  ///     other sums.
  ///   - runsBlocks: Whether rows of a prompt from there on are run in blocks.
  static func usable(_ common: Int, read: Int, runsBlocks: Bool) -> Int {
    guard runsBlocks, common > firstBlock else { return common }
    return max(firstBlock, min(common, read) / pieceUnit * pieceUnit)
  }

  /// Rows from `firstBlock` on that follow one another.
  private static func runs(of rows: [DecodeRow]) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    for (m, row) in rows.enumerated() where row.prefix == nil && row.ownIndex >= firstBlock {
      let isNext =
        m > 0 && rows[m - 1].own.base == row.own.base && rows[m - 1].ownIndex + 1 == row.ownIndex
      if isNext, let last = runs.last, last.upperBound == m {
        runs[runs.count - 1] = last.lowerBound..<m + 1
      } else {
        precondition(row.ownIndex % pieceUnit == 0)
        runs.append(m..<m + 1)
      }
    }
    return runs
  }

  private func embed(_ count: Int) {
    lookUp(stream.pointer, ids, in: weights.embeddings.matrix(.embedding), count: count)
    lookUp(
      stream.pointer, positions, in: weights.embeddings.matrix(.positionEmbedding), count: count,
      accumulate: true)
    if spec.embeddingScale != 1 {
      atk_scale(stream.pointer, Float(spec.embeddingScale), count * spec.width)
    }
  }

  private func norm(_ block: ParameterBlock, _ role: ModuleRole, _ count: Int) {
    spec.normForward(normed.pointer, stream.pointer, block, role, rows: count)
  }

  /// What a block reads: the stream normalised, or as it is where norms stand behind blocks.
  private func input(
    _ block: ParameterBlock, _ role: ModuleRole, _ count: Int
  ) -> UnsafePointer<Float> {
    guard spec.normPlacement.isBefore else { return UnsafePointer(stream.pointer) }
    norm(block, role, count)
    return UnsafePointer(normed.pointer)
  }

  /// The stream += a block's last product with x and its adapters', normalised and scaled where the model
  /// does that.
  private func addOutput(
    of x: UnsafePointer<Float>, _ block: ParameterBlock, _ role: ModuleRole, norm: ModuleRole,
    _ group: LoRALayout.Group?, _ count: Int
  ) {
    let isApart = branch.count > 0
    let product = isApart ? branch.pointer : stream.pointer
    linear(product, x, block, role, count, accumulate: isApart ? 0 : 1)
    adapt(product, columns: spec.width, x, group, count)
    guard isApart else { return }
    if spec.normPlacement.isAfter {
      spec.normForward(product, product, block, norm, rows: count)
    }
    atk_add(stream.pointer, product, Float(spec.residualScale), count * spec.width)
  }

  private func linear(
    _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ block: ParameterBlock,
    _ role: ModuleRole, _ count: Int, accumulate: Int32 = 0
  ) {
    linear(y, x, block.matrix(role), bias: block.bias(role), count, accumulate: accumulate)
  }

  private func linear(
    _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ w: Matrix?,
    bias: UnsafePointer<Float>?, _ count: Int, accumulate: Int32 = 0
  ) {
    guard let w else { return }
    switch weights.copies {
    case nil:
      atk_linear_decode(
        y, x, w.start, w.form.kernelFormat, bias, count, w.rows, w.columns, accumulate)
    case .bf16:
      atk_linear_decode_bf16(
        y, x, w.start, w.form.kernelFormat, w.bf16, bias, count, w.rows, w.columns, accumulate)
    case .int8:
      guard let codes = w.int8 else { preconditionFailure("a matrix has no 8-bit codes") }
      atk_linear_int8(y, x, codes, bias, count, w.rows, w.columns, accumulate)
    }
  }

  /// y[count, columns] += what a group's adapters add to a product of x.
  private func adapt(
    _ y: UnsafeMutablePointer<Float>, columns: Int, _ x: UnsafePointer<Float>,
    _ group: LoRALayout.Group?, _ count: Int
  ) {
    guard let adapters = weights.adapters, let group, let first = group.adapters.first else {
      return
    }
    let (rank, arena) = (adapters.layout.settings.rank, adapters.arena)
    let ranks = rank * group.adapters.count
    // Adapters stay in float32 beside 8-bit codes: they are few. In bfloat16 they are as a pass has them.
    let rounds = weights.copies == .bf16
    if rounds {
      atk_linear_decode_bf16(
        lowRank.pointer, x, arena + first.a, ATK_FLOAT32, nil, nil, count, ranks, first.inputs, 0)
      atk_scale(lowRank.pointer, adapters.layout.scale, count * ranks)
    } else {
      atk_linear_decode(
        lowRank.pointer, x, arena + first.a, ATK_FLOAT32, nil, count, ranks, first.inputs, 0)
    }
    for (j, adapter) in group.adapters.enumerated() {
      let (y, low) = (y + adapter.fusedRow, lowRank.pointer + j * rank)
      if rounds {
        atk_linear_forward(
          y, low, arena + adapter.b, nil, count, adapter.outputs, rank, columns, ranks, 1,
          ATK_PRODUCTS_BF16)
      } else {
        atk_adapter_decode(
          y, columns, low, ranks, arena + adapter.b, adapters.layout.scale, count,
          adapter.outputs, rank)
      }
    }
  }

  private func run(_ index: Int, _ rows: [DecodeRow]) {
    let layer = weights.layers[index]
    let adapters = weights.adapters?.layout[layer: index]
    let count = rows.count
    let attended = input(layer, .inputNorm, count)
    linear(queryKeyValue.pointer, attended, layer, .query, count)
    adapt(queryKeyValue.pointer, columns: fused, attended, adapters?.attentionInput, count)
    attend(index, layer, rows)
    func addAttention() {
      addOutput(
        of: attention.pointer, layer, .output, norm: .attentionOutputNorm,
        adapters?.attentionOutput, count)
    }
    if !spec.isParallel { addAttention() }
    let fed = input(layer, .middleNorm, count)
    linear(gateUp.pointer, fed, layer, .up, count)
    adapt(gateUp.pointer, columns: gates, fed, adapters?.mlpInput, count)
    // Beside attention the mlp reads what attention read.
    if spec.isParallel { addAttention() }
    spec.mlp.forward(activated.pointer, gateUp.pointer, rows: count, width: spec.mlpWidth)
    addOutput(
      of: activated.pointer, layer, .down, norm: .mlpOutputNorm, adapters?.mlpOutput, count)
  }

  /// q/k norm, rotation, new keys and values into the cache, attention over all cached ones.
  private func attend(_ index: Int, _ layer: ParameterBlock, _ rows: [DecodeRow]) {
    let (count, c) = (rows.count, spec.headWidth)
    let (heads, groups) = (spec.heads, spec.keyValueHeads)
    let (epsilon, offset) = (Float(spec.normEpsilon), Float(spec.normOffset))
    let size = LayerSizes(spec, rows: count)
    let query = queryKeyValue.pointer
    let key = query + queries
    func rotate() {
      guard let rope = weights.rotary[index] else { return }
      atk_rope_forward(
        query, positions, rope.cosine, rope.sine, count, heads + groups, c, rope.turned, fused)
    }
    let rotatesFirst = spec.queryKeyNorm == .headAfterRotation
    if rotatesFirst { rotate() }
    if let weight = layer.vector(.queryNorm) {
      atk_rmsnorm_forward(
        query, nil, query, weight, offset, epsilon, count, size.queryNorms,
        queries / size.queryNorms, fused, fused)
    }
    if let weight = layer.vector(.keyNorm) {
      atk_rmsnorm_forward(
        key, nil, key, weight, offset, epsilon, count, size.keyNorms, keys / size.keyNorms, fused,
        fused)
    }
    if !rotatesFirst { rotate() }
    let rule = spec.attentionRule(ofLayer: index)
    let rounds = weights.copies == .bf16
    if rounds { atk_round_to_bf16(query, count * fused) }
    let form = SamplerCopy.cacheForm(beside: weights.copies)
    let stride = form.bytes(keys)
    for (m, row) in rows.enumerated() {
      let (ownKeys, ownValues) = (row.own.keys(index), row.own.values(index))
      let new = key + m * fused
      keep(new, at: ownKeys + row.ownIndex * stride, form)
      keep(new + keys, at: ownValues + row.ownIndex * stride, form)
      // Of the cache's positions a window leaves the last.
      let hidden = rule.window > 0 ? max(0, Int(positions[m]) + 1 - rule.window) : 0
      let (hiddenPrefix, hiddenOwn) = (
        min(hidden, row.prefixCount), max(0, hidden - row.prefixCount)
      )
      prefixCounts[m] = Int32(row.prefixCount - hiddenPrefix)
      ownCounts[m] = isInRun[m] ? 0 : Int32(row.ownIndex + 1 - hiddenOwn)
      cached[0][m] = row.prefix.map { UnsafeRawPointer($0.keys(index)) + hiddenPrefix * stride }
      cached[1][m] = row.prefix.map { UnsafeRawPointer($0.values(index)) + hiddenPrefix * stride }
      cached[2][m] = UnsafeRawPointer(ownKeys) + hiddenOwn * stride
      cached[3][m] = UnsafeRawPointer(ownValues) + hiddenOwn * stride
    }
    let precision = rounds ? ATK_PRODUCTS_BF16 : ATK_PRODUCTS_FLOAT32
    atk_attention_decode(
      attention.pointer, query, cached[0], cached[1], cached[2], cached[3], form.kernelFormat,
      prefixCounts, ownCounts, count, heads, groups, c, fused, rule, precision)
    for run in runs {
      let (first, m) = (rows[run.lowerBound], run.lowerBound)
      atk_attention_prefill(
        attention.pointer + m * queries, query + m * fused,
        first.own.keys(index).assumingMemoryBound(to: UInt16.self),
        first.own.values(index).assumingMemoryBound(to: UInt16.self), first.ownIndex, run.count,
        heads, groups, c, fused, rule, precision)
    }
  }

  /// A position's keys or values into a cache.
  private func keep(
    _ numbers: UnsafePointer<Float>, at place: UnsafeMutableRawPointer, _ form: WeightForm
  ) {
    if form == .float32 {
      place.copyMemory(from: numbers, byteCount: form.bytes(keys))
    } else {
      atk_bf16_from_float(place.assumingMemoryBound(to: UInt16.self), numbers, keys)
    }
  }
}
