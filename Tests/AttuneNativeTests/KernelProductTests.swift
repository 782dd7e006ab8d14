// SPDX-License-Identifier: Apache-2.0

import AttuneTestSupport
import CAttuneKernels
import Testing

extension KernelTests {
  /// op(A)[M,K] · op(B)[K,N] with rows that may be wider than the matrices.
  struct Product: CustomTestStringConvertible {
    var orderA: atk_order
    var orderB: atk_order
    var size: (m: Int, n: Int, k: Int)
    var gap = (a: 0, b: 0, c: 0)

    var lda: Int { (orderA == ATK_PLAIN ? size.k : size.m) + gap.a }
    var ldb: Int { (orderB == ATK_PLAIN ? size.n : size.k) + gap.b }
    var ldc: Int { size.n + gap.c }
    var countA: Int { (orderA == ATK_PLAIN ? size.m : size.k) * lda }
    var countB: Int { (orderB == ATK_PLAIN ? size.k : size.n) * ldb }
    var testDescription: String {
      "\(size.m) × \(size.n) × \(size.k), orders \(orderA.rawValue), \(orderB.rawValue)"
    }

    static let orders = [ATK_PLAIN, ATK_TRANSPOSED].flatMap { a in
      [ATK_PLAIN, ATK_TRANSPOSED].map { (a, $0) }
    }

    func reference(_ a: [Float], _ b: [Float]) -> [Double] {
      let stepA = orderA == ATK_PLAIN ? (row: lda, k: 1) : (row: 1, k: lda)
      let stepB = orderB == ATK_PLAIN ? (k: ldb, column: 1) : (k: 1, column: ldb)
      let (a, b) = (doubles(a), doubles(b))
      var c = [Double](repeating: 0, count: size.m * size.n)
      for m in 0..<size.m {
        for k in 0..<size.k {
          let x = a[m * stepA.row + k * stepA.k]
          for n in 0..<size.n {
            c[m * size.n + n] += x * b[k * stepB.k + n * stepB.column]
          }
        }
      }
      return c
    }

    /// Who computes it.
    enum Way { case float32, twoParts, bfloat16 }

    /// The greatest error in units of what rounding may do; infinite if anything else was written.
    func error(
      alpha: Float, beta: Float, by way: Way = .float32, random: inout SplitMix
    ) -> Double {
      var a = random.floats(countA)
      var b = random.floats(countB)
      let start = random.floats(size.m * ldc)
      var c = start
      for m in 0..<size.m {
        for n in 0..<size.n where beta == 0 { c[m * ldc + n] = .nan }
      }
      switch way {
      case .float32:
        atk_sgemm(
          orderA, orderB, size.m, size.n, size.k, alpha, a, lda, b, ldb, beta, &c, ldc)
      case .twoParts:
        _ = atk_sgemm_tiles(
          orderA, orderB, size.m, size.n, size.k, alpha, a, lda, b, ldb, beta, &c, ldc)
      case .bfloat16:
        _ = atk_sgemm_bf16(
          orderA, orderB, size.m, size.n, size.k, alpha, a, lda, b, ldb, beta, &c, ldc)
      }
      if way == .bfloat16 {
        // The operands are these, and nothing else is rounded but sums.
        (a, b) = (a.map(toBFloat16), b.map(toBFloat16))
      }
      let product = reference(a, b)
      // Partial sums and their roundings grow together: in proportion to the terms.
      // Sums of bfloat16 products lose 2^-17 of each, of either sign.
      let parts = way == .twoParts ? 1e-5 * Double(size.k).squareRoot() : 0
      let unit = (2e-6 + 1e-7 * Double(size.k) + parts) * max(1, Double(abs(alpha)))
      var worst = 0.0
      for m in 0..<size.m {
        for n in 0..<ldc {
          let (found, before) = (c[m * ldc + n], start[m * ldc + n])
          if n >= size.n {
            if found != before { return .infinity }
            continue
          }
          let kept = beta == 0 ? 0 : Double(beta) * Double(before)
          let difference = abs(Double(found) - Double(alpha) * product[m * size.n + n] - kept)
          worst = difference.isNaN ? .infinity : max(worst, difference / unit)
        }
      }
      return worst
    }
  }

  @Suite struct Products {
    @Test(arguments: Product.orders)
    func `random shapes, factors and gaps`(orderA: atk_order, orderB: atk_order) {
      _ = atk_start(2)
      var random = SplitMix(seed: 5)
      for round in 0..<60 {
        // Every fifth is deep enough to be summed in several goes.
        let size = (
          m: Int.random(in: 1...90, using: &random), n: Int.random(in: 1...170, using: &random),
          k: Int.random(in: 1...(round % 5 == 0 ? 1700 : 80), using: &random)
        )
        let gap = (
          a: Int.random(in: 0...5, using: &random), b: Int.random(in: 0...5, using: &random),
          c: Int.random(in: 0...5, using: &random)
        )
        let product = Product(orderA: orderA, orderB: orderB, size: size, gap: gap)
        let alpha: Float = [1, 0.37, -2][round % 3]
        let beta: Float = [0, 1, 0.5, 0][round % 4]
        let error = product.error(alpha: alpha, beta: beta, random: &random)
        #expect(error < 1, "\(product.testDescription), α \(alpha), β \(beta)")
      }
    }

    @Test(arguments: Product.orders)
    func `edges of tiles, panels and blocks`(orderA: atk_order, orderB: atk_order) {
      _ = atk_start(1)
      var random = SplitMix(seed: 6)
      let sizes = [
        (1, 1, 1), (8, 16, 16), (7, 16, 16), (8, 15, 16), (8, 16, 15), (9, 17, 17), (17, 33, 17),
        (16, 48, 64), (23, 49, 31), (24, 63, 32), (25, 64, 33), (64, 65, 64), (16, 96, 100),
        (33, 97, 768), (17, 112, 769), (16, 1, 40), (1, 64, 40), (20, 400, 900), (16, 800, 768),
        (32, 512, 32), (33, 520, 33), (47, 400, 63), (48, 401, 64), (49, 33, 1537), (200, 80, 1600),
      ]
      for (m, n, k) in sizes {
        for beta: Float in [0, 1] {
          let product = Product(orderA: orderA, orderB: orderB, size: (m, n, k), gap: (1, 2, 3))
          let error = product.error(alpha: 1, beta: beta, random: &random)
          #expect(error < 1, "\(product.testDescription), β \(beta)")
        }
      }
    }

    @Test(arguments: Product.orders)
    func `an empty side`(orderA: atk_order, orderB: atk_order) {
      _ = atk_start(1)
      var random = SplitMix(seed: 7)
      for (m, n, k) in [(0, 40, 40), (40, 0, 40), (40, 40, 0), (0, 0, 0)] {
        for beta: Float in [0, 0.5] {
          let product = Product(orderA: orderA, orderB: orderB, size: (m, n, k), gap: (1, 1, 1))
          let error = product.error(alpha: 1, beta: beta, random: &random)
          #expect(error < 1, "\(product.testDescription), β \(beta)")
        }
      }
    }

    @Test func `an output does not depend on the rows and columns beside it`() {
      _ = atk_start(1)
      var random = SplitMix(seed: 8)
      // Pieces so large that all of them take the same way, whichever that is.
      let (m, n, k) = (71, 180, 800)
      let (a, b) = (random.floats(m * k), random.floats(n * k))
      var whole = [Float](repeating: 0, count: m * n)
      atk_sgemm(ATK_PLAIN, ATK_TRANSPOSED, m, n, k, 1, a, k, b, k, 0, &whole, n)
      var part = [Float](repeating: 0, count: m * n)
      for (row, rows) in [(0, 39), (39, 32)] {
        for (column, columns) in [(0, 64), (64, 37), (101, 79)] {
          part.withUnsafeMutableBufferPointer { part in
            a.withUnsafeBufferPointer { a in
              b.withUnsafeBufferPointer { b in
                guard let a = a.baseAddress, let b = b.baseAddress, let c = part.baseAddress else {
                  return
                }
                atk_sgemm(
                  ATK_PLAIN, ATK_TRANSPOSED, rows, columns, k, 1, a + row * k, k, b + column * k,
                  k, 0, c + row * n + column, n)
              }
            }
          }
        }
      }
      #expect(relativeError(part, doubles(whole)) < 1e-6)
    }

    @Test(.enabled(if: atk_has_tiles()), arguments: Product.orders)
    func `sums of bfloat16 products on tiles`(orderA: atk_order, orderB: atk_order) {
      _ = atk_start(1)
      var random = SplitMix(seed: 10)
      let sizes = [
        (1, 1, 1), (7, 5, 9), (17, 16, 32), (33, 47, 65), (32, 512, 32), (47, 400, 63),
        (48, 401, 64), (49, 33, 1537), (200, 80, 1600), (100, 200, 1100),
      ]
      for (m, n, k) in sizes {
        for (alpha, beta): (Float, Float) in [(1, 0), (1, 1), (0.37, 0.5)] {
          let product = Product(orderA: orderA, orderB: orderB, size: (m, n, k), gap: (1, 2, 3))
          let error = product.error(alpha: alpha, beta: beta, by: .twoParts, random: &random)
          #expect(error < 1, "\(product.testDescription), α \(alpha), β \(beta)")
        }
      }
    }

    @Test(.enabled(if: atk_has_tiles()), arguments: [Float(0), 1])
    func `a row on tiles is the same beside any others`(beta: Float) {
      _ = atk_start(1)
      var random = SplitMix(seed: 11)
      // K is cut into several.
      let (m, n, k) = (71, 180, 1500)
      let (a, b) = (random.floats(m * k), random.floats(n * k))
      let start = random.floats(m * n)
      var (whole, rows) = (start, start)
      _ = atk_sgemm_tiles(ATK_PLAIN, ATK_TRANSPOSED, m, n, k, 1, a, k, b, k, beta, &whole, n)
      for row in 0..<m {
        var one = Array(start[row * n..<(row + 1) * n])
        let x = Array(a[row * k..<(row + 1) * k])
        _ = atk_sgemm_tiles(ATK_PLAIN, ATK_TRANSPOSED, 1, n, k, 1, x, k, b, k, beta, &one, n)
        rows.replaceSubrange(row * n..<(row + 1) * n, with: one)
      }
      #expect(rows == whole)
    }

    @Test(
      .enabled(if: atk_has_tiles()),
      arguments: [0x7fc0_0000, 0x7fff_ffff, 0xffff_ffff, 0x7f80_0001, 0x7f80_0000, 0xff80_0000])
    func `what is no number is none on tiles`(bits: Int) {
      _ = atk_start(1)
      var random = SplitMix(seed: 12)
      for orderA in [ATK_PLAIN, ATK_TRANSPOSED] {
        var a = random.floats(40 * 50)
        let b = random.floats(50 * 36)
        a[orderA == ATK_PLAIN ? 7 * 50 + 3 : 3 * 40 + 7] = Float(bitPattern: UInt32(bits))
        var c = [Float](repeating: 0, count: 40 * 36)
        _ = atk_sgemm_tiles(
          orderA, ATK_PLAIN, 40, 36, 50, 1, a, orderA == ATK_PLAIN ? 50 : 40, b, 36, 0, &c, 36)
        for (index, value) in c.enumerated() { #expect(value.isFinite == (index / 36 != 7)) }
      }
    }

    @Test(.enabled(if: atk_has_bf16()), arguments: Product.orders)
    func `products of bfloat16 operands`(orderA: atk_order, orderB: atk_order) {
      _ = atk_start(1)
      var random = SplitMix(seed: 13)
      // Edges of tiles (8 × 48 by vectors, 16 and 32 × 48 of the processor's own), of pairs along K, of what is
      // packed in one go.
      let sizes = [
        (1, 1, 1), (7, 5, 9), (8, 48, 32), (9, 49, 33), (17, 64, 31), (33, 47, 769),
        (300, 50, 800), (100, 200, 1600), (17, 16, 32), (33, 47, 65), (32, 512, 32), (47, 400, 63),
        (48, 401, 64), (49, 33, 1537), (200, 80, 1600), (100, 200, 1100),
      ]
      for (m, n, k) in sizes {
        for (alpha, beta): (Float, Float) in [(1, 0), (1, 1), (0.37, 0.5)] {
          let product = Product(orderA: orderA, orderB: orderB, size: (m, n, k), gap: (1, 2, 3))
          let error = product.error(alpha: alpha, beta: beta, by: .bfloat16, random: &random)
          #expect(error < 1, "\(product.testDescription), α \(alpha), β \(beta)")
        }
      }
    }

    @Test(.enabled(if: atk_has_bf16()), arguments: Product.orders)
    func `a bfloat16 product is the same in any pieces`(orderA: atk_order, orderB: atk_order) {
      _ = atk_start(1)
      var random = SplitMix(seed: 14)
      let (m, n, k) = (71, 180, 1500)
      let (lda, ldb) = (orderA == ATK_PLAIN ? k : m, orderB == ATK_PLAIN ? n : k)
      let (a, b) = (random.floats(m * k), random.floats(n * k))
      let start = random.floats(m * n)
      for beta: Float in [0, 1] {
        var (whole, pieces) = (start, start)
        _ = atk_sgemm_bf16(orderA, orderB, m, n, k, 1, a, lda, b, ldb, beta, &whole, n)
        pieces.withUnsafeMutableBufferPointer { pieces in
          a.withUnsafeBufferPointer { a in
            b.withUnsafeBufferPointer { b in
              guard let a = a.baseAddress, let b = b.baseAddress, let c = pieces.baseAddress
              else { return }
              // Rows one by one, columns in two.
              for row in 0..<m {
                for (column, columns) in [(0, 77), (77, n - 77)] {
                  _ = atk_sgemm_bf16(
                    orderA, orderB, 1, columns, k, 1, a + (orderA == ATK_PLAIN ? row * k : row),
                    lda, b + (orderB == ATK_PLAIN ? column : column * k), ldb, beta,
                    c + row * n + column, n)
                }
              }
            }
          }
        }
        #expect(pieces == whole)
      }
    }

    /// Few and many rows a thread, remainders in each place, a B that is packed in several pieces.
    @Test(.enabled(if: atk_has_bf16()), arguments: threads, Product.orders)
    func `a bfloat16 product of all threads is that of one`(
      threads: Int, orders: (atk_order, atk_order)
    ) {
      _ = atk_start(Int32(threads))
      var random = SplitMix(seed: 16)
      for (m, n, k) in [(256, 48, 32), (257, 67, 801), (601, 130, 96), (256, 2105, 2080)] {
        let (a, b) = (random.floats(m * k), random.floats(n * k))
        let (lda, ldb) = (orders.0 == ATK_PLAIN ? k : m, orders.1 == ATK_PLAIN ? n : k)
        let start = random.floats(m * n)
        for accumulate in [0, 1] {
          var (all, one) = (start, start)
          atk_product(
            &all, orders.0, a, orders.1, b, m, n, k, Int32(accumulate), ATK_PRODUCTS_BF16)
          _ = atk_sgemm_bf16(
            orders.0, orders.1, m, n, k, 1, a, lda, b, ldb, Float(accumulate), &one, n)
          #expect(all == one, "\(m) × \(n) × \(k)")
        }
      }
    }

    @Test(
      .enabled(if: atk_has_bf16()),
      arguments: [0x7fc0_0000, 0x7f80_0001, 0xffff_ffff, 0x7f80_0000, 0xff80_0000])
    func `what is no number is none in bfloat16`(bits: Int) {
      _ = atk_start(1)
      var random = SplitMix(seed: 15)
      for orderA in [ATK_PLAIN, ATK_TRANSPOSED] {
        var a = random.floats(40 * 50)
        let b = random.floats(50 * 36)
        a[orderA == ATK_PLAIN ? 7 * 50 + 3 : 3 * 40 + 7] = Float(bitPattern: UInt32(bits))
        var c = [Float](repeating: 0, count: 40 * 36)
        _ = atk_sgemm_bf16(
          orderA, ATK_PLAIN, 40, 36, 50, 1, a, orderA == ATK_PLAIN ? 50 : 40, b, 36, 0, &c, 36)
        for (index, value) in c.enumerated() { #expect(value.isFinite == (index / 36 != 7)) }
      }
    }

    @Test(arguments: threads, Product.orders)
    func `BLAS alone gives the same product`(threads: Int, orders: (atk_order, atk_order)) {
      _ = atk_start(Int32(threads))
      var random = SplitMix(seed: 9)
      let product = Product(orderA: orders.0, orderB: orders.1, size: (70, 90, 50))
      let (a, b) = (random.floats(product.countA), random.floats(product.countB))
      let start = random.floats(70 * 90)
      let expected = product.reference(a, b)
      var c = start
      atk_product(&c, orders.0, a, orders.1, b, 70, 90, 50, 0, ATK_PRODUCTS_FLOAT32)
      #expect(relativeError(c, expected) < 1e-5)
      c = start
      atk_product(&c, orders.0, a, orders.1, b, 70, 90, 50, 1, ATK_PRODUCTS_FLOAT32)
      #expect(relativeError(c, zip(expected, start).map { $0 + Double($1) }) < 1e-5)
    }
  }
}
