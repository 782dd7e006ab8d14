// SPDX-License-Identifier: Apache-2.0
// Matrix products of float32: A · B and A · Bᵀ by an own kernel on processors with vectors of 256 or 512
// bits, the others by BLAS; and the choice of those that are less precise (tiles.c, gemm_bf16.c).
//
// A training step is five sixths matrix products, and OpenBLAS copies both operands of each. Here a
// tile of 8 × 48 outputs (6 × 16 in 256 bits) stays in registers while it runs along K (Goto & van de
// Geijn 2008): B is copied once into panels of as many columns that stay in the second-level cache, A is
// read where it lies. On one thread, beside OpenBLAS 0.3.21 on the shapes of SmolLM2: forward 1.06 to
// 1.10 times as fast (in 256 bits to 1.19), gradients of inputs 1.01 to 1.10 (0.96 to 1.07), attention's
// products with 64 rows 1.2 to 1.6. Where A is transposed (gradients of weights) it would have to be
// copied as well, and OpenBLAS is faster: the own kernel ran at 0.93 to 0.98 of its rate, 0.80 for
// 64 × 64 × 64.
// Every output is summed in the order of K whatever its tile, so results of the own kernel do not
// depend on how a product is cut into pieces, nor on which vectors it has.
#include "stored_weights.h"
#include "vector_transpose.h"

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__clang__)
#define HAS_OWN_KERNEL 1
// Unlike the other kernels: sums keep the order in which they are written.
#pragma clang fp reassociate(off) contract(fast)

typedef float f16 __attribute__((vector_size(64)));
typedef float f16_unaligned __attribute__((vector_size(64), aligned(4)));

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")
#define LOAD(p) (*(const f16_unaligned *)(p))
#define STORE(p) (*(f16_unaligned *)(p))

enum {
  LANES = 16,
  DEPTH = 768,  // of K in one go
  // Of any tile. R rows × V vectors of 16 columns are as many sums as registers hold beside V vectors of B
  // and a number of A: 8 × 3 of 32 registers, 6 × 1 of 16 that are half as wide.
  MOST_ROWS = 8,
  MOST_VECTORS = 3
};

// C[R, 16·V] = alpha · A · B + keep · C along `depth`; b: a panel.
INLINE void tile(float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t depth,
                 float alpha, float keep, const int R, const int V) {
  f16 sum[MOST_ROWS * MOST_VECTORS];
  UNROLL for (int i = 0; i < R * V; i++) sum[i] = (f16){0};
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int v = 0; v < V; v++) __builtin_prefetch(c + r * ldc + v * LANES, 1, 3);
  // Three registers and the stride address 8 rows; the compiler, left alone, takes 8 and spills.
  const float *rows[3] = {a, a + 3 * lda, a + (R > 6 ? 6 : 0) * lda};
  __asm__("" : "+r"(rows[0]), "+r"(rows[1]), "+r"(rows[2]));
  _Pragma("clang loop unroll_count(4)")
  for (size_t k = 0; k < depth; k++) {
    f16 columns[MOST_VECTORS];
    UNROLL for (int v = 0; v < V; v++) columns[v] = *(const f16 *)(b + (k * V + v) * LANES);
    UNROLL for (int r = 0; r < R; r++) {
      float x = rows[r / 3][r % 3 * lda + k];
      UNROLL for (int v = 0; v < V; v++) sum[r * V + v] += x * columns[v];
    }
    __asm__ volatile("" ::: "memory");  // or loads of later steps come first, and spill
  }
  UNROLL for (int r = 0; r < R; r++) {
    UNROLL for (int v = 0; v < V; v++) {
      float *out = c + r * ldc + v * LANES;
      f16 value = alpha * sum[r * V + v];
      STORE(out) = keep == 0 ? value : value + keep * LOAD(out);
    }
  }
}

// Columns of the next panel, of at most V vectors: no panel of a single one where two of two do.
INLINE size_t panel_columns(size_t left, const int V) {
  size_t most = (size_t)V * LANES;
  return V == 3 && left > most && left <= 4 * LANES ? 2 * LANES : atk_min(left, most);
}

// B[k ..< k + depth, n ..< n + columns] as a panel of whole vectors, filled up with zeros. A plain B has
// rows k, a transposed one rows n; k and n are multiples of 16.
INLINE void copy_b(float *out, atk_matrix b, const atk_weights format, atk_order order, size_t k,
                   size_t depth, size_t n, size_t columns) {
  size_t width = atk_round_up(columns, LANES);
  for (size_t j = 0; j < width; j += LANES) {
    size_t i = 0, present = atk_min(LANES, columns - j);
    const char *rows = b.rows + (order == ATK_PLAIN ? k : n + j) * b.stride;
    if (present == LANES && order == ATK_PLAIN) {
      for (; i < depth; i++)
        atk_load_weights(out + i * width + j, format, rows + i * b.stride, n + j);
    } else if (present == LANES) {
      float block[LANES * LANES] __attribute__((aligned(64)));
      for (; i + LANES <= depth; i += LANES) {
        const float *from = block;
        size_t stride = LANES;
        if (format == ATK_FLOAT32) {
          from = (const float *)rows + k + i;
          stride = b.stride / sizeof(float);
        }
        for (size_t r = 0; r < LANES; r++) {
          if (format == ATK_FLOAT32) __builtin_prefetch(from + r * stride + LANES, 0, 3);
          else atk_load_weights(block + r * LANES, format, rows + r * b.stride, k + i);
        }
        atk_transpose_16(out + i * width + j, width, from, stride);
      }
    }
    for (; i < depth; i++)
      for (size_t r = 0; r < LANES; r++)
        out[i * width + j + r] =
            r >= present ? 0
            : order == ATK_PLAIN ? atk_load_weight(format, rows + i * b.stride, n + j + r)
                                 : atk_load_weight(format, rows + r * b.stride, k + i);
  }
}

// R rows of A against all panels of B. Only the rows from `skip` on are written.
INLINE void panel_row(float *c, size_t ldc, size_t skip, size_t columns, const float *a, size_t lda,
                      const float *b, size_t depth, float alpha, float keep, const int R,
                      const int V) {
  for (size_t n = 0, width; n < columns; n += width) {
    width = panel_columns(columns - n, V);
    float part[MOST_ROWS * MOST_VECTORS * LANES];
    bool whole = skip == 0 && width % LANES == 0;
    float *to = whole ? c + n : part, factor = whole ? keep : 0;
    size_t ldto = whole ? ldc : (size_t)V * LANES;
    const float *panel = b + n * depth;
    switch (V == 1 ? 1 : (width + LANES - 1) / LANES) {
      case 1: tile(to, ldto, a, lda, panel, depth, alpha, factor, R, 1); break;
      case 2: tile(to, ldto, a, lda, panel, depth, alpha, factor, R, 2); break;
      case 3: tile(to, ldto, a, lda, panel, depth, alpha, factor, R, 3); break;
    }
    for (size_t r = skip; !whole && r < (size_t)R; r++) {
      for (size_t j = 0; j < width; j++) {
        float *out = c + r * ldc + n + j, value = part[r * ldto + j];
        *out = keep == 0 ? value : value + keep * *out;
      }
    }
  }
}

// `block`: numbers of B in one go.
INLINE void own_sgemm_of(const atk_weights format, atk_order order_b, size_t M, size_t N, size_t K,
                         float alpha, const float *a, size_t lda, atk_matrix b, float beta, float *c,
                         size_t ldc, const int R, const int V, const size_t block) {
  const size_t panel = (size_t)V * LANES;
  size_t cuts = (K + DEPTH - 1) / DEPTH, most_depth = atk_round_up((K + cuts - 1) / cuts, LANES);
  size_t most_columns = block / most_depth / panel * panel;
  cuts = (N + most_columns - 1) / most_columns;
  most_columns = atk_round_up((N + cuts - 1) / cuts, panel);
  float *b_copy = atk_scratch(ATK_SCRATCH_PRODUCT, most_depth * most_columns * sizeof(float));
  for (size_t k = 0; k < K; k += most_depth) {
    size_t depth = atk_min(most_depth, K - k);
    float keep = k == 0 ? beta : 1;
    for (size_t n = 0; n < N; n += most_columns) {
      size_t columns = atk_min(most_columns, N - n);
      for (size_t j = 0, width; j < columns; j += width) {
        width = panel_columns(columns - j, V);
        copy_b(b_copy + j * depth, b, format, order_b, k, depth, n + j, width);
      }
      for (size_t m = 0; m < M; m += (size_t)R) {
        size_t row = atk_min(m, M - (size_t)R);  // the last R may overlap those before
        panel_row(c + row * ldc + n, ldc, m - row, columns, a + row * lda + k, lda, b_copy, depth,
                  alpha, keep, R, V);
      }
    }
  }
}

// A function for each instruction set, with its tile and a block of B that takes half of its second-level cache.
typedef void own_function(atk_order order_b, size_t M, size_t N, size_t K, float alpha,
                          const float *a, size_t lda, atk_matrix b, float beta, float *c, size_t ldc);
enum { V4_ROWS = 8, V3_ROWS = 6 };
#define OWN_SGEMM(name, R, V, block)                                                             \
  static void name(atk_order order_b, size_t M, size_t N, size_t K, float alpha, const float *a, \
                   size_t lda, atk_matrix b, float beta, float *c, size_t ldc) {                 \
    switch (b.format) {                                                                          \
      CASE(ATK_FLOAT32, R, V, block) CASE(ATK_BFLOAT16, R, V, block)                             \
      CASE(ATK_NIBBLES, R, V, block) CASE(ATK_FINE_NIBBLES, R, V, block)                         \
      CASE(ATK_FIVES, R, V, block) CASE(ATK_BYTES, R, V, block)                                  \
    }                                                                                            \
  }
#define CASE(format, R, V, block)                                                                \
  case format:                                                                                   \
    own_sgemm_of(format, order_b, M, N, K, alpha, a, lda, b, beta, c, ldc, R, V, block);         \
    break;
__attribute__((target("arch=x86-64-v4"), min_vector_width(512))) OWN_SGEMM(own_v4, V4_ROWS, 3, 1 << 18)
__attribute__((target("arch=x86-64-v3"))) OWN_SGEMM(own_v3, V3_ROWS, 1, 1 << 16)
#undef CASE

// This processor's, for a product that it takes, or NULL: smaller ones than a tile are BLAS's, and all where there are
// no vectors of 256 bits. Pieces of a linear layer are cut at multiples of 32 rows or columns, so that all but a
// remainder take the same way whatever the number of threads.
static own_function *own_sgemm(size_t M, size_t N, size_t K) {
  if (N < LANES || K < LANES) return NULL;
  switch (atk_vector_level()) {
    case 4: return M >= V4_ROWS ? own_v4 : NULL;
    case 3: return M >= V3_ROWS ? own_v3 : NULL;
    default: return NULL;
  }
}
#endif

void atk_sgemm(atk_order order_a, atk_order order_b, size_t M, size_t N, size_t K, float alpha,
               const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
               size_t ldc) {
#ifdef HAS_OWN_KERNEL
  own_function *own = order_a == ATK_PLAIN ? own_sgemm(M, N, K) : NULL;
  if (own) {
    atk_matrix matrix = {(const char *)b, ATK_FLOAT32, ldb * sizeof(float)};
    own(order_b, M, N, K, alpha, a, lda, matrix, beta, c, ldc);
    return;
  }
#endif
  atk_blas_sgemm(order_a, order_b, M, N, K, alpha, a, lda, b, ldb, beta, c, ldc);
}

void atk_gemm(atk_precision precision, atk_order order_a, atk_order order_b, size_t M, size_t N,
              size_t K, float alpha, const float *a, size_t lda, const float *b, size_t ldb,
              float beta, float *c, size_t ldc) {
  if (precision == ATK_PRODUCTS_HIGH && atk_tiles_pay(order_a, M, N, K) &&
      atk_sgemm_tiles(order_a, order_b, M, N, K, alpha, a, lda, b, ldb, beta, c, ldc))
    return;
  if (precision == ATK_PRODUCTS_BF16 &&
      atk_sgemm_bf16(order_a, order_b, M, N, K, alpha, a, lda, b, ldb, beta, c, ldc))
    return;
  atk_sgemm(order_a, order_b, M, N, K, alpha, a, lda, b, ldb, beta, c, ldc);
}

void atk_gemm_stored(atk_precision precision, atk_order order_b, size_t M, size_t N, size_t K,
                     float alpha, const float *a, size_t lda, atk_matrix b, float beta, float *c,
                     size_t ldc) {
  bool plain = order_b == ATK_PLAIN;
  const float *numbers = (const float *)b.rows;
  size_t ldb = b.stride / sizeof(float);
  if (b.format != ATK_FLOAT32) {
    bool tiles = precision == ATK_PRODUCTS_HIGH && atk_tiles_pay(ATK_PLAIN, M, N, K);
    if (precision == ATK_PRODUCTS_BF16 &&
        atk_gemm_bf16(ATK_PLAIN, order_b, M, N, K, alpha, a, lda, b, beta, c, ldc))
      return;
#ifdef HAS_OWN_KERNEL
    own_function *own = tiles ? NULL : own_sgemm(M, N, K);
    if (own) {
      own(order_b, M, N, K, alpha, a, lda, b, beta, c, ldc);
      return;
    }
#endif
    // How BLAS sums an output depends on the shape of the product, so it is given B whole: it takes the
    // products of fewer rows than a tile has, and all where there are no vectors of 256 bits.
    float *copy = atk_scratch(ATK_SCRATCH_WEIGHTS, N * K * sizeof(float));
    atk_expand_part(copy, b, 0, plain ? K : N, 0, plain ? N : K);
    numbers = copy;
    ldb = plain ? N : K;
  }
  atk_gemm(precision, ATK_PLAIN, order_b, M, N, K, alpha, a, lda, numbers, ldb, beta, c, ldc);
}
