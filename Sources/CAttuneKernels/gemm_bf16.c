// SPDX-License-Identifier: Apache-2.0
// Matrix products of bfloat16 operands with float32 sums, on processors with AVX512-BF16.
//
// Operands are float32 in memory and are rounded to bfloat16 (to nearest, ties to even) when they are
// packed, which every product does anyway: no second copy of weights or activations exists. One
// instruction multiplies 16 pairs along K, twice the work of float32's. A tile of 8 × 48 outputs stays in
// registers, as in gemm.c. On one thread of an EPYC of the Zen 4 kind, at the shapes of SmolLM2: 1.8 to 2.0
// times gemm.c's rate, 190 to 217 GFLOP/s, where oneDNN 3.12 runs at 175 to 200. Every output is summed in the order of K whatever its tile, so results do not
// depend on how a product is cut into pieces, nor a row on the rows beside it.
#include "bf16_tiles.h"

#ifdef ATK_BF16_PRODUCTS
// A tile of up to 8 rows and `width` columns.
INLINE void piece(float *c, size_t ldc, size_t rows, size_t width, const pair *a, size_t stride,
                  const pair *b, size_t pairs, float alpha, float keep, const bool is_across) {
  float part[ROWS * COLUMNS] __attribute__((aligned(64)));
  bool whole = rows == ROWS && width % LANES == 0;
  float *to = whole ? c : part, factor = whole ? keep : 0;
  size_t ldto = whole ? ldc : COLUMNS;
  switch ((width + LANES - 1) / LANES) {
    case 1: tile(to, ldto, a, stride, b, pairs, alpha, factor, NULL, ROWS, 1, 0, is_across); break;
    case 2: tile(to, ldto, a, stride, b, pairs, alpha, factor, NULL, ROWS, 2, 0, is_across); break;
    case 3: tile(to, ldto, a, stride, b, pairs, alpha, factor, NULL, ROWS, 3, 0, is_across); break;
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
  size_t most_depth = depth_of_cuts(K), most_rows = BLOCK / most_depth / LANES * LANES;
  size_t cuts = (M + most_rows - 1) / most_rows;
  most_rows = atk_round_up((M + cuts - 1) / cuts, LANES);
  size_t stride = most_depth / 2;
  pair *a_packed = atk_scratch(ATK_SCRATCH_PRODUCT,
                               (most_rows + COLUMNS) * (stride + LANES) * sizeof(pair));
  pair *b_packed = a_packed + most_rows * stride;
  bool a_across = order_a == ATK_TRANSPOSED, b_along = order_b == ATK_TRANSPOSED;
  // Room for a panel of a plain B in float32, where it is not that in memory.
  float *expanded = b.format == ATK_FLOAT32 || b_along
                        ? NULL
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
        if (b_along) {
          atk_bf16_lay_out(b_packed, atk_matrix_part(b, n, k), width, depth);
        } else {
          size_t vectors = (width + LANES - 1) / LANES, ldb = b.stride / sizeof(float);
          const float *panel = (const float *)b.rows + k * ldb + n;
          if (expanded) {  // from a whole group on
            ldb = width + n % 32;
            atk_expand_part(expanded, b, k, depth, n / 32 * 32, ldb);
            panel = expanded + n % 32;
          }
          for (size_t v = 0; v < vectors; v++)
            pack_panel(b_packed + v * LANES, vectors * LANES, panel + v * LANES, ldb,
                       width - v * LANES, depth, false);
        }
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
