// SPDX-License-Identifier: Apache-2.0
// Causal attention, backward: the probabilities are made again from the saved log of the denominator
// (FlashAttention, Dao et al. 2022, arXiv:2205.14135), one tile of 512 rows and 512 keys at a time.
//
// A tile adds to the gradients of its rows' queries and of its keys, so tiles of the same rows or keys
// must not run side by side, and each sum must have one order, whatever the number of threads. Tiles
// whose blocks of rows and keys lie equally far apart share neither. So the diagonal comes first, all
// its tiles in any order, then those one off it, and so on: a query's gradient is summed from its own
// block of keys backwards, a key's from its own block of rows onwards.
#include "attention_blocks.h"

#include <string.h>

ATK_MULTIVERSION static void probability_rows(const attention_job *job, float *scores,
                                              const float *lse, query_block block,
                                              size_t key_block, key_count keys, size_t ld) {
  size_t ldlse = job->H;
  for (size_t i = 0; i < block.rows; i++) {
    float *s = scores + i * ld;
    size_t count = atk_min(keys.visible + i, keys.total);
    hide_before_window(job, s, block, key_block, i);
    exponentials(s, lse[i * ldlse], count);
    for (size_t j = atk_round_up(count, LANES); j < keys.total; j++) s[j] = 0;
  }
}

// dp becomes the gradient of the unscaled scores: p·(dp − Σ dout·out)·scale.
ATK_MULTIVERSION static void softmax_backward_rows(float *dp, const float *p, const float *dout,
                                                   const float *out, float scale, size_t rows,
                                                   key_count keys, size_t ld, size_t C,
                                                   size_t ldout) {
  for (size_t i = 0; i < rows; i++) {
    size_t count = atk_min(keys.visible + i, keys.total);
    float along = 0;
    for (size_t c = 0; c < C; c++) along += dout[i * ldout + c] * out[i * ldout + c];
    float *ds = dp + i * ld;
    const float *weight = p + i * ld;
    ATK_ELEMENTWISE
    for (size_t j = 0; j < count; j++) ds[j] = weight[j] * (ds[j] - along) * scale;
    for (size_t j = count; j < keys.total; j++) ds[j] = 0;
  }
}

// Where scores were capped, the gradient goes through cap·tanh: 1 − (score/cap)², of scores that are known by
// their probabilities.
static void uncap_rows(float *ds, const float *p, const float *lse, float cap, size_t rows,
                       key_count keys, size_t ld, size_t ldlse) {
  for (size_t i = 0; i < rows; i++) {
    size_t count = atk_min(keys.visible + i, keys.total);
    for (size_t j = 0; j < count; j++) {
      float weight = p[i * ld + j];
      if (!(weight > 0)) continue;
      float t = (logf(weight) + lse[i * ldlse]) / cap;
      ds[i * ld + j] *= 1 - t * t;
    }
  }
}

static void backward_block(const attention_job *job, query_block block, size_t key_block, size_t g) {
  size_t group = job->H / job->G, C = job->C, ldout = job->H * C;
  size_t row = segment_row(job, block.segment) + block.first;
  key_count keys = count_keys(job, block, key_block);
  size_t ld = atk_round_up(keys.total, LANES);
  float *p = atk_scratch(ATK_SCRATCH_OWN, block.rows * ld * sizeof(float));
  float *ds = atk_scratch(ATK_SCRATCH_OWN_2, block.rows * ld * sizeof(float));
  for (size_t h = g * group; h < (g + 1) * group; h++) {
    const float *q = job->q + row * job->ldq + h * C;
    const float *dout = job->dout + row * ldout + h * C;
    block_scores(job, p, ld, q, job->ldq, block.rows, block, key_block, g);
    probability_rows(job, p, job->saved_lse + row * job->H + h, block, key_block, keys, ld);
    FOR_EACH_SPAN(span, job, block, key_block) {
      size_t at = span.row * job->ldv + g * C;
      atk_gemm(job->precision, ATK_TRANSPOSED, ATK_PLAIN, span.count, C, block.rows, 1,
               p + span.column, ld, dout, ldout, 1, job->dv + at, job->ldv);
      atk_gemm(job->precision, ATK_PLAIN, ATK_TRANSPOSED, block.rows, span.count, C, 1, dout, ldout,
               job->v + at, job->ldv, 0, ds + span.column, ld);
    }
    softmax_backward_rows(ds, p, dout, job->saved_out + row * ldout + h * C, job->scale,
                          block.rows, keys, ld, C, ldout);
    if (job->rule.cap > 0)
      uncap_rows(ds, p, job->saved_lse + row * job->H + h, job->rule.cap, block.rows, keys, ld, job->H);
    float keep = job->distance > 0;
    FOR_EACH_SPAN(span, job, block, key_block) {
      size_t at = span.row * job->ldk + g * C;
      atk_gemm(job->precision, ATK_PLAIN, ATK_PLAIN, block.rows, C, span.count, 1, ds + span.column,
               ld, job->k + at, job->ldk, keep, job->dq + row * job->ldq + h * C, job->ldq);
      keep = 1;
      atk_gemm(job->precision, ATK_TRANSPOSED, ATK_PLAIN, span.count, C, block.rows, 1,
               ds + span.column, ld, q, job->ldq, 1, job->dk + at, job->ldk);
    }
  }
}

// The tile's rows of one segment, which may be none: first ..< end.
typedef struct {
  size_t first, end;
} row_range;

static row_range rows_of_tile(const attention_job *job, attention_tile tile, int32_t segment) {
  size_t begin = (size_t)tile.row_block * BLOCK_KEYS, position = segment_position(job, segment);
  size_t count = segment_count(job, segment);
  return (row_range){begin > position ? begin - position : 0,
                     atk_min(count, atk_max(begin + BLOCK_KEYS, position) - position)};
}

static void clear_rows(const attention_job *job, int32_t segment, row_range rows, size_t g) {
  size_t C = job->C, row = segment_row(job, segment);
  for (size_t t = row + rows.first; t < row + rows.end; t++) {
    memset(job->dk + t * job->ldk + g * C, 0, C * sizeof(float));
    memset(job->dv + t * job->ldv + g * C, 0, C * sizeof(float));
  }
}

// One tile and one key/value head.
static void backward_tile(void *context, size_t index) {
  const attention_job *job = context;
  attention_tile tile = job->tiles[index / job->G];
  size_t g = index % job->G, key_block = (size_t)tile.row_block - job->distance;
  int32_t segments = (int32_t)job->segments.segments;
  for (int32_t s = tile.root; s < segments && job->distance == 0; s++)
    if (job->root[s] == tile.root) clear_rows(job, s, rows_of_tile(job, tile, s), g);
  for (int32_t s = tile.root; s < segments; s++) {
    if (job->root[s] != tile.root) continue;
    row_range rows = rows_of_tile(job, tile, s);
    while (rows.first < rows.end) {
      query_block block = block_at(job, s, rows.first);
      if (key_block >= first_key_block(job, block)) backward_block(job, block, key_block, g);
      rows.first += block.rows;
    }
  }
}

void atk_attention_backward(float *dq, float *dk, float *dv, const float *dout, const float *q,
                            const float *k, const float *v, const float *out, const float *lse,
                            atk_segments segments, size_t H, size_t G, size_t C, size_t ldq,
                            size_t ldk, size_t ldv, atk_attention_rule rule,
                            atk_precision precision) {
  size_t count = segments.segments;
  int32_t *position = atk_scratch(ATK_SCRATCH_SHARED, 3 * count * sizeof(int32_t));
  int32_t *root = position + count, *blocks = root + count;  // of positions, at a tree's root
  find_positions(position, segments);
  int32_t most = 0, trees = 0;
  for (size_t s = 0; s < count; s++) {
    int32_t parent = segments.parent[s], end = position[s] + segments.segment_count[s];
    root[s] = parent < 0 ? (int32_t)s : root[parent];
    if (parent < 0) trees++, blocks[s] = 0;
    int32_t needed = (end + BLOCK_KEYS - 1) / BLOCK_KEYS;
    if (needed > blocks[root[s]]) blocks[root[s]] = needed;
    if (needed > most) most = needed;
  }
  attention_tile *tiles =
      atk_scratch(ATK_SCRATCH_SHARED_2, (size_t)trees * (size_t)most * sizeof(attention_tile));
  size_t tile_count = 0;
  for (int32_t block = most - 1; block >= 0; block--) {
    for (int32_t s = 0; s < (int32_t)count; s++)
      if (root[s] == s && block < blocks[s]) tiles[tile_count++] = (attention_tile){s, block};
  }
  attention_job job = {.dq = dq, .dk = dk, .dv = dv, .q = q, .k = k, .v = v, .dout = dout,
                       .saved_out = out, .saved_lse = lse, .segments = segments, .H = H, .G = G,
                       .C = C, .ldq = ldq, .ldk = ldk, .ldv = ldv, .position = position,
                       .root = root, .tiles = tiles, .scale = attention_scale(rule, C),
                       .rule = rule, .precision = precision};
  for (int32_t distance = 0; distance < most; distance++) {
    while (tiles[tile_count - 1].row_block < distance) tile_count--;
    job.distance = (size_t)distance;
    atk_parallel_each(tile_count * G, backward_tile, &job);
  }
}
