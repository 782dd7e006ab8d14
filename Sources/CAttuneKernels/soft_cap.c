// SPDX-License-Identifier: Apache-2.0
// cap·tanh(x/cap): scores and logits that stay between two bounds.
#include "kernels_internal.h"
#include "vector_math.h"

ATK_MULTIVERSION static void cap_range(float *x, float cap, size_t count) {
  float inverse = 1 / cap;
  ATK_ELEMENTWISE
  for (size_t i = 0; i < count; i++) x[i] = cap * atk_tanhf(x[i] * inverse);
}

void atk_soft_cap(float *x, float cap, size_t count) { cap_range(x, cap, count); }

typedef struct {
  float *x;
  float cap;
} cap_job;

static void cap_part(void *context, size_t begin, size_t end) {
  const cap_job *job = context;
  cap_range(job->x + begin, job->cap, end - begin);
}

void atk_cap_logits(float *logits, float cap, size_t count) {
  cap_job job = {logits, cap};
  atk_parallel_rows(count, 6, cap_part, &job);
}
