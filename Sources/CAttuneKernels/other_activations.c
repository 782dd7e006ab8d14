// SPDX-License-Identifier: Apache-2.0
// Activations of GPT-2's relatives: GELU by the error function, x·Φ(x), and max(x, 0).
#include "kernels_internal.h"

#include <math.h>

#define ROOT_HALF 0.707106781186547524f
#define INVERSE_ROOT_2_PI 0.398942280401432678f

typedef struct {
  float *y, *dx;
  const float *x, *dy;
} activation_job;

static float normal_distribution(float v) { return 0.5f * (1 + erff(v * ROOT_HALF)); }

static void gelu_forward_part(void *context, size_t begin, size_t end) {
  const activation_job *job = context;
  for (size_t i = begin; i < end; i++) job->y[i] = job->x[i] * normal_distribution(job->x[i]);
}

void atk_gelu_erf_forward(float *y, const float *x, size_t count) {
  activation_job job = {.y = y, .x = x};
  atk_parallel_rows(count, 16, gelu_forward_part, &job);
}

static void gelu_backward_part(void *context, size_t begin, size_t end) {
  const activation_job *job = context;
  for (size_t i = begin; i < end; i++) {
    float v = job->x[i], phi = normal_distribution(v);
    float density = INVERSE_ROOT_2_PI * expf(-0.5f * v * v);
    job->dx[i] = job->dy[i] * (phi + v * density);
    if (job->y) job->y[i] = v * phi;
  }
}

void atk_gelu_erf_backward(float *dx, float *y_or_null, const float *dy, const float *x,
                           size_t count) {
  activation_job job = {.y = y_or_null, .dx = dx, .x = x, .dy = dy};
  atk_parallel_rows(count, 24, gelu_backward_part, &job);
}

static void relu_forward_part(void *context, size_t begin, size_t end) {
  const activation_job *job = context;
  for (size_t i = begin; i < end; i++) job->y[i] = job->x[i] < 0 ? 0 : job->x[i];
}

void atk_relu_forward(float *y, const float *x, size_t count) {
  activation_job job = {.y = y, .x = x};
  atk_parallel_rows(count, 2, relu_forward_part, &job);
}

static void relu_backward_part(void *context, size_t begin, size_t end) {
  const activation_job *job = context;
  for (size_t i = begin; i < end; i++) {
    float v = job->x[i];
    job->dx[i] = v > 0 ? job->dy[i] : 0;
    if (job->y) job->y[i] = v < 0 ? 0 : v;
  }
}

void atk_relu_backward(float *dx, float *y_or_null, const float *dy, const float *x,
                       size_t count) {
  activation_job job = {.y = y_or_null, .dx = dx, .x = x, .dy = dy};
  atk_parallel_rows(count, 3, relu_backward_part, &job);
}
