// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// The bfloat16 number nearest to a finite one, ties to even, as a float32.
public func toBFloat16(_ x: Float) -> Float {
  let bits = x.bitPattern
  return Float(bitPattern: (bits &+ 0x7fff &+ (bits >> 16 & 1)) & 0xffff_0000)
}

/// The kernels' operations in Double, written as their formulas are: slow, and plain to read.
public enum Reference {
  /// y[M,N] = x[M,K] · w[N,K]ᵀ + bias[N].
  public static func linear(
    _ x: [Double], _ w: [Double], bias: [Double]? = nil, rows: Int, outputs: Int, inputs: Int
  ) -> [Double] {
    var y = [Double](repeating: 0, count: rows * outputs)
    for m in 0..<rows {
      for n in 0..<outputs {
        var sum = bias?[n] ?? 0
        for k in 0..<inputs { sum += x[m * inputs + k] * w[n * inputs + k] }
        y[m * outputs + n] = sum
      }
    }
    return y
  }

  /// x / rms(x) · weight, for each row of `width`.
  public static func rmsNorm(_ x: [Double], weight: [Double], epsilon: Double) -> [Double] {
    let width = weight.count
    var y = x
    for row in stride(from: 0, to: x.count, by: width) {
      var squares = 0.0
      for i in 0..<width { squares += x[row + i] * x[row + i] }
      let rstd = 1 / (squares / Double(width) + epsilon).squareRoot()
      for i in 0..<width { y[row + i] = x[row + i] * rstd * weight[i] }
    }
    return y
  }

  /// (x − mean) / deviation · weight + bias, for each row of `width`.
  public static func layerNorm(
    _ x: [Double], weight: [Double], bias: [Double], epsilon: Double
  ) -> [Double] {
    let width = weight.count
    var y = x
    for row in stride(from: 0, to: x.count, by: width) {
      let values = x[row..<row + width]
      let mean = values.reduce(0, +) / Double(width)
      let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(width)
      let rstd = 1 / (variance + epsilon).squareRoot()
      for i in 0..<width { y[row + i] = (x[row + i] - mean) * rstd * weight[i] + bias[i] }
    }
    return y
  }

  /// silu(gate)·up; each row holds `width` gates, then `width` ups.
  public static func swiglu(_ gateUp: [Double], width: Int) -> [Double] {
    var y: [Double] = []
    for row in stride(from: 0, to: gateUp.count, by: 2 * width) {
      for i in row..<row + width {
        y.append(gateUp[i] / (1 + exp(-gateUp[i])) * gateUp[i + width])
      }
    }
    return y
  }

  /// gelu(gate)·up in the tanh form; each row holds `width` gates, then `width` ups.
  public static func geglu(_ gateUp: [Double], width: Int) -> [Double] {
    var y: [Double] = []
    for row in stride(from: 0, to: gateUp.count, by: 2 * width) {
      let gates = gelu(Array(gateUp[row..<row + width]))
      for i in 0..<width { y.append(gates[i] * gateUp[row + width + i]) }
    }
    return y
  }

  /// The tanh form of GELU.
  public static func gelu(_ x: [Double]) -> [Double] {
    x.map { 0.5 * $0 * (1 + tanh((2 / Double.pi).squareRoot() * ($0 + 0.044715 * $0 * $0 * $0))) }
  }

  /// Segments of attention, as the kernels take them.
  public struct Tree: Sendable {
    /// First row, number of rows and parent (or −1) of each segment.
    public var row: [Int32], count: [Int32], parent: [Int32]

    /// Segments laid one after another from row 0.
    public init(_ segments: [(count: Int, parent: Int)]) {
      row = []
      count = segments.map { Int32($0.count) }
      parent = segments.map { Int32($0.parent) }
      var next: Int32 = 0
      for size in count {
        row.append(next)
        next += size
      }
    }

    /// The number of rows of all segments.
    public var rows: Int { count.reduce(0) { $0 + Int($1) } }

    /// The rows that a row sees, in the order of their positions: its ancestors' and its own segment's up to
    /// itself, of these the last `window`.
    public func visible(window: Int? = nil) -> [[Int]] {
      var seen: [[Int]] = []
      for segment in row.indices {
        var before: [Int] = []
        var ancestor = Int(parent[segment])
        while ancestor >= 0 {
          before =
            Array(Int(row[ancestor])..<Int(row[ancestor]) + Int(count[ancestor])) + before
          ancestor = Int(parent[ancestor])
        }
        for i in 0..<Int(count[segment]) {
          let all = before + Array(Int(row[segment])...Int(row[segment]) + i)
          seen.append(window.map { Array(all.suffix($0)) } ?? all)
        }
      }
      return seen
    }
  }

  /// Dense masked attention: q [T, H·C], k and v [T, G·C]; the output [T, H·C] and the log of each
  /// softmax's denominator [T, H].
  ///
  /// - Parameters:
  ///   - window: How many positions a row sees; all unless said.
  ///   - scale: What scores are multiplied by; headWidth^-½ unless said.
  ///   - cap: Scores s become cap·tanh(s/cap), if it is given.
  public static func attention(
    _ q: [Double], _ k: [Double], _ v: [Double], tree: Tree, heads: Int, keyValueHeads: Int,
    headWidth: Int, window: Int? = nil, scale: Double? = nil, cap: Double? = nil
  ) -> (out: [Double], logSumExp: [Double]) {
    let (width, group) = (headWidth, heads / keyValueHeads)
    var out = [Double](repeating: 0, count: q.count)
    var logSumExp: [Double] = []
    for (t, seen) in tree.visible(window: window).enumerated() {
      for head in 0..<heads {
        let query = (t * heads + head) * width
        var weights: [Double] = []
        for u in seen {
          let key = (u * keyValueHeads + head / group) * width
          var score = 0.0
          for c in 0..<width { score += q[query + c] * k[key + c] }
          score *= scale ?? 1 / Double(width).squareRoot()
          weights.append(cap.map { $0 * tanh(score / $0) } ?? score)
        }
        let most = weights.max() ?? 0
        var sum = 0.0
        for i in weights.indices {
          weights[i] = exp(weights[i] - most)
          sum += weights[i]
        }
        logSumExp.append(most + log(sum))
        for (u, weight) in zip(seen, weights) {
          let value = (u * keyValueHeads + head / group) * width
          for c in 0..<width { out[query + c] += weight / sum * v[value + c] }
        }
      }
    }
    return (out, logSumExp)
  }

  /// log softmax(hidden · wᵀ / temperature), [rows, vocabulary], of logits z as cap·tanh(z/cap) where there is
  /// a cap.
  public static func logProbabilities(
    _ hidden: [Double], _ w: [Double], temperature: Double, rows: Int, width: Int,
    vocabulary: Int, cap: Double? = nil
  ) -> [Double] {
    var z = linear(hidden, w, rows: rows, outputs: vocabulary, inputs: width)
    for row in 0..<rows {
      let range = row * vocabulary..<(row + 1) * vocabulary
      var most = -Double.infinity
      for i in range {
        if let cap { z[i] = cap * tanh(z[i] / cap) }
        z[i] /= temperature
        most = max(most, z[i])
      }
      var sum = 0.0
      for i in range { sum += exp(z[i] - most) }
      let logSum = most + log(sum)
      for i in range { z[i] -= logSum }
    }
    return z
  }
}
