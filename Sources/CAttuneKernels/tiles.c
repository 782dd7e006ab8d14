// SPDX-License-Identifier: Apache-2.0
// Matrix products on processors with matrix tiles (Intel AMX).
//
// A tile unit multiplies bfloat16 numbers and adds float32 ones, twenty times as fast as vector
// units do float32. In two parts, each float32 number is cut into the sum of two bfloat16 numbers, and of
// the four products of their parts the three greatest are added: what PyTorch calls float32 products of
// "high" precision. What is lost is below 2^-17 of each product, 4e-6 of the result in the root mean
// square: a hundredth of what TF32 loses. It is off unless asked for: Adam divides a gradient by its size, and ten
// steps of full fine-tuning differ from float32's by 2e-3 in the loss.
// Every output is summed in the order of K whatever its tile, as in gemm.c.
#include "kernels_internal.h"
#include "matrix_tiles.h"
#include "vector_transpose.h"

#ifdef ATK_MATRIX_TILES
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define UNROLL _Pragma("clang loop unroll(full)")

enum {
  PARTS = 2,             // of a number
  STEP = 32,             // of K in a tile
  TILE = SIDE * STEP,    // bfloat16 numbers of a tile
  DEPTH = 640,           // of K in one go, at most
  BLOCK = 600000         // numbers of A's parts in one go (1.2 MB, they stay in the second-level cache)
};

typedef uint16_t half;

// Two vectors of floats as parts: 32 numbers in their order. Of two parts the upper ones are rounded
// by adding half a unit to the bits, which is faster than the instruction for it; the lower ones by the
// instruction, so that NaN stays NaN.
INLINE void split(__m512 a, __m512 b, __m512i *upper, __m512i *lower) {
  const __m512i half_unit = _mm512_set1_epi32(0x8000), kept = _mm512_set1_epi32((int)0xffff0000);
  const __m512i odd = _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35,
                                       33, 31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3,
                                       1);
  __m512i a_upper = _mm512_and_si512(_mm512_add_epi32((__m512i)a, half_unit), kept);
  __m512i b_upper = _mm512_and_si512(_mm512_add_epi32((__m512i)b, half_unit), kept);
  *upper = _mm512_permutex2var_epi16(a_upper, odd, b_upper);
  *lower = (__m512i)_mm512_cvtne2ps_pbh(_mm512_sub_ps(b, (__m512)b_upper),
                                        _mm512_sub_ps(a, (__m512)a_upper));
}

// The first `count` of 16 numbers.
INLINE __mmask16 mask(size_t count) {
  return (__mmask16)(count >= 16 ? 0xffff : (1u << count) - 1);
}

// A tile's parts from 16 lines of which each lies along K. lines, depth: how many of the lines and
// of their 32 numbers there are; the others are zero. across: for the right operand, whose rows are
// pairs of K.
INLINE void pack_along(half *out, const float *in, size_t ld, size_t lines, size_t depth,
                       bool across) {
  half rows[2 * TILE] __attribute__((aligned(64)));
  half *to = across ? rows : out;
  __mmask16 first = mask(depth), second = mask(depth > 16 ? depth - 16 : 0);
  for (size_t i = 0; i < SIDE; i++) {
    __m512i upper = _mm512_setzero_si512(), lower = upper;
    if (i < lines)
      split(_mm512_maskz_loadu_ps(first, in + i * ld),
            _mm512_maskz_loadu_ps(second, in + i * ld + 16), &upper, &lower);
    _mm512_store_si512(to + i * STEP, upper);
    _mm512_store_si512(to + TILE + i * STEP, lower);
  }
  if (across) {
    for (int p = 0; p < PARTS; p++)
      atk_transpose_16((float *)(out + p * TILE), SIDE, (const float *)(rows + p * TILE), SIDE);
  }
}

// The parts of an operand of which each row of K lies along the lines, row after row, since most of
// the time goes into waiting for memory. across: for the left operand, whose rows are lines.
INLINE void pack_across(half *out, const float *in, size_t ld, size_t lines, size_t depth,
                        bool across) {
  const __m512i interleave = _mm512_set_epi16(
      31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19,
      3, 18, 2, 17, 1, 16, 0);
  size_t whole = atk_round_up(depth, STEP), size = (size_t)PARTS * TILE, panel = whole / STEP * size;
  for (size_t k = 0; k < whole; k += 2) {
    half *tile = out + k / STEP * size, *to = tile + k % STEP * SIDE;
    for (size_t line = 0; line < lines; line += SIDE, to += panel) {
      __mmask16 present = mask(lines - line);
      __m512 a = _mm512_setzero_ps(), b = a;
      if (k < depth) a = _mm512_maskz_loadu_ps(present, in + k * ld + line);
      if (k + 1 < depth) b = _mm512_maskz_loadu_ps(present, in + (k + 1) * ld + line);
      __m512i upper, lower;
      split(a, b, &upper, &lower);
      _mm512_store_si512(to, _mm512_permutexvar_epi16(interleave, upper));
      _mm512_store_si512(to + TILE, _mm512_permutexvar_epi16(interleave, lower));
    }
    if (!across || k % STEP != STEP - 2) continue;
    for (size_t line = 0; line < lines; line += SIDE, tile += panel) {
      half rows[2 * TILE] __attribute__((aligned(64)));
      memcpy(rows, tile, size * sizeof *rows);
      for (int p = 0; p < PARTS; p++)
        atk_transpose_16((float *)(tile + p * TILE), SIDE, (const float *)(rows + p * TILE), SIDE);
    }
  }
}

// Lines of an operand as panels of 16, each a tile of each part a step. along: each line lies along K.
INLINE void pack(half *out, const float *in, size_t ld, size_t lines, size_t depth, bool along,
                 bool is_left) {
  if (!along) {
    pack_across(out, in, ld, lines, depth, is_left);
    return;
  }
  for (size_t line = 0; line < lines; line += SIDE) {
    for (size_t k = 0; k < depth; k += STEP, out += PARTS * TILE)
      pack_along(out, in + line * ld + k, ld, atk_min(lines - line, SIDE),
                 atk_min(depth - k, STEP), !is_left);
  }
}

// C [16·R, 16·S] = A · B, or += where `resume`; a, b: panels, the second `stride` behind the first.
INLINE void multiply(float *c, size_t ldc, const half *a, const half *b, size_t stride,
                     size_t steps, bool resume, const int R, const int S) {
  size_t bytes = ldc * sizeof(float);
  if (resume) {
    _tile_loadd(0, c, bytes);
    if (S > 1) _tile_loadd(1, c + SIDE, bytes);
    if (R > 1) _tile_loadd(2, c + SIDE * ldc, bytes);
    if (R > 1 && S > 1) _tile_loadd(3, c + SIDE * ldc + SIDE, bytes);
  } else {
    _tile_zero(0);
    if (S > 1) _tile_zero(1);
    if (R > 1) _tile_zero(2);
    if (R > 1 && S > 1) _tile_zero(3);
  }
#define PRODUCTS                                      \
  _tile_dpbf16ps(0, 4, 6);                            \
  if (S > 1) _tile_dpbf16ps(1, 4, 7);                 \
  if (R > 1) _tile_dpbf16ps(2, 5, 6);                 \
  if (R > 1 && S > 1) _tile_dpbf16ps(3, 5, 7);
  for (size_t step = 0; step < steps; step++, a += PARTS * TILE, b += PARTS * TILE) {
    _tile_loadd(4, a, 64);
    if (R > 1) _tile_loadd(5, a + stride, 64);
    _tile_loadd(6, b + TILE, 64);
    if (S > 1) _tile_loadd(7, b + stride + TILE, 64);
    PRODUCTS
    _tile_loadd(6, b, 64);
    if (S > 1) _tile_loadd(7, b + stride, 64);
    PRODUCTS
    _tile_loadd(4, a + TILE, 64);
    if (R > 1) _tile_loadd(5, a + stride + TILE, 64);
    PRODUCTS
  }
#undef PRODUCTS
  _tile_stored(0, c, bytes);
  if (S > 1) _tile_stored(1, c + SIDE, bytes);
  if (R > 1) _tile_stored(2, c + SIDE * ldc, bytes);
  if (R > 1 && S > 1) _tile_stored(3, c + SIDE * ldc + SIDE, bytes);
}

// The same for up to 32 × 32 outputs, scaled. What is there already is added to the whole sum: were it
// the first term, every later one would be rounded to its size. resume: what is there is this very sum,
// so far, and it goes on (alpha is 1, keep 0).
INLINE void block(float *c, size_t ldc, size_t rows, size_t columns, const half *a, const half *b,
                  size_t steps, float alpha, float keep, bool resume) {
  float part[4 * SIDE * SIDE] __attribute__((aligned(64)));
  size_t stride = steps * PARTS * TILE;
  // Where the outputs lie is brought in while the products run: a tile's store waits for each line.
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < columns; j += SIDE) __builtin_prefetch(c + i * ldc + j, 1, 3);
  bool whole = rows % SIDE == 0 && columns % SIDE == 0 && alpha == 1 && keep == 0;
  float *to = whole ? c : part;
  size_t ldto = whole ? ldc : 2 * SIDE;
  for (size_t i = 0; resume && !whole && i < rows; i++)
    memcpy(part + i * 2 * SIDE, c + i * ldc, columns * sizeof *c);
  if (rows > SIDE && columns > SIDE) multiply(to, ldto, a, b, stride, steps, resume, 2, 2);
  else if (rows > SIDE) multiply(to, ldto, a, b, stride, steps, resume, 2, 1);
  else if (columns > SIDE) multiply(to, ldto, a, b, stride, steps, resume, 1, 2);
  else multiply(to, ldto, a, b, stride, steps, resume, 1, 1);
  if (whole) return;
  for (size_t i = 0; i < rows; i++) {
    float *out = c + i * ldc;
    const float *value = part + i * 2 * SIDE;
    ATK_ELEMENTWISE
    for (size_t j = 0; j < columns; j++)
      out[j] = keep == 0 ? alpha * value[j] : alpha * value[j] + keep * out[j];
  }
}

TILES static void product(atk_order order_a, atk_order order_b, size_t M, size_t N, size_t K,
                          float alpha, const float *a, size_t lda, const float *b, size_t ldb,
                          float beta, float *c, size_t ldc) {
  begin_tiles();
  size_t cuts = (K + DEPTH - 1) / DEPTH, most_depth = atk_round_up((K + cuts - 1) / cuts, STEP);
  size_t most_rows = BLOCK / PARTS / most_depth / SIDE * SIDE;
  cuts = (M + most_rows - 1) / most_rows;
  most_rows = atk_round_up((M + cuts - 1) / cuts, 2 * SIDE);
  half *a_packed = atk_scratch(ATK_SCRATCH_PRODUCT,
                               PARTS * most_depth * (most_rows + 2 * SIDE) * sizeof(half));
  half *b_packed = a_packed + PARTS * most_depth * most_rows;
  bool a_along = order_a == ATK_PLAIN, b_along = order_b == ATK_TRANSPOSED;
  for (size_t k = 0; k < K; k += most_depth) {
    size_t depth = atk_min(most_depth, K - k), steps = (depth + STEP - 1) / STEP;
    bool resume = k > 0 && alpha == 1 && beta == 0;
    float keep = resume ? 0 : k == 0 ? beta : 1;
    for (size_t m = 0; m < M; m += most_rows) {
      size_t rows = atk_min(most_rows, M - m);
      pack(a_packed, a + (a_along ? m * lda + k : k * lda + m), lda, rows, depth, a_along, true);
      for (size_t n = 0; n < N; n += 2 * SIDE) {
        size_t columns = atk_min(N - n, 2 * SIDE);
        pack(b_packed, b + (b_along ? n * ldb + k : k * ldb + n), ldb, columns, depth, b_along,
             false);
        for (size_t i = 0; i < rows; i += 2 * SIDE)
          block(c + (m + i) * ldc + n, ldc, atk_min(rows - i, 2 * SIDE), columns,
                a_packed + i * steps * STEP * PARTS, b_packed, steps, alpha, keep, resume);
      }
    }
  }
  _tile_release();
}

// Whether the processor has the tiles and Linux lets this process use them.
static bool find_tiles(void) {
  enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
  return atk_has_wide_vectors() && __builtin_cpu_supports("amx-bf16") &&
         __builtin_cpu_supports("avx512bf16") &&
         syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

bool atk_has_tiles(void) {
  static int known;
  return atk_find_once(&known, find_tiles);
}

bool atk_sgemm_tiles(atk_order order_a, atk_order order_b, size_t M, size_t N, size_t K, float alpha,
                     const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
                     size_t ldc) {
  if (!atk_has_tiles() || K == 0) return false;
  product(order_a, order_b, M, N, K, alpha, a, lda, b, ldb, beta, c, ldc);
  return true;
}
#else
bool atk_has_tiles(void) { return false; }

bool atk_sgemm_tiles(atk_order order_a, atk_order order_b, size_t M, size_t N, size_t K, float alpha,
                     const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
                     size_t ldc) {
  (void)order_a, (void)order_b, (void)M, (void)N, (void)K, (void)alpha, (void)a, (void)lda;
  (void)b, (void)ldb, (void)beta, (void)c, (void)ldc;
  return false;
}
#endif

// Cutting numbers into parts pays where each of them is part of many products. Of a product with
// weights the weights alone decide, not the number of rows, so that the same row gives the same
// numbers in any batch.
bool atk_tiles_pay(atk_order order_a, size_t M, size_t N, size_t K) {
  enum { NARROWEST = 32, FEWEST = 128 * 128 };
  if (!atk_has_tiles()) return false;
  return order_a == ATK_PLAIN ? N >= NARROWEST && K >= NARROWEST && N * K >= FEWEST
                              : M >= NARROWEST && N >= NARROWEST && M * N >= FEWEST;
}
