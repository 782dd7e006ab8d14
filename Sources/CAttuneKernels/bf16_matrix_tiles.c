// SPDX-License-Identifier: Apache-2.0
// Products of bfloat16 operands on processors with matrix tiles (Intel AMX), of operands as bf16_tiles.h lays
// them out: lines of A along K are the rows of a left tile, a panel's vectors those of a right one. Where there
// are tiles the products of training and of decoding all come here, so that both give the same bits: every
// output is summed over K in steps of 32, in cuts that K alone decides, whatever stands beside it.
#include "kernels_internal.h"
#include "matrix_tiles.h"

#ifdef ATK_MATRIX_TILES
#include <string.h>
#pragma clang fp reassociate(off) contract(fast)

enum {
  VECTORS = 3,             // tiles beside each other
  COLUMNS = VECTORS * SIDE
};

typedef uint32_t pair;

// 32 of K: R · V tiles of sums in registers 0 to 5, of which the second row begins at 3. A right tile is read
// twice where R is 2, for there is one register for each side.
INLINE void step(const pair *a, size_t stride, const pair *b, const int R, const int V) {
  size_t line = stride * sizeof *a, row = (size_t)V * SIDE * sizeof *b;
  _tile_loadd(6, a, line);
  _tile_loadd(7, b, row);
  _tile_dpbf16ps(0, 6, 7);
  if (V > 1) {
    _tile_loadd(7, b + SIDE, row);
    _tile_dpbf16ps(1, 6, 7);
  }
  if (V > 2) {
    _tile_loadd(7, b + 2 * SIDE, row);
    _tile_dpbf16ps(2, 6, 7);
  }
  if (R == 1) return;
  _tile_loadd(6, a + SIDE * stride, line);
  if (V > 2) {
    _tile_dpbf16ps(5, 6, 7);
    _tile_loadd(7, b + SIDE, row);
  }
  if (V > 1) {
    _tile_dpbf16ps(4, 6, 7);
    _tile_loadd(7, b, row);
  }
  _tile_dpbf16ps(3, 6, 7);
}

// out[R · 16, COLUMNS] = A · B of V vectors.
INLINE void sums(float *out, const pair *a, size_t stride, const pair *b, size_t pairs, const int R,
                 const int V) {
  _tile_zero(0);
  if (V > 1) _tile_zero(1);
  if (V > 2) _tile_zero(2);
  if (R > 1) _tile_zero(3);
  if (R > 1 && V > 1) _tile_zero(4);
  if (R > 1 && V > 2) _tile_zero(5);
  size_t k = 0;
  for (; k + SIDE <= pairs; k += SIDE) step(a + k, stride, b + k * V * SIDE, R, V);
  if (k < pairs) {
    // Lines of A end in zeros, a panel does not, and what stands behind it may be no number.
    pair rest[SIDE * COLUMNS] __attribute__((aligned(64))) = {0};
    memcpy(rest, b + k * V * SIDE, (pairs - k) * V * SIDE * sizeof *b);
    step(a + k, stride, rest, R, V);
  }
  size_t row = COLUMNS * sizeof *out;
  _tile_stored(0, out, row);
  if (V > 1) _tile_stored(1, out + SIDE, row);
  if (V > 2) _tile_stored(2, out + 2 * SIDE, row);
  out += SIDE * COLUMNS;
  if (R > 1) _tile_stored(3, out, row);
  if (R > 1 && V > 1) _tile_stored(4, out + SIDE, row);
  if (R > 1 && V > 2) _tile_stored(5, out + 2 * SIDE, row);
}

TILES void atk_bf16_multiply_on_tiles(float *c, size_t ldc, size_t rows, size_t width, const pair *a,
                                      size_t stride, const pair *b, size_t pairs, float alpha,
                                      float keep) {
  begin_tiles();
  float part[2 * SIDE * COLUMNS] __attribute__((aligned(64)));
  for (size_t m = 0, height; m < rows; m += height, a += height * stride) {
    height = rows - m > SIDE ? 2 * SIDE : SIDE;
    size_t here = atk_min(rows - m, height);
    // Where the outputs lie is brought in while the products run.
    for (size_t r = 0; r < here; r++)
      for (size_t j = 0; j < width; j += SIDE) __builtin_prefetch(c + (m + r) * ldc + j, 1, 3);
    switch ((width + SIDE - 1) / SIDE + (height > SIDE ? VECTORS : 0)) {
      case 1: sums(part, a, stride, b, pairs, 1, 1); break;
      case 2: sums(part, a, stride, b, pairs, 1, 2); break;
      case 3: sums(part, a, stride, b, pairs, 1, 3); break;
      case 4: sums(part, a, stride, b, pairs, 2, 1); break;
      case 5: sums(part, a, stride, b, pairs, 2, 2); break;
      case 6: sums(part, a, stride, b, pairs, 2, 3); break;
    }
    for (size_t r = 0; r < here; r++) {
      for (size_t j = 0; j < width; j += SIDE) {
        float *out = c + (m + r) * ldc + j;
        __mmask16 present = (__mmask16)(width - j >= SIDE ? 0xffff : (1u << (width - j)) - 1);
        __m512 value = _mm512_mul_ps(_mm512_set1_ps(alpha), _mm512_load_ps(part + r * COLUMNS + j));
        if (keep != 0)
          value = _mm512_fmadd_ps(_mm512_set1_ps(keep), _mm512_maskz_loadu_ps(present, out), value);
        _mm512_mask_storeu_ps(out, present, value);
      }
    }
  }
  _tile_release();
}
#else
void atk_bf16_multiply_on_tiles(float *c, size_t ldc, size_t rows, size_t width, const uint32_t *a,
                                size_t stride, const uint32_t *b, size_t pairs, float alpha,
                                float keep) {
  (void)c, (void)ldc, (void)rows, (void)width, (void)a, (void)stride, (void)b, (void)pairs, (void)alpha;
  (void)keep;
}
#endif
