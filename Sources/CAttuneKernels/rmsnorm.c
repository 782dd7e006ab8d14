// SPDX-License-Identifier: Apache-2.0
// y = x / rms(x) · (weight + offset) (Zhang & Sennrich 2019).
#include "kernels_internal.h"

#include <math.h>

typedef struct {
  float *y, *rstd, *dx, *dweight;
  const float *x, *dy, *weight, *saved_rstd;
  float epsilon;
  size_t T, heads, width, ldy, ldx, lddx, lddy;
  int accumulate;
} rmsnorm_job;

ATK_MULTIVERSION static void forward_range(const rmsnorm_job *job, size_t begin, size_t end) {
  size_t width = job->width;
  const float *weight = job->weight;
  for (size_t index = begin; index < end; index++) {
    size_t t = index / job->heads, h = index % job->heads;
    const float *x = job->x + t * job->ldx + h * width;
    float *y = job->y + t * job->ldy + h * width;
    float squares = 0;
    for (size_t i = 0; i < width; i++) squares += x[i] * x[i];
    float rstd = 1.0f / sqrtf(squares / (float)width + job->epsilon);
    ATK_ELEMENTWISE
    for (size_t i = 0; i < width; i++) y[i] = x[i] * rstd * weight[i];
    if (job->rstd) job->rstd[index] = rstd;
  }
}

static void forward_rows(void *context, size_t begin, size_t end) {
  forward_range(context, begin, end);
}

// The weights as they multiply: their sum with the offset is made once a call, not once a row.
static const float *weights_with(float offset, const float *weight, size_t width) {
  if (offset == 0) return weight;
  float *sum = atk_scratch(ATK_SCRATCH_SHARED, width * sizeof(float));
  for (size_t i = 0; i < width; i++) sum[i] = weight[i] + offset;
  return sum;
}

void atk_rmsnorm_forward(float *y, float *rstd, const float *x, const float *weight, float offset,
                         float epsilon, size_t T, size_t heads, size_t width, size_t ldy,
                         size_t ldx) {
  rmsnorm_job job = {.y = y, .rstd = rstd, .x = x,
                     .weight = weights_with(offset, weight, width), .epsilon = epsilon,
                     .heads = heads, .width = width, .ldy = ldy, .ldx = ldx};
  atk_parallel_rows(T * heads, width, forward_rows, &job);
}

// With g = dy·weight and n = x·rstd: dx = rstd·(g − n·mean(g·n)).
ATK_MULTIVERSION static void backward_range(const rmsnorm_job *job, size_t begin, size_t end) {
  size_t width = job->width;
  const float *weight = job->weight;
  for (size_t index = begin; index < end; index++) {
    size_t t = index / job->heads, h = index % job->heads;
    const float *x = job->x + t * job->ldx + h * width;
    const float *dy = job->dy + t * job->lddy + h * width;
    float *dx = job->dx + t * job->lddx + h * width;
    float rstd = job->saved_rstd[index];
    float dot = 0;
    for (size_t i = 0; i < width; i++) dot += dy[i] * weight[i] * x[i];
    float along = dot * rstd * rstd * rstd / (float)width;
    if (job->accumulate) {
      ATK_ELEMENTWISE
      for (size_t i = 0; i < width; i++) dx[i] += dy[i] * weight[i] * rstd - x[i] * along;
    } else {
      ATK_ELEMENTWISE
      for (size_t i = 0; i < width; i++) dx[i] = dy[i] * weight[i] * rstd - x[i] * along;
    }
  }
}

static void backward_rows(void *context, size_t begin, size_t end) {
  backward_range(context, begin, end);
}

// Split by columns, so that every sum runs over the rows in order on one thread.
ATK_MULTIVERSION static void weight_range(const rmsnorm_job *job, size_t begin, size_t end) {
  float *dweight = job->dweight;
  for (size_t t = 0; t < job->T; t++) {
    for (size_t h = 0; h < job->heads; h++) {
      const float *x = job->x + t * job->ldx + h * job->width;
      const float *dy = job->dy + t * job->lddy + h * job->width;
      float rstd = job->saved_rstd[t * job->heads + h];
      ATK_ELEMENTWISE
      for (size_t i = begin; i < end; i++) dweight[i] += dy[i] * x[i] * rstd;
    }
  }
}

static void weight_columns(void *context, size_t begin, size_t end) {
  weight_range(context, begin, end);
}

void atk_rmsnorm_backward(float *dx, float *dweight_or_null, const float *dy, const float *x,
                          const float *weight, float offset, const float *rstd, size_t T,
                          size_t heads, size_t width, size_t lddx, size_t lddy, size_t ldx,
                          int accumulate) {
  rmsnorm_job job = {.dx = dx, .dweight = dweight_or_null, .x = x, .dy = dy,
                     .weight = weights_with(offset, weight, width),
                     .saved_rstd = rstd, .T = T, .heads = heads, .width = width, .ldx = ldx,
                     .lddx = lddx, .lddy = lddy, .accumulate = accumulate};
  // First, because dx may be dy.
  if (dweight_or_null) atk_parallel_rows(width, T * heads, weight_columns, &job);
  atk_parallel_rows(T * heads, width, backward_rows, &job);
}
