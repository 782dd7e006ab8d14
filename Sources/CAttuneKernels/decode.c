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
// One item is some key/value heads of a row, with all query heads that share them. Most of its time is
// reading: while an item's keys are read its values are fetched, and meanwhile the next item's keys.
enum {
  MOST_HEADS = 4,  // query heads for which a key or a value is brought to float32 once
  AHEAD = 16,      // positions between the keys of a thread's first item and what is fetched of them
  BLOCK = 32,      // positions whose values are read by one head after another
};

typedef struct {
  float *out;
  const float *q;
  const void *const *k[2];  // prefix, own
  const void *const *v[2];
  const int32_t *count[2];
  size_t M, H, G, C, ldq;
  float scale, cap;
  bool narrow, rounds;
  size_t width;  // key/value heads of an item
} attention_job;

// Keys and values are kept in bfloat16 where `narrow`, else in float32.
INLINE size_t cached_bytes(size_t count, const bool narrow) {
  return count * (narrow ? sizeof(uint16_t) : sizeof(float));
}

INLINE size_t positions_of(const attention_job *job, size_t m) {
  return (size_t)job->count[0][m] + (size_t)job->count[1][m];
}

// Where the numbers of head g at a position of row m lie.
INLINE const char *find_cached(const attention_job *job, const void *const *const *cache, size_t m,
                               size_t position, size_t g, const bool narrow) {
  size_t prefix = (size_t)job->count[0][m], part = position >= prefix;
  size_t row = position - part * prefix;
  return (const char *)cache[part][m] + cached_bytes((row * job->G + g) * job->C, narrow);
}

// Brings an item's numbers of positions `begin` ..< `end`, as far as it has them, to the second-level cache.
INLINE void fetch(const attention_job *job, const void *const *const *cache, size_t m, size_t g,
                  size_t begin, size_t end, const bool narrow) {
  end = atk_min(end, positions_of(job, m));
  for (size_t p = begin; p < end; p++) {
    const char *at = find_cached(job, cache, m, p, g, narrow);
    for (size_t b = 0; b < cached_bytes(job->width * job->C, narrow); b += 64)
      __builtin_prefetch(at + b, 0, 2);
  }
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

INLINE void load_floats(f16 *out, const float *x, size_t count) {
  load_cached(out, (const char *)x, count, false);
}

INLINE void store_floats(float *out, const f16 *x, size_t count) {
  if (count == 16) {
    *(f16_unaligned *)out = *x;
  } else {
    memcpy(out, x, count * sizeof(float));
  }
}

// Sums of `heads` queries times four keys over `count` <= 16 columns from c on.
INLINE void add_products(f16 *sum, const float *q, const char *const *keys, size_t C, size_t c,
                         size_t count, const bool narrow, const int heads) {
  f16 key[4];
  UNROLL for (int j = 0; j < 4; j++)
    load_cached(&key[j], keys[j] + cached_bytes(c, narrow), count, narrow);
  UNROLL for (int h = 0; h < heads; h++) {
    f16 query;
    load_floats(&query, q + (size_t)h * C + c, count);
    UNROLL for (int j = 0; j < 4; j++) sum[4 * h + j] += query * key[j];
  }
}

// Scores of queries q[heads, C] with `present` <= 4 keys, to scores[heads, padded].
INLINE void score_keys(const attention_job *job, float *scores, size_t padded, const float *q,
                       const char *const *keys, size_t present, const bool narrow,
                       const int heads) {
  size_t C = job->C, c = 0;
  f16 sum[4 * MOST_HEADS];
  UNROLL for (int i = 0; i < 4 * heads; i++) sum[i] = (f16){0};
  for (; c + 16 <= C; c += 16) add_products(sum, q, keys, C, c, 16, narrow, heads);
  if (c < C) add_products(sum, q, keys, C, c, C - c, narrow, heads);
  UNROLL for (int h = 0; h < heads; h++) {
    const f16 *s = sum + 4 * h;
    float four[4];
    sum_lanes_4(four, s, s + 1, s + 2, s + 3);
    for (size_t j = 0; j < present; j++) scores[(size_t)h * padded + j] = four[j] * job->scale;
  }
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

// out[heads, C] += Σ weight · value over `count` positions, in `vectors` (at most 4) of 16 columns, of
// which the last has `last`.
INLINE void weigh_columns(const attention_job *job, float *out, const float *weights,
                          size_t padded, const char *values, size_t count, const int vectors,
                          size_t last, const bool narrow, const int heads) {
  size_t C = job->C, stride = cached_bytes(job->G * C, narrow);
  f16 sum[4 * MOST_HEADS], value[4];
  UNROLL for (int i = 0; i < heads * vectors; i++)
    load_floats(&sum[i], out + (size_t)(i / vectors) * C + 16 * (i % vectors), last);
  for (size_t p = 0; p < count; p++, values += stride) {
    UNROLL for (int j = 0; j < vectors; j++)
      load_cached(&value[j], values + cached_bytes(16 * (size_t)j, narrow), last, narrow);
    UNROLL for (int h = 0; h < heads; h++) {
      float weight = weights[(size_t)h * padded + p];
      UNROLL for (int j = 0; j < vectors; j++) sum[h * vectors + j] += weight * value[j];
    }
  }
  UNROLL for (int i = 0; i < heads * vectors; i++)
    store_floats(out + (size_t)(i / vectors) * C + 16 * (i % vectors), &sum[i], last);
}

INLINE void weigh_values(const attention_job *job, float *out, const float *weights, size_t padded,
                         const char *values, size_t count, const bool narrow, const int heads) {
  size_t C = job->C, c = 0;
#define COLUMNS(vectors, last)                                                                   \
  weigh_columns(job, out + c, weights, padded, values + cached_bytes(c, narrow), count, vectors, \
                last, narrow, heads)
  for (; c + 64 <= C; c += 64) COLUMNS(4, 16);
  for (; c + 16 <= C; c += 16) COLUMNS(1, 16);
  if (c < C) COLUMNS(1, C - c);
#undef COLUMNS
}

// A function for `some` <= most heads.
#define WITH_HEADS(some, most, function, ...)                   \
  switch (some) {                                               \
    case 1: function(__VA_ARGS__, 1); break;                    \
    case 2: function(__VA_ARGS__, most < 2 ? most : 2); break;  \
    case 3: function(__VA_ARGS__, most < 3 ? most : 3); break;  \
    default: function(__VA_ARGS__, most); break;                \
  }

// The heads g ..< g + width of row m; of the next item keys are fetched.
INLINE void attend(const attention_job *job, size_t m, size_t g, size_t next_m, size_t next_g,
                   bool first, const bool narrow, const int most) {
  size_t C = job->C, shared = job->H / job->G, heads = job->width * shared;
  size_t n = positions_of(job, m), padded = atk_round_up(n, 16);
  size_t prefix = (size_t)job->count[0][m];
  const float *q = job->q + m * job->ldq + g * shared * C;
  float *out = job->out + (m * job->H + g * shared) * C;
  memset(out, 0, heads * C * sizeof(float));
  if (n == 0) return;
  float *scores = atk_scratch(ATK_SCRATCH_OWN, heads * (padded + 1) * sizeof(float));
  float *factor = scores + heads * padded;
  for (size_t p = 0; p < n; p += 4) {
    if (first) fetch(job, job->k, m, g, p + AHEAD, p + AHEAD + 4, narrow);
    fetch(job, job->v, m, g, p, p + 4, narrow);
    for (size_t h = 0, some; h < heads; h += some) {
      const char *keys[4];
      for (size_t j = 0; j < 4; j++)
        keys[j] = find_cached(job, job->k, m, atk_min(p + j, n - 1), g + h / shared, narrow);
      some = atk_min(shared - h % shared, (size_t)most);
      WITH_HEADS(some, most, score_keys, job, scores + h * padded + p, padded, q + h * C, keys,
                 atk_min(n - p, 4), narrow)
    }
  }
  for (size_t h = 0; h < heads; h++) {
    float *score = scores + h * padded;
    if (job->cap > 0) atk_soft_cap(score, job->cap, n);
    for (size_t i = n; i < padded; i++) score[i] = -INFINITY;
    float sum = exponentials(score, padded);
    if (job->rounds) round_shares(score, padded, sum);
    factor[h] = job->rounds ? 1 : 1.0f / sum;
  }
  for (size_t p = 0, length; p < n; p += length) {
    length = atk_min((p < prefix ? prefix : n) - p, BLOCK);
    for (size_t h = 0, some; h < heads; h += some) {
      some = atk_min(shared - h % shared, (size_t)most);
      if (next_m < job->M)
        fetch(job, job->k, next_m, next_g, p + h * length / heads,
              p + (h + some) * length / heads, narrow);
      WITH_HEADS(some, most, weigh_values, job, out + h * C, scores + h * padded + p, padded,
                 find_cached(job, job->v, m, p, g + h / shared, narrow), length, narrow)
    }
  }
  for (size_t h = 0; h < heads; h++)
    for (size_t c = 0; c < C; c++) out[h * C + c] *= factor[h];
}

// An item counts as many units as it has positions, and one. A part has the items that begin among its
// units `begin` ..< `end`.
INLINE void attention(void *context, size_t begin, size_t end, const int R, const int S) {
  (void)S;
  const attention_job *job = context;
  const int most = R == 6 ? MOST_HEADS : 1;  // what there are registers for
  bool first = true;
  for (size_t m = 0, unit = 0; m < job->M && unit < end; m++) {
    for (size_t g = 0; g < job->G; g += job->width) {
      if (unit >= begin && unit < end) {
        bool last = g + job->width == job->G;
        size_t next_m = last ? m + 1 : m, next_g = last ? 0 : g + job->width;
        if (job->narrow) {
          attend(job, m, g, next_m, next_g, first, true, most);
        } else {
          attend(job, m, g, next_m, next_g, first, false, most);
        }
        first = false;
      }
      unit += positions_of(job, m) + 1;
    }
  }
}
BODIES(attention)

void atk_attention_decode(float *out, const float *q, const void *const *prefix_k,
                          const void *const *prefix_v, const void *const *own_k,
                          const void *const *own_v, atk_weights cached,
                          const int32_t *prefix_count, const int32_t *own_count, size_t M, size_t H,
                          size_t G, size_t C, size_t ldq, atk_attention_rule rule,
                          atk_precision precision) {
  // Whole rows, whose numbers lie beside one another, where there are enough of them to share out.
  size_t width = M < 4 * (size_t)atk_threads() ? 1 : G;
  attention_job job = {out, q,   {prefix_k, own_k}, {prefix_v, own_v}, {prefix_count, own_count}, M,
                       H,   G,   C, ldq, rule.scale > 0 ? rule.scale : 1.0f / sqrtf((float)C),
                       rule.cap, cached == ATK_BFLOAT16, precision == ATK_PRODUCTS_BF16, width};
  size_t units = 0;
  for (size_t m = 0; m < M; m++) units += (positions_of(&job, m) + 1) * (G / width);
  if (units * width * (H / G) * C < 65536) {  // some microseconds, not worth waking others
    BODY(attention)(&job, 0, units);
  } else {
    atk_parallel_for(units, BODY(attention), &job);
  }
}
