// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import CAttuneKernels

extension NativeModel {
  /// Accumulates the gradients of trained numbers from those on the scores of the last pass.
  func backward(_ pass: KeptPass, _ gradients: HeadGradients) throws {
    guard pass.number == workspace.pass else {
      throw EngineError(
        .badRequest, "a pass goes back once, and before the next of a model made from the same one")
    }
    let plan = pass.plan
    let n = plan.scoredRow.count
    let d = spec.width
    let onLogProbabilities = try BatchPlan.join(
      gradients.logProbabilities, plan.scoredPerSegment, "log-probabilities")
    let onEntropies = try BatchPlan.join(
      gradients.entropies, plan.scoredPerSegment, "entropies")
    let onScalars = try BatchPlan.join(gradients.scalars, plan.scalarsPerSegment, "scalars")
    if onEntropies != nil, !pass.request.entropy {
      throw EngineError(.badRequest, "a gradient on entropies that were not asked for")
    }
    try beginGradients()
    let count = n + plan.scalarRow.count
    let dHidden = try workspace.take(.headNormedGradient, count * d)
    let hidden = try workspace.take(.headNormed, count * d)
    if n > 0, onLogProbabilities != nil || onEntropies != nil {
      let zero = [Float](repeating: 0, count: onLogProbabilities == nil ? n : 0)
      let logits = try pass.hasLogits ? workspace.take(.headLogits, n * spec.vocabularySize) : nil
      try (onLogProbabilities ?? zero).withUnsafeBufferPointer { dLogProbability in
        try (onEntropies ?? []).withUnsafeBufferPointer { dEntropy in
          try atk_head_backward(
            dHidden, headGradient, dLogProbability.baseAddress,
            onEntropies == nil ? nil : dEntropy.baseAddress, hidden, headMatrix.start,
            headMatrix.form.kernelFormat, plan.scoredTarget, workspace.take(.headLogSumExp, n),
            onEntropies == nil ? nil : workspace.take(.headEntropy, n), logits,
            spec.headTemperature(pass.request.temperature), spec.headCap, n, d, spec.vocabularySize,
            precision)
        }
      }
    } else {
      dHidden.update(repeating: 0, count: n * d)
    }
    if let head = scalarHead {
      let gradient = scalarHeadOffset.flatMap { offset in
        self.gradients.map { $0.pointer + offset }
      }
      for i in plan.scalarRow.indices {
        let g = onScalars?[i] ?? 0
        let row = hidden + (n + i) * d
        let dRow = dHidden + (n + i) * d
        for j in 0..<d {
          dRow[j] = g * head[j]
          if let gradient { gradient[j] += g * row[j] }
        }
      }
    }
    try backward(pass, dHidden: dHidden)
    try workspace.beginPass()
  }

  /// The gradient of the head's matrix, where it is trained.
  var headGradient: UnsafeMutablePointer<Float>? {
    spec.tiedHead ? gradient(embeddingBlock, .embedding) : gradient(finalBlock, .head)
  }

  /// Where the gradient of a role's group is accumulated; nil where it is frozen.
  func gradient(
    _ block: ParameterBlock, _ role: ModuleRole, bias: Bool = false
  ) -> UnsafeMutablePointer<Float>? {
    guard let arena, let gradients, let first = block.layout.group(role)?.modules[0],
      let tensor = bias ? first.bias : first.weight, let floats = block.floats(tensor)
    else { return nil }
    let offset = floats - arena.pointer
    guard offset >= 0, offset < arena.count else { return nil }
    return gradients.pointer + offset
  }

  private func normBackward(
    _ dx: UnsafeMutablePointer<Float>, _ dy: UnsafePointer<Float>, _ x: UnsafePointer<Float>,
    _ block: ParameterBlock, _ role: ModuleRole, mean: UnsafePointer<Float>,
    rstd: UnsafePointer<Float>, rows: Int, accumulate: Bool
  ) {
    spec.norm.backward(
      offset: Float(spec.normOffset), dx, gradient(block, role), gradient(block, role, bias: true),
      dy, x, block.vector(role),
      mean: mean, rstd: rstd, rows: rows, width: spec.width, accumulate: accumulate)
  }

  /// From the gradient on the final-norm states of a pass down to its lowest trained layer.
  func backward(_ pass: KeptPass, dHidden: UnsafeMutablePointer<Float>) throws {
    let plan = pass.plan
    let d = spec.width
    let rows = plan.scoredRow + plan.scalarRow
    let dGathered = try workspace.take(.headRowsGradient, rows.count * d)
    try normBackward(
      dGathered, dHidden, workspace.take(.headRows, rows.count * d), finalBlock, .finalNorm,
      mean: workspace.take(.headMean, rows.count),
      rstd: workspace.take(.headRstd, rows.count), rows: rows.count, accumulate: false)
    // Nothing below is trained: a scalar head on a frozen model, or a head alone.
    guard pass.firstLayer < spec.layers || gradient(embeddingBlock, .embedding) != nil else {
      return
    }
    let dStream = try workspace.take(.streamGradient, plan.rows * d)
    atk_zero(dStream, plan.rows * d)
    atk_scatter_add_rows(dStream, dGathered, rows, rows.count, d)
    let size = layerSizes(plan.rows)
    for layer in stride(from: spec.layers - 1, through: pass.firstLayer, by: -1) {
      let a = try activations(pass.recomputes ? -1 : layer, size)
      if pass.recomputes {
        try a.input.update(
          from: workspace.take(.layer(layer, .input), plan.rows * d), count: plan.rows * d)
        try layerForward(
          layer, a, out: workspace.take(.stream, plan.rows * d), plan, size)
      } else if keepsHalves {
        try restoreHalves(layer, a, size)
      }
      try layerBackward(layer, a, dStream: dStream, plan, size, isLowest: layer == pass.firstLayer)
    }
    if spec.embeddingScale != 1 {
      atk_scale(dStream, Float(spec.embeddingScale), plan.rows * d)
    }
    if let table = gradient(embeddingBlock, .embedding) {
      atk_embedding_backward(table, dStream, plan.ids, plan.rows, d)
    }
    if let table = gradient(embeddingBlock, .positionEmbedding) {
      atk_embedding_backward(table, dStream, plan.positions, plan.rows, d)
    }
  }

  /// One layer: `dStream` holds the gradient on its output and, after, on its input.
  private func layerBackward(
    _ layer: Int, _ a: LayerActivations, dStream: UnsafeMutablePointer<Float>, _ plan: BatchPlan,
    _ size: LayerSizes, isLowest: Bool
  ) throws {
    let block = layerBlock(layer)
    let lora = adapters?[layer: layer]
    let rows = size.rows
    let normed = try workspace.take(.normed, size)
    let dNormed = try workspace.take(.normedGradient, size)

    // The mlp: out = middle + down(activated).
    let dDownOutput = try outputGradient(
      dStream, block, .mlpOutputNorm, before: a.mlpOutput, rstd: a.rstd4, size)
    let activated = try workspace.take(.activated, size)
    let dActivated = try workspace.take(.activatedGradient, size)
    let dGateUp = try workspace.take(.gateUpGradient, size)
    if let weights = block.matrix(.down) {
      linearBackwardInput(dActivated, dDownOutput, weights, rows: rows)
    }
    if let group = lora?.mlpOutput, !group.adapters.isEmpty {
      spec.mlp.forward(activated, a.gateUp, rows: rows, width: size.mlp)
      try adaptersBackward(
        dActivated, dDownOutput, activated, group, lowRank: a.lowRankDown, rows: rows,
        fused: size.width)
    }
    let dDown = gradient(block, .down)
    spec.mlp.backward(
      dGateUp, dDown == nil ? nil : activated, dActivated, a.gateUp, rows: rows, width: size.mlp)
    if let dDown {
      atk_linear_backward_weight(
        dDown, gradient(block, .down, bias: true), dDownOutput, activated, 1, rows, size.width,
        size.mlp, size.width, size.mlp, precision)
    }
    let dGate = gradient(block, .up)
    let hasGateAdapters = !(lora?.mlpInput.adapters.isEmpty ?? true)
    let mlpInput = size.isParallel ? a.input : a.middle
    let fed =
      dGate != nil || hasGateAdapters
      ? blockInput(mlpInput, normed, block, .middleNorm, mean: nil, rstd: nil, rows: rows)
      : UnsafePointer(normed)
    if let dGate {
      atk_linear_backward_weight(
        dGate, gradient(block, .up, bias: true), dGateUp, fed, 1,
        rows, size.gates, size.width, size.gates, size.width, precision)
    }
    if let weights = block.matrix(.up) {
      linearBackwardInput(dNormed, dGateUp, weights, rows: rows)
    }
    if let group = lora?.mlpInput {
      try adaptersBackward(
        dNormed, dGateUp, fed, group, lowRank: a.lowRankGate, rows: rows, fused: size.gates)
    }
    // Beside attention the mlp's part must wait: attention's own gradient is that on the layer's output.
    let dBeside = try size.isParallel ? workspace.take(.parallelGradient, size) : nil
    inputBackward(
      dBeside ?? dStream, dNormed, mlpInput, block, .middleNorm, mean: a.mean2,
      rstd: a.rstd2, rows: rows, accumulate: dBeside == nil)

    // Attention: middle = input + output(attention).
    let dOutputOutput = try outputGradient(
      dStream, block, .attentionOutputNorm, before: a.attentionOutput, rstd: a.rstd3, size)
    let dAttention = try workspace.take(.attentionGradient, size)
    if let weights = block.matrix(.output) {
      linearBackwardInput(dAttention, dOutputOutput, weights, rows: rows)
    }
    if let dOutput = gradient(block, .output) {
      atk_linear_backward_weight(
        dOutput, gradient(block, .output, bias: true), dOutputOutput, a.attention, 1, rows,
        size.width, size.queries, size.width, size.queries, precision)
    }
    if let group = lora?.attentionOutput {
      try adaptersBackward(
        dAttention, dOutputOutput, a.attention, group, lowRank: a.lowRankOutput, rows: rows,
        fused: size.width)
    }
    let dFused = try workspace.take(.queryKeyValueGradient, size)
    try attentionBackward(layer, a, dFused: dFused, dAttention: dAttention, block, plan, size)
    let dQuery = gradient(block, .query)
    let hasInputAdapters = !(lora?.attentionInput.adapters.isEmpty ?? true)
    let attended =
      dQuery != nil || hasInputAdapters
      ? blockInput(a.input, normed, block, .inputNorm, mean: nil, rstd: nil, rows: rows)
      : UnsafePointer(normed)
    if let dQuery {
      atk_linear_backward_weight(
        dQuery, gradient(block, .query, bias: true), dFused, attended, 1, rows, size.fused,
        size.width, size.fused, size.width, precision)
    }
    if let weights = block.matrix(.query) {
      linearBackwardInput(dNormed, dFused, weights, rows: rows)
    }
    if let group = lora?.attentionInput {
      try adaptersBackward(
        dNormed, dFused, attended, group, lowRank: a.lowRankInput, rows: rows, fused: size.fused)
    }
    // Below the lowest layer of adapters nothing asks for the gradient on the stream.
    if isLowest && lora != nil { return }
    inputBackward(
      dStream, dNormed, a.input, block, .inputNorm, mean: a.mean1, rstd: a.rstd1,
      rows: rows, accumulate: true)
    if let dBeside { atk_add(dStream, dBeside, 1, rows * size.width) }
  }

  /// dx = or += what `blockInput` gives back.
  private func inputBackward(
    _ dx: UnsafeMutablePointer<Float>, _ dy: UnsafePointer<Float>, _ x: UnsafePointer<Float>,
    _ block: ParameterBlock, _ role: ModuleRole, mean: UnsafePointer<Float>,
    rstd: UnsafePointer<Float>, rows: Int, accumulate: Bool
  ) {
    guard spec.normPlacement.isBefore else {
      precondition(accumulate)
      return atk_add(dx, dy, 1, rows * spec.width)
    }
    normBackward(
      dx, dy, x, block, role, mean: mean, rstd: rstd, rows: rows, accumulate: accumulate)
  }

  /// The gradient on a block's last product, from that on the stream.
  private func outputGradient(
    _ dStream: UnsafeMutablePointer<Float>, _ block: ParameterBlock, _ norm: ModuleRole,
    before: UnsafePointer<Float>, rstd: UnsafePointer<Float>, _ size: LayerSizes
  ) throws -> UnsafeMutablePointer<Float> {
    guard size.addsApart else { return dStream }
    let count = size.rows * size.width
    let dBranch = try workspace.take(.branchGradient, size)
    atk_copy(dBranch, dStream, count)
    if spec.residualScale != 1 { atk_scale(dBranch, Float(spec.residualScale), count) }
    if size.normsAfter {
      normBackward(
        dBranch, dBranch, before, block, norm, mean: rstd, rstd: rstd, rows: size.rows,
        accumulate: false)
    }
    return dBranch
  }

  /// Attention, rotation and q/k norm: the gradient on the fused projections before them.
  private func attentionBackward(
    _ layer: Int, _ a: LayerActivations, dFused: UnsafeMutablePointer<Float>,
    dAttention: UnsafePointer<Float>,
    _ block: ParameterBlock, _ plan: BatchPlan, _ size: LayerSizes
  ) throws {
    let (queries, keys, fused) = (size.queries, size.keys, size.fused)
    plan.withSegments { segments in
      atk_attention_backward(
        dFused, dFused + queries, dFused + queries + keys, dAttention, a.queryKeyValue,
        a.queryKeyValue + queries, a.queryKeyValue + queries + keys, a.attention, a.logSumExp,
        segments, size.heads, size.keyValueHeads, size.headWidth, fused, fused, fused,
        spec.attentionRule(ofLayer: layer), precision)
    }
    let rope = try rotary.tables(layer, plan.positionCount)
    func rotateBack() {
      guard let rope else { return }
      atk_rope_backward(
        dFused, plan.positions, rope.cosine, rope.sine, size.rows,
        size.heads + size.keyValueHeads, size.headWidth, rope.turned, fused)
    }
    let rotatesFirst = spec.queryKeyNorm == .headAfterRotation
    if !rotatesFirst { rotateBack() }
    if size.queryNorms > 0 {
      let offset = Float(spec.normOffset)
      atk_rmsnorm_backward(
        dFused, gradient(block, .queryNorm), dFused, a.raw, block.vector(.queryNorm), offset,
        a.rstdQuery, size.rows, size.queryNorms, queries / size.queryNorms, fused, fused, fused, 0)
      atk_rmsnorm_backward(
        dFused + queries, gradient(block, .keyNorm), dFused + queries, a.raw + queries,
        block.vector(.keyNorm), offset, a.rstdKey, size.rows, size.keyNorms, keys / size.keyNorms,
        fused, fused, fused, 0)
    }
    if rotatesFirst { rotateBack() }
  }
}
