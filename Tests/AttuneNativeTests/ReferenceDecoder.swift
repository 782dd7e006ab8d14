// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import AttuneNative
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
      (x[i] - mean) * scale * Double(weight[i]) + (bias.map { Double($0[i]) } ?? 0)
    }
  }

  private func headVector(
    _ fused: [Double], at start: Int, position: Int, norm weight: UnsafeMutablePointer<Float>?
  ) -> [Double] {
    let c = spec.headWidth
    var x = Array(fused[start..<start + c])
    if let weight { x = norm(x, weight, nil, centred: false) }
    guard case .rotary = spec.positions, let cosine = weights.ropeCosine,
      let sine = weights.ropeSine
    else { return x }
    var turned = x
    for i in 0..<c / 2 {
      let cosine = Double(cosine[position * c / 2 + i])
      let sine = Double(sine[position * c / 2 + i])
      turned[i] = x[i] * cosine - x[i + c / 2] * sine
      turned[i + c / 2] = x[i + c / 2] * cosine + x[i] * sine
    }
    return turned
  }

  private func activate(_ x: [Double]) -> [Double] {
    switch spec.mlp {
    case .swiglu:
      (0..<spec.mlpWidth).map { x[$0] / (1 + exp(-x[$0])) * x[spec.mlpWidth + $0] }
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
      var x = weights.embeddings.matrix(.embedding).map { row($0, Int(id)) } ?? []
      if let table = weights.embeddings.matrix(.positionEmbedding) {
        x = zip(x, row(table, position)).map { $0 + $1 }
      }
      return x
    }
    for layer in weights.layers {
      let fused = stream.map {
        linear(norm($0, layer, .inputNorm), layer, .query)
      }
      for t in stream.indices {
        var attention: [Double] = []
        for h in 0..<heads {
          let g = h / (heads / groups)
          let query = headVector(fused[t], at: h * c, position: t, norm: layer.vector(.queryNorm))
          let weight = (0...t).map { s in
            let key = headVector(
              fused[s], at: (heads + g) * c, position: s, norm: layer.vector(.keyNorm))
            return exp(zip(query, key).reduce(0) { $0 + $1.0 * $1.1 } / Double(c).squareRoot())
          }
          let sum = weight.reduce(0, +)
          for i in 0..<c {
            attention.append(
              (0...t).reduce(0) { $0 + weight[$1] * fused[$1][(heads + groups + g) * c + i] } / sum)
          }
        }
        stream[t] = zip(stream[t], linear(attention, layer, .output)).map { $0 + $1 }
        let middle = norm(stream[t], layer, .middleNorm)
        let down = linear(activate(linear(middle, layer, .up)), layer, .down)
        stream[t] = zip(stream[t], down).map { $0 + $1 }
      }
    }
    return stream.map { linear(norm($0, weights.final, .finalNorm), weights.head, nil) }
  }
}
