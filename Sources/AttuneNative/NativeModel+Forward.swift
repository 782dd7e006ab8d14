// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
import CAttuneKernels

/// What a forward pass leaves behind for its backward pass.
struct KeptPass {
  let plan: BatchPlan
  /// First layer that was computed and kept.
  let firstLayer: Int
  let recomputes: Bool
  let request: HeadRequest
  /// Which pass of the shared workspace it is.
  let number: Int
  /// Whether its logits are in the workspace.
  var hasLogits = false
}

extension NativeModel {
  /// Embeddings of a batch: the stream below layer 0, [rows, D].
  func embed(_ plan: BatchPlan, into stream: UnsafeMutablePointer<Float>) {
    lookUp(stream, plan.ids, in: embeddingBlock.matrix(.embedding), count: plan.rows)
    lookUp(
      stream, plan.positions, in: embeddingBlock.matrix(.positionEmbedding), count: plan.rows,
      accumulate: true)
    if spec.embeddingScale != 1 {
      atk_scale(stream, Float(spec.embeddingScale), plan.rows * spec.width)
    }
  }

  func layerSizes(_ rows: Int) -> LayerSizes {
    LayerSizes(spec, rows: rows, rank: adapters?.settings.rank ?? 0)
  }

  /// The memory of a layer's activations; layer −1 is the one shared by all that are not kept. In bf16
  /// the wide ones of all layers lie there, and what is kept of them lies apart (`keepHalves`).
  func activations(_ layer: Int, _ size: LayerSizes) throws -> LayerActivations {
    let keepsHalves = self.keepsHalves
    func take(_ kept: Workspace.Kept) throws -> UnsafeMutablePointer<Float> {
      let isApart = keepsHalves && Self.isWide(kept)
      return try workspace.take(
        .layer(isApart ? -1 : layer, kept), size.rows * size.columns(kept))
    }
    let queryKeyValue = try take(.queryKeyValue)
    return try LayerActivations(
      input: take(.input), rstd1: take(.rstd1), mean1: take(.mean1),
      queryKeyValue: queryKeyValue,
      raw: size.queryNorms > 0 ? take(.raw) : queryKeyValue,
      rstdQuery: take(.rstdQuery), rstdKey: take(.rstdKey),
      attention: take(.attention), logSumExp: take(.logSumExp),
      middle: take(.middle), rstd2: take(.rstd2), mean2: take(.mean2),
      gateUp: take(.gateUp), lowRankInput: take(.lowRankInput),
      lowRankOutput: take(.lowRankOutput), lowRankGate: take(.lowRankGate),
      lowRankDown: take(.lowRankDown),
      attentionOutput: size.normsAfter ? take(.attentionOutput) : queryKeyValue,
      rstd3: take(.rstd3), mlpOutput: size.normsAfter ? take(.mlpOutput) : queryKeyValue,
      rstd4: take(.rstd4))
  }

  /// Whether what a pass keeps is kept in bfloat16.
  var keepsHalves: Bool { origin.engine.precision == .bf16 }

  /// What of a layer's activations has many columns.
  static func isWide(_ kept: Workspace.Kept) -> Bool {
    switch kept {
    case .rstd1, .mean1, .rstd2, .mean2, .rstd3, .rstd4, .rstdQuery, .rstdKey, .logSumExp: false
    case .input, .queryKeyValue, .raw, .attention, .middle, .gateUp, .lowRankInput,
      .lowRankOutput, .lowRankGate, .lowRankDown, .attentionOutput, .mlpOutput:
      true
    }
  }

  /// Keeps a layer's wide activations in bfloat16. Attention multiplies queries, keys and values rounded
  /// so, forward and backward: its backward pass sees the numbers that its forward pass saw.
  func keepHalves(_ layer: Int, _ a: LayerActivations, _ size: LayerSizes) throws {
    for (kept, values, count) in wide(a, size) {
      atk_bf16_from_float(try halves(layer, kept, count), values, count)
    }
  }

  /// Brings them back for the layer's backward pass.
  func restoreHalves(_ layer: Int, _ a: LayerActivations, _ size: LayerSizes) throws {
    for (kept, values, count) in wide(a, size) {
      atk_float_from_bf16(values, try halves(layer, kept, count), count)
    }
  }

  private func halves(
    _ layer: Int, _ kept: Workspace.Kept, _ count: Int
  ) throws -> UnsafeMutablePointer<UInt16> {
    let floats = try workspace.take(.halves(layer, kept), (count + 1) / 2)
    return UnsafeMutableRawPointer(floats).assumingMemoryBound(to: UInt16.self)
  }

  private func wide(
    _ a: LayerActivations, _ size: LayerSizes
  ) -> [(Workspace.Kept, UnsafeMutablePointer<Float>, count: Int)] {
    let list: [(Workspace.Kept, UnsafeMutablePointer<Float>)] = [
      (.input, a.input), (.queryKeyValue, a.queryKeyValue), (.raw, a.raw),
      (.attention, a.attention), (.middle, a.middle), (.gateUp, a.gateUp),
      (.lowRankInput, a.lowRankInput), (.lowRankOutput, a.lowRankOutput),
      (.lowRankGate, a.lowRankGate), (.lowRankDown, a.lowRankDown),
      (.attentionOutput, a.attentionOutput), (.mlpOutput, a.mlpOutput),
    ]
    return list.map { ($0, $1, size.rows * size.columns($0)) }.filter { $0.count > 0 }
  }

  /// One layer: reads `a.input`, leaves its output in `out` [rows, D].
  func layerForward(
    _ layer: Int, _ a: LayerActivations, out: UnsafeMutablePointer<Float>, _ plan: BatchPlan,
    _ size: LayerSizes
  ) throws {
    let block = layerBlock(layer)
    let lora = adapters?[layer: layer]
    let rows = size.rows
    let normed = try workspace.take(.normed, size)

    let attended = blockInput(
      a.input, normed, block, .inputNorm, mean: a.mean1, rstd: a.rstd1, rows: rows)
    if let weights = block.matrix(.query) {
      linearForward(a.raw, attended, weights, bias: block.bias(.query), rows: rows)
    }
    if let group = lora?.attentionInput {
      adaptersForward(
        a.raw, attended, group, lowRank: a.lowRankInput, rows: rows, fused: size.fused)
    }
    let rope = try rotary.tables(layer, plan.positionCount)
    func rotate(_ queriesAndKeys: UnsafeMutablePointer<Float>) {
      guard let rope else { return }
      atk_rope_forward(
        queriesAndKeys, plan.positions, rope.cosine, rope.sine, rows,
        size.heads + size.keyValueHeads, size.headWidth, rope.turned, size.fused)
    }
    let rotatesFirst = spec.queryKeyNorm == .headAfterRotation
    if rotatesFirst { rotate(a.raw) }
    if size.queryNorms > 0 {
      let (epsilon, offset) = (Float(spec.normEpsilon), Float(spec.normOffset))
      atk_copy(a.queryKeyValue, a.raw, rows * size.fused)
      atk_rmsnorm_forward(
        a.queryKeyValue, a.rstdQuery, a.raw, block.vector(.queryNorm), offset, epsilon, rows,
        size.queryNorms, size.queries / size.queryNorms, size.fused, size.fused)
      atk_rmsnorm_forward(
        a.queryKeyValue + size.queries, a.rstdKey, a.raw + size.queries, block.vector(.keyNorm),
        offset, epsilon, rows, size.keyNorms, size.keys / size.keyNorms, size.fused, size.fused)
    }
    if !rotatesFirst { rotate(a.queryKeyValue) }
    plan.withSegments { segments in
      atk_attention_forward(
        a.attention, a.logSumExp, a.queryKeyValue, a.queryKeyValue + size.queries,
        a.queryKeyValue + size.queries + size.keys, segments, size.heads, size.keyValueHeads,
        size.headWidth, size.fused, size.fused, size.fused, spec.attentionRule(ofLayer: layer),
        precision)
    }
    atk_copy(a.middle, a.input, rows * size.width)
    try addOutput(
      to: a.middle, of: a.attention, block, .output, lora?.attentionOutput,
      lowRank: a.lowRankOutput, norm: .attentionOutputNorm, before: a.attentionOutput,
      rstd: a.rstd3, size)

    let fed = blockInput(
      size.isParallel ? a.input : a.middle, normed, block, .middleNorm, mean: a.mean2,
      rstd: a.rstd2, rows: rows)
    if let weights = block.matrix(.up) {
      linearForward(a.gateUp, fed, weights, bias: block.bias(.up), rows: rows)
    }
    if let group = lora?.mlpInput {
      adaptersForward(
        a.gateUp, fed, group, lowRank: a.lowRankGate, rows: rows, fused: size.gates)
    }
    let activated = try workspace.take(.activated, size)
    spec.mlp.forward(activated, a.gateUp, rows: rows, width: size.mlp)
    if out != a.middle { atk_copy(out, a.middle, rows * size.width) }
    try addOutput(
      to: out, of: activated, block, .down, lora?.mlpOutput, lowRank: a.lowRankDown,
      norm: .mlpOutputNorm, before: a.mlpOutput, rstd: a.rstd4, size)
  }

  /// What a block reads: its input normalised, or as it is where norms stand behind blocks.
  func blockInput(
    _ input: UnsafePointer<Float>, _ normed: UnsafeMutablePointer<Float>, _ block: ParameterBlock,
    _ role: ModuleRole, mean: UnsafeMutablePointer<Float>?, rstd: UnsafeMutablePointer<Float>?,
    rows: Int
  ) -> UnsafePointer<Float> {
    guard spec.normPlacement.isBefore else { return input }
    spec.normForward(normed, input, block, role, mean: mean, rstd: rstd, rows: rows)
    return UnsafePointer(normed)
  }

  /// stream[rows, D] += a block's last product with x, normalised and scaled where the model does that;
  /// what it was before its norm is left in `before`.
  private func addOutput(
    to stream: UnsafeMutablePointer<Float>, of x: UnsafePointer<Float>, _ block: ParameterBlock,
    _ role: ModuleRole, _ group: LoRALayout.Group?, lowRank: UnsafeMutablePointer<Float>,
    norm: ModuleRole, before: UnsafeMutablePointer<Float>, rstd: UnsafeMutablePointer<Float>,
    _ size: LayerSizes
  ) throws {
    let rows = size.rows
    let branch = try size.addsApart ? workspace.take(.branch, size) : nil
    let product = size.normsAfter ? before : branch ?? stream
    if let weights = block.matrix(role) {
      linearForward(
        product, x, weights, bias: block.bias(role), rows: rows, accumulate: branch == nil)
    }
    if let group {
      adaptersForward(product, x, group, lowRank: lowRank, rows: rows, fused: size.width)
    }
    guard let branch else { return }
    if size.normsAfter {
      spec.normForward(branch, before, block, norm, rstd: rstd, rows: rows)
    }
    atk_add(stream, branch, Float(spec.residualScale), rows * size.width)
  }

  /// Runs layers `first ..< last` from a stream [rows, D] and leaves the result in the stream.
  ///
  /// With `keeping` each layer's activations stay until the next pass (its input alone where
  /// activations are recomputed).
  func runLayers(
    _ first: Int, _ last: Int, stream: UnsafeMutablePointer<Float>, _ plan: BatchPlan,
    keeping: Bool
  ) throws {
    let size = layerSizes(plan.rows)
    for layer in first..<last {
      let shared = !keeping || recomputesActivations
      let a = try activations(shared ? -1 : layer, size)
      atk_copy(a.input, stream, plan.rows * size.width)
      if keeping && shared {
        let count = plan.rows * size.width
        atk_copy(try workspace.take(.layer(layer, .input), count), stream, count)
      }
      try layerForward(layer, a, out: stream, plan, size)
      if !shared && keepsHalves { try keepHalves(layer, a, size) }
    }
  }

  package func trunk(_ segments: [Segment], layers: Int) throws -> (any Trunk)? {
    guard (0...sharedLayers).contains(layers) else {
      throw EngineError(
        .badRequest, "a trunk of \(layers) layers: only \(sharedLayers) are shared with others")
    }
    let plan = try BatchPlan(segments, for: self)
    try workspace.beginPass()
    let stream = try FloatBuffer(plan.rows * spec.width)
    embed(plan, into: stream.pointer)
    try runLayers(0, layers, stream: stream.pointer, plan, keeping: false)
    var rows: [Int] = []
    var count = 0
    for segment in segments {
      rows.append(count)
      count += segment.ids.count
    }
    var states = stream
    if count > plan.rows {
      states = try FloatBuffer(count * spec.width)
      plan.spread(stream.pointer, to: states.pointer, width: spec.width)
    }
    return NativeTrunk(
      segments: segments, layers: layers, rows: rows, states: states, width: spec.width,
      origin: origin)
  }

  /// The stream after the last layer, [rows, D], in the workspace.
  func run(
    _ segments: [Segment], _ plan: BatchPlan, trunk: (any Trunk)?, keeping: Bool
  ) throws -> UnsafeMutablePointer<Float> {
    try workspace.beginPass()
    let stream = try workspace.take(.stream, plan.rows * spec.width)
    var first = 0
    if let trunk {
      guard let trunk = trunk as? NativeTrunk, accepts(trunk) else {
        throw EngineError(
          .badRequest,
          "the trunk of \(trunk.layers) layers is not this model's, which shares \(sharedLayers)")
      }
      guard trunk.segments.count == segments.count,
        zip(trunk.segments, segments).allSatisfy({ $0.ids == $1.ids && $0.parent == $1.parent })
      else {
        throw EngineError(.badRequest, "the trunk was computed for other segments")
      }
      first = trunk.layers
      plan.gather(stream, from: trunk.states.pointer, width: spec.width)
    } else {
      embed(plan, into: stream)
    }
    if keeping {
      // Layers below what is trained need no backward.
      let start = max(first, min(sharedLayers, spec.layers))
      try runLayers(first, start, stream: stream, plan, keeping: false)
      try runLayers(start, spec.layers, stream: stream, plan, keeping: true)
    } else {
      try runLayers(first, spec.layers, stream: stream, plan, keeping: false)
    }
    return stream
  }
}
