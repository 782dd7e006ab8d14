// SPDX-License-Identifier: Apache-2.0
// AdamW (Loshchilov & Hutter 2019), in the order of operations of torch.optim.AdamW.
#include "kernels_internal.h"

#include <math.h>

typedef struct {
  float *p, *m, *v;
  const float *g;
  float gradient_scale, decay, keep2, add1, add2, step_size, root_bias2, epsilon;
} adamw_job;

ATK_MULTIVERSION static void step_range(const adamw_job *job, size_t begin, size_t end) {
  float *p = job->p, *m = job->m, *v = job->v;
  const float *g = job->g;
  const float scale = job->gradient_scale, decay = job->decay, keep2 = job->keep2;
  const float add1 = job->add1, add2 = job->add2, step_size = job->step_size;
  const float root_bias2 = job->root_bias2, epsilon = job->epsilon;
  ATK_ELEMENTWISE
  for (size_t i = begin; i < end; i++) {
    float gradient = g[i] * scale;
    float first = m[i] + (gradient - m[i]) * add1;
    float second = v[i] * keep2 + gradient * gradient * add2;
    m[i] = first;
    v[i] = second;
    p[i] = p[i] * decay - step_size * first / (sqrtf(second) / root_bias2 + epsilon);
  }
}

static void step_part(void *context, size_t begin, size_t end) { step_range(context, begin, end); }

void atk_adamw_step(float *p, float *m, float *v, const float *g, float gradient_scale,
                    float learning_rate, float beta1, float beta2, float epsilon,
                    float weight_decay, float bias1, float bias2, size_t count) {
  adamw_job job = {.p = p, .m = m, .v = v, .g = g, .gradient_scale = gradient_scale,
                   .decay = (float)(1.0 - (double)learning_rate * weight_decay),
                   .keep2 = beta2, .add1 = (float)(1.0 - (double)beta1),
                   .add2 = (float)(1.0 - (double)beta2),
                   .step_size = (float)((double)learning_rate / bias1),
                   .root_bias2 = (float)sqrt((double)bias2), .epsilon = epsilon};
  atk_parallel_rows(count, 4, step_part, &job);
}
