// SPDX-License-Identifier: Apache-2.0
// Hidden states to log-probabilities: tiles of rows × vocabulary are made by sgemm, read while they
// are in the cache, and reduced to a maximum and sums a row, which are joined over the tiles in double
// precision. The [n × V] logits exist only where the caller has room for them. The threads own ranges
// of the vocabulary, so dw has one writer an element; dhidden is summed over the ranges in order.
#include "kernels_internal.h"
#include "vector_math.h"

#include <math.h>
#include <string.h>

// Of one row over one tile: the largest logit and, with x = z − most and e = exp(x): Σe, Σe·x, and where it is
// asked for Σe^{t·x}, t being `untempering`.
typedef struct {
  float most, sum, weighted, untempered;
} tile_sums;

typedef struct {
  size_t rows, columns, tiles, parts;  // of a chunk of rows; of the vocabulary; of the backward pass
} tiling;

// Tiles of about 2^19 logits (2 MiB), at least sixteen. However many threads there are, tiles and the
// parts that they are summed in are the same, and so are the results (up to eight threads).
static tiling make_tiling(size_t n, size_t V, size_t most_rows) {
  tiling t;
  size_t chunks = (n + most_rows - 1) / most_rows;
  t.rows = (n + chunks - 1) / chunks;
  t.columns = atk_round_up(atk_max((size_t)(1 << 19) / t.rows, 256), 64);
  t.columns = atk_min(t.columns, atk_round_up((V + 15) / 16, 16));
  t.tiles = (V + t.columns - 1) / t.columns;
  t.parts = atk_min(atk_max((size_t)atk_threads(), 8), t.tiles);
  return t;
}

typedef struct {
  tiling tile;
  size_t n, m, D, V;  // n: rows of this chunk
  float inverse_temperature, cap;
  atk_precision precision;
  const float *hidden;
  atk_matrix w;
  const int32_t *target, *candidates;
  // forward
  tile_sums *sums;  // [tiles, tile.rows]
  float *target_logit, *candidate_logit;
  float *kept;        // [n, V]: the logits, or
  bool exponentials;  // exp(logit − most of the tile)
  bool wants_entropy;
  float untempering;  // 0: nothing is asked of that
  // backward
  bool has_gradient;  // kept is that of the logits already
  const float *dlog_probability, *dentropy, *log_sum_exp, *entropy;
  float *dhidden, *partial, *dw;  // partial: [parts − 1, n, D]
} head_job;

static size_t tile_width(const head_job *job, size_t tile) {
  return atk_min(job->tile.columns, job->V - tile * job->tile.columns);
}

// Where a tile's logits lie, and the distance of its rows.
typedef struct {
  float *z;
  size_t ld;
} tile_place;

static tile_place place_tile(const head_job *job, size_t tile) {
  if (job->kept) return (tile_place){job->kept + tile * job->tile.columns, job->V};
  size_t size = job->n * job->tile.columns * sizeof(float);
  return (tile_place){atk_scratch(ATK_SCRATCH_OWN, size), tile_width(job, tile)};
}

static void tile_logits(const head_job *job, tile_place at, const float *hidden, atk_matrix w,
                        size_t tile) {
  size_t width = tile_width(job, tile);
  atk_gemm_stored(job->precision, ATK_TRANSPOSED, job->n, width, job->D,
                  job->cap > 0 ? 1 : job->inverse_temperature, hidden, job->D,
                  atk_matrix_part(w, tile * job->tile.columns, 0), 0, at.z, at.ld);
  for (size_t i = 0; job->cap > 0 && i < job->n; i++) {
    atk_soft_cap(at.z + i * at.ld, job->cap, width);
    for (size_t j = 0; j < width; j++) at.z[i * at.ld + j] *= job->inverse_temperature;
  }
}

// ---- forward -----------------------------------------------------------------------------------

// exponentials: z becomes exp(z − most), which the backward of the same pass goes on from.
ATK_MULTIVERSION static void sum_rows(tile_sums *sums, tile_place at, size_t rows, size_t width,
                                      bool wants_entropy, bool exponentials) {
  for (size_t i = 0; i < rows; i++) {
    float *row = at.z + i * at.ld;
    float most = atk_largest(row, width), sum = 0, weighted = 0;
    if (exponentials) {
      for (size_t j = 0; j < width; j++) {
        float e = atk_expf(row[j] - most);
        row[j] = e;
        sum += e;
      }
    } else if (wants_entropy) {
      for (size_t j = 0; j < width; j++) {
        float x = row[j] - most, e = atk_expf(x);
        sum += e;
        weighted += e * x;
      }
    } else {
      for (size_t j = 0; j < width; j++) sum += atk_expf(row[j] - most);
    }
    sums[i] = (tile_sums){most, sum, weighted, 0};
  }
}

ATK_MULTIVERSION static void sum_untempered(tile_sums *sums, tile_place at, size_t rows, size_t width,
                                            float untempering) {
  for (size_t i = 0; i < rows; i++) {
    const float *row = at.z + i * at.ld;
    float most = sums[i].most, sum = 0;
    for (size_t j = 0; j < width; j++) sum += atk_expf(untempering * (row[j] - most));
    sums[i].untempered = sum;
  }
}

static void forward_tile(void *context, size_t tile) {
  const head_job *job = context;
  size_t width = tile_width(job, tile), first = tile * job->tile.columns, n = job->n;
  tile_place at = place_tile(job, tile);
  tile_logits(job, at, job->hidden, job->w, tile);
  for (size_t i = 0; i < n; i++) {
    size_t target = (size_t)job->target[i] - first;
    if (target < width) job->target_logit[i] = at.z[i * at.ld + target];
  }
  for (size_t c = 0; c < job->m; c++) {
    size_t candidate = (size_t)job->candidates[c] - first;
    if (candidate >= width) continue;
    for (size_t i = 0; i < n; i++) job->candidate_logit[i * job->m + c] = at.z[i * at.ld + candidate];
  }
  sum_rows(job->sums + tile * n, at, n, width, job->wants_entropy, job->exponentials);
  if (job->untempering > 0)
    sum_untempered(job->sums + tile * n, at, n, width, job->untempering);
}

typedef struct {
  double most, sum, weighted;
} row_sums;

// Over the tiles in order. `entropy`: the tiles' weighted sums are of z − most, so they shift.
static row_sums join_tiles(const tile_sums *sums, size_t tiles, size_t n, size_t i, bool entropy) {
  row_sums all = {-INFINITY, 0, 0};
  for (size_t tile = 0; tile < tiles; tile++)
    all.most = fmax(all.most, (double)sums[tile * n + i].most);
  for (size_t tile = 0; tile < tiles; tile++) {
    tile_sums part = sums[tile * n + i];
    double shift = (double)part.most - all.most, factor = exp(shift);
    all.sum += part.sum * factor;
    if (factor > 0)
      all.weighted += factor * (part.weighted + (entropy ? shift * part.sum : 0.0));
  }
  return all;
}

// log Σe^{t·z} over the tiles in order.
static double untempered_log_sum(const tile_sums *sums, size_t tiles, size_t n, size_t i,
                                 double most, double untempering) {
  double sum = 0;
  for (size_t tile = 0; tile < tiles; tile++) {
    tile_sums part = sums[tile * n + i];
    sum += part.untempered * exp(untempering * ((double)part.most - most));
  }
  return untempering * most + log(sum);
}

void atk_head_forward(float *log_probability, float *log_sum_exp, float *entropy_or_null,
                      float *untempered_or_null, float untempering, float *candidate_or_null,
                      float *logits_or_null, const float *hidden, const void *w,
                      atk_weights format, const int32_t *target, const int32_t *candidates,
                      float temperature, float cap, size_t n, size_t m, size_t D, size_t V,
                      atk_precision precision) {
  if (n == 0) return;
  if (!candidate_or_null) m = 0;
  tiling tile = make_tiling(n, V, 1024);
  tile_sums *sums = atk_scratch(ATK_SCRATCH_SHARED, tile.tiles * tile.rows * sizeof *sums);
  for (size_t row = 0; row < n; row += tile.rows) {
    head_job job = {.tile = tile, .n = atk_min(tile.rows, n - row), .m = m, .D = D, .V = V,
                    .precision = precision,
                    .inverse_temperature = 1.0f / temperature, .cap = cap, .hidden = hidden + row * D,
                    .w = atk_dense_matrix(w, format, D),
                    .target = target + row, .candidates = candidates, .sums = sums,
                    .target_logit = log_probability + row,
                    .candidate_logit = m ? candidate_or_null + row * m : NULL,
                    .kept = logits_or_null ? logits_or_null + row * V : NULL,
                    .wants_entropy = entropy_or_null != NULL,
                    .untempering = untempered_or_null ? untempering : 0};
    atk_parallel_each(tile.tiles, forward_tile, &job);
    for (size_t i = 0; i < job.n; i++) {
      row_sums all = join_tiles(sums, tile.tiles, job.n, i, true);
      double log_sum = log(all.sum), lse = all.most + log_sum;
      log_sum_exp[row + i] = (float)lse;
      if (untempered_or_null)
        untempered_or_null[row + i] =
            (float)((double)untempering * job.target_logit[i] -
                    untempered_log_sum(sums, tile.tiles, job.n, i, all.most, untempering));
      job.target_logit[i] = (float)((double)job.target_logit[i] - lse);
      if (entropy_or_null) entropy_or_null[row + i] = (float)(log_sum - all.weighted / all.sum);
      for (size_t c = 0; c < m; c++) {
        float *logit = job.candidate_logit + i * m + c;
        *logit = (float)((double)*logit - lse);
      }
    }
  }
}

// ---- backward ----------------------------------------------------------------------------------

// z becomes the gradient of the logits before the temperature; a row's share of the gradient of
// the log-probability d is −d·p, and of the entropy H is −dH·p·(log p + H).
ATK_MULTIVERSION static void gradient_row(float *z, size_t width, float lse, float direct,
                                          float dentropy, float entropy) {
  if (dentropy != 0) {
    for (size_t j = 0; j < width; j++) {
      float x = z[j] - lse;
      z[j] = -atk_expf(x) * (direct + dentropy * (x + entropy));
    }
  } else {
    for (size_t j = 0; j < width; j++) z[j] = -direct * atk_expf(z[j] - lse);
  }
}

// What the gradient of a logit is multiplied by where logits are capped.
static inline float cap_slope(const head_job *job, float z) {
  float t = z / (job->cap * job->inverse_temperature);
  return 1 - t * t;
}

// The same as gradient_row of capped logits.
static void capped_gradient_row(const head_job *job, float *z, size_t width, float lse, float direct,
                                float dentropy, float entropy) {
  for (size_t j = 0; j < width; j++) {
    float x = z[j] - lse;
    z[j] = -atk_expf(x) * (direct + dentropy * (x + entropy)) * cap_slope(job, z[j]);
  }
}

static void tile_gradient(const head_job *job, tile_place at, size_t tile) {
  size_t width = tile_width(job, tile), first = tile * job->tile.columns;
  float inverse = job->inverse_temperature;
  for (size_t i = 0; i < job->n; i++) {
    float *row = at.z + i * at.ld;
    float direct = (job->dlog_probability ? job->dlog_probability[i] : 0) * inverse;
    float dentropy = (job->dentropy ? job->dentropy[i] : 0) * inverse;
    float entropy = job->dentropy ? job->entropy[i] : 0;
    size_t target = (size_t)job->target[i] - first;
    float slope = job->cap > 0 && target < width ? cap_slope(job, row[target]) : 1;
    if (job->cap > 0)
      capped_gradient_row(job, row, width, job->log_sum_exp[i], direct, dentropy, entropy);
    else
      gradient_row(row, width, job->log_sum_exp[i], direct, dentropy, entropy);
    if (target < width) row[target] += direct * slope;
  }
}

ATK_MULTIVERSION static void scale_row(float *z, size_t width, float factor) {
  for (size_t j = 0; j < width; j++) z[j] *= factor;
}

// The same from the kept exp(z − most of the tile), for gradients of log-probabilities alone.
static void gradient_of_exponentials(const head_job *job, tile_place at, size_t tile) {
  size_t width = tile_width(job, tile), first = tile * job->tile.columns;
  for (size_t i = 0; i < job->n; i++) {
    float direct = job->dlog_probability[i] * job->inverse_temperature;
    double most = job->sums[tile * job->n + i].most;
    float *row = at.z + i * at.ld;
    scale_row(row, width, (float)(-direct * exp(most - (double)job->log_sum_exp[i])));
    size_t target = (size_t)job->target[i] - first;
    if (target < width) row[target] += direct;
  }
}

static void backward_part(const head_job *job, size_t part) {
  size_t n = job->n, D = job->D;
  size_t begin = job->tile.tiles * part / job->tile.parts;
  size_t end = job->tile.tiles * (part + 1) / job->tile.parts;
  float *dhidden = part == 0 ? job->dhidden : job->partial + (part - 1) * n * D;
  for (size_t tile = begin; tile < end; tile++) {
    size_t width = tile_width(job, tile), first = tile * job->tile.columns;
    tile_place at = place_tile(job, tile);
    if (!job->kept) tile_logits(job, at, job->hidden, job->w, tile);
    if (job->exponentials) gradient_of_exponentials(job, at, tile);
    else if (!job->has_gradient) tile_gradient(job, at, tile);
    atk_gemm_stored(job->precision, ATK_PLAIN, n, D, width, 1, at.z, at.ld,
                    atk_matrix_part(job->w, first, 0), tile == begin ? 0 : 1, dhidden, D);
    if (job->dw)
      atk_gemm(job->precision, ATK_TRANSPOSED, ATK_PLAIN, width, D, n, 1, at.z, at.ld, job->hidden,
               D, 1, job->dw + first * D, D);
  }
}

static void backward_parts(void *context, size_t begin, size_t end) {
  for (size_t part = begin; part < end; part++) backward_part(context, part);
}

ATK_MULTIVERSION static void add_partials(float *dhidden, const float *partial, size_t partials,
                                          size_t stride, size_t begin, size_t end) {
  for (size_t part = 0; part < partials; part++) {
    ATK_ELEMENTWISE
    for (size_t i = begin; i < end; i++) dhidden[i] += partial[part * stride + i];
  }
}

static void join_partials(void *context, size_t begin, size_t end) {
  const head_job *job = context;
  add_partials(job->dhidden, job->partial, job->tile.parts - 1, job->n * job->D, begin, end);
}

static void run_backward(head_job *job) {
  job->partial = atk_scratch(ATK_SCRATCH_SHARED_2,
                             (job->tile.parts - 1) * job->n * job->D * sizeof(float) + 1);
  atk_parallel_for(job->tile.parts, backward_parts, job);
  if (job->tile.parts > 1)
    atk_parallel_rows(job->n * job->D, job->tile.parts, join_partials, job);
}

void atk_head_backward(float *dhidden, float *dw_or_null, const float *dlog_probability,
                       const float *dentropy_or_null, const float *hidden, const void *w,
                       atk_weights format, const int32_t *target, const float *log_sum_exp,
                       const float *entropy_or_null, float *logits_or_null, float temperature,
                       float cap, size_t n, size_t D, size_t V, atk_precision precision) {
  if (n == 0) return;
  tiling tile = make_tiling(n, V, 1024);
  for (size_t row = 0; row < n; row += tile.rows) {
    head_job job = {.tile = tile, .n = atk_min(tile.rows, n - row), .D = D, .V = V,
                    .precision = precision,
                    .inverse_temperature = 1.0f / temperature, .cap = cap, .hidden = hidden + row * D,
                    .w = atk_dense_matrix(w, format, D),
                    .target = target + row,
                    .dlog_probability = dlog_probability ? dlog_probability + row : NULL,
                    .dentropy = dentropy_or_null ? dentropy_or_null + row : NULL,
                    .log_sum_exp = log_sum_exp + row,
                    .entropy = entropy_or_null ? entropy_or_null + row : NULL,
                    .kept = logits_or_null ? logits_or_null + row * V : NULL,
                    .dhidden = dhidden + row * D, .dw = dw_or_null};
    run_backward(&job);
  }
}

void atk_head_forward_backward(float *log_probability, float *dhidden, float *dw_or_null,
                               const float *dlog_probability, const float *hidden, const void *w,
                               atk_weights format, const int32_t *target, float temperature,
                               float cap, size_t n, size_t D, size_t V, atk_precision precision) {
  if (n == 0) return;
  // Each turn of rows reads the head's weights and gradient anew; in bfloat16, where products take
  // half as long, that is worth twice the room.
  tiling tile = make_tiling(n, V, precision == ATK_PRODUCTS_BF16 ? 512 : 256);
  tile_sums *sums = atk_scratch(ATK_SCRATCH_SHARED, tile.tiles * tile.rows * sizeof *sums);
  float *kept = atk_scratch(ATK_SCRATCH_SHARED_3, tile.rows * (V + 1) * sizeof(float));
  float *log_sum_exp = kept + tile.rows * V;
  for (size_t row = 0; row < n; row += tile.rows) {
    head_job job = {.tile = tile, .n = atk_min(tile.rows, n - row), .D = D, .V = V,
                    .precision = precision,
                    .inverse_temperature = 1.0f / temperature, .cap = cap, .hidden = hidden + row * D,
                    .w = atk_dense_matrix(w, format, D),
                    .target = target + row, .sums = sums, .kept = kept, .exponentials = cap == 0,
                    .target_logit = log_probability + row,
                    .dlog_probability = dlog_probability + row, .log_sum_exp = log_sum_exp,
                    .dhidden = dhidden + row * D, .dw = dw_or_null};
    atk_parallel_each(tile.tiles, forward_tile, &job);
    for (size_t i = 0; i < job.n; i++) {
      row_sums all = join_tiles(sums, tile.tiles, job.n, i, false);
      double lse = all.most + log(all.sum);
      log_sum_exp[i] = (float)lse;
      job.target_logit[i] = (float)((double)job.target_logit[i] - lse);
    }
    run_backward(&job);
  }
}

// ---- divergence --------------------------------------------------------------------------------

// mix·KL(q ‖ m) + (1 − mix)·KL(p ‖ m) with m = mix·q + (1 − mix)·p. At mix 0 it stands for KL(q ‖ p), at
// 1 for KL(p ‖ q): its limits over mix and over 1 − mix.
typedef struct {
  float divergence, slope;  // of some tokens; Σ p·∂divergence/∂p, which the gradient takes off
} divergence_sums;

typedef struct {
  head_job p, q;  // kept: the logits of a chunk of rows
  float mix;
  divergence_sums *sums;      // [tiles, n]
  float *shift, *lse_q, *slope;  // a row: lse p − lse q; lse q; the slope of all tokens
  const float *weight;
} divergence_job;

// ∂divergence/∂p of a token and its share of the divergence; x = log p − log q.
ATK_INLINE float divergence_term(float p, float q, float x, float mix, float *slope) {
  if (mix == 1) {
    *slope = x;
    return p * x;
  }
  if (mix == 0) {
    *slope = 0;
    return -q * x;
  }
  // log m − the larger of log p and log q.
  float far = x > 0 ? x : -x, other = x > 0 ? mix : 1 - mix;
  float log_m = atk_logf(1 - other + other * atk_expf(-far));
  float log_p = x > 0 ? -log_m : -log_m - far, log_q = x > 0 ? -log_m - far : -log_m;
  *slope = (1 - mix) * log_p;
  return mix * q * log_q + (1 - mix) * p * log_p;
}

ATK_INLINE divergence_sums sum_terms(const float *zp, const float *zq, size_t width, float lse_p,
                                     float lse_q, float shift, float mix) {
  float divergence = 0, slopes = 0;
  for (size_t j = 0; j < width; j++) {
    float p = atk_expf(zp[j] - lse_p), q = mix == 1 ? 0 : atk_expf(zq[j] - lse_q), slope;
    divergence += divergence_term(p, q, zp[j] - zq[j] - shift, mix, &slope);
    slopes += p * slope;
  }
  return (divergence_sums){divergence, slopes};
}

ATK_MULTIVERSION static divergence_sums sum_divergence(const float *zp, const float *zq, size_t width,
                                                       float lse_p, float lse_q, float shift,
                                                       float mix) {
  if (mix == 1) return sum_terms(zp, zq, width, lse_p, lse_q, shift, 1);
  if (mix == 0) return sum_terms(zp, zq, width, lse_p, lse_q, shift, 0);
  return sum_terms(zp, zq, width, lse_p, lse_q, shift, mix);
}

// zp becomes the gradient of the logits of p, but for the caps.
ATK_INLINE void slope_terms(float *zp, const float *zq, size_t width, float lse_p, float lse_q,
                            float shift, float mix, float all, float weight) {
  for (size_t j = 0; j < width; j++) {
    float p = atk_expf(zp[j] - lse_p), q = mix == 1 ? 0 : atk_expf(zq[j] - lse_q), slope;
    divergence_term(p, q, zp[j] - zq[j] - shift, mix, &slope);
    zp[j] = weight * (mix == 0 ? p - q : p * (slope - all));
  }
}

ATK_MULTIVERSION static void divergence_gradient(float *zp, const float *zq, size_t width, float lse_p,
                                                 float lse_q, float shift, float mix, float all,
                                                 float weight) {
  if (mix == 1) slope_terms(zp, zq, width, lse_p, lse_q, shift, 1, all, weight);
  else if (mix == 0) slope_terms(zp, zq, width, lse_p, lse_q, shift, 0, all, weight);
  else slope_terms(zp, zq, width, lse_p, lse_q, shift, mix, all, weight);
}

static void both_logits(void *context, size_t tile) {
  const divergence_job *job = context;
  const head_job *sides[] = {&job->p, &job->q};
  for (int i = 0; i < 2; i++) {
    const head_job *side = sides[i];
    tile_place at = place_tile(side, tile);
    tile_logits(side, at, side->hidden, side->w, tile);
    sum_rows(side->sums + tile * side->n, at, side->n, tile_width(side, tile), false, false);
  }
}

static void divergence_tile(void *context, size_t tile) {
  const divergence_job *job = context;
  tile_place p = place_tile(&job->p, tile), q = place_tile(&job->q, tile);
  for (size_t i = 0; i < job->p.n; i++)
    job->sums[tile * job->p.n + i] =
        sum_divergence(p.z + i * p.ld, q.z + i * q.ld, tile_width(&job->p, tile),
                       job->p.log_sum_exp[i], job->lse_q[i], job->shift[i], job->mix);
}

static void divergence_gradient_tile(void *context, size_t tile) {
  const divergence_job *job = context;
  tile_place p = place_tile(&job->p, tile), q = place_tile(&job->q, tile);
  size_t width = tile_width(&job->p, tile);
  float slopes[64];
  for (size_t i = 0; i < job->p.n; i++) {
    float *z = p.z + i * p.ld, weight = job->weight[i] * job->p.inverse_temperature;
    const float *zq = q.z + i * q.ld;
    // Of capped logits the slope is that of the logit, which the gradient takes the place of.
    size_t step = job->p.cap > 0 ? 64 : width;
    for (size_t first = 0; first < width; first += step) {
      size_t count = atk_min(step, width - first);
      for (size_t j = 0; job->p.cap > 0 && j < count; j++) slopes[j] = cap_slope(&job->p, z[first + j]);
      divergence_gradient(z + first, zq + first, count, job->p.log_sum_exp[i], job->lse_q[i],
                          job->shift[i], job->mix, job->slope[i], weight);
      for (size_t j = 0; job->p.cap > 0 && j < count; j++) z[first + j] *= slopes[j];
    }
  }
}

void atk_head_divergence(float *divergence, float *dhidden_or_null, float *dw_or_null,
                         const float *weight_or_null, const float *hidden_p, const void *w_p,
                         atk_weights format_p, float temperature_p, float cap_p, size_t D_p,
                         const float *hidden_q, const void *w_q, atk_weights format_q,
                         float temperature_q, float cap_q, size_t D_q, float mix, size_t n, size_t V,
                         atk_precision precision) {
  if (n == 0) return;
  // The logits of both for a chunk of rows: 64 MiB.
  tiling tile = make_tiling(n, V, atk_min(atk_max((1 << 23) / V, 16), 256));
  size_t rows = tile.rows, count = tile.tiles * rows;
  tile_sums *sums = atk_scratch(ATK_SCRATCH_SHARED, 2 * count * sizeof *sums +
                                                        count * sizeof(divergence_sums));
  float *kept = atk_scratch(ATK_SCRATCH_SHARED_3, (2 * rows * V + 4 * rows) * sizeof(float));
  float *rest = kept + 2 * rows * V, *lse_p = rest + 3 * rows;
  for (size_t row = 0; row < n; row += rows) {
    size_t here = atk_min(rows, n - row);
    divergence_job job = {
        .p = {.tile = tile, .n = here, .D = D_p, .V = V,
              .precision = precision,
              .inverse_temperature = 1.0f / temperature_p, .cap = cap_p,
              .hidden = hidden_p + row * D_p, .w = atk_dense_matrix(w_p, format_p, D_p), .sums = sums,
              .kept = kept, .log_sum_exp = lse_p, .has_gradient = true,
              .dhidden = dhidden_or_null ? dhidden_or_null + row * D_p : NULL, .dw = dw_or_null},
        .q = {.tile = tile, .n = here, .D = D_q, .V = V,
              .precision = precision,
              .inverse_temperature = 1.0f / temperature_q, .cap = cap_q,
              .hidden = hidden_q + row * D_q, .w = atk_dense_matrix(w_q, format_q, D_q),
              .sums = sums + count, .kept = kept + rows * V},
        .mix = mix, .sums = (divergence_sums *)(sums + 2 * count), .shift = rest, .lse_q = rest + rows,
        .slope = rest + 2 * rows, .weight = weight_or_null ? weight_or_null + row : NULL};
    atk_parallel_each(tile.tiles, both_logits, &job);
    for (size_t i = 0; i < here; i++) {
      row_sums p = join_tiles(job.p.sums, tile.tiles, here, i, false);
      row_sums q = join_tiles(job.q.sums, tile.tiles, here, i, false);
      lse_p[i] = (float)(p.most + log(p.sum));
      job.lse_q[i] = (float)(q.most + log(q.sum));
      job.shift[i] = (float)((p.most - q.most) + (log(p.sum) - log(q.sum)));
    }
    atk_parallel_each(tile.tiles, divergence_tile, &job);
    for (size_t i = 0; i < here; i++) {
      double all = 0, slope = 0;
      for (size_t t = 0; t < tile.tiles; t++) {
        all += job.sums[t * here + i].divergence;
        slope += job.sums[t * here + i].slope;
      }
      divergence[row + i] = (float)all;
      job.slope[i] = (float)slope;
    }
    if (!dhidden_or_null) continue;
    atk_parallel_each(tile.tiles, divergence_gradient_tile, &job);
    run_backward(&job.p);
  }
}
