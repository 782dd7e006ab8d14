// SPDX-License-Identifier: Apache-2.0
// Small-batch products and attention for decoding.
#include "decode_vectors.h"
#include "stored_weights.h"

// ---- linear -----------------------------------------------------------------------------------
typedef struct {
  float *y;
  const float *packed;  // x in tiles of S rows
  const void *w;
  atk_weights format;
  const float *bias;
  size_t M, N, K;
  int accumulate;
} linear_job;

// A tile of R rows of w (expanded in the first-level cache) or of S rows of x is laid out for the loop
// that reads it: for every 16 columns the rows' vectors one after another, zeros where there is none.

// ---- the loop: R × S outputs, out[s · R + r]; sums before and after it in `carry`, if asked for.
// next: 64 bytes a step of what is read later, to be brought into the second-level cache.
INLINE void multiply(float *out, f16 *carry, const float *w, const float *x, size_t steps,
                     const char *next, bool first, bool last, const int R, const int S) {
  f16 sum[24];
  UNROLL for (int i = 0; i < R * S; i++) sum[i] = (f16){0};
  if (!first) UNROLL for (int i = 0; i < R * S; i++) sum[i] = carry[i];
  for (size_t step = 0; step < steps; step++, w += 16 * R, x += 16 * S, next += 64) {
    f16 xs[4];
    __builtin_prefetch(next, 0, 2);
    UNROLL for (int s = 0; s < S; s++) xs[s] = *(const f16 *)(x + 16 * s);
    UNROLL for (int r = 0; r < R; r++) {
      f16 row = *(const f16 *)(w + 16 * r);
      UNROLL for (int s = 0; s < S; s++) sum[s * R + r] += row * xs[s];
    }
  }
  if (last) {
    UNROLL for (int i = 0; i < R * S; i += 4)
      sum_lanes_4(out + i, sum + i, sum + (i + 1 < R * S ? i + 1 : i),
                  sum + (i + 2 < R * S ? i + 2 : i), sum + (i + 3 < R * S ? i + 3 : i));
  } else {
    UNROLL for (int i = 0; i < R * S; i++) carry[i] = sum[i];
  }
}

enum { block_steps = 48 };  // of columns at a time: tiles of w and x stay in the first-level cache

// Tiles begin ..< end of R rows of w.
INLINE void linear(void *context, size_t begin, size_t end, const int R, const int S) {
  const linear_job *job = context;
  size_t N = job->N, K = job->K, M = job->M, all_steps = (K + 15) / 16;
  size_t row_bytes = atk_weight_bytes(job->format, K);
  float *w = atk_scratch(ATK_SCRATCH_OWN, (size_t)R * block_steps * 16 * sizeof(float));
  f16 *carry = atk_scratch(ATK_SCRATCH_OWN_2, (M + S) * R * sizeof(f16));
  for (size_t tile = begin; tile < end; tile++) {
    size_t n = tile * R, rows = atk_min(N - n, (size_t)R);
    const char *stored = (const char *)job->w + n * row_bytes;
    const char *next = stored + rows * row_bytes;
    for (size_t done = 0; done < all_steps; done += block_steps) {
      size_t steps = atk_min(all_steps - done, block_steps);
      bool first = done == 0, last = done + steps == all_steps;
      for (size_t r = 0; r < (size_t)R; r++)  // past the end a row again, which is not stored
        atk_expand_weights(
            w + 16 * r, (size_t)R * 16, job->format,
            stored + atk_min(r, rows - 1) * row_bytes + atk_weight_bytes(job->format, 16 * done),
            atk_min(K - 16 * done, 16 * steps));
      for (size_t m = 0; m < M; m += S, next += steps * 64) {
        float out[28];
        size_t width = atk_min(M - m, (size_t)S);
        const float *x = job->packed + (m * all_steps + width * done) * 16;
        f16 *sums = carry + m * R;
        switch (width) {
          case 1: multiply(out, sums, w, x, steps, next, first, last, R, 1); break;
          case 2: multiply(out, sums, w, x, steps, next, first, last, R, 2); break;
          case 3: multiply(out, sums, w, x, steps, next, first, last, R, S < 3 ? S : 3); break;
          default: multiply(out, sums, w, x, steps, next, first, last, R, S); break;
        }
        if (!last) continue;
        for (size_t s = 0; s < width; s++) {
          float *y = job->y + (m + s) * N + n;
          for (size_t r = 0; r < rows; r++) {
            float value = out[s * R + r] + (job->bias ? job->bias[n + r] : 0);
            y[r] = job->accumulate ? y[r] + value : value;
          }
        }
      }
    }
  }
}
BODIES(linear)

static void pack(float *out, size_t stride, const float *x, size_t count) {
  for (; count >= 16; count -= 16, x += 16, out += stride) memcpy(out, x, 64);
  if (count) {
    memset(out, 0, 64);
    memcpy(out, x, count * sizeof(float));
  }
}

void atk_linear_decode(float *y, const float *x, const void *w, atk_weights format,
                       const float *bias, size_t M, size_t N, size_t K, int accumulate) {
  if (M == 0 || N == 0) return;
  size_t R = TILE_ROWS, S = TILE_COLUMNS, steps = (K + 15) / 16;
  float *packed = atk_scratch(ATK_SCRATCH_SHARED, M * steps * 16 * sizeof(float));
  for (size_t m = 0; m < M; m += S) {
    size_t width = atk_min(M - m, S);
    for (size_t s = 0; s < width; s++)
      pack(packed + (m * steps + s) * 16, width * 16, x + (m + s) * K, K);
  }
  linear_job job = {y, packed, w, format, bias, M, N, K, accumulate};
  atk_parallel_for((N + R - 1) / R, BODY(linear), &job);
}

// ---- attention --------------------------------------------------------------------------------
typedef struct {
  float *out;
  const float *q;
  const void *const *k[2];  // prefix, own
  const void *const *v[2];
  const int32_t *count[2];
  size_t H, G, C, ldq;
  float scale, cap;
  bool narrow, rounds;
} attention_job;

// A head's numbers lie `stride` apart: further than a processor looks ahead by itself.
enum { AHEAD = 16 };  // positions

INLINE void fetch(const char *x, size_t bytes) {
  for (size_t b = 0; b < bytes; b += 64) __builtin_prefetch(x + b, 0, 3);
}

// Keys and values are kept in bfloat16 where `narrow`, else in float32.
INLINE size_t cached_bytes(size_t count, const bool narrow) {
  return count * (narrow ? sizeof(uint16_t) : sizeof(float));
}

// `count` <= 16 of them, the rest zero.
INLINE void load_cached(f16 *out, const char *x, size_t count, const bool narrow) {
  if (narrow) {
    h16 bits = {0};
    if (count == 16) {
      bits = *(const h16_unaligned *)x;
    } else {
      memcpy(&bits, x, count * sizeof(uint16_t));
    }
    *out = (f16)(__builtin_convertvector(bits, i16) << 16);
  } else if (count == 16) {
    *out = LOAD(x);
  } else {
    load_part(out, (const float *)x, count, 0);
  }
}

// Dot products of q[C] with four keys.
INLINE void dot_4(float *out, const float *q, const char *const *k, size_t C, const bool narrow) {
  f16 sum[4] = {{0}, {0}, {0}, {0}};
  size_t c = 0;
  for (; c + 16 <= C; c += 16) {
    f16 query = LOAD(q + c);
    UNROLL for (int j = 0; j < 4; j++) {
      f16 key;
      load_cached(&key, k[j] + cached_bytes(c, narrow), 16, narrow);
      sum[j] += query * key;
    }
  }
  if (c < C) {
    f16 query;
    load_part(&query, q + c, C - c, 0);
    UNROLL for (int j = 0; j < 4; j++) {
      f16 key;
      load_cached(&key, k[j] + cached_bytes(c, narrow), C - c, narrow);
      sum[j] += query * key;
    }
  }
  sum_lanes_4(out, sum, sum + 1, sum + 2, sum + 3);
}

// Scores [n] (n a multiple of 16, the rest −∞) become e^(score − greatest); returns their sum.
INLINE float exponentials(float *score, size_t n) {
  float greatest = score[0];
  for (size_t i = 1; i < n; i++) greatest = score[i] > greatest ? score[i] : greatest;
  f16 sum = {0};
  for (size_t i = 0; i < n; i += 16) {
    f16 value = LOAD(score + i) - greatest;
    exp_lanes(&value);
    *(f16_unaligned *)(score + i) = value;
    sum += value;
  }
  return sum_lanes(&sum);
}

// Shares of the sum, rounded to bfloat16 (to nearest, ties to even).
INLINE void round_shares(float *score, size_t n, float sum) {
  for (size_t i = 0; i < n; i += 16) {
    f16 share = LOAD(score + i) / sum;
    i16 bits = (i16)share;
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & ~0xFFFF;
    // What is not a number stays that.
    i16 known = share == share;
    *(f16_unaligned *)(score + i) = (f16)((bits & known) | ((i16)share & ~known));
  }
}

// Columns of one head: `vectors` (at most 4) of 16, of which the last has `last` columns.
INLINE void weigh_values(const attention_job *job, float *out, const float *weight, float scale,
                         size_t m, size_t column, const int vectors, size_t last,
                         const bool narrow) {
  size_t stride = cached_bytes(job->G * job->C, narrow);
  f16 sum[4] = {{0}, {0}, {0}, {0}};
  size_t i = 0;
  for (int part = 0; part < 2; part++) {
    int32_t count = job->count[part][m];
    const char *v = count > 0 ? job->v[part][m] : NULL;
    if (v) v += cached_bytes(column, narrow);
    for (int32_t p = 0; p < count; p++, i++, v += stride) {
      float w = weight[i];
      fetch(v + AHEAD * stride, cached_bytes((size_t)vectors * 16, narrow));
      UNROLL for (int j = 0; j < vectors; j++) {
        f16 value;
        load_cached(&value, v + cached_bytes(16 * (size_t)j, narrow),
                    j + 1 < vectors ? 16 : last, narrow);
        sum[j] += w * value;
      }
    }
  }
  UNROLL for (int j = 0; j < vectors; j++) {
    f16 value = sum[j] * scale;
    size_t width = j + 1 < vectors ? 16 : last;
    if (width == 16) {
      *(f16_unaligned *)(out + 16 * j) = value;
    } else {
      memcpy(out + 16 * j, &value, width * sizeof(float));
    }
  }
}

// Items m·G + g: the query heads of one row that share the key/value head g.
INLINE void attend(const attention_job *job, size_t begin, size_t end, const bool narrow) {
  size_t H = job->H, G = job->G, C = job->C, stride = cached_bytes(G * C, narrow);
  float scale = job->scale;
  for (size_t item = begin; item < end; item++) {
    size_t m = item / G, g = item % G, heads = H / G;
    size_t n = (size_t)job->count[0][m] + (size_t)job->count[1][m];
    size_t padded = atk_round_up(n, 16);
    float *scores = atk_scratch(ATK_SCRATCH_OWN, heads * padded * sizeof(float));
    const float *q = job->q + m * job->ldq + g * heads * C;
    float *out = job->out + (m * H + g * heads) * C;
    if (n == 0) {
      memset(out, 0, heads * C * sizeof(float));
      continue;
    }
    size_t first = 0;
    for (int part = 0; part < 2; part++) {
      size_t count = (size_t)job->count[part][m];
      const char *k = count > 0 ? job->k[part][m] : NULL;
      if (k) k += cached_bytes(g * C, narrow);
      for (size_t p = 0; p < count; p += 4) {
        const char *keys[4];
        size_t present = atk_min(count - p, 4);
        for (size_t j = 0; j < 4; j++) {
          keys[j] = k + (p + atk_min(j, present - 1)) * stride;
          fetch(keys[j] + AHEAD * stride, cached_bytes(C, narrow));
        }
        for (size_t h = 0; h < heads; h++) {
          float four[4];
          dot_4(four, q + h * C, keys, C, narrow);
          for (size_t j = 0; j < present; j++)
            scores[h * padded + first + p + j] = four[j] * scale;
        }
      }
      first += count;
    }
    for (size_t h = 0; h < heads; h++) {
      float *score = scores + h * padded;
      if (job->cap > 0) atk_soft_cap(score, job->cap, n);
      for (size_t i = n; i < padded; i++) score[i] = -INFINITY;
      float sum = exponentials(score, padded), inverse = 1.0f / sum;
      if (job->rounds) round_shares(score, padded, sum), inverse = 1;
      size_t c = 0;
      for (; c + 64 <= C; c += 64)
        weigh_values(job, out + h * C + c, score, inverse, m, g * C + c, 4, 16, narrow);
      for (; c < C; c += 16)
        weigh_values(job, out + h * C + c, score, inverse, m, g * C + c, 1, atk_min(C - c, 16),
                     narrow);
    }
  }
}

INLINE void attention(void *context, size_t begin, size_t end, const int R, const int S) {
  (void)R, (void)S;
  const attention_job *job = context;
  if (job->narrow) {
    attend(job, begin, end, true);
  } else {
    attend(job, begin, end, false);
  }
}
BODIES(attention)

static void attention_item(void *job, size_t index) { BODY(attention)(job, index, index + 1); }

void atk_attention_decode(float *out, const float *q, const void *const *prefix_k,
                          const void *const *prefix_v, const void *const *own_k,
                          const void *const *own_v, atk_weights cached,
                          const int32_t *prefix_count, const int32_t *own_count, size_t M, size_t H,
                          size_t G, size_t C, size_t ldq, atk_attention_rule rule,
                          atk_precision precision) {
  attention_job job = {out, q,  {prefix_k, own_k}, {prefix_v, own_v}, {prefix_count, own_count},
                       H,   G, C, ldq, rule.scale > 0 ? rule.scale : 1.0f / sqrtf((float)C),
                       rule.cap, cached == ATK_BFLOAT16, precision == ATK_PRODUCTS_BF16};
  size_t positions = 0;
  for (size_t m = 0; m < M; m++) positions += (size_t)prefix_count[m] + (size_t)own_count[m];
  if (positions * H * C < 65536) {  // some microseconds, not worth waking others
    BODY(attention)(&job, 0, M * G);
  } else {
    atk_parallel_each(M * G, attention_item, &job);
  }
}
