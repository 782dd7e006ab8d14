// SPDX-License-Identifier: Apache-2.0
#include "kernels_internal.h"
#include "vector_math.h"

#include <string.h>

typedef struct {
  float *y;
  const float *table;
  const uint16_t *table_bf16;
  const int32_t *ids;
  size_t T, D;
  int accumulate;
} embedding_job;

ATK_MULTIVERSION static void copy_rows(const embedding_job *job, size_t begin, size_t end) {
  for (size_t t = begin; t < end; t++) {
    float *y = job->y + t * job->D;
    const float *x = job->table + (size_t)job->ids[t] * job->D;
    if (job->accumulate) {
      for (size_t i = 0; i < job->D; i++) y[i] += x[i];
    } else {
      memcpy(y, x, job->D * sizeof *y);
    }
  }
}

ATK_MULTIVERSION static void widen_rows(const embedding_job *job, size_t begin, size_t end) {
  for (size_t t = begin; t < end; t++) {
    float *y = job->y + t * job->D;
    const uint16_t *x = job->table_bf16 + (size_t)job->ids[t] * job->D;
    if (job->accumulate) {
      for (size_t i = 0; i < job->D; i++) y[i] += atk_float_of_bf16(x[i]);
    } else {
      for (size_t i = 0; i < job->D; i++) y[i] = atk_float_of_bf16(x[i]);
    }
  }
}

static void forward_rows(void *context, size_t begin, size_t end) {
  const embedding_job *job = context;
  if (job->table) {
    copy_rows(job, begin, end);
  } else {
    widen_rows(job, begin, end);
  }
}

void atk_embedding_forward(float *y, const float *table, const int32_t *ids, size_t T, size_t D,
                           int accumulate) {
  embedding_job job = {.y = y, .table = table, .ids = ids, .D = D, .accumulate = accumulate};
  atk_parallel_rows(T, D, forward_rows, &job);
}

void atk_embedding_forward_bf16(float *y, const uint16_t *table, const int32_t *ids, size_t T,
                                size_t D, int accumulate) {
  embedding_job job = {.y = y, .table_bf16 = table, .ids = ids, .D = D, .accumulate = accumulate};
  atk_parallel_rows(T, D, forward_rows, &job);
}

// Split by columns, because several tokens may have one id: each thread adds in token order.
ATK_MULTIVERSION static void add_columns(float *x, const float *y, const int32_t *index, size_t n,
                                         size_t D, size_t begin, size_t end) {
  for (size_t t = 0; t < n; t++) {
    float *to = x + (size_t)index[t] * D;
    const float *from = y + t * D;
    ATK_ELEMENTWISE
    for (size_t i = begin; i < end; i++) to[i] += from[i];
  }
}

static void scatter_columns(void *context, size_t begin, size_t end) {
  const embedding_job *job = context;
  add_columns(job->y, job->table, job->ids, job->T, job->D, begin, end);
}

void atk_scatter_add_rows(float *x, const float *y, const int32_t *index, size_t n, size_t D) {
  embedding_job job = {.y = x, .table = y, .ids = index, .T = n, .D = D};
  atk_parallel_rows(D, n, scatter_columns, &job);
}

void atk_embedding_backward(float *dtable, const float *dy, const int32_t *ids, size_t T,
                            size_t D) {
  atk_scatter_add_rows(dtable, dy, ids, T, D);
}

void atk_gather_rows(float *y, const float *x, const int32_t *index, size_t n, size_t D) {
  atk_embedding_forward(y, x, index, n, D, 0);
}
