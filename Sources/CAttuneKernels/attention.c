// SPDX-License-Identifier: Apache-2.0
// Causal attention over segments that continue one another. Blocks of query rows meet all the keys
// they see: a product, a softmax, a product; the backward makes the probabilities again from the
// saved log of the denominator (as FlashAttention does, Dao et al. 2022). The keys of a row are its
// ancestors' (nearest first), then its own segment's; each of these spans is one product straight
// out of the strided buffers.
#include "kernels_internal.h"
#include "vector_math.h"

#include <math.h>
#include <string.h>

enum { BLOCK_ROWS = 64 };

typedef struct {
  float *out, *lse, *dq, *dk, *dv;
  const float *q, *k, *v, *dout, *saved_out, *saved_lse;
  atk_segments segments;
  size_t H, G, C, ldq, ldk, ldv;
  const int32_t *block_segment, *block_row;  // forward: the work list
  const int32_t *root, *roots;               // backward: each segment's tree, and the trees
  float scale;
  atk_precision precision;
} attention_job;

static size_t row_of(const attention_job *job, int32_t s) {
  return (size_t)job->segments.segment_row[s];
}
static size_t count_of(const attention_job *job, int32_t s) {
  return (size_t)job->segments.segment_count[s];
}

// A run of keys that a block sees: rows row ..< row + count, columns column ..< of its scores.
typedef struct {
  int32_t segment;  // -1 after the last
  size_t row, count, column;
} key_span;

static key_span next_span(const attention_job *job, key_span span, int32_t own, size_t own_keys) {
  if (span.segment == own) return (key_span){.segment = -1};
  int32_t parent = job->segments.parent[span.segment < 0 ? own : span.segment];
  key_span next = {.column = span.column + span.count};
  next.segment = parent < 0 ? own : parent;
  next.row = row_of(job, next.segment);
  next.count = parent < 0 ? own_keys : count_of(job, next.segment);
  return next;
}

#define FOR_EACH_SPAN(span, own, own_keys)                                                   \
  for (key_span span = next_span(job, (key_span){.segment = -1}, own, own_keys); span.segment >= 0; \
       span = next_span(job, span, own, own_keys))

static size_t count_prefix(const attention_job *job, int32_t segment) {
  size_t count = 0;
  for (int32_t s = job->segments.parent[segment]; s >= 0; s = job->segments.parent[s])
    count += count_of(job, s);
  return count;
}

// scores[rows, total] = scale · q kᵀ for query head h of the block.
static void block_scores(const attention_job *job, float *scores, size_t ld, const float *q,
                         int32_t segment, size_t rows, size_t own_keys, size_t g) {
  FOR_EACH_SPAN(span, segment, own_keys) {
    atk_gemm(job->precision, ATK_PLAIN, ATK_TRANSPOSED, rows, span.count, job->C, job->scale, q, job->ldq,
              job->k + span.row * job->ldk + g * job->C, job->ldk, 0, scores + span.column, ld);
  }
}

// ---- forward -----------------------------------------------------------------------------------

// Rows are worked on in whole vectors: the row stride is a multiple of this.
enum { LANES = 16 };

// x becomes exp(x − shift) in whole vectors that hold at least `count`; what lies behind `count`
// becomes 0. The sum is returned.
ATK_INLINE float exponentials(float *x, float shift, size_t count) {
  size_t padded = atk_round_up(count, LANES);
  float lane[LANES] = {0}, sum = 0;
  for (size_t j = count; j < padded; j++) x[j] = -INFINITY;
  for (size_t j = 0; j < padded; j += LANES) {
    ATK_ELEMENTWISE
    for (size_t l = 0; l < LANES; l++) {
      float e = atk_expf(x[j + l] - shift);
      x[j + l] = e;
      lane[l] += e;
    }
  }
  for (size_t l = 0; l < LANES; l++) sum += lane[l];
  return sum;
}

// Row i of the block sees `visible` + i keys, 0 becomes the weight of the others.
ATK_MULTIVERSION static void softmax_rows(float *scores, float *lse, size_t rows, size_t visible,
                                          size_t total, size_t ld, size_t ldlse) {
  for (size_t i = 0; i < rows; i++) {
    float *s = scores + i * ld;
    size_t count = visible + i, padded = atk_round_up(count, LANES);
    float most = atk_largest(s, count), sum = exponentials(s, most, count);
    float share = 1.0f / sum;
    for (size_t j = 0; j < padded; j++) s[j] *= share;
    for (size_t j = padded; j < total; j++) s[j] = 0;
    lse[i * ldlse] = most + logf(sum);
  }
}

static void forward_block(void *context, size_t index) {
  const attention_job *job = context;
  size_t block = index / job->G, g = index % job->G, group = job->H / job->G, C = job->C;
  int32_t segment = job->block_segment[block];
  size_t first = (size_t)job->block_row[block];
  size_t rows = atk_min(BLOCK_ROWS, count_of(job, segment) - first);
  size_t own_keys = first + rows, prefix = count_prefix(job, segment);
  size_t total = prefix + own_keys, ld = atk_round_up(total, LANES);
  size_t row = row_of(job, segment) + first;
  float *scores = atk_scratch(ATK_SCRATCH_OWN, rows * ld * sizeof(float));
  for (size_t h = g * group; h < (g + 1) * group; h++) {
    const float *q = job->q + row * job->ldq + h * C;
    block_scores(job, scores, ld, q, segment, rows, own_keys, g);
    softmax_rows(scores, job->lse + row * job->H + h, rows, prefix + first + 1, total, ld, job->H);
    float *out = job->out + row * job->H * C + h * C;
    float beta = 0;
    FOR_EACH_SPAN(span, segment, own_keys) {
      if (span.count == 0) continue;
      atk_gemm(job->precision, ATK_PLAIN, ATK_PLAIN, rows, C, span.count, 1, scores + span.column, ld,
                job->v + span.row * job->ldv + g * C, job->ldv, beta, out, job->H * C);
      beta = 1;
    }
  }
}

void atk_attention_forward(float *out, float *lse, const float *q, const float *k, const float *v,
                           atk_segments segments, size_t H, size_t G, size_t C, size_t ldq,
                           size_t ldk, size_t ldv, atk_precision precision) {
  size_t blocks = 0;
  for (size_t s = 0; s < segments.segments; s++)
    blocks += ((size_t)segments.segment_count[s] + BLOCK_ROWS - 1) / BLOCK_ROWS;
  int32_t *list = atk_scratch(ATK_SCRATCH_SHARED, 2 * blocks * sizeof(int32_t));
  size_t block = 0;
  for (size_t s = 0; s < segments.segments; s++) {
    for (int32_t first = 0; first < segments.segment_count[s]; first += BLOCK_ROWS) {
      list[block] = (int32_t)s;
      list[blocks + block++] = first;
    }
  }
  attention_job job = {.out = out, .lse = lse, .q = q, .k = k, .v = v, .segments = segments,
                       .H = H, .G = G, .C = C, .ldq = ldq, .ldk = ldk, .ldv = ldv,
                       .block_segment = list, .block_row = list + blocks,
                       .scale = (float)(1.0 / sqrt((double)C)), .precision = precision};
  atk_parallel_each(blocks * G, forward_block, &job);
}

// ---- backward ----------------------------------------------------------------------------------

ATK_MULTIVERSION static void probability_rows(float *scores, const float *lse, size_t rows,
                                              size_t visible, size_t total, size_t ld,
                                              size_t ldlse) {
  for (size_t i = 0; i < rows; i++) {
    float *s = scores + i * ld;
    exponentials(s, lse[i * ldlse], visible + i);
    for (size_t j = atk_round_up(visible + i, LANES); j < total; j++) s[j] = 0;
  }
}

// dp becomes the gradient of the unscaled scores: p·(dp − Σ dout·out)·scale.
ATK_MULTIVERSION static void softmax_backward_rows(float *dp, const float *p, const float *dout,
                                                   const float *out, float scale, size_t rows,
                                                   size_t visible, size_t total, size_t ld,
                                                   size_t C, size_t ldout) {
  for (size_t i = 0; i < rows; i++) {
    float along = 0;
    for (size_t c = 0; c < C; c++) along += dout[i * ldout + c] * out[i * ldout + c];
    float *ds = dp + i * ld;
    const float *weight = p + i * ld;
    ATK_ELEMENTWISE
    for (size_t j = 0; j < visible + i; j++) ds[j] = weight[j] * (ds[j] - along) * scale;
    for (size_t j = visible + i; j < total; j++) ds[j] = 0;
  }
}

static void backward_block(const attention_job *job, int32_t segment, size_t first, size_t prefix,
                           size_t g) {
  size_t group = job->H / job->G, C = job->C, ldout = job->H * C;
  size_t rows = atk_min(BLOCK_ROWS, count_of(job, segment) - first);
  size_t own_keys = first + rows, visible = prefix + first + 1;
  size_t total = prefix + own_keys, ld = atk_round_up(total, LANES);
  size_t row = row_of(job, segment) + first;
  float *p = atk_scratch(ATK_SCRATCH_OWN, rows * ld * sizeof(float));
  float *ds = atk_scratch(ATK_SCRATCH_OWN_2, rows * ld * sizeof(float));
  for (size_t h = g * group; h < (g + 1) * group; h++) {
    const float *q = job->q + row * job->ldq + h * C;
    const float *dout = job->dout + row * ldout + h * C;
    float *dq = job->dq + row * job->ldq + h * C;
    block_scores(job, p, ld, q, segment, rows, own_keys, g);
    probability_rows(p, job->saved_lse + row * job->H + h, rows, visible, total, ld, job->H);
    FOR_EACH_SPAN(span, segment, own_keys) {
      size_t at = span.row * job->ldv + g * C;
      atk_gemm(job->precision, ATK_TRANSPOSED, ATK_PLAIN, span.count, C, rows, 1, p + span.column, ld,
               dout, ldout, 1, job->dv + at, job->ldv);
      atk_gemm(job->precision, ATK_PLAIN, ATK_TRANSPOSED, rows, span.count, C, 1, dout, ldout,
               job->v + at, job->ldv, 0, ds + span.column, ld);
    }
    softmax_backward_rows(ds, p, dout, job->saved_out + row * ldout + h * C, job->scale, rows,
                          visible, total, ld, C, ldout);
    float beta = 0;
    FOR_EACH_SPAN(span, segment, own_keys) {
      if (span.count == 0) continue;
      size_t at = span.row * job->ldk + g * C;
      atk_gemm(job->precision, ATK_PLAIN, ATK_PLAIN, rows, C, span.count, 1, ds + span.column, ld,
               job->k + at, job->ldk, beta, dq, job->ldq);
      beta = 1;
      atk_gemm(job->precision, ATK_TRANSPOSED, ATK_PLAIN, span.count, C, rows, 1, ds + span.column, ld, q,
                job->ldq, 1, job->dk + at, job->ldk);
    }
  }
}

// One tree and one key/value head: nobody else writes these rows of dk and dv.
static void backward_tree(void *context, size_t index) {
  const attention_job *job = context;
  int32_t root = job->roots[index / job->G];
  size_t g = index % job->G, C = job->C;
  int32_t segments = (int32_t)job->segments.segments;
  for (int32_t s = root; s < segments; s++) {
    if (job->root[s] != root) continue;
    for (size_t t = row_of(job, s); t < row_of(job, s) + count_of(job, s); t++) {
      memset(job->dk + t * job->ldk + g * C, 0, C * sizeof(float));
      memset(job->dv + t * job->ldv + g * C, 0, C * sizeof(float));
    }
  }
  for (int32_t s = root; s < segments; s++) {
    if (job->root[s] != root) continue;
    size_t prefix = count_prefix(job, s);
    for (size_t first = 0; first < count_of(job, s); first += BLOCK_ROWS)
      backward_block(job, s, first, prefix, g);
  }
}

void atk_attention_backward(float *dq, float *dk, float *dv, const float *dout, const float *q,
                            const float *k, const float *v, const float *out, const float *lse,
                            atk_segments segments, size_t H, size_t G, size_t C, size_t ldq,
                            size_t ldk, size_t ldv, atk_precision precision) {
  size_t count = segments.segments, trees = 0;
  int32_t *root = atk_scratch(ATK_SCRATCH_SHARED, 2 * count * sizeof(int32_t));
  int32_t *roots = root + count;
  for (size_t s = 0; s < count; s++) {
    int32_t parent = segments.parent[s];
    root[s] = parent < 0 ? (int32_t)s : root[parent];
    if (parent < 0) roots[trees++] = (int32_t)s;
  }
  attention_job job = {.dq = dq, .dk = dk, .dv = dv, .q = q, .k = k, .v = v, .dout = dout,
                       .saved_out = out, .saved_lse = lse, .segments = segments, .H = H, .G = G,
                       .C = C, .ldq = ldq, .ldk = ldk, .ldv = ldv, .root = root, .roots = roots,
                       .scale = (float)(1.0 / sqrt((double)C)), .precision = precision};
  atk_parallel_each(trees * G, backward_tree, &job);
}
