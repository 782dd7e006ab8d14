// SPDX-License-Identifier: Apache-2.0
// GPT-2's GELU: ½x(1 + tanh(√(2/π)(x + 0.044715x³))) (Hendrycks & Gimpel 2016), alone and as the gate of
// another product (Shazeer 2020).
#include "kernels_internal.h"
#include "vector_math.h"

#define ROOT_2_OVER_PI 0.797884560802865356f
#define CUBIC 0.044715f

typedef struct {
  float *y, *dx;
  const float *x, *dy;
} gelu_job;

ATK_MULTIVERSION static void forward_range(float *y, const float *x, size_t count) {
  ATK_ELEMENTWISE
  for (size_t i = 0; i < count; i++) {
    float v = x[i];
    y[i] = 0.5f * v * (1 + atk_tanhf(ROOT_2_OVER_PI * (v + CUBIC * v * v * v)));
  }
}

static void forward_part(void *context, size_t begin, size_t end) {
  const gelu_job *job = context;
  forward_range(job->y + begin, job->x + begin, end - begin);
}

void atk_gelu_forward(float *y, const float *x, size_t count) {
  gelu_job job = {.y = y, .x = x};
  atk_parallel_rows(count, 4, forward_part, &job);
}

ATK_MULTIVERSION static void backward_range(float *dx, float *y, const float *dy, const float *x,
                                            size_t count) {
  ATK_ELEMENTWISE
  for (size_t i = 0; i < count; i++) {
    float v = x[i], d = dy[i];
    float t = atk_tanhf(ROOT_2_OVER_PI * (v + CUBIC * v * v * v));
    float slope = ROOT_2_OVER_PI * (1 + 3 * CUBIC * v * v);
    dx[i] = d * 0.5f * (1 + t + v * (1 - t * t) * slope);
    if (y) y[i] = 0.5f * v * (1 + t);
  }
}

static void backward_part(void *context, size_t begin, size_t end) {
  const gelu_job *job = context;
  backward_range(job->dx + begin, job->y ? job->y + begin : NULL, job->dy + begin, job->x + begin,
                 end - begin);
}

void atk_gelu_backward(float *dx, float *y_or_null, const float *dy, const float *x,
                       size_t count) {
  gelu_job job = {.y = y_or_null, .dx = dx, .x = x, .dy = dy};
  atk_parallel_rows(count, 6, backward_part, &job);
}

// ---- gelu(gate)·up -----------------------------------------------------------------------------

typedef struct {
  float *y, *dgate_up;
  const float *gate_up, *dy;
  size_t F;
} geglu_job;

ATK_MULTIVERSION static void gated_range(const geglu_job *job, size_t begin, size_t end) {
  size_t F = job->F;
  for (size_t t = begin; t < end; t++) {
    const float *gate = job->gate_up + t * 2 * F, *up = gate + F;
    float *y = job->y + t * F;
    ATK_ELEMENTWISE
    for (size_t i = 0; i < F; i++) {
      float v = gate[i];
      y[i] = 0.5f * v * (1 + atk_tanhf(ROOT_2_OVER_PI * (v + CUBIC * v * v * v))) * up[i];
    }
  }
}

static void gated_rows(void *context, size_t begin, size_t end) { gated_range(context, begin, end); }

void atk_geglu_forward(float *y, const float *gate_up, size_t T, size_t F) {
  geglu_job job = {.y = y, .gate_up = gate_up, .F = F};
  atk_parallel_rows(T, 4 * F, gated_rows, &job);
}

ATK_MULTIVERSION static void gated_backward_range(const geglu_job *job, size_t begin, size_t end) {
  size_t F = job->F;
  for (size_t t = begin; t < end; t++) {
    const float *gate = job->gate_up + t * 2 * F, *up = gate + F, *dy = job->dy + t * F;
    float *dgate = job->dgate_up + t * 2 * F, *dup = dgate + F;
    float *y = job->y ? job->y + t * F : NULL;
    ATK_ELEMENTWISE
    for (size_t i = 0; i < F; i++) {
      float v = gate[i], u = up[i], d = dy[i];
      float s = atk_tanhf(ROOT_2_OVER_PI * (v + CUBIC * v * v * v));
      float slope = ROOT_2_OVER_PI * (1 + 3 * CUBIC * v * v);
      dgate[i] = d * u * 0.5f * (1 + s + v * (1 - s * s) * slope);
      dup[i] = d * 0.5f * v * (1 + s);
      if (y) y[i] = 0.5f * v * (1 + s) * u;
    }
  }
}

static void gated_backward_rows(void *context, size_t begin, size_t end) {
  gated_backward_range(context, begin, end);
}

void atk_geglu_backward(float *dgate_up, float *y_or_null, const float *dy, const float *gate_up,
                        size_t T, size_t F) {
  geglu_job job = {.y = y_or_null, .dgate_up = dgate_up, .gate_up = gate_up, .dy = dy, .F = F};
  atk_parallel_rows(T, 6 * F, gated_backward_rows, &job);
}
