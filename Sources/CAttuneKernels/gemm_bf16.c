// SPDX-License-Identifier: Apache-2.0
// Matrix products of bfloat16 operands with float32 sums, on processors with AVX512-BF16.
//
// Operands are float32 in memory and are rounded to bfloat16 (to nearest, ties to even) when they are
// packed, which every product does anyway: no second copy of weights or activations exists. One
// instruction multiplies 16 pairs along K, twice the work of float32's. A tile of 8 × 48 outputs stays in
// registers, as in gemm.c. On one thread of an EPYC of the Zen 4 kind, at the shapes of SmolLM2: 1.8 to 2.0
// times gemm.c's rate, 190 to 217 GFLOP/s, where oneDNN 3.12 runs at 175 to 200. Every output is summed in the order of K whatever its tile, so results do not
// depend on how a product is cut into pieces, nor a row on the rows beside it.
#include "kernels_internal.h"
#include "vector_transpose.h"

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__clang__)
#include <immintrin.h>
#pragma clang fp reassociate(off) contract(fast)

#define HALVES __attribute__((target("arch=x86-64-v4,avx512bf16"), min_vector_width(512)))
#define INLINE HALVES static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

enum {
  LANES = 16,
  ROWS = 8,
  VECTORS = 3,
  COLUMNS = VECTORS * LANES,
  DEPTH = 768,     // of K in one go
  BLOCK = 200000   // numbers of A in one go (400 kB of the second-level cache)
};

typedef uint32_t pair;  // two bfloat16 numbers, the one of the lower K in the lower half

INLINE __mmask16 mask(size_t count) {
  return (__mmask16)(count >= 16 ? 0xffff : (1u << count) - 1);
}

// 32 numbers of one line along K, as 16 pairs.
INLINE __m512i along(const float *in, size_t count) {
  __m512 low = _mm512_maskz_loadu_ps(mask(count), in);
  __m512 high = count > 16 ? _mm512_maskz_loadu_ps(mask(count - 16), in + 16) : _mm512_setzero_ps();
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

// The pairs of two rows of K, for 16 lines.
INLINE __m512i across(const float *in, size_t ld, size_t lines, size_t depth) {
  const __m512i interleave = _mm512_set_epi16(
      31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19,
      3, 18, 2, 17, 1, 16, 0);
  __m512 low = _mm512_maskz_loadu_ps(mask(lines), in);
  __m512 high = depth > 1 ? _mm512_maskz_loadu_ps(mask(lines), in + ld) : _mm512_setzero_ps();
  return _mm512_permutexvar_epi16(interleave, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

// Lines of an operand that each lie along K as [line][pairs], `rows` lines in all (zeros where there is
// none); stride: pairs of a line.
HALVES static void pack_lines(pair *out, size_t stride, const float *in, size_t ld, size_t lines,
                              size_t rows, size_t depth) {
  for (size_t i = 0; i < rows; i++)
    for (size_t k = 0; k < depth; k += 32)
      _mm512_storeu_si512(out + i * stride + k / 2,
                          i < lines ? along(in + i * ld + k, depth - k) : _mm512_setzero_si512());
}

// 16 lines of an operand as [pair][line], `stride` pairs from one to the next.
INLINE void pack_panel(pair *out, size_t stride, const float *in, size_t ld, size_t lines,
                       size_t depth, bool lies_along) {
  if (!lies_along) {
    for (size_t k = 0; k < depth; k += 2, out += stride, in += 2 * ld)
      _mm512_store_si512(out, across(in, ld, lines, depth - k));
    return;
  }
  pair rows[LANES * LANES] __attribute__((aligned(64)));
  pair turned[LANES * LANES] __attribute__((aligned(64)));
  for (size_t k = 0; k < depth; k += 32, out += LANES * stride) {
    for (size_t i = 0; i < LANES; i++)
      _mm512_store_si512(rows + i * LANES, i < lines ? along(in + i * ld + k, depth - k)
                                                     : _mm512_setzero_si512());
    if (depth - k >= 32) {
      atk_transpose_16((float *)out, stride, (const float *)rows, LANES);
    } else {
      atk_transpose_16((float *)turned, LANES, (const float *)rows, LANES);
      for (size_t p = 0; 2 * p < depth - k; p++)
        _mm512_store_si512(out + p * stride, _mm512_load_si512(turned + p * LANES));
    }
  }
}

// C[8, 16·V] = alpha · A · B + keep · C; a: 8 lines, b: a panel of V vectors a pair. A's number of line r
// and pair k is a[r · stride + k], or a[k · LANES + r] where `across`.
INLINE void tile(float *c, size_t ldc, const pair *a, size_t stride, const pair *b, size_t pairs,
                 float alpha, float keep, const int V, const bool is_across) {
  __m512 sum[ROWS * VECTORS];
  UNROLL for (int i = 0; i < ROWS * V; i++) sum[i] = _mm512_setzero_ps();
  UNROLL for (int r = 0; r < ROWS; r++)
    UNROLL for (int v = 0; v < V; v++) __builtin_prefetch(c + r * ldc + v * LANES, 1, 3);
  const pair *rows[3] = {a, a + 3 * stride, a + 6 * stride};
  __asm__("" : "+r"(rows[0]), "+r"(rows[1]), "+r"(rows[2]));
  _Pragma("clang loop unroll_count(4)")
  for (size_t k = 0; k < pairs; k++) {
    __m512bh columns[VECTORS];
    UNROLL for (int v = 0; v < V; v++)
      columns[v] = (__m512bh)_mm512_load_si512(b + (k * V + v) * LANES);
    UNROLL for (int r = 0; r < ROWS; r++) {
      pair two = is_across ? a[k * LANES + r] : rows[r / 3][r % 3 * stride + k];
      __m512bh x = (__m512bh)_mm512_set1_epi32((int)two);
      UNROLL for (int v = 0; v < V; v++)
        sum[r * V + v] = _mm512_dpbf16_ps(sum[r * V + v], x, columns[v]);
    }
    __asm__ volatile("" ::: "memory");
  }
  UNROLL for (int r = 0; r < ROWS; r++) {
    UNROLL for (int v = 0; v < V; v++) {
      float *out = c + r * ldc + v * LANES;
      __m512 value = _mm512_mul_ps(_mm512_set1_ps(alpha), sum[r * V + v]);
      if (keep != 0)
        value = _mm512_fmadd_ps(_mm512_set1_ps(keep), _mm512_loadu_ps(out), value);
      _mm512_storeu_ps(out, value);
    }
  }
}

// A tile of up to 8 rows and `width` columns.
INLINE void piece(float *c, size_t ldc, size_t rows, size_t width, const pair *a, size_t stride,
                  const pair *b, size_t pairs, float alpha, float keep, const bool is_across) {
  float part[ROWS * COLUMNS] __attribute__((aligned(64)));
  bool whole = rows == ROWS && width % LANES == 0;
  float *to = whole ? c : part, factor = whole ? keep : 0;
  size_t ldto = whole ? ldc : COLUMNS;
  switch ((width + LANES - 1) / LANES) {
    case 1: tile(to, ldto, a, stride, b, pairs, alpha, factor, 1, is_across); break;
    case 2: tile(to, ldto, a, stride, b, pairs, alpha, factor, 2, is_across); break;
    case 3: tile(to, ldto, a, stride, b, pairs, alpha, factor, 3, is_across); break;
  }
  for (size_t r = 0; !whole && r < rows; r++) {
    for (size_t j = 0; j < width; j++) {
      float *out = c + r * ldc + j, value = part[r * COLUMNS + j];
      *out = keep == 0 ? value : value + keep * *out;
    }
  }
}

HALVES static void product(atk_order order_a, atk_order order_b, size_t M, size_t N, size_t K,
                           float alpha, const float *a, size_t lda, atk_matrix b, float beta,
                           float *c, size_t ldc) {
  size_t cuts = (K + DEPTH - 1) / DEPTH, most_depth = atk_round_up((K + cuts - 1) / cuts, 32);
  size_t most_rows = BLOCK / most_depth / LANES * LANES;
  cuts = (M + most_rows - 1) / most_rows;
  most_rows = atk_round_up((M + cuts - 1) / cuts, LANES);
  size_t stride = most_depth / 2;
  pair *a_packed = atk_scratch(ATK_SCRATCH_PRODUCT,
                               (most_rows + COLUMNS) * (stride + LANES) * sizeof(pair));
  pair *b_packed = a_packed + most_rows * stride;
  bool a_across = order_a == ATK_TRANSPOSED, b_along = order_b == ATK_TRANSPOSED;
  // Room for a panel of B in float32, where it is not that in memory.
  float *expanded = b.format == ATK_FLOAT32 ? NULL
                                            : atk_scratch(ATK_SCRATCH_WEIGHTS,
                                                          most_depth * 2 * COLUMNS * sizeof(float));
  for (size_t k = 0; k < K; k += most_depth) {
    size_t depth = atk_min(most_depth, K - k), pairs = (depth + 1) / 2;
    float keep = k == 0 ? beta : 1;
    for (size_t m = 0; m < M; m += most_rows) {
      size_t rows = atk_min(most_rows, M - m);
      if (a_across) {
        for (size_t i = 0; i < rows; i += LANES)
          pack_panel(a_packed + i * stride, LANES, a + k * lda + m + i, lda, rows - i, depth, false);
      } else {
        pack_lines(a_packed, stride, a + m * lda + k, lda, rows, atk_round_up(rows, ROWS), depth);
      }
      for (size_t n = 0, width; n < N; n += width) {
        size_t left = N - n;
        width = left > COLUMNS && left <= 4 * LANES ? 2 * LANES : atk_min(left, COLUMNS);
        size_t vectors = (width + LANES - 1) / LANES;
        size_t ldb = b.stride / sizeof(float);
        const float *panel = (const float *)b.rows + (b_along ? n * ldb + k : k * ldb + n);
        if (expanded && b_along) {
          atk_expand_part(expanded, b, n, width, k, depth);
          panel = expanded, ldb = depth;
        } else if (expanded) {  // from a whole group on
          ldb = width + n % 32;
          atk_expand_part(expanded, b, k, depth, n / 32 * 32, ldb);
          panel = expanded + n % 32;
        }
        for (size_t v = 0; v < vectors; v++)
          pack_panel(b_packed + v * LANES, vectors * LANES,
                     panel + v * LANES * (b_along ? ldb : 1), ldb, width - v * LANES, depth,
                     b_along);
        for (size_t i = 0; i < rows; i += ROWS) {
          float *out = c + (m + i) * ldc + n;
          size_t height = atk_min(rows - i, ROWS);
          if (a_across)
            piece(out, ldc, height, width, a_packed + i / LANES * LANES * stride + i % LANES, 0,
                  b_packed, pairs, alpha, keep, true);
          else
            piece(out, ldc, height, width, a_packed + i * stride, stride, b_packed, pairs, alpha,
                  keep, false);
        }
      }
    }
  }
}

static bool find_bf16(void) { return atk_has_wide_vectors() && __builtin_cpu_supports("avx512bf16"); }

bool atk_has_bf16(void) {
  static int known;
  return atk_find_once(&known, find_bf16);
}

bool atk_sgemm_bf16(atk_order order_a, atk_order order_b, size_t M, size_t N, size_t K, float alpha,
                    const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
                    size_t ldc) {
  atk_matrix matrix = {(const char *)b, ATK_FLOAT32, ldb * sizeof(float)};
  return atk_gemm_bf16(order_a, order_b, M, N, K, alpha, a, lda, matrix, beta, c, ldc);
}

bool atk_gemm_bf16(atk_order order_a, atk_order order_b, size_t M, size_t N, size_t K, float alpha,
                   const float *a, size_t lda, atk_matrix b, float beta, float *c, size_t ldc) {
  if (!atk_has_bf16() || K == 0) return false;
  product(order_a, order_b, M, N, K, alpha, a, lda, b, beta, c, ldc);
  return true;
}
#else
bool atk_has_bf16(void) { return false; }

bool atk_sgemm_bf16(atk_order order_a, atk_order order_b, size_t M, size_t N, size_t K, float alpha,
                    const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
                    size_t ldc) {
  (void)order_a, (void)order_b, (void)M, (void)N, (void)K, (void)alpha, (void)a, (void)lda;
  (void)b, (void)ldb, (void)beta, (void)c, (void)ldc;
  return false;
}

bool atk_gemm_bf16(atk_order order_a, atk_order order_b, size_t M, size_t N, size_t K, float alpha,
                   const float *a, size_t lda, atk_matrix b, float beta, float *c, size_t ldc) {
  (void)order_a, (void)order_b, (void)M, (void)N, (void)K, (void)alpha, (void)a, (void)lda;
  (void)b, (void)beta, (void)c, (void)ldc;
  return false;
}
#endif
