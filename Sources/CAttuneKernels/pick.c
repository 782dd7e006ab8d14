// SPDX-License-Identifier: Apache-2.0
// Picking tokens: log-sum-exp, draws, the greatest logit, and thresholds of top-k and top-p.
#include "decode_vectors.h"

enum { block = 256, bins = 1024, bins_per_nat = 32 };

typedef struct {
  int32_t *id;
  double *log_sum_exp;
  float *threshold;
  const float *logits;
  const double *uniform;
  float inverse_temperature;
  size_t V, top_k;
  double top_p;
} picking_job;

INLINE float greatest_of(const float *x, size_t count) {
  f16 most;
  load_part(&most, x, atk_min(count, 16), -INFINITY);
  size_t i = 16;
  for (; i + 16 <= count; i += 16) {
    f16 value = LOAD(x + i);
    most = __builtin_elementwise_max(value, most);
  }
  float greatest = most[0];
  for (int j = 1; j < 16; j++) greatest = most[j] > greatest ? most[j] : greatest;
  for (; i < count; i++) greatest = x[i] > greatest ? x[i] : greatest;
  return greatest;
}

// e^((x − greatest)·scale) of one block, to out[block] (zeros behind it); returns the sum.
INLINE double block_exponentials(float *out, const float *x, size_t count, float greatest,
                                 float scale) {
  f16 sum = {0};
  size_t i = 0;
  for (; i < count; i += 16) {
    f16 value;
    if (i + 16 <= count) {
      value = LOAD(x + i);
    } else {
      load_part(&value, x + i, count - i, -INFINITY);
    }
    value = (value - greatest) * scale;
    exp_lanes(&value);
    *(f16_unaligned *)(out + i) = value;
    sum += value;
  }
  return sum_lanes(&sum);
}

INLINE void log_sum_exp(void *context, size_t begin, size_t end, const int R, const int S) {
  (void)R, (void)S;
  const picking_job *job = context;
  size_t V = job->V;
  float values[block];
  for (size_t m = begin; m < end; m++) {
    const float *row = job->logits + m * V;
    float greatest = greatest_of(row, V), scale = job->inverse_temperature;
    double total = 0;
    for (size_t v = 0; v < V; v += block)
      total += block_exponentials(values, row + v, atk_min(block, V - v), greatest, scale);
    job->log_sum_exp[m] = (double)greatest * scale + log(total);
  }
}
BODIES(log_sum_exp)

void atk_log_sum_exp(double *result, const float *logits, float inverse_temperature, size_t M,
                     size_t V) {
  picking_job job = {.log_sum_exp = result, .logits = logits,
                     .inverse_temperature = inverse_temperature, .V = V};
  atk_parallel_for(M, BODY(log_sum_exp), &job);
}

INLINE void pick(void *context, size_t begin, size_t end, const int R, const int S) {
  (void)R, (void)S;
  const picking_job *job = context;
  size_t V = job->V, blocks = (V + block - 1) / block;
  float values[block], scale = job->inverse_temperature;
  double *sums = atk_scratch(ATK_SCRATCH_OWN, blocks * sizeof(double));
  for (size_t m = begin; m < end; m++) {
    const float *row = job->logits + m * V;
    float greatest = greatest_of(row, V);
    double total = 0;
    for (size_t b = 0; b < blocks; b++) {
      size_t v = b * block;
      sums[b] = block_exponentials(values, row + v, atk_min(block, V - v), greatest, scale);
      total += sums[b];
    }
    // The block first, then the id in it. Rounding may leave a rest: then the last possible id.
    double rest = job->uniform[m] * total;
    size_t chosen = 0;
    for (size_t b = 0; b < blocks; b++) {
      if (sums[b] > 0) chosen = b;
      if (rest < sums[b]) break;
      if (b + 1 < blocks) rest -= sums[b];
    }
    size_t v = chosen * block, count = atk_min(block, V - v), id = v;
    block_exponentials(values, row + v, count, greatest, scale);
    for (size_t i = 0; i < count; i++) {
      if (values[i] > 0) id = v + i;
      if (values[i] > 0 && rest < values[i]) break;
      rest -= values[i];
    }
    job->id[m] = (int32_t)id;
  }
}
BODIES(pick)

void atk_pick(int32_t *id, const float *logits, const double *uniform, float inverse_temperature,
              size_t M, size_t V) {
  picking_job job = {.id = id, .logits = logits, .uniform = uniform,
                     .inverse_temperature = inverse_temperature, .V = V};
  atk_parallel_for(M, BODY(pick), &job);
}

INLINE void pick_greatest(void *context, size_t begin, size_t end, const int R, const int S) {
  (void)R, (void)S;
  const picking_job *job = context;
  for (size_t m = begin; m < end; m++) {
    const float *row = job->logits + m * job->V;
    float greatest = greatest_of(row, job->V);
    size_t id = 0;
    while (id + 1 < job->V && row[id] != greatest) id++;
    job->id[m] = (int32_t)id;
  }
}
BODIES(pick_greatest)

void atk_pick_greatest(int32_t *id, const float *logits, size_t M, size_t V) {
  picking_job job = {.id = id, .logits = logits, .V = V};
  atk_parallel_for(M, BODY(pick_greatest), &job);
}

// Probability and number of ids by distance from the greatest logit, in bins.
INLINE void threshold(void *context, size_t begin, size_t end, const int R, const int S) {
  (void)R, (void)S;
  const picking_job *job = context;
  size_t V = job->V;
  float values[block], scale = job->inverse_temperature;
  for (size_t m = begin; m < end; m++) {
    const float *row = job->logits + m * V;
    float greatest = greatest_of(row, V);
    double mass[bins] = {0}, total = 0;
    size_t number[bins] = {0};
    for (size_t v = 0; v < V; v += block) {
      size_t count = atk_min(block, V - v);
      total += block_exponentials(values, row + v, count, greatest, scale);
      for (size_t i = 0; i < count; i++) {
        float distance = (greatest - row[v + i]) * scale * bins_per_nat;
        size_t bin = distance < bins - 1 ? (size_t)distance : bins - 1;
        mass[bin] += values[i];
        number[bin]++;
      }
    }
    size_t ids = 0, bin = 0;
    double sum = 0;
    for (; bin < bins - 2; bin++) {
      ids += number[bin];
      sum += mass[bin];
      if ((job->top_k > 0 && ids >= job->top_k) ||
          (job->top_p < 1 && sum >= job->top_p * total * (1 + 1e-6)))
        break;
    }
    job->threshold[m] = bin < bins - 2 ? greatest - (bin + 2) / (scale * bins_per_nat) : -INFINITY;
  }
}
BODIES(threshold)

void atk_pick_threshold(float *result, const float *logits, size_t top_k, double top_p,
                        float inverse_temperature, size_t M, size_t V) {
  picking_job job = {.threshold = result, .logits = logits, .top_k = top_k, .top_p = top_p,
                     .inverse_temperature = inverse_temperature, .V = V};
  atk_parallel_for(M, BODY(threshold), &job);
}

size_t atk_ids_above(int32_t *ids, const float *row, float least, size_t V) {
  size_t count = 0;
  for (size_t v = 0; v < V; v++) {
    ids[count] = (int32_t)v;
    count += row[v] >= least;
  }
  return count;
}
