// SPDX-License-Identifier: Apache-2.0
// silu(gate)·up (Shazeer 2020), silu(x) = x·σ(x).
#include "kernels_internal.h"
#include "vector_math.h"

typedef struct {
  float *y, *dgate_up;
  const float *gate_up, *dy;
  size_t F;
} swiglu_job;

ATK_MULTIVERSION static void forward_range(const swiglu_job *job, size_t begin, size_t end) {
  size_t F = job->F;
  for (size_t t = begin; t < end; t++) {
    const float *gate = job->gate_up + t * 2 * F, *up = gate + F;
    float *y = job->y + t * F;
    ATK_ELEMENTWISE
    for (size_t i = 0; i < F; i++) y[i] = gate[i] * atk_sigmoidf(gate[i]) * up[i];
  }
}

static void forward_rows(void *context, size_t begin, size_t end) {
  forward_range(context, begin, end);
}

void atk_swiglu_forward(float *y, const float *gate_up, size_t T, size_t F) {
  swiglu_job job = {.y = y, .gate_up = gate_up, .F = F};
  atk_parallel_rows(T, 4 * F, forward_rows, &job);
}

ATK_MULTIVERSION static void backward_range(const swiglu_job *job, size_t begin, size_t end) {
  size_t F = job->F;
  for (size_t t = begin; t < end; t++) {
    const float *gate = job->gate_up + t * 2 * F, *up = gate + F, *dy = job->dy + t * F;
    float *dgate = job->dgate_up + t * 2 * F, *dup = dgate + F;
    if (job->y) {
      float *y = job->y + t * F;
      ATK_ELEMENTWISE
      for (size_t i = 0; i < F; i++) {
        float g = gate[i], u = up[i], d = dy[i], s = atk_sigmoidf(g);
        dgate[i] = d * u * s * (1 + g * (1 - s));
        dup[i] = d * g * s;
        y[i] = g * s * u;
      }
    } else {
      ATK_ELEMENTWISE
      for (size_t i = 0; i < F; i++) {
        float g = gate[i], u = up[i], d = dy[i], s = atk_sigmoidf(g);
        dgate[i] = d * u * s * (1 + g * (1 - s));
        dup[i] = d * g * s;
      }
    }
  }
}

static void backward_rows(void *context, size_t begin, size_t end) {
  backward_range(context, begin, end);
}

void atk_swiglu_backward(float *dgate_up, float *y_or_null, const float *dy, const float *gate_up,
                         size_t T, size_t F) {
  swiglu_job job = {.y = y_or_null, .dgate_up = dgate_up, .gate_up = gate_up, .dy = dy, .F = F};
  atk_parallel_rows(T, 6 * F, backward_rows, &job);
}
