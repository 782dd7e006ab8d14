// SPDX-License-Identifier: Apache-2.0
// Tiles of bfloat16 products with float32 sums (AVX512-BF16), as the products of training (gemm_bf16.c)
// and of decoding (decode_bf16.c) share them: so that both give the same bits.
//
// One instruction multiplies 16 pairs along K, twice the work of float32's. Every output is summed in
// the order of K, in cuts that K alone decides, whatever tile it is in.
#ifndef ATTUNE_BF16_TILES_H
#define ATTUNE_BF16_TILES_H

#include "kernels_internal.h"
#include "vector_transpose.h"

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__clang__)
#define ATK_BF16_PRODUCTS 1
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

// How much of K is summed before it is added to an output.
static inline size_t depth_of_cuts(size_t K) {
  size_t cuts = (K + DEPTH - 1) / DEPTH;
  return atk_round_up((K + cuts - 1) / cuts, 32);
}

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

// Pairs of 16 numbers and what stands after each along K.
INLINE __m512i pairs_of_two(__m512 low, __m512 high) {
  const __m512i interleave = _mm512_set_epi16(
      31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19,
      3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(interleave, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

// The pairs of two rows of K, for 16 lines.
INLINE __m512i across(const float *in, size_t ld, size_t lines, size_t depth) {
  __m512 low = _mm512_maskz_loadu_ps(mask(lines), in);
  __m512 high = depth > 1 ? _mm512_maskz_loadu_ps(mask(lines), in + ld) : _mm512_setzero_ps();
  return pairs_of_two(low, high);
}

// Lines of an operand that each lie along K as [line][pairs], `rows` lines in all (zeros where there is
// none); stride: pairs of a line.
INLINE void pack_lines(pair *out, size_t stride, const float *in, size_t ld, size_t lines,
                       size_t rows, size_t depth) {
  for (size_t i = 0; i < rows; i++)
    for (size_t k = 0; k < depth; k += 32)
      _mm512_storeu_si512(out + i * stride + k / 2,
                          i < lines ? along(in + i * ld + k, depth - k) : _mm512_setzero_si512());
}

// 16 lines of an operand that each lie along K as [pair][line], `stride` pairs from one to the next.
INLINE void pack_panel(pair *out, size_t stride, const float *in, size_t ld, size_t lines,
                       size_t depth) {
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

// C[R, 16·V] = alpha · A · B + keep · C; a: R lines, b: a panel of V vectors a pair. A's number of line r
// and pair k is a[r · stride + k], or a[k · LANES + r] where `across`. With each pair `lines` cache lines
// of what is read later are fetched from `next` on.
INLINE void tile(float *c, size_t ldc, const pair *a, size_t stride, const pair *b, size_t pairs,
                 float alpha, float keep, const char *next, const int R, const int V,
                 const int lines, const bool is_across) {
  __m512 sum[ROWS * VECTORS];
  UNROLL for (int i = 0; i < R * V; i++) sum[i] = _mm512_setzero_ps();
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int v = 0; v < V; v++) __builtin_prefetch(c + r * ldc + v * LANES, 1, 3);
  const pair *rows[3] = {a, a + 3 * stride, a + 6 * stride};
  __asm__("" : "+r"(rows[0]), "+r"(rows[1]), "+r"(rows[2]));
  _Pragma("clang loop unroll_count(4)")
  for (size_t k = 0; k < pairs; k++) {
    UNROLL for (int i = 0; i < lines; i++, next += 64) __builtin_prefetch(next, 0, 2);
    __m512bh columns[VECTORS];
    UNROLL for (int v = 0; v < V; v++)
      columns[v] = (__m512bh)_mm512_load_si512(b + (k * V + v) * LANES);
    UNROLL for (int r = 0; r < R; r++) {
      pair two = is_across ? a[k * LANES + r] : rows[r / 3][r % 3 * stride + k];
      __m512bh x = (__m512bh)_mm512_set1_epi32((int)two);
      UNROLL for (int v = 0; v < V; v++)
        sum[r * V + v] = _mm512_dpbf16_ps(sum[r * V + v], x, columns[v]);
    }
    __asm__ volatile("" ::: "memory");
  }
  UNROLL for (int r = 0; r < R; r++) {
    UNROLL for (int v = 0; v < V; v++) {
      float *out = c + r * ldc + v * LANES;
      __m512 value = _mm512_mul_ps(_mm512_set1_ps(alpha), sum[r * V + v]);
      if (keep != 0)
        value = _mm512_fmadd_ps(_mm512_set1_ps(keep), _mm512_loadu_ps(out), value);
      _mm512_storeu_ps(out, value);
    }
  }
}
#endif

#endif
