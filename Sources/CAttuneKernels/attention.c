// SPDX-License-Identifier: Apache-2.0
// Causal attention over segments that continue one another, forward. A block of query rows meets its
// keys block by block, with a running softmax (FlashAttention-2, Dao 2023, arXiv:2307.08691): each
// row keeps its greatest score so far and the sums of exponentials and of weighed values relative to
// it, which shrink when a greater score comes in. The keys of a block may be of several segments; each
// of these spans is one product straight out of the strided buffers.
//
// Query heads that share keys and values are stacked into one product, which copies the keys once for
// all: at 4,096 tokens 1.04 (width 64) and at 2,048 tokens 1.08 (128) times as fast as one by one.
#include "attention_blocks.h"

#include <string.h>

enum {
  STACKED_ROWS = 3 * BLOCK_ROWS,  // at most; 384 KiB of scores
  LEAST_STACKED = 8               // rows; below, products are BLAS's (gemm.c), which stay one a head
};

// A block's rows under several heads, one head's after the other's.
typedef struct {
  float *q, *scores, *out;  // [rows, C], [rows, ld], [rows, C]
  float greatest[STACKED_ROWS], sum[STACKED_ROWS];
} row_stack;

// One head's rows, of which row i sees `visible` + i of these keys: scores become weights, 0 those of
// keys that a row does not see. The weights are shares where these keys are all there are, else
// exponentials relative to the greatest score so far, as `out` is from then on.
ATK_MULTIVERSION static void softmax_rows(const attention_job *job, row_stack *stack, size_t first,
                                          query_block block, size_t key_block, key_count keys,
                                          size_t ld, bool is_first, bool is_last) {
  size_t C = job->C;
  for (size_t i = 0; i < block.rows; i++) {
    size_t r = first + i, count = atk_min(keys.visible + i, keys.total);
    size_t padded = atk_round_up(count, LANES);
    float *s = stack->scores + r * ld, *out = stack->out + r * C;
    if (hide_before_window(job, s, block, key_block, i) == count) {
      // Its window begins in a later block, which is not the last that this row sees.
      for (size_t j = 0; j < keys.total; j++) s[j] = 0;
      stack->greatest[r] = -INFINITY;
      stack->sum[r] = 0;
      continue;
    }
    float greatest = atk_largest(s, count), before = 0;
    if (!is_first) {
      if (stack->greatest[r] > greatest) greatest = stack->greatest[r];
      float shrink = atk_expf(stack->greatest[r] - greatest);
      before = stack->sum[r] * shrink;
      for (size_t c = 0; c < C; c++) out[c] *= shrink;
    }
    float sum = before + exponentials(s, greatest, count);
    for (size_t j = 0; is_first && is_last && j < padded; j++) s[j] /= sum;
    for (size_t j = padded; j < keys.total; j++) s[j] = 0;
    stack->greatest[r] = greatest;
    stack->sum[r] = sum;
  }
}

static void attend(const attention_job *job, row_stack *stack, query_block block, size_t heads,
                   size_t g, size_t key_block, size_t initial, size_t last) {
  size_t C = job->C, rows = heads * block.rows;
  key_count keys = count_keys(job, block, key_block);
  size_t ld = atk_round_up(keys.total, LANES);
  block_scores(job, stack->scores, ld, stack->q, C, rows, block, key_block, g);
  for (size_t first = 0; first < rows; first += block.rows)
    softmax_rows(job, stack, first, block, key_block, keys, ld, key_block == initial, key_block == last);
  float keep = key_block > initial;
  FOR_EACH_SPAN(span, job, block, key_block) {
    atk_gemm(job->precision, ATK_PLAIN, ATK_PLAIN, rows, C, span.count, 1,
             stack->scores + span.column, ld, job->v + span.row * job->ldv + g * C, job->ldv, keep,
             stack->out, C);
    keep = 1;
  }
}

static void forward_block(void *context, size_t index) {
  const attention_job *job = context;
  size_t g = index % job->G, group = job->H / job->G, C = job->C, ldout = job->H * C;
  query_block block = job->blocks[index / job->G];
  size_t row = segment_row(job, block.segment) + block.first;
  size_t initial = first_key_block(job, block), last = key_block_of(job, block);
  size_t most = block.rows < LEAST_STACKED ? 1 : atk_min(group, STACKED_ROWS / block.rows);
  size_t widest = atk_round_up(count_keys(job, block, initial).total, LANES);
  row_stack stack;
  stack.scores = atk_scratch(ATK_SCRATCH_OWN, most * block.rows * (widest + 2 * C) * sizeof(float));
  stack.q = stack.scores + most * block.rows * widest;
  stack.out = stack.q + most * block.rows * C;
  for (size_t head = g * group, heads; head < (g + 1) * group; head += heads) {
    heads = atk_min(most, (g + 1) * group - head);
    for (size_t r = 0; r < heads * block.rows; r++) {
      size_t t = row - job->skipped + r % block.rows, h = head + r / block.rows;
      memcpy(stack.q + r * C, job->q + t * job->ldq + h * C, C * sizeof(float));
    }
    for (size_t key_block = initial; key_block <= last; key_block++)
      attend(job, &stack, block, heads, g, key_block, initial, last);
    for (size_t r = 0; r < heads * block.rows; r++) {
      size_t t = row - job->skipped + r % block.rows, h = head + r / block.rows;
      float *out = job->out + t * ldout + h * C, share = last > initial ? 1 / stack.sum[r] : 1;
      for (size_t c = 0; c < C; c++) out[c] = stack.out[r * C + c] * share;
      if (job->lse) job->lse[t * job->H + h] = stack.greatest[r] + logf(stack.sum[r]);
    }
  }
}

// Cuts all segments' rows from `skipped` on into blocks and runs them.
static void run_blocks(attention_job job) {
  size_t most = 0, count = 0;  // besides the whole ones, two are cut off for each block of positions
  for (size_t s = 0; s < job.segments.segments; s++) {
    size_t rows = segment_count(&job, (int32_t)s);
    most += rows / BLOCK_ROWS + 2 * (rows / BLOCK_KEYS + 2);
  }
  query_block *blocks = atk_scratch(ATK_SCRATCH_SHARED_2, most * sizeof(query_block));
  for (int32_t s = 0; s < (int32_t)job.segments.segments; s++) {
    size_t rows = segment_count(&job, s);
    for (size_t first = job.skipped; first < rows; first += blocks[count++].rows)
      blocks[count] = block_at(&job, s, first);
  }
  job.blocks = blocks;
  atk_parallel_each(count * job.G, forward_block, &job);
}

void atk_attention_forward(float *out, float *lse, const float *q, const float *k, const float *v,
                           atk_segments segments, size_t H, size_t G, size_t C, size_t ldq,
                           size_t ldk, size_t ldv, atk_attention_rule rule,
                           atk_precision precision) {
  int32_t *position = atk_scratch(ATK_SCRATCH_SHARED, segments.segments * sizeof(int32_t));
  attention_job job = {.out = out, .lse = lse, .q = q, .k = k, .v = v, .segments = segments,
                       .H = H, .G = G, .C = C, .ldq = ldq, .ldk = ldk, .ldv = ldv,
                       .position = position, .scale = attention_scale(rule, C), .rule = rule,
                       .precision = precision};
  find_positions(position, segments);
  run_blocks(job);
}

void atk_attention_prefill(float *out, const float *q, const uint16_t *k, const uint16_t *v,
                           size_t first, size_t count, size_t H, size_t G, size_t C, size_t ldq,
                           atk_attention_rule rule, atk_precision precision) {
  int32_t row = 0, all = (int32_t)(first + count), parent = -1, position = 0;
  // Expanding them is little beside the products of 64 rows with them.
  size_t numbers = (first + count) * G * C;
  float *keys = atk_scratch(ATK_SCRATCH_SHARED, 2 * numbers * sizeof(float)), *values = keys + numbers;
  atk_float_from_bf16(keys, k, numbers);
  atk_float_from_bf16(values, v, numbers);
  attention_job job = {.out = out, .q = q, .k = keys, .v = values,
                       .segments = {&row, &all, &parent, 1},
                       .H = H, .G = G, .C = C, .ldq = ldq, .ldk = G * C, .ldv = G * C,
                       .position = &position, .scale = attention_scale(rule, C), .rule = rule,
                       .precision = precision, .skipped = first};
  run_blocks(job);
}
