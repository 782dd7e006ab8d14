// SPDX-License-Identifier: Apache-2.0
// The second product of low-rank adapters in decoding.
#include "decode_vectors.h"

typedef struct {
  float *y;
  size_t ldy;
  const float *low;
  size_t ldlow;
  const float *b;
  float scale;
  size_t M, N, rank;
} adapter_job;

// 16 outputs of `rows` (at most 4) rows; b: for every rank the outputs' numbers, scaled.
INLINE void add(float *y, size_t ldy, const float *low, size_t ldlow, const float *b, size_t rank,
                size_t width, const int rows) {
  f16 sum[4] = {{0}, {0}, {0}, {0}};
  for (size_t r = 0; r < rank; r++, b += 16) {
    f16 column = *(const f16 *)b;
    UNROLL for (int m = 0; m < rows; m++) sum[m] += low[m * ldlow + r] * column;
  }
  UNROLL for (int m = 0; m < rows; m++) {
    float *out = y + m * ldy;
    if (width == 16) {
      *(f16_unaligned *)out = LOAD(out) + sum[m];
    } else {
      for (size_t i = 0; i < width; i++) out[i] += sum[m][i];
    }
  }
}

// Blocks begin ..< end of 16 outputs.
INLINE void adapter(void *context, size_t begin, size_t end, const int R, const int S) {
  (void)R, (void)S;
  const adapter_job *job = context;
  size_t rank = job->rank;
  float *turned = atk_scratch(ATK_SCRATCH_OWN, rank * 16 * sizeof(float));
  for (size_t n = 16 * begin; n < 16 * end; n += 16) {
    size_t width = atk_min(job->N - n, 16);
    const float *b = job->b + n * rank;
    for (size_t r = 0; r < rank; r++)
      for (size_t i = 0; i < 16; i++)
        turned[r * 16 + i] = job->scale * b[atk_min(i, width - 1) * rank + r];
    size_t m = 0;
    for (; m + 4 <= job->M; m += 4)
      add(job->y + m * job->ldy + n, job->ldy, job->low + m * job->ldlow, job->ldlow, turned, rank,
          width, 4);
    for (; m < job->M; m++)
      add(job->y + m * job->ldy + n, job->ldy, job->low + m * job->ldlow, job->ldlow, turned, rank,
          width, 1);
  }
}
BODIES(adapter)

void atk_adapter_decode(float *y, size_t ldy, const float *low, size_t ldlow, const float *b,
                        float scale, size_t M, size_t N, size_t rank) {
  adapter_job job = {y, ldy, low, ldlow, b, scale, M, N, rank};
  size_t blocks = (N + 15) / 16;
  if (blocks * 16 * rank * (M + 8) < 131072) {  // some microseconds, not worth waking others
    BODY(adapter)(&job, 0, blocks);
  } else {
    atk_parallel_for(blocks, BODY(adapter), &job);
  }
}
