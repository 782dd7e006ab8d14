// SPDX-License-Identifier: Apache-2.0
#include "kernels_internal.h"

#include <string.h>

typedef struct {
  float *y;
  const float *table;
  atk_matrix stored;  // the table, unless that is float32
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

static void expand_rows(const embedding_job *job, size_t begin, size_t end) {
  float *row = atk_scratch(ATK_SCRATCH_OWN, job->D * sizeof *row);
  embedding_job one = *job;
  one.table = row;
  one.ids = &(int32_t){0};
  for (size_t t = begin; t < end; t++) {
    atk_expand_part(row, job->stored, (size_t)job->ids[t], 1, 0, job->D);
    one.y = job->y + t * job->D;
    copy_rows(&one, 0, 1);
  }
}

static void forward_rows(void *context, size_t begin, size_t end) {
  const embedding_job *job = context;
  if (job->table) {
    copy_rows(job, begin, end);
  } else {
    expand_rows(job, begin, end);
  }
}

void atk_embedding_forward(float *y, const float *table, const int32_t *ids, size_t T, size_t D,
                           int accumulate) {
  atk_embedding_forward_stored(y, table, ATK_FLOAT32, ids, T, D, accumulate);
}

void atk_embedding_forward_stored(float *y, const void *table, atk_weights format,
                                  const int32_t *ids, size_t T, size_t D, int accumulate) {
  embedding_job job = {.y = y, .table = format == ATK_FLOAT32 ? table : NULL,
                       .stored = atk_dense_matrix(table, format, D), .ids = ids, .D = D,
                       .accumulate = accumulate};
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
