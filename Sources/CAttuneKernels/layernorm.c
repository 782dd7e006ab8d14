// SPDX-License-Identifier: Apache-2.0
// y = (x − mean) / deviation · weight + bias (Ba, Kiros & Hinton 2016).
#include "kernels_internal.h"

#include <math.h>

typedef struct {
  float *y, *mean, *rstd, *dx, *dweight, *dbias;
  const float *x, *dy, *weight, *bias, *saved_mean, *saved_rstd;
  float epsilon;
  size_t T, D;
  int accumulate;
} layernorm_job;

ATK_MULTIVERSION static void forward_range(const layernorm_job *job, size_t begin, size_t end) {
  size_t D = job->D;
  const float *weight = job->weight, *bias = job->bias;
  for (size_t t = begin; t < end; t++) {
    const float *x = job->x + t * D;
    float *y = job->y + t * D;
    float sum = 0;
    for (size_t i = 0; i < D; i++) sum += x[i];
    float mean = sum / (float)D, squares = 0;
    for (size_t i = 0; i < D; i++) squares += (x[i] - mean) * (x[i] - mean);
    float rstd = 1.0f / sqrtf(squares / (float)D + job->epsilon);
    ATK_ELEMENTWISE
    for (size_t i = 0; i < D; i++) y[i] = (x[i] - mean) * rstd * weight[i] + bias[i];
    if (job->mean) job->mean[t] = mean;
    if (job->rstd) job->rstd[t] = rstd;
  }
}

static void forward_rows(void *context, size_t begin, size_t end) {
  forward_range(context, begin, end);
}

void atk_layernorm_forward(float *y, float *mean, float *rstd, const float *x, const float *weight,
                           const float *bias, float epsilon, size_t T, size_t D) {
  layernorm_job job = {.y = y, .mean = mean, .rstd = rstd, .x = x, .weight = weight, .bias = bias,
                       .epsilon = epsilon, .D = D};
  atk_parallel_rows(T, D, forward_rows, &job);
}

// With g = dy·weight and n = (x − mean)·rstd: dx = rstd·(g − mean(g) − n·mean(g·n)).
ATK_MULTIVERSION static void backward_range(const layernorm_job *job, size_t begin, size_t end) {
  size_t D = job->D;
  const float *weight = job->weight;
  for (size_t t = begin; t < end; t++) {
    const float *x = job->x + t * D, *dy = job->dy + t * D;
    float *dx = job->dx + t * D;
    float mean = job->saved_mean[t], rstd = job->saved_rstd[t];
    float sum = 0, dot = 0;
    for (size_t i = 0; i < D; i++) {
      float g = dy[i] * weight[i];
      sum += g;
      dot += g * (x[i] - mean);
    }
    float shift = rstd * sum / (float)D, along = dot * rstd * rstd * rstd / (float)D;
    if (job->accumulate) {
      ATK_ELEMENTWISE
      for (size_t i = 0; i < D; i++)
        dx[i] += dy[i] * weight[i] * rstd - shift - (x[i] - mean) * along;
    } else {
      ATK_ELEMENTWISE
      for (size_t i = 0; i < D; i++)
        dx[i] = dy[i] * weight[i] * rstd - shift - (x[i] - mean) * along;
    }
  }
}

static void backward_rows(void *context, size_t begin, size_t end) {
  backward_range(context, begin, end);
}

// Split by columns, so that every sum runs over the rows in order on one thread.
ATK_MULTIVERSION static void weight_range(const layernorm_job *job, size_t begin, size_t end) {
  for (size_t t = 0; t < job->T; t++) {
    const float *x = job->x + t * job->D, *dy = job->dy + t * job->D;
    float mean = job->saved_mean[t], rstd = job->saved_rstd[t];
    float *dweight = job->dweight, *dbias = job->dbias;
    if (dweight) {
      ATK_ELEMENTWISE
      for (size_t i = begin; i < end; i++) dweight[i] += dy[i] * (x[i] - mean) * rstd;
    }
    if (dbias) {
      ATK_ELEMENTWISE
      for (size_t i = begin; i < end; i++) dbias[i] += dy[i];
    }
  }
}

static void weight_columns(void *context, size_t begin, size_t end) {
  weight_range(context, begin, end);
}

void atk_layernorm_backward(float *dx, float *dweight_or_null, float *dbias_or_null,
                            const float *dy, const float *x, const float *weight,
                            const float *mean, const float *rstd, size_t T, size_t D,
                            int accumulate) {
  layernorm_job job = {.dx = dx, .dweight = dweight_or_null, .dbias = dbias_or_null, .x = x,
                       .dy = dy, .weight = weight, .saved_mean = mean, .saved_rstd = rstd, .T = T,
                       .D = D, .accumulate = accumulate};
  // First, because dx may be dy.
  if (dweight_or_null || dbias_or_null) atk_parallel_rows(D, T, weight_columns, &job);
  atk_parallel_rows(T, D, backward_rows, &job);
}
