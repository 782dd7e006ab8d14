// SPDX-License-Identifier: Apache-2.0

import AttuneTestSupport
import CAttuneKernels
import Testing

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

extension KernelTests {
  struct HeadCase: CustomTestStringConvertible {
    var rows: Int
    var width: Int
    var vocabulary: Int
    var candidates: Int
    var temperature: Float = 1
    var cap: Float = 0
    var testDescription: String {
      "\(rows) × \(width) × \(vocabulary), \(candidates) candidates, temperature \(temperature), cap \(cap)"
    }

    /// The last has several chunks of rows and several tiles of the vocabulary.
    static let all = [
      HeadCase(rows: 1, width: 1, vocabulary: 2, candidates: 1),
      HeadCase(rows: 7, width: 9, vocabulary: 33, candidates: 2, temperature: 0.7),
      HeadCase(rows: 33, width: 8, vocabulary: 768, candidates: 0, temperature: 1.5),
      HeadCase(rows: 20, width: 9, vocabulary: 900, candidates: 2, temperature: 0.7, cap: 2),
      HeadCase(rows: 1100, width: 4, vocabulary: 1000, candidates: 3, temperature: 0.8),
    ]
  }

  @Suite struct Head {
    struct Input {
      var hidden: [Float]
      var weight: [Float]
      var target: [Int32]
      var candidates: [Int32]
      var gradients: [Float]
      var entropyGradients: [Float]

      init(_ size: HeadCase) {
        var random = SplitMix(seed: 1)
        hidden = random.floats(size.rows * size.width, scale: 2)
        weight = random.floats(size.vocabulary * size.width, scale: 2)
        target = (0..<size.rows).map { Int32(($0 * 31 + size.vocabulary - 1) % size.vocabulary) }
        candidates = (0..<size.candidates).map { Int32($0 * (size.vocabulary - 1) / 3) }
        gradients = random.floats(size.rows)
        entropyGradients = random.floats(size.rows)
      }
    }

    /// The reference's log-probability of the target, entropy and candidates' log-probabilities.
    static func scores(
      _ hidden: [Double], _ weight: [Double], _ input: Input, _ size: HeadCase
    ) -> (target: [Double], entropy: [Double], candidates: [Double]) {
      let V = size.vocabulary
      let all = Reference.logProbabilities(
        hidden, weight, temperature: Double(size.temperature), rows: size.rows, width: size.width,
        vocabulary: V, cap: size.cap > 0 ? Double(size.cap) : nil)
      let entropy = (0..<size.rows).map { row in
        all[row * V..<(row + 1) * V].reduce(0) { $0 - exp($1) * $1 }
      }
      return (
        input.target.enumerated().map { all[$0 * V + Int($1)] }, entropy,
        (0..<size.rows).flatMap { row in input.candidates.map { all[row * V + Int($0)] } }
      )
    }

    @Test(arguments: [20, 259, 1_100, 2_600])
    func `entropies beside them change no bit of log-probabilities`(vocabulary: Int) {
      _ = atk_start(2)
      var random = SplitMix(seed: 21)
      let (n, width) = (9, 32)
      let (hidden, w) = (random.floats(n * width), random.floats(vocabulary * width))
      let targets = (0..<n).map { Int32($0 * 7 % vocabulary) }
      var alone = [Float](repeating: 0, count: n)
      var (beside, logSumExp, entropy) = (alone, alone, alone)
      atk_head_forward(
        &alone, &logSumExp, nil, nil, 1, nil, nil, hidden, w, ATK_FLOAT32, targets, nil, 1, 0, n, 0,
        width,
        vocabulary,
        ATK_PRODUCTS_FLOAT32)
      atk_head_forward(
        &beside, &logSumExp, &entropy, nil, 1, nil, nil, hidden, w, ATK_FLOAT32, targets, nil, 1, 0,
        n, 0,
        width,
        vocabulary,
        ATK_PRODUCTS_FLOAT32)
      #expect(alone == beside && entropy.allSatisfy { $0 > 0 })
    }

    @Test(arguments: threads, HeadCase.all)
    func `forward, and backward against central differences`(threads: Int, size: HeadCase) {
      _ = atk_start(Int32(threads))
      let input = Input(size)
      let (n, m, D, V) = (size.rows, size.candidates, size.width, size.vocabulary)
      let expected = Self.scores(doubles(input.hidden), doubles(input.weight), input, size)
      var target = [Float](repeating: 9, count: n)
      var (logSumExp, entropy) = (target, target)
      var candidates = [Float](repeating: 9, count: n * m)
      var logits = [Float](repeating: 9, count: n * V)
      var untempered = target
      atk_head_forward(
        &target, &logSumExp, &entropy, &untempered, size.temperature, &candidates, &logits,
        input.hidden, input.weight, ATK_FLOAT32, input.target, input.candidates, size.temperature,
        size.cap, n, m, D, V, ATK_PRODUCTS_FLOAT32
      )
      #expect(relativeError(target, expected.target) < 1e-5)
      #expect(relativeError(entropy, expected.entropy) < 1e-5)
      #expect(relativeError(candidates, expected.candidates) < 1e-5)
      let all = Reference.logProbabilities(
        doubles(input.hidden), doubles(input.weight), temperature: 1, rows: n, width: D,
        vocabulary: V, cap: size.cap > 0 ? Double(size.cap) : nil)
      let atOne = input.target.enumerated().map { all[$0 * V + Int($1)] }
      #expect(relativeError(untempered, atOne) < 1e-5)
      var (plain, plainSum) = (target, target)
      atk_head_forward(
        &plain, &plainSum, nil, nil, 1, nil, nil, input.hidden, input.weight, ATK_FLOAT32,
        input.target,
        nil,
        size.temperature, size.cap, n, 0, D, V, ATK_PRODUCTS_FLOAT32)
      #expect(relativeError(plain, doubles(target)) < 1e-6)

      func loss(_ hidden: [Double], _ weight: [Double]) -> Double {
        let scores = Self.scores(hidden, weight, input, size)
        return dot(scores.target, input.gradients) + dot(scores.entropy, input.entropyGradients)
      }
      let samples = n > 100 ? 6 : 24
      let start = [Float](repeating: 0.25, count: V * D)
      var dweight = start
      var dhidden = [Float](repeating: 9, count: n * D)
      atk_head_backward(
        &dhidden, &dweight, input.gradients, input.entropyGradients, input.hidden, input.weight,
        ATK_FLOAT32,
        input.target, logSumExp, entropy, nil, size.temperature, size.cap, n, D, V,
        ATK_PRODUCTS_FLOAT32)
      var (keptWeight, keptHidden) = (start, [Float](repeating: 9, count: n * D))
      atk_head_backward(
        &keptHidden, &keptWeight, input.gradients, input.entropyGradients, input.hidden,
        input.weight, ATK_FLOAT32, input.target, logSumExp, entropy, &logits, size.temperature,
        size.cap, n,
        D, V,
        ATK_PRODUCTS_FLOAT32)
      #expect(relativeError(keptHidden, doubles(dhidden)) < 1e-6)
      #expect(relativeError(keptWeight, doubles(dweight)) < 1e-6)
      #expect(
        checkGradient(dhidden, at: input.hidden, samples: samples) {
          loss($0, doubles(input.weight))
        } < 1e-4)
      #expect(
        checkGradient(dweight.map { $0 - 0.25 }, at: input.weight, samples: samples) {
          loss(doubles(input.hidden), $0)
        } < 1e-4)
    }

    @Test func `the number of threads changes no bit`() {
      let size = HeadCase.all[3]
      let input = Input(size)
      let (n, D, V) = (size.rows, size.width, size.vocabulary)
      var results: [[Float]] = []
      for threads in [1, 2, 3] {
        _ = atk_start(Int32(threads))
        var target = [Float](repeating: 0, count: n)
        var (logSumExp, entropy) = (target, target)
        var dhidden = [Float](repeating: 0, count: n * D)
        var dweight = [Float](repeating: 0, count: V * D)
        atk_head_forward(
          &target, &logSumExp, &entropy, nil, 1, nil, nil, input.hidden, input.weight, ATK_FLOAT32,
          input.target, nil,
          size.temperature, size.cap, n, 0, D, V, ATK_PRODUCTS_FLOAT32)
        atk_head_backward(
          &dhidden, &dweight, input.gradients, input.entropyGradients, input.hidden,
          input.weight, ATK_FLOAT32, input.target, logSumExp, entropy, nil, size.temperature,
          size.cap, n, D,
          V,
          ATK_PRODUCTS_FLOAT32)
        results.append(target + entropy + dhidden + dweight)
      }
      #expect(results[0] == results[1] && results[0] == results[2])
    }

    @Test(arguments: threads, HeadCase.all)
    func `one pass gives what forward and backward give`(threads: Int, size: HeadCase) {
      _ = atk_start(Int32(threads))
      let input = Input(size)
      let (n, D, V) = (size.rows, size.width, size.vocabulary)
      var target = [Float](repeating: 0, count: n)
      var logSumExp = target
      var dhidden = [Float](repeating: 0, count: n * D)
      var dweight = [Float](repeating: 0, count: V * D)
      atk_head_forward(
        &target, &logSumExp, nil, nil, 1, nil, nil, input.hidden, input.weight, ATK_FLOAT32,
        input.target,
        nil,
        size.temperature, size.cap, n, 0, D, V, ATK_PRODUCTS_FLOAT32)
      atk_head_backward(
        &dhidden, &dweight, input.gradients, nil, input.hidden, input.weight, ATK_FLOAT32,
        input.target,
        logSumExp, nil, nil, size.temperature, size.cap, n, D, V, ATK_PRODUCTS_FLOAT32)
      var onceTarget = [Float](repeating: 9, count: n)
      var onceHidden = [Float](repeating: 9, count: n * D)
      var onceWeight = [Float](repeating: 0, count: V * D)
      atk_head_forward_backward(
        &onceTarget, &onceHidden, &onceWeight, input.gradients, input.hidden, input.weight,
        ATK_FLOAT32,
        input.target, size.temperature, size.cap, n, D, V, ATK_PRODUCTS_FLOAT32)
      #expect(relativeError(onceTarget, doubles(target)) < 1e-6)
      #expect(relativeError(onceHidden, doubles(dhidden)) < 1e-5)
      #expect(relativeError(onceWeight, doubles(dweight)) < 1e-5)
      var frozen = onceHidden
      atk_head_forward_backward(
        &onceTarget, &frozen, nil, input.gradients, input.hidden, input.weight, ATK_FLOAT32,
        input.target,
        size.temperature, size.cap, n, D, V, ATK_PRODUCTS_FLOAT32)
      #expect(frozen == onceHidden)
    }

    /// Another head of another width over some more tokens. Its states are large, so that the two are far
    /// apart and their divergence is not lost in what float32 rounds.
    struct Other {
      let width = 5
      let vocabulary: Int
      var hidden: [Float]
      var weight: [Float]

      init(_ size: HeadCase) {
        var random = SplitMix(seed: 2)
        vocabulary = size.vocabulary + 3
        hidden = random.floats(size.rows * width).map { 4 * $0 }
        weight = random.floats(vocabulary * width)
      }
    }

    /// How far the head is from the other, a row, by the plain formulas.
    static func divergences(
      _ hidden: [Double], _ weight: [Double], _ other: Other, _ size: HeadCase, mix: Double
    ) -> [Double] {
      let (n, V) = (size.rows, size.vocabulary)
      let temperature = Double(size.temperature)
      let p = Reference.logProbabilities(
        hidden, weight, temperature: temperature, rows: n, width: size.width, vocabulary: V,
        cap: size.cap > 0 ? Double(size.cap) : nil)
      let q = Reference.logProbabilities(
        doubles(other.hidden), doubles(Array(other.weight.prefix(V * other.width))),
        temperature: temperature * 2, rows: n, width: other.width, vocabulary: V)
      func kl(_ a: [Double], _ b: [Double], _ row: Int) -> Double {
        (row * V..<(row + 1) * V).reduce(0.0) { $0 + exp(a[$1]) * (a[$1] - b[$1]) }
      }
      let m = zip(p, q).map { log(mix * exp($1) + (1 - mix) * exp($0)) }
      return (0..<n).map { row in
        switch mix {
        case 0: kl(q, p, row)
        case 1: kl(p, q, row)
        default: mix * kl(q, m, row) + (1 - mix) * kl(p, m, row)
        }
      }
    }

    @Test(arguments: HeadCase.all, [Float(0), 0.1, 0.5, 1])
    func `divergence from another head, and its gradients`(size: HeadCase, mix: Float) {
      _ = atk_start(2)
      let (n, D, V) = (size.rows, size.width, size.vocabulary)
      let (input, other) = (Input(size), Other(size))
      var divergence = [Float](repeating: 9, count: n)
      var dhidden = [Float](repeating: 9, count: n * D)
      var dweight = [Float](repeating: 1, count: V * D)
      func run(_ dhidden: UnsafeMutablePointer<Float>?, _ dweight: UnsafeMutablePointer<Float>?) {
        atk_head_divergence(
          &divergence, dhidden, dweight, input.gradients, input.hidden, input.weight, ATK_FLOAT32,
          size.temperature, size.cap, D, other.hidden, other.weight, ATK_FLOAT32,
          2 * size.temperature, 0, other.width, mix, n, V, ATK_PRODUCTS_FLOAT32)
      }
      run(&dhidden, &dweight)
      let expected = Self.divergences(
        doubles(input.hidden), doubles(input.weight), other, size, mix: Double(mix))
      #expect(relativeError(divergence, expected) < 1e-5)
      func loss(_ hidden: [Double], _ weight: [Double]) -> Double {
        dot(Self.divergences(hidden, weight, other, size, mix: Double(mix)), input.gradients)
      }
      if n < 1000 || mix == 0.1 {
        let samples = n > 1000 ? 2 : 16
        #expect(
          checkGradient(dhidden, at: input.hidden, samples: samples) {
            loss($0, doubles(input.weight))
          } < 1e-4)
        #expect(
          checkGradient(dweight.map { $0 - 1 }, at: input.weight, samples: samples) {
            loss(doubles(input.hidden), $0)
          } < 1e-4)
      }
      // Any number of threads gives the same, and a frozen head too.
      let (one, two) = (divergence, dhidden)
      _ = atk_start(1)
      run(&dhidden, nil)
      #expect(divergence == one && dhidden == two)
      run(nil, nil)
      #expect(divergence == one)
    }

    @Test(arguments: threads, HeadCase.all)
    func `divergence is exactly 0 between equals`(threads: Int, size: HeadCase) {
      _ = atk_start(Int32(threads))
      let (n, D, V) = (size.rows, size.width, size.vocabulary)
      let input = Input(size)
      let (hiddenCopy, weightCopy) = (input.hidden.map { $0 }, input.weight.map { $0 })
      for mix: Float in [0, 1] {
        var divergence = [Float](repeating: 9, count: n)
        atk_head_divergence(
          &divergence, nil, nil, nil, input.hidden, input.weight, ATK_FLOAT32, size.temperature,
          size.cap, D, hiddenCopy, weightCopy, ATK_FLOAT32, size.temperature, size.cap, D, mix, n,
          V,
          ATK_PRODUCTS_FLOAT32)
        #expect(divergence.allSatisfy { $0 == 0 })
      }
    }

    @Test(arguments: threads)
    func `logits of any size are safe, and NaN shows`(threads: Int) {
      _ = atk_start(Int32(threads))
      let (n, D, V) = (2, 1, 100)
      let weight = (0..<V).map { Float($0) * 10 }
      var hidden: [Float] = [100, -100]
      let target: [Int32] = [99, 99]
      var logProbability: [Float] = [9, 9]
      var (logSumExp, entropy) = (logProbability, logProbability)
      atk_head_forward(
        &logProbability, &logSumExp, &entropy, nil, 1, nil, nil, hidden, weight, ATK_FLOAT32,
        target, nil,
        1, 0, n, 0, D, V,
        ATK_PRODUCTS_FLOAT32)
      #expect(logProbability == [0, -99_000])
      #expect(entropy == [0, 0])
      var dhidden: [Float] = [9, 9]
      atk_head_backward(
        &dhidden, nil, [1, 1], [1, 1], hidden, weight, ATK_FLOAT32, target, logSumExp, entropy, nil,
        1, 0, n, D, V,
        ATK_PRODUCTS_FLOAT32)
      #expect(dhidden == [0, 990])
      hidden[0] = .nan
      atk_head_forward(
        &logProbability, &logSumExp, &entropy, nil, 1, nil, nil, hidden, weight, ATK_FLOAT32,
        target, nil,
        1, 0, n, 0, D, V,
        ATK_PRODUCTS_FLOAT32)
      #expect(logProbability[0].isNaN)
      #expect(logProbability[1] == -99_000)
    }
  }
}
