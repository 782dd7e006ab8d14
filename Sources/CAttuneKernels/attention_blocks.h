// SPDX-License-Identifier: Apache-2.0
// How attention's forward and backward cut segments that continue one another. A token's position
// counts from the first token of its root. Rows and keys are cut where the position is a multiple of
// BLOCK_KEYS: so a row meets its keys in the same blocks whatever else is in the batch.
#ifndef ATTUNE_ATTENTION_BLOCKS_H
#define ATTUNE_ATTENTION_BLOCKS_H

#include "kernels_internal.h"
#include "vector_math.h"

#include <math.h>

enum {
  BLOCK_ROWS = 64,   // at most, of a block of queries
  BLOCK_KEYS = 512,  // 128 KiB of keys of width 64, as much of values and of scores: with what the
                     // products copy they stay in the second-level cache
  LANES = 16         // rows of scores are worked on in whole vectors: their stride is a multiple
};

// Rows first ..< first + rows of a segment, all in one block of positions.
typedef struct {
  int32_t segment;
  size_t first, rows;
} query_block;

// Rows and keys of one tree and one pair of blocks of positions.
typedef struct {
  int32_t root, row_block;
} attention_tile;

typedef struct {
  float *out, *lse, *dq, *dk, *dv;
  const float *q, *k, *v, *dout, *saved_out, *saved_lse;
  atk_segments segments;
  size_t H, G, C, ldq, ldk, ldv;
  const int32_t *position;      // of each segment's first row
  const query_block *blocks;    // forward: the work list
  size_t skipped;               // rows before the first that q and out have
  const int32_t *root;          // backward: each segment's tree,
  const attention_tile *tiles;  // and the work list
  size_t distance;              // from the tiles' block of keys to that of rows
  float scale;
  atk_attention_rule rule;
  atk_precision precision;
} attention_job;

static inline float attention_scale(atk_attention_rule rule, size_t C) {
  return rule.scale > 0 ? rule.scale : (float)(1.0 / sqrt((double)C));
}

static inline size_t segment_row(const attention_job *job, int32_t s) {
  return (size_t)job->segments.segment_row[s];
}
static inline size_t segment_count(const attention_job *job, int32_t s) {
  return (size_t)job->segments.segment_count[s];
}
static inline size_t segment_position(const attention_job *job, int32_t s) {
  return (size_t)job->position[s];
}

static inline size_t key_block_of(const attention_job *job, query_block block) {
  return (segment_position(job, block.segment) + block.first) / BLOCK_KEYS;
}

// The rows from `first` on, to the end of the segment or of the block of positions.
static inline query_block block_at(const attention_job *job, int32_t segment, size_t first) {
  size_t position = segment_position(job, segment) + first;
  size_t rows = atk_min(BLOCK_ROWS, BLOCK_KEYS - position % BLOCK_KEYS);
  return (query_block){segment, first, atk_min(rows, segment_count(job, segment) - first)};
}

static inline void find_positions(int32_t *position, atk_segments segments) {
  for (size_t s = 0; s < segments.segments; s++) {
    int32_t parent = segments.parent[s];
    position[s] = parent < 0 ? 0 : position[parent] + segments.segment_count[parent];
  }
}

// Keys of one segment that a block of queries sees in one block of positions: rows row ..<
// row + count, columns column ..< of its scores.
typedef struct {
  int32_t segment;  // -1 after the last
  size_t row, count, column;
} key_span;

// The ancestors' (nearest first), then the own segment's up to the block's last row.
static inline key_span next_span(const attention_job *job, key_span span, query_block block,
                                 size_t key_block) {
  while (span.segment != block.segment) {
    int32_t parent = job->segments.parent[span.segment < 0 ? block.segment : span.segment];
    int32_t s = parent < 0 ? block.segment : parent;
    size_t begin = segment_position(job, s);
    size_t end = begin + (parent < 0 ? block.first + block.rows : segment_count(job, s));
    size_t from = atk_max(begin, key_block * BLOCK_KEYS);
    size_t to = atk_min(end, (key_block + 1) * BLOCK_KEYS);
    span.column += span.count;
    span.segment = s;
    span.row = segment_row(job, s) + from - begin;
    span.count = from < to ? to - from : 0;
    if (span.count > 0) return span;
  }
  return (key_span){.segment = -1};
}

#define FOR_EACH_SPAN(span, job, block, key_block)                                          \
  for (key_span span = next_span(job, (key_span){.segment = -1}, block, key_block);         \
       span.segment >= 0; span = next_span(job, span, block, key_block))

// The first block of positions that a block of queries sees any of: its first row sees furthest back.
static inline size_t first_key_block(const attention_job *job, query_block block) {
  size_t position = segment_position(job, block.segment) + block.first, window = job->rule.window;
  return window == 0 || position < window ? 0 : (position + 1 - window) / BLOCK_KEYS;
}

// How many keys of a block of positions a block of queries sees: its last row, and its first.
typedef struct {
  size_t total, visible;
} key_count;

static inline key_count count_keys(const attention_job *job, query_block block, size_t key_block) {
  size_t before = segment_position(job, block.segment) + block.first - key_block * BLOCK_KEYS;
  return (key_count){atk_min(before + block.rows, BLOCK_KEYS), atk_min(before + 1, BLOCK_KEYS)};
}

// Makes −∞ of the scores of a block's row i that lie before its window; how many those are.
static inline size_t hide_before_window(const attention_job *job, float *scores, query_block block,
                                        size_t key_block, size_t i) {
  size_t end = segment_position(job, block.segment) + block.first + i + 1;
  if (job->rule.window == 0 || end <= job->rule.window + key_block * BLOCK_KEYS) return 0;
  size_t limit = end - job->rule.window, hidden = 0;  // the first position that is seen
  FOR_EACH_SPAN(span, job, block, key_block) {
    size_t position = segment_position(job, span.segment) + span.row - segment_row(job, span.segment);
    size_t count = limit > position ? atk_min(limit - position, span.count) : 0;
    for (size_t j = 0; j < count; j++) scores[span.column + j] = -INFINITY;
    hidden += count;
  }
  return hidden;
}

// scores[rows, total] = scale · q kᵀ, where q has `rows` rows: the block's, under one head or more.
static inline void block_scores(const attention_job *job, float *scores, size_t ld, const float *q,
                                size_t ldq, size_t rows, query_block block, size_t key_block,
                                size_t g) {
  FOR_EACH_SPAN(span, job, block, key_block) {
    atk_gemm(job->precision, ATK_PLAIN, ATK_TRANSPOSED, rows, span.count, job->C, job->scale, q, ldq,
             job->k + span.row * job->ldk + g * job->C, job->ldk, 0, scores + span.column, ld);
  }
  if (job->rule.cap > 0) {
    size_t total = count_keys(job, block, key_block).total;
    for (size_t i = 0; i < rows; i++) atk_soft_cap(scores + i * ld, job->rule.cap, total);
  }
}

// x, at most `shift` but for rounding, becomes exp(x − shift) in whole vectors that hold at least
// `count`; what lies behind `count` becomes 0. The sum is returned.
ATK_INLINE float exponentials(float *x, float shift, size_t count) {
  size_t padded = atk_round_up(count, LANES);
  float lane[LANES] = {0}, sum = 0;
  for (size_t j = count; j < padded; j++) x[j] = -INFINITY;
  for (size_t j = 0; j < padded; j += LANES) {
    ATK_ELEMENTWISE
    for (size_t l = 0; l < LANES; l++) {
      float e = atk_exp_small(x[j + l] - shift);
      x[j + l] = e;
      lane[l] += e;
    }
  }
  for (size_t l = 0; l < LANES; l++) sum += lane[l];
  return sum;
}

#endif
