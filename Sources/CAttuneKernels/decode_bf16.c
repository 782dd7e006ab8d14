// SPDX-License-Identifier: Apache-2.0
// Small-batch products of bfloat16 operands with float32 sums, as training computes them (gemm_bf16.c): the
// same instruction in the same order along K, so that a row has the bits of the trainer's product, in any
// batch and on any number of threads.
//
// Weights lie in panels of 48 outputs, for each pair of inputs the outputs' numbers one after another,
// two bytes each; what is kept otherwise is expanded and laid out a panel at a time on the way.
#include "bf16_tiles.h"

#ifdef ATK_BF16_PRODUCTS
static size_t pairs_of(size_t K) { return (K + 1) / 2; }

// ---- inputs -------------------------------------------------------------------------------------
typedef struct {
  pair *out;
  const float *x;
  size_t K, stride;
} input_job;

HALVES static void pack_inputs(void *context, size_t begin, size_t end) {
  const input_job *job = context;
  pack_lines(job->out + begin * job->stride, job->stride, job->x + begin * job->K, job->K,
             end - begin, end - begin, job->K);
}

// ---- the product --------------------------------------------------------------------------------
typedef struct {
  float *y;
  const pair *x;
  const pair *panels;  // or
  atk_matrix w;
  const float *bias;
  size_t M, N, K, stride;
  int accumulate;
} product_job;

// What an output begins with.
static void begin_rows(const product_job *job, size_t n, size_t width) {
  for (size_t m = 0; job->bias && m < job->M; m++) {
    float *y = job->y + m * job->N + n;
    for (size_t j = 0; j < width; j++) y[j] = job->bias[n + j] + (job->accumulate ? y[j] : 0);
  }
}

typedef struct {
  float *y;
  size_t ldy, rows, width;
  const pair *x;
  size_t stride;
  const pair *w;
  size_t pairs;
  float keep;
  const char *next;
} piece;

INLINE void multiply_rows(const piece *p, const int R, const int V, const int lines) {
  float part[ROWS * COLUMNS] __attribute__((aligned(64)));
  bool whole = p->rows == (size_t)R && p->width % LANES == 0;
  tile(whole ? p->y : part, whole ? p->ldy : COLUMNS, p->x, p->stride, p->w, p->pairs, 1,
       whole ? p->keep : 0, p->next, R, V, lines, false);
  for (size_t r = 0; !whole && r < p->rows; r++)
    for (size_t j = 0; j < p->width; j++) {
      float *out = p->y + r * p->ldy + j, value = part[r * COLUMNS + j];
      *out = p->keep == 0 ? value : value + *out;
    }
}

INLINE void multiply(const piece *p, const int V) {
  if (p->rows == 1) multiply_rows(p, 1, V, 0);
  else if (p->rows == 2) multiply_rows(p, 2, V, 0);
  else if (p->rows <= 4) multiply_rows(p, 4, V, 0);
  else multiply_rows(p, ROWS, V, 1);
}

// Panels begin ..< end.
HALVES static void multiply_panels(void *context, size_t begin, size_t end) {
  const product_job *job = context;
  size_t N = job->N, K = job->K, most_depth = depth_of_cuts(K);
  pair *laid_out = job->panels ? NULL
                               : atk_scratch(ATK_SCRATCH_OWN, COLUMNS * DEPTH / 2 * sizeof(pair));
  for (size_t n = begin * COLUMNS; n < atk_min(end * COLUMNS, N); n += COLUMNS) {
    size_t width = atk_min(N - n, COLUMNS), columns = atk_round_up(width, LANES);
    begin_rows(job, n, width);
    for (size_t k = 0; k < K; k += most_depth) {
      size_t depth = atk_min(most_depth, K - k);
      piece p = {.ldy = N, .width = width, .stride = job->stride,
                 .pairs = pairs_of(depth), .keep = k > 0 || job->bias || job->accumulate};
      if (job->panels) {
        p.w = job->panels + n * pairs_of(K) + k / 2 * columns;
      } else {
        atk_bf16_lay_out(laid_out, atk_matrix_part(job->w, n, k), width, depth);
        p.w = laid_out;
      }
      if (atk_has_tiles()) {
        atk_bf16_multiply_on_tiles(job->y + n, N, job->M, width, job->x + k / 2, job->stride, p.w,
                                   p.pairs, 1, p.keep);
        continue;
      }
      p.next = (const char *)(p.w + p.pairs * columns);
      for (size_t m = 0; m < job->M; m += ROWS, p.next += 64 * p.pairs) {
        p.y = job->y + m * N + n;
        p.x = job->x + m * job->stride + k / 2;
        p.rows = atk_min(job->M - m, ROWS);
        switch (columns / LANES) {
          case 1: multiply(&p, 1); break;
          case 2: multiply(&p, 2); break;
          default: multiply(&p, 3); break;
        }
      }
    }
  }
}

static void linear(float *y, const float *x, const void *w, atk_weights format, const void *panels,
                   const float *bias, size_t M, size_t N, size_t K, int accumulate) {
  size_t stride = atk_round_up(K, 32) / 2;
  // A tile reads whole eights of rows, or sixteens.
  pair *inputs = atk_scratch(ATK_SCRATCH_SHARED, atk_round_up(M, LANES) * stride * sizeof(pair));
  input_job pack = {inputs, x, K, stride};
  atk_parallel_rows(M, K, pack_inputs, &pack);
  product_job job = {y, inputs, panels, atk_dense_matrix(w, format, K), bias, M, N, K,
                     stride, accumulate};
  atk_parallel_for((N + COLUMNS - 1) / COLUMNS, multiply_panels, &job);
}
#endif

void atk_linear_decode_bf16(float *y, const float *x, const void *w, atk_weights format,
                            const void *panels_or_null, const float *bias, size_t M, size_t N,
                            size_t K, int accumulate) {
  if (M == 0 || N == 0) return;
#ifdef ATK_BF16_PRODUCTS
  if (atk_has_bf16()) {
    linear(y, x, w, format, panels_or_null, bias, M, N, K, accumulate);
    return;
  }
#endif
  atk_linear_decode(y, x, w, format, bias, M, N, K, accumulate);
}
