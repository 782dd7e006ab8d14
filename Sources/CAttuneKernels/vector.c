// SPDX-License-Identifier: Apache-2.0
#include "kernels_internal.h"
#include "vector_math.h"

#include <string.h>

typedef struct {
  float *y;
  const float *x;
  uint16_t *y_bf16;
  const uint16_t *x_bf16;
  double *sums;
  size_t count;
  float scale;
} vector_job;

// ---- sum of squares, in blocks that do not depend on the number of threads ---------------------

enum { SUM_BLOCK = 1 << 16 };

ATK_MULTIVERSION static double square_block(const float *x, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) sum += (double)x[i] * (double)x[i];
  return sum;
}

static void square_blocks(void *context, size_t begin, size_t end) {
  const vector_job *job = context;
  for (size_t block = begin; block < end; block++) {
    size_t first = block * SUM_BLOCK;
    job->sums[block] = square_block(job->x + first, atk_min(SUM_BLOCK, job->count - first));
  }
}

double atk_sum_of_squares(const float *x, size_t count) {
  size_t blocks = (count + SUM_BLOCK - 1) / SUM_BLOCK;
  double *sums = atk_scratch(ATK_SCRATCH_SHARED, blocks * sizeof(double));
  vector_job job = {.x = x, .sums = sums, .count = count};
  atk_parallel_for(blocks, square_blocks, &job);
  double sum = 0;
  for (size_t block = 0; block < blocks; block++) sum += sums[block];
  return sum;
}

// ---- elementwise -------------------------------------------------------------------------------

ATK_MULTIVERSION static void add_range(float *y, const float *x, float scale, size_t count) {
  ATK_ELEMENTWISE
  for (size_t i = 0; i < count; i++) y[i] += scale * x[i];
}

static void add_part(void *context, size_t begin, size_t end) {
  const vector_job *job = context;
  add_range(job->y + begin, job->x + begin, job->scale, end - begin);
}

void atk_add(float *y, const float *x, float scale, size_t count) {
  vector_job job = {.y = y, .x = x, .scale = scale};
  atk_parallel_rows(count, 1, add_part, &job);
}

ATK_MULTIVERSION static void scale_range(float *x, float scale, size_t count) {
  for (size_t i = 0; i < count; i++) x[i] *= scale;
}

static void scale_part(void *context, size_t begin, size_t end) {
  const vector_job *job = context;
  scale_range(job->y + begin, job->scale, end - begin);
}

void atk_scale(float *x, float scale, size_t count) {
  vector_job job = {.y = x, .scale = scale};
  atk_parallel_rows(count, 1, scale_part, &job);
}

ATK_MULTIVERSION static void approach_range(float *y, const float *x, float share, size_t count) {
  ATK_ELEMENTWISE
  for (size_t i = 0; i < count; i++) y[i] += share * (x[i] - y[i]);
}

static void approach_part(void *context, size_t begin, size_t end) {
  const vector_job *job = context;
  approach_range(job->y + begin, job->x + begin, job->scale, end - begin);
}

void atk_approach(float *y, const float *x, float share, size_t count) {
  vector_job job = {.y = y, .x = x, .scale = share};
  atk_parallel_rows(count, 1, approach_part, &job);
}

static void zero_part(void *context, size_t begin, size_t end) {
  const vector_job *job = context;
  memset(job->y + begin, 0, (end - begin) * sizeof(float));
}

void atk_zero(float *x, size_t count) {
  vector_job job = {.y = x};
  atk_parallel_rows(count, 1, zero_part, &job);
}

static void copy_part(void *context, size_t begin, size_t end) {
  const vector_job *job = context;
  memcpy(job->y + begin, job->x + begin, (end - begin) * sizeof(float));
}

void atk_copy(float *y, const float *x, size_t count) {
  vector_job job = {.y = y, .x = x};
  atk_parallel_rows(count, 1, copy_part, &job);
}

// ---- bfloat16 ----------------------------------------------------------------------------------

// The upper half is the number in bfloat16.
ATK_INLINE uint32_t rounded_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  bool nan = (bits & 0x7fffffff) > 0x7f800000;
  // A NaN keeps its upper half and is made quiet: rounding could carry it into infinity.
  return nan ? bits | 0x400000 : bits + 0x7fff + ((bits >> 16) & 1);
}

ATK_MULTIVERSION static void narrow_range(uint16_t *y, const float *x, size_t count) {
  for (size_t i = 0; i < count; i++) y[i] = (uint16_t)(rounded_bits(x[i]) >> 16);
}

static void narrow_part(void *context, size_t begin, size_t end) {
  const vector_job *job = context;
  narrow_range(job->y_bf16 + begin, job->x + begin, end - begin);
}

void atk_bf16_from_float(uint16_t *y, const float *x, size_t count) {
  vector_job job = {.y_bf16 = y, .x = x};
  atk_parallel_rows(count, 1, narrow_part, &job);
}

ATK_MULTIVERSION static void widen_range(float *y, const uint16_t *x, size_t count) {
  for (size_t i = 0; i < count; i++) y[i] = atk_float_of_bf16(x[i]);
}

static void widen_part(void *context, size_t begin, size_t end) {
  const vector_job *job = context;
  widen_range(job->y + begin, job->x_bf16 + begin, end - begin);
}

void atk_float_from_bf16(float *y, const uint16_t *x, size_t count) {
  vector_job job = {.y = y, .x_bf16 = x};
  atk_parallel_rows(count, 1, widen_part, &job);
}

ATK_MULTIVERSION static void round_range(float *x, size_t count) {
  for (size_t i = 0; i < count; i++) x[i] = atk_float_of_bf16((uint16_t)(rounded_bits(x[i]) >> 16));
}

static void round_part(void *context, size_t begin, size_t end) {
  const vector_job *job = context;
  round_range(job->y + begin, end - begin);
}

void atk_round_to_bf16(float *x, size_t count) {
  vector_job job = {.y = x};
  atk_parallel_rows(count, 1, round_part, &job);
}
