// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
import AttuneTestSupport
import CAttuneKernels
import Foundation

/// A transformer's forward pass in Double, written to be obvious: what the decoder is held against.
struct ReferenceDecoder {
  let weights: ModelWeights
  var spec: TransformerSpec { weights.spec }

  private func row(_ matrix: Matrix, _ i: Int) -> [Double] {
    var row = [Float](repeating: 0, count: matrix.columns)
    atk_weights_to_float(
      &row, matrix.start + i * matrix.form.bytes(matrix.columns), matrix.form.kernelFormat, 1,
      matrix.columns)
    return row.map { Double($0) }
  }

  private func linear(_ x: [Double], _ block: ParameterBlock, _ role: ModuleRole) -> [Double] {
    linear(x, block.matrix(role), block.bias(role))
  }

  private func linear(
    _ x: [Double], _ matrix: Matrix?, _ bias: UnsafeMutablePointer<Float>?
  ) -> [Double] {
    guard let matrix else { return [] }
    return (0..<matrix.rows).map { i in
      zip(row(matrix, i), x).reduce(bias.map { Double($0[i]) } ?? 0) { $0 + $1.0 * $1.1 }
    }
  }

  private func norm(_ x: [Double], _ block: ParameterBlock, _ role: ModuleRole) -> [Double] {
    guard let weight = block.vector(role) else { return [] }
    return norm(x, weight, block.bias(role), centred: spec.norm == .layer)
  }

  private func norm(
    _ x: [Double], _ weight: UnsafePointer<Float>, _ bias: UnsafePointer<Float>?,
    centred: Bool
  ) -> [Double] {
    let mean = centred ? x.reduce(0, +) / Double(x.count) : 0
    let variance = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(x.count)
    let scale = 1 / (variance + spec.normEpsilon).squareRoot()
    return x.indices.map { i in
      (x[i] - mean) * scale * (Double(weight[i]) + spec.normOffset)
        + (bias.map { Double($0[i]) } ?? 0)
    }
  }

  /// Queries and keys normalised before their rotation, each head by itself or all together.
  private func normalised(_ fused: [Double], _ layer: ParameterBlock) -> [Double] {
    guard spec.queryKeyNorm != .headAfterRotation, let query = layer.vector(.queryNorm),
      let key = layer.vector(.keyNorm)
    else { return fused }
    let (queries, keys) = (spec.heads * spec.headWidth, spec.keyValueHeads * spec.headWidth)
    func part(_ range: Range<Int>, _ weight: UnsafePointer<Float>) -> [Double] {
      let width = spec.queryKeyNorm == .all ? range.count : spec.headWidth
      return stride(from: range.lowerBound, to: range.upperBound, by: width).flatMap {
        norm(Array(fused[$0..<$0 + width]), weight, nil, centred: false)
      }
    }
    return part(0..<queries, query) + part(queries..<queries + keys, key)
      + fused[(queries + keys)...]
  }

  private func headVector(
    _ fused: [Double], at start: Int, position: Int, layer: Int
  ) -> [Double] {
    var x = Array(fused[start..<start + spec.headWidth])
    if let rope = weights.rotary[layer] {
      let half = rope.turned / 2
      for i in 0..<half {
        let (a, b) = (x[i], x[i + half])
        let cosine = Double(rope.cosine[position * half + i])
        let sine = Double(rope.sine[position * half + i])
        x[i] = a * cosine - b * sine
        x[i + half] = b * cosine + a * sine
      }
    }
    let role: ModuleRole = start < spec.heads * spec.headWidth ? .queryNorm : .keyNorm
    guard spec.queryKeyNorm == .headAfterRotation,
      let weight = weights.layers[layer].vector(role)
    else { return x }
    return norm(x, weight, nil, centred: false)
  }

  private func capped(_ x: Double, _ cap: Double?) -> Double { cap.map { $0 * tanh(x / $0) } ?? x }

  /// What a block reads, and what it adds to the stream.
  private func input(_ x: [Double], _ layer: ParameterBlock, _ role: ModuleRole) -> [Double] {
    spec.normPlacement.isBefore ? norm(x, layer, role) : x
  }

  private func output(_ x: [Double], _ layer: ParameterBlock, _ role: ModuleRole) -> [Double] {
    (spec.normPlacement.isAfter ? norm(x, layer, role) : x).map { $0 * spec.residualScale }
  }

  private func activate(_ x: [Double]) -> [Double] {
    switch spec.mlp {
    case .swiglu:
      (0..<spec.mlpWidth).map { x[$0] / (1 + exp(-x[$0])) * x[spec.mlpWidth + $0] }
    case .geglu:
      zip(Reference.gelu(Array(x[..<spec.mlpWidth])), x[spec.mlpWidth...]).map(*)
    case .gelu:
      x.map { 0.5 * $0 * (1 + tanh((2 / Double.pi).squareRoot() * ($0 + 0.044715 * $0 * $0 * $0))) }
    case .exactGELU: x.map { 0.5 * $0 * (1 + erf($0 / 2.0.squareRoot())) }
    case .relu: x.map { max($0, 0) }
    }
  }

  /// Logits after every token of a text.
  func logits(_ ids: [Int32]) -> [[Double]] {
    let (c, heads, groups) = (spec.headWidth, spec.heads, spec.keyValueHeads)
    var stream = ids.enumerated().map { position, id in
      var x = (weights.embeddings.matrix(.embedding).map { row($0, Int(id)) } ?? [])
        .map { $0 * spec.embeddingScale }
      if let table = weights.embeddings.matrix(.positionEmbedding) {
        x = zip(x, row(table, position)).map { $0 + $1 }
      }
      return x
    }
    let scale = spec.attentionScale ?? 1 / Double(c).squareRoot()
    for (index, layer) in weights.layers.enumerated() {
      let fused = stream.map {
        normalised(linear(input($0, layer, .inputNorm), layer, .query), layer)
      }
      let before = stream
      for t in stream.indices {
        var attention: [Double] = []
        for h in 0..<heads {
          let g = h / (heads / groups)
          let query = headVector(fused[t], at: h * c, position: t, layer: index)
          let window = spec.attention(ofLayer: index).window ?? t + 1
          let weight = (0...t).map { s in
            if s <= t - window { return 0.0 }
            let key = headVector(fused[s], at: (heads + g) * c, position: s, layer: index)
            let score = zip(query, key).reduce(0) { $0 + $1.0 * $1.1 } * scale
            return exp(capped(score, spec.attentionCap))
          }
          let sum = weight.reduce(0, +)
          for i in 0..<c {
            attention.append(
              (0...t).reduce(0) { $0 + weight[$1] * fused[$1][(heads + groups + g) * c + i] } / sum)
          }
        }
        let attended = output(linear(attention, layer, .output), layer, .attentionOutputNorm)
        stream[t] = zip(stream[t], attended).map { $0 + $1 }
        let middle = input(spec.isParallel ? before[t] : stream[t], layer, .middleNorm)
        let down = linear(activate(linear(middle, layer, .up)), layer, .down)
        stream[t] = zip(stream[t], output(down, layer, .mlpOutputNorm)).map { $0 + $1 }
      }
    }
    return stream.map {
      linear(norm($0, weights.final, .finalNorm), weights.head, nil)
        .map { capped($0 / spec.logitsDivisor, spec.logitsCap) }
    }
  }
}
