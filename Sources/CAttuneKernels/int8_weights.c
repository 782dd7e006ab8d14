// SPDX-License-Identifier: Apache-2.0
// Weights in 8-bit codes, from whatever they are kept in.
#include "int8_codes.h"
#include "decode_vectors.h"
#include "stored_weights.h"

// As in the header: nothing is fused, so that codes are the same on every processor.
#pragma clang fp reassociate(off) contract(off)

size_t atk_int8_bytes(size_t N, size_t K) {
  return (N + LANES - 1) / LANES * groups_of(K) * sizeof(weight_group);
}

enum { PAIR = 2 * GROUP };  // inputs that are packed at once

typedef struct {
  weight_group *out;
  const void *w;
  atk_weights format;
  size_t N, K;
} packing_job;

#define SWAP(d, low, high)                                                      \
  UNROLL for (int i = 0; i < LANES; i++) {                                      \
    if (i & (d)) continue;                                                      \
    i16 a = v[i], b = v[i + (d)];                                               \
    v[i] = __builtin_shufflevector(a, b, low);                                  \
    v[i + (d)] = __builtin_shufflevector(a, b, high);                           \
  }
#define LIST(...) __VA_ARGS__

// 16 × 16 numbers of 32 bits, rows to columns.
INLINE void transpose(i16 *v) {
  SWAP(8, LIST(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
       LIST(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
  SWAP(4, LIST(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
       LIST(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
  SWAP(2, LIST(0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
       LIST(2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
  SWAP(1, LIST(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
       LIST(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
}

// Integers that are ordered as the floats are; infinities and NaN are outermost. And back.
INLINE void ordered(i16 *x) { *x ^= (*x >> 31) & 0x7fffffff; }

INLINE void halves(i16 *out, const i16 *a, const i16 *b, const int first) {
  *out = first ? __builtin_shufflevector(*a, *b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
               : __builtin_shufflevector(*a, *b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29,
                                         30, 31);
}

// Least and greatest of each of 16 rows' two groups, to lanes of a vector a group.
INLINE void ranges(f16 *least, f16 *greatest, const float *const *rows) {
  i16 low[LANES], high[LANES];
  for (int r = 0; r < LANES; r++) {
    i16 x[4], lower[2], upper[2], a, b;
    UNROLL for (int i = 0; i < 4; i++) {
      x[i] = (i16)LOAD(rows[r] + LANES * i);
      ordered(&x[i]);
    }
    UNROLL for (int g = 0; g < 2; g++) {
      lower[g] = __builtin_elementwise_min(x[2 * g], x[2 * g + 1]);
      upper[g] = __builtin_elementwise_max(x[2 * g], x[2 * g + 1]);
    }
    halves(&a, &lower[0], &lower[1], 1), halves(&b, &lower[0], &lower[1], 0);
    low[r] = __builtin_elementwise_min(a, b);
    halves(&a, &upper[0], &upper[1], 1), halves(&b, &upper[0], &upper[1], 0);
    high[r] = __builtin_elementwise_max(a, b);
  }
  transpose(low);
  transpose(high);
  UNROLL for (int g = 0; g < 2; g++) {
    i16 lower = low[8 * g], upper = high[8 * g];
    UNROLL for (int i = 1; i < 8; i++) {
      lower = __builtin_elementwise_min(lower, low[8 * g + i]);
      upper = __builtin_elementwise_max(upper, high[8 * g + i]);
    }
    ordered(&lower), ordered(&upper);
    least[g] = (f16)lower;
    greatest[g] = (f16)upper;
  }
}

// Two groups (the second may lie behind the end) of a panel from float32 numbers.
INLINE void pack_floats(weight_group *out, size_t groups, const float *const *rows) {
  f16 least[2], greatest[2], inverse[2];
  i16 codes[LANES];
  ranges(least, greatest, rows);
  UNROLL for (int g = 0; g < 2; g++) {
    f16 range = greatest[g] - least[g];
    i16 varies = range > 1e-30f;  // else they count as equal: there is no reciprocal
    inverse[g] = (f16)((i16)(255.0f / range) & varies);
    if (g >= (int)groups) continue;
    // What is not finite must show in the product.
    *(f16 *)out[g].scale = (f16)((i16)(range / 255.0f) & ~(range <= 1e-30f));
    *(f16 *)out[g].offset = least[g];
  }
  for (int r = 0; r < LANES; r++) {
    UNROLL for (int i = 0; i < 4; i++) {
      f16 code = (LOAD(rows[r] + LANES * i) - least[i / 2][r]) * inverse[i / 2][r] + rounder;
      store_codes((int8_t *)&codes[r] + LANES * i, &code);
    }
  }
  transpose(codes);
  for (size_t q = 0; q < groups * QUADS; q++) *(i16 *)out[q / QUADS].codes[q % QUADS] = codes[q];
}

// A row's group as a file has it, if that is codes with one scale.
static bool keep_group(weight_group *out, size_t r, atk_weights format, const uint8_t *stored) {
  uint8_t codes[GROUP];
  float scale[2];
  memcpy(scale, stored, sizeof scale);
  if (format == ATK_NIBBLES) {
    const uint8_t *pairs = stored + offsetof(atk_nibbles, codes);
    for (int i = 0; i < 16; i++) codes[i] = pairs[i] & 15, codes[i + 16] = pairs[i] >> 4;
    out->offset[r] = scale[1];
  } else if (format == ATK_BYTES && scale[0] == scale[1]) {
    for (int i = 0; i < GROUP; i++) codes[i] = stored[offsetof(atk_bytes, codes) + i] ^ 0x80;
    out->offset[r] = -128 * scale[0];
  } else {
    return false;
  }
  out->scale[r] = scale[0];
  for (int q = 0; q < QUADS; q++) memcpy(&out->codes[q][r], codes + 4 * q, 4);
  return true;
}

// Panels begin ..< end.
INLINE void pack_weights(void *context, size_t begin, size_t end, const int R, const int S) {
  (void)R, (void)S;
  const packing_job *job = context;
  size_t groups = groups_of(job->K), row_bytes = atk_weight_bytes(job->format, job->K);
  size_t pair_bytes = atk_weight_bytes(job->format, PAIR);
  for (size_t panel = begin; panel < end; panel++) {
    size_t rows = atk_min(job->N - panel * LANES, LANES);
    const char *w = (const char *)job->w + panel * LANES * row_bytes;
    for (size_t g = 0; g < groups; g += 2) {
      weight_group *out = job->out + panel * groups + g;
      size_t count = atk_min(job->K - g * GROUP, PAIR), present = atk_min(groups - g, 2);
      // Sixteen rows at once are too many for a processor to see where they go on.
      size_t soon = g + 4 < groups ? 2 * pair_bytes : LANES * row_bytes - g / 2 * pair_bytes;
      bool whole = job->format == ATK_FLOAT32 && count == PAIR;
      f16 expanded[LANES][4];
      const float *x[LANES];
      for (size_t r = 0; r < LANES; r++) {
        const char *row = w + r * row_bytes + g / 2 * pair_bytes;
        x[r] = whole && r < rows ? (const float *)row : (const float *)expanded[r];
        if (r >= rows || count < PAIR) memset(expanded[r], 0, sizeof expanded[r]);
        if (r < rows && !whole)
          atk_expand_weights((float *)expanded[r], LANES, job->format, row, count);
        for (size_t line = 0; line < pair_bytes; line += 64)
          __builtin_prefetch(row + soon + line, 0, 3);
      }
      pack_floats(out, present, x);
      if (job->format == ATK_FLOAT32 || job->format == ATK_BFLOAT16) continue;
      for (size_t i = 0; i < present; i++)
        for (size_t r = 0; r < rows; r++)
          keep_group(out + i, r, job->format,
                     (const uint8_t *)w + r * row_bytes + (g + i) * (pair_bytes / 2));
    }
  }
}
BODIES(pack_weights)

void atk_int8_pack(void *codes, const void *w, atk_weights format, size_t N, size_t K) {
  packing_job job = {codes, w, format, N, K};
  atk_parallel_for((N + LANES - 1) / LANES, BODY(pack_weights), &job);
}
