// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// A policy over 4 tokens (0 ends the sequence) and at most 3 steps: 13 states, 40 sequences, all
/// enumerated, so every expectation is a sum and π* is a table of numbers.
package struct TabularPolicy: Sendable {
  package static let tokens = 4
  package static let steps = 3
  package static let sequences: [[Int]] = enumerate([])
  /// The state of a prefix of tokens 1…3, numbered.
  package static func state(_ prefix: some Sequence<Int>) -> Int {
    prefix.reduce(0) { $0 * 3 + $1 }
  }
  package static let states = 13

  private static func enumerate(_ prefix: [Int]) -> [[Int]] {
    (0..<tokens).flatMap { token -> [[Int]] in
      let next = prefix + [token]
      return token == 0 || next.count == steps ? [next] : enumerate(next)
    }
  }

  /// Logits [state × token].
  package var logits: [Double]

  package init(logits: [Double]) { self.logits = logits }

  /// Random, every token with at least 0.01.
  package init(seed: UInt64, scale: Double = 1.5) {
    let random = CounterRandom(seed: seed)
    var logits: [Double] = []
    for state in 0..<Self.states {
      let raw = (0..<Self.tokens).map { token in
        scale * (2 * random.uniform(UInt64(state * Self.tokens + token)) - 1)
      }
      let total = logSumExp(raw)
      logits += raw.map { log(0.01 + 0.96 * exp($0 - total)) }
    }
    self.logits = logits
  }

  /// The policy of a distribution over sequences, none of which is impossible.
  package init(probabilities: [Double]) {
    var masses = Array(repeating: 0.0, count: Self.states * Self.tokens)
    for (sequence, p) in zip(Self.sequences, probabilities) {
      for t in sequence.indices {
        masses[Self.state(sequence[..<t]) * Self.tokens + sequence[t]] += p
      }
    }
    logits = masses.map { log($0) }
  }

  package func distribution(_ state: Int) -> [Double] {
    let row = logits[(state * Self.tokens)..<((state + 1) * Self.tokens)]
    let total = logSumExp(row)
    return row.map { exp($0 - total) }
  }

  /// Log-probability of each token of a sequence.
  package func logProbabilities(_ sequence: [Int]) -> [Double] {
    sequence.indices.map { log(distribution(Self.state(sequence[..<$0]))[sequence[$0]]) }
  }

  /// The distribution in every state.
  private var distributions: [[Double]] { (0..<Self.states).map(distribution) }

  /// Log-probability of each token of every sequence.
  package var tokenLogProbabilities: [[Double]] {
    let logs = distributions.map { $0.map { log($0) } }
    return Self.sequences.map { sequence in
      sequence.indices.map { logs[Self.state(sequence[..<$0])][sequence[$0]] }
    }
  }

  /// Probability of every sequence.
  package var probabilities: [Double] { tokenLogProbabilities.map { exp($0.reduce(0, +)) } }

  /// The gradient on the logits of Σ coefficient·logProbability, and of Σ coefficient·entropy.
  package func gradient(_ coefficients: [[Double]]) -> [Double] {
    var gradient = logits.map { _ in 0.0 }
    let distributions = distributions
    for (sequence, row) in zip(Self.sequences, coefficients) {
      for (t, coefficient) in row.enumerated() where coefficient != 0 {
        let state = Self.state(sequence[..<t])
        for (token, p) in distributions[state].enumerated() {
          gradient[state * Self.tokens + token] +=
            coefficient * ((token == sequence[t] ? 1 : 0) - p)
        }
      }
    }
    return gradient
  }

  /// Total variation distance between distributions over sequences.
  package static func distance(_ p: [Double], _ q: [Double]) -> Double {
    zip(p, q).reduce(0) { $0 + abs($1.0 - $1.1) } / 2
  }

  /// π* ∝ π_ref·e^{r/β}.
  package static func optimum(reference: [Double], rewards: [Double], beta: Double) -> [Double] {
    let logs = zip(reference, rewards).map { log($0) + $1 / beta }
    let total = logSumExp(logs)
    return logs.map { exp($0 - total) }
  }
}

/// Adam (β 0.9, 0.999) in Double, as the exactness suite uses it.
package struct TabularAdam: Sendable {
  private var first: [Double]
  private var second: [Double]
  private var step = 0.0

  package init(count: Int) {
    first = Array(repeating: 0, count: count)
    second = first
  }

  package mutating func update(_ x: inout [Double], _ gradient: [Double], rate: Double) {
    step += 1
    for i in x.indices {
      first[i] = 0.9 * first[i] + 0.1 * gradient[i]
      second[i] = 0.999 * second[i] + 0.001 * gradient[i] * gradient[i]
      let m = first[i] / (1 - pow(0.9, step))
      let v = second[i] / (1 - pow(0.999, step))
      x[i] -= rate * m / (v.squareRoot() + 1e-12)
    }
  }
}
