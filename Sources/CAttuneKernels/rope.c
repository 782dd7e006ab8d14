// SPDX-License-Identifier: Apache-2.0
// Rotary positions (Su et al. 2021), with the halves of a head, or of its first dimensions, as the two
// coordinates.
#include "kernels_internal.h"

typedef struct {
  float *x;
  const int32_t *position;
  const float *cosine, *sine;
  size_t heads, C, turned, ldx;
  float direction;
} rope_job;

ATK_MULTIVERSION static void turn_range(const rope_job *job, size_t begin, size_t end) {
  size_t half = job->turned / 2;
  float direction = job->direction;
  for (size_t t = begin; t < end; t++) {
    const float *cosine = job->cosine + (size_t)job->position[t] * half;
    const float *sine = job->sine + (size_t)job->position[t] * half;
    for (size_t h = 0; h < job->heads; h++) {
      float *low = job->x + t * job->ldx + h * job->C, *high = low + half;
      ATK_ELEMENTWISE
      for (size_t i = 0; i < half; i++) {
        float a = low[i], b = high[i], s = sine[i] * direction;
        low[i] = a * cosine[i] - b * s;
        high[i] = b * cosine[i] + a * s;
      }
    }
  }
}

static void turn_rows(void *context, size_t begin, size_t end) { turn_range(context, begin, end); }

void atk_rope_forward(float *x, const int32_t *position, const float *cosine, const float *sine,
                      size_t T, size_t heads, size_t C, size_t turned, size_t ldx) {
  rope_job job = {x, position, cosine, sine, heads, C, turned, ldx, 1};
  atk_parallel_rows(T, heads * C, turn_rows, &job);
}

void atk_rope_backward(float *dx, const int32_t *position, const float *cosine, const float *sine,
                       size_t T, size_t heads, size_t C, size_t turned, size_t ldx) {
  rope_job job = {dx, position, cosine, sine, heads, C, turned, ldx, -1};
  atk_parallel_rows(T, heads * C, turn_rows, &job);
}
