// SPDX-License-Identifier: Apache-2.0

import AttuneTestSupport
import CAttuneKernels
import Testing

extension KernelTests {
  @Suite struct Norms {
    @Test(arguments: threads, sizes)
    func `RMS norm`(threads: Int, width: Int) {
      _ = atk_start(Int32(threads))
      for offset: Float in [0, 1] { Self.checkRMS(width, offset) }
    }

    static func checkRMS(_ width: Int, _ offset: Float) {
      let T = width == 768 ? 40 : 5
      var random = SplitMix(seed: 1)
      let x = random.floats(T * width, scale: 3)
      let weight = random.floats(width)
      let dy = random.floats(T * width)
      func norm(_ x: [Double], _ weight: [Double]) -> [Double] {
        Reference.rmsNorm(x, weight: weight.map { $0 + Double(offset) }, epsilon: 1e-5)
      }
      func loss(_ x: [Double], _ weight: [Double]) -> Double { dot(norm(x, weight), dy) }
      var y = [Float](repeating: 0, count: T * width)
      var rstd = [Float](repeating: 0, count: T)
      atk_rmsnorm_forward(&y, &rstd, x, weight, offset, 1e-5, T, 1, width, width, width)
      #expect(relativeError(y, norm(doubles(x), doubles(weight))) < 1e-5)

      var inPlace = x
      inPlace.withUnsafeMutableBufferPointer { buffer in
        atk_rmsnorm_forward(
          buffer.baseAddress, nil, buffer.baseAddress, weight, offset, 1e-5, T, 1, width, width,
          width)
      }
      #expect(inPlace == y)

      let start = random.floats(T * width)
      var (dx, dweight) = (start, [Float](repeating: 0, count: width))
      atk_rmsnorm_backward(
        &dx, &dweight, dy, x, weight, offset, rstd, T, 1, width, width, width, width, 0)
      // Of one number the gradient is what epsilon leaves of a difference of equals.
      let tolerance = width == 1 ? 1e-3 : 1e-4
      #expect(checkGradient(dx, at: x) { loss($0, doubles(weight)) } < tolerance)
      #expect(checkGradient(dweight, at: weight) { loss(doubles(x), $0) } < 1e-4)
      var added = start
      atk_rmsnorm_backward(
        &added, nil, dy, x, weight, offset, rstd, T, 1, width, width, width, width, 1)
      #expect(relativeError(added, zip(dx, start).map { Double($0) + Double($1) }) < 1e-5)
    }

    @Test(arguments: threads)
    func `RMS norm of heads inside wider rows`(threads: Int) {
      _ = atk_start(Int32(threads))
      let (T, heads, width, wide) = (9, 3, 33, 3 * 33 + 4)
      var random = SplitMix(seed: 2)
      let x = random.floats(T * wide)
      let weight = random.floats(width)
      let dense = (0..<T).flatMap { t in x[t * wide..<t * wide + heads * width] }
      var y = [Float](repeating: 7, count: T * wide)
      var rstd = [Float](repeating: 0, count: T * heads)
      atk_rmsnorm_forward(&y, &rstd, x, weight, 0, 1e-6, T, heads, width, wide, wide)
      let expected = Reference.rmsNorm(doubles(dense), weight: doubles(weight), epsilon: 1e-6)
      #expect(
        relativeError((0..<T).flatMap { t in y[t * wide..<t * wide + heads * width] }, expected)
          < 1e-5)
      for t in 0..<T {
        #expect(y[(t * wide + heads * width)..<((t + 1) * wide)].allSatisfy { $0 == 7 })
      }

      let dy = random.floats(T * heads * width)
      var dx = [Float](repeating: 7, count: T * wide)
      var dweight = [Float](repeating: 0, count: width)
      atk_rmsnorm_backward(
        &dx, &dweight, dy, x, weight, 0, rstd, T, heads, width, wide, heads * width, wide, 0)
      let denseGradient = (0..<T).flatMap { t in dx[t * wide..<t * wide + heads * width] }
      #expect(
        checkGradient(denseGradient, at: dense) {
          dot(Reference.rmsNorm($0, weight: doubles(weight), epsilon: 1e-6), dy)
        } < 1e-4)
      #expect(
        checkGradient(dweight, at: weight) {
          dot(Reference.rmsNorm(doubles(dense), weight: $0, epsilon: 1e-6), dy)
        } < 1e-4)
    }

    @Test(arguments: threads, sizes.dropFirst())
    func `layer norm`(threads: Int, width: Int) {
      _ = atk_start(Int32(threads))
      let T = width == 768 ? 40 : 5
      var random = SplitMix(seed: 3)
      let x = random.floats(T * width, scale: 3).map { $0 + 1 }
      let weight = random.floats(width)
      let bias = random.floats(width)
      let dy = random.floats(T * width)
      func loss(_ x: [Double], _ weight: [Double], _ bias: [Double]) -> Double {
        dot(Reference.layerNorm(x, weight: weight, bias: bias, epsilon: 1e-5), dy)
      }
      var y = [Float](repeating: 0, count: T * width)
      var mean = [Float](repeating: 0, count: T)
      var rstd = mean
      atk_layernorm_forward(&y, &mean, &rstd, x, weight, bias, 1e-5, T, width)
      let expected = Reference.layerNorm(
        doubles(x), weight: doubles(weight), bias: doubles(bias), epsilon: 1e-5)
      #expect(relativeError(y, expected) < 1e-5)

      let start = random.floats(T * width)
      var dx = start
      var dweight = [Float](repeating: 0, count: width)
      var dbias = dweight
      atk_layernorm_backward(&dx, &dweight, &dbias, dy, x, weight, mean, rstd, T, width, 0)
      #expect(checkGradient(dx, at: x) { loss($0, doubles(weight), doubles(bias)) } < 1e-4)
      #expect(checkGradient(dweight, at: weight) { loss(doubles(x), $0, doubles(bias)) } < 1e-4)
      #expect(checkGradient(dbias, at: bias) { loss(doubles(x), doubles(weight), $0) } < 1e-4)
      var added = start
      atk_layernorm_backward(&added, nil, nil, dy, x, weight, mean, rstd, T, width, 1)
      #expect(relativeError(added, zip(dx, start).map { Double($0) + Double($1) }) < 1e-5)
    }
  }
}
