// SPDX-License-Identifier: Apache-2.0
// Matrix products of bfloat16 operands with float32 sums, on processors with AVX512-BF16.
//
// Operands are float32 in memory and are rounded to bfloat16 (to nearest, ties to even) when they are
// packed, which every product does anyway: no second copy of weights or activations exists. One
// instruction multiplies 16 pairs along K, twice the work of float32's. A tile of 8 × 48 outputs stays in
// registers, as in gemm.c. On one thread of an EPYC of the Zen 4 kind, at the shapes of SmolLM2: 1.8 to 2.0
// times gemm.c's rate, 190 to 217 GFLOP/s, where oneDNN 3.12 runs at 175 to 200. Every output is summed in the order of K whatever its tile, so results do not
// depend on how a product is cut into pieces, nor a row on the rows beside it. Processors with matrix tiles multiply what
// is packed here on those (bf16_matrix_tiles.c).
#include "bf16_tiles.h"

#ifdef ATK_BF16_PRODUCTS
enum {
  SHARED_ROWS = 128,      // that a thread takes at least
  SHARED_PAIRS = 1 << 21  // of B in one go (8 MB of the third-level cache)
};

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

// What a product is of, and how it is cut: `depth` of K and `rows` of M in one go.
typedef struct {
  atk_order order_a, order_b;
  size_t M, N, K, lda, ldc, depth, rows;
  const float *a;
  atk_matrix b;
  float *c, alpha, beta;
} task;

// Lines that lie across K, sixteen by sixteen: line i and the pair at k go to out + i · stride + k / 2 ·
// step. A row of them is read from its begin to its end, as memory gives it fastest.
HALVES static void pack_across(pair *out, size_t stride, size_t step, const float *in, size_t ld,
                               size_t lines, size_t depth) {
  for (size_t k = 0; k < depth; k += 2, out += step, in += 2 * ld)
    for (size_t i = 0; i < lines; i += LANES)
      _mm512_store_si512(out + i * stride, across(in + i, ld, lines - i, depth - k));
}

// The same as lines, as left tiles are read.
HALVES static void pack_turned(pair *out, size_t stride, const float *in, size_t ld, size_t lines,
                               size_t depth) {
  pair columns[LANES * LANES] __attribute__((aligned(64)));
  for (size_t k = 0; k < depth; k += 2 * LANES) {
    for (size_t i = 0; i < lines; i += LANES) {
      for (size_t p = 0; p < LANES; p++) {
        size_t at = k + 2 * p;
        _mm512_store_si512(columns + p * LANES,
                           at < depth ? across(in + at * ld + i, ld, lines - i, depth - at)
                                      : _mm512_setzero_si512());
      }
      atk_transpose_16((float *)(out + i * stride + k / 2), stride, (const float *)columns, LANES);
    }
  }
}

// A[m ..< m + rows, k ..< k + depth], `rows` of them in steps of ROWS or LANES.
HALVES static void pack_block(pair *out, const task *t, size_t m, size_t rows, size_t k) {
  size_t depth = atk_min(t->depth, t->K - k), stride = t->depth / 2;
  if (t->order_a == ATK_PLAIN) {
    pack_lines(out, stride, t->a + m * t->lda + k, t->lda, rows, atk_round_up(rows, ROWS), depth);
  } else if (atk_has_tiles()) {
    pack_turned(out, stride, t->a + k * t->lda + m, t->lda, rows, depth);
  } else {
    pack_across(out, stride, LANES, t->a + k * t->lda + m, t->lda, rows, depth);
  }
}

// B[k ..< k + depth, n ..< n + width].
HALVES static void pack_columns(pair *out, const task *t, size_t n, size_t width, size_t k) {
  size_t depth = atk_min(t->depth, t->K - k);
  if (t->order_b == ATK_TRANSPOSED) {
    atk_bf16_lay_out(out, atk_matrix_part(t->b, n, k), width, depth);
    return;
  }
  size_t vectors = (width + LANES - 1) / LANES, ldb = t->b.stride / sizeof(float);
  const float *panel = (const float *)t->b.rows + k * ldb + n;
  if (t->b.format != ATK_FLOAT32) {  // from a whole group on
    ldb = width + n % 32;
    float *expanded = atk_scratch(ATK_SCRATCH_WEIGHTS, depth * (COLUMNS + 32) * sizeof(float));
    atk_expand_part(expanded, t->b, k, depth, n / 32 * 32, ldb);
    panel = expanded + n % 32;
  }
  pack_across(out, 1, vectors * LANES, panel, ldb, width, depth);
}

// The outputs of a block of rows and a panel of columns, over one cut of K.
HALVES static void multiply(const task *t, const pair *block, const pair *panel, size_t m,
                            size_t rows, size_t n, size_t width, size_t k) {
  size_t pairs = (atk_min(t->depth, t->K - k) + 1) / 2, stride = t->depth / 2;
  float keep = k == 0 ? t->beta : 1;
  if (atk_has_tiles()) {
    atk_bf16_multiply_on_tiles(t->c + m * t->ldc + n, t->ldc, rows, width, block, stride, panel,
                               pairs, t->alpha, keep);
    return;
  }
  for (size_t i = 0; i < rows; i += ROWS) {
    float *out = t->c + (m + i) * t->ldc + n;
    size_t height = atk_min(rows - i, ROWS);
    if (t->order_a == ATK_TRANSPOSED)
      piece(out, t->ldc, height, width, block + i / LANES * LANES * stride + i % LANES, 0, panel,
            pairs, t->alpha, keep, true);
    else
      piece(out, t->ldc, height, width, block + i * stride, stride, panel, pairs, t->alpha, keep,
            false);
  }
}

// Columns of the panel from n on: no tile of one vector beside one of three.
static size_t panel_width(size_t N, size_t n) {
  size_t left = N - n;
  return left > COLUMNS && left <= 4 * LANES ? 2 * LANES : atk_min(left, COLUMNS);
}

// On the calling thread.
static void product(task t) {
  t.depth = depth_of_cuts(t.K);
  size_t most = BLOCK / t.depth / LANES * LANES, cuts = (t.M + most - 1) / most;
  t.rows = atk_round_up((t.M + cuts - 1) / cuts, LANES);
  size_t stride = t.depth / 2;
  pair *block = atk_scratch(ATK_SCRATCH_PRODUCT,
                            (t.rows + COLUMNS) * (stride + LANES) * sizeof(pair));
  pair *panel = block + t.rows * stride;
  for (size_t k = 0; k < t.K; k += t.depth) {
    for (size_t m = 0; m < t.M; m += t.rows) {
      size_t rows = atk_min(t.rows, t.M - m);
      pack_block(block, &t, m, rows, k);
      for (size_t n = 0, width; n < t.N; n += width) {
        width = panel_width(t.N, n);
        pack_columns(panel, &t, n, width, k);
        multiply(&t, block, panel, m, rows, n, width, k);
      }
    }
  }
}

// ---- by all threads ----------------------------------------------------------------------------

// Columns begin ..< end of B, packed once for all threads: [cut of K][panel].
typedef struct {
  task t;
  size_t begin, end, panels;
  pair *packed;
} shared_task;

static pair *panel_of(const shared_task *job, size_t n, size_t k) {
  return job->packed + k / 2 * atk_round_up(job->end - job->begin, LANES) +
         (n - job->begin) * ((atk_min(job->t.depth, job->t.K - k) + 1) / 2);
}

static void pack_shared(void *context, size_t begin, size_t end) {
  const shared_task *job = context;
  for (size_t i = begin; i < end; i++) {
    size_t k = i / job->panels * job->t.depth, panel = i % job->panels, n = job->begin;
    for (size_t p = 0; p < panel; p++) n += panel_width(job->end, n);
    pack_columns(panel_of(job, n, k), &job->t, n, panel_width(job->end, n), k);
  }
}

static void multiply_shared(void *context, size_t index) {
  const shared_task *job = context;
  const task *t = &job->t;
  size_t m = index * t->rows, rows = atk_min(t->rows, t->M - m);
  pair *block = atk_scratch(ATK_SCRATCH_PRODUCT, (t->rows * t->depth / 2 + LANES) * sizeof(pair));
  for (size_t k = 0; k < t->K; k += t->depth) {
    pack_block(block, t, m, rows, k);
    for (size_t n = job->begin, width; n < job->end; n += width) {
      width = panel_width(job->end, n);
      multiply(t, block, panel_of(job, n, k), m, rows, n, width, k);
    }
  }
}

// B is packed a piece at a time, which stays in the cache that all threads read; a thread takes a few
// rows after another, so that one that is held up takes fewer.
static void product_of_all(task t) {
  t.depth = depth_of_cuts(t.K);
  // Two turns a thread, or more where a block of A would not stay in its cache: as many for each.
  size_t threads = (size_t)atk_threads(), most = BLOCK / t.depth / LANES * LANES;
  size_t parts = atk_round_up(atk_max((t.M + most - 1) / most, 2 * threads), threads);
  t.rows = atk_max(atk_round_up((t.M + parts - 1) / parts, LANES), SHARED_ROWS);
  size_t deep = atk_round_up(t.K, 2) / 2;
  size_t columns = atk_max(SHARED_PAIRS / deep / COLUMNS, 4) * COLUMNS;
  columns = atk_min(columns, atk_round_up(t.N, LANES));
  shared_task job = {.t = t};
  job.packed = atk_scratch(ATK_SCRATCH_PANELS, columns * deep * sizeof(pair));
  for (; job.begin < t.N; job.begin = job.end) {
    job.end = atk_min(job.begin + columns, t.N);
    job.panels = 0;
    for (size_t n = job.begin; n < job.end; n += panel_width(job.end, n)) job.panels++;
    atk_parallel_for(job.panels * ((t.K + t.depth - 1) / t.depth), pack_shared, &job);
    atk_parallel_each((t.M + t.rows - 1) / t.rows, multiply_shared, &job);
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
  product((task){.order_a = order_a, .order_b = order_b, .M = M, .N = N, .K = K, .lda = lda,
                 .ldc = ldc, .a = a, .b = b, .c = c, .alpha = alpha, .beta = beta});
  return true;
}

bool atk_shares_bf16(size_t M, size_t N, size_t K) {
  return atk_has_bf16() && M >= 2 * SHARED_ROWS && N >= COLUMNS && K >= 2 * LANES;
}

void atk_gemm_bf16_by_all(atk_order order_a, atk_order order_b, size_t M, size_t N, size_t K,
                          float alpha, const float *a, size_t lda, atk_matrix b, float beta,
                          float *c, size_t ldc) {
  product_of_all((task){.order_a = order_a, .order_b = order_b, .M = M, .N = N, .K = K, .lda = lda,
                        .ldc = ldc, .a = a, .b = b, .c = c, .alpha = alpha, .beta = beta});
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

bool atk_shares_bf16(size_t M, size_t N, size_t K) {
  (void)M, (void)N, (void)K;
  return false;
}

void atk_gemm_bf16_by_all(atk_order order_a, atk_order order_b, size_t M, size_t N, size_t K,
                          float alpha, const float *a, size_t lda, atk_matrix b, float beta,
                          float *c, size_t ldc) {
  atk_gemm_bf16(order_a, order_b, M, N, K, alpha, a, lda, b, beta, c, ldc);
}
#endif
