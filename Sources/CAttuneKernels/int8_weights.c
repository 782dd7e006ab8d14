// SPDX-License-Identifier: Apache-2.0
// Weights in 8-bit codes, from whatever they are kept in.
#include "int8_codes.h"
#include "decode_vectors.h"
#include "stored_weights.h"

// As in the header: nothing is fused, so that codes are the same on every processor.
#pragma clang fp reassociate(off) contract(off)

// What is not known to be centred before it is read counts as if it were not.
size_t atk_int8_bytes(atk_weights format, size_t N, size_t K) {
  codes_layout layout = format == ATK_NIBBLES ? CODES_NIBBLES : CODES_WIDE;
  return sizeof(packed_codes) + (N + LANES - 1) / LANES * panel_bytes(layout, groups_of(K));
}

typedef struct {
  packed_codes *out;
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

// Sixteen columns of sixteen rows, a vector each.
INLINE void load_columns(i16 *out, const float *const *rows, size_t column) {
  UNROLL for (int r = 0; r < LANES; r++) out[r] = (i16)LOAD(rows[r] + column);
  transpose(out);
}

// Integers that are ordered as the floats are; infinities and NaN are outermost. And back.
INLINE void ordered(i16 *x) { *x ^= (*x >> 31) & 0x7fffffff; }

// A group of a panel from float32 numbers.
INLINE void pack_floats(weight_group *out, const float *const *rows) {
  i16 x[GROUP], low, high;
  load_columns(x, rows, 0);
  load_columns(x + LANES, rows, LANES);
  low = high = x[0];
  ordered(&low), ordered(&high);
  UNROLL for (int i = 1; i < GROUP; i++) {
    i16 number = x[i];
    ordered(&number);
    low = __builtin_elementwise_min(low, number);
    high = __builtin_elementwise_max(high, number);
  }
  ordered(&low), ordered(&high);
  f16 least = (f16)low, range = (f16)high - least;
  i16 varies = range > 1e-30f;  // else they count as equal: there is no reciprocal
  f16 inverse = (f16)((i16)(255.0f / range) & varies);
  // What is not finite must show in the product.
  *(f16 *)out->scale = (f16)((i16)(range / 255.0f) & ~(range <= 1e-30f));
  *(f16 *)out->offset = least;
  UNROLL for (int q = 0; q < QUADS; q++) {
    i16 quad = {0};
    UNROLL for (int i = 0; i < 4; i++) {
      i16 code = (i16)(((f16)x[4 * q + i] - least) * inverse + rounder);
      quad |= (i < 3 ? code & 255 : code) << 8 * i;
    }
    *(i16 *)out->codes[q] = quad;
  }
}

// A row's codes around 0, from 0 on.
static void keep_codes(code_group *out, size_t r, const atk_bytes *stored) {
  for (int q = 0; q < QUADS; q++) {
    uint32_t quad;
    memcpy(&quad, stored->codes + 4 * q, sizeof quad);
    (*out)[q][r] = quad ^ 0x80808080u;
  }
}

// A row's group as a file has it, if that is codes of 8 bits with one scale.
static void keep_bytes(weight_group *out, size_t r, const atk_bytes *stored) {
  if (stored->scale[0] != stored->scale[1]) return;
  out->scale[r] = stored->scale[0];
  out->offset[r] = -128 * stored->scale[0];
  keep_codes(&out->codes, r, stored);
}

// Codes of five bits, as those of eight that they are among.
static void keep_fives(weight_group *out, size_t r, const atk_fives *stored) {
  out->scale[r] = stored->scale;
  out->offset[r] = stored->offset;
  for (int q = 0; q < QUADS; q++) {
    uint8_t quad[4];
    for (int i = 0; i < 4; i++) {
      int at = 4 * q + i, half = at / 16 * 4;
      quad[i] = (uint8_t)((stored->codes[at % 16] >> half & 15) | (stored->fifth >> at & 1) << 4);
    }
    memcpy(&out->codes[q][r], quad, sizeof quad);
  }
}

// The bits of a scale in float16 if it is a normal number of that, or 0.
static bool to_half(float scale, uint16_t *half) {
  uint32_t bits;
  memcpy(&bits, &scale, sizeof bits);
  uint32_t exponent = bits >> 23 & 255, sign = bits >> 16 & 0x8000;
  *half = (uint16_t)sign;
  if (scale == 0) return true;
  if (exponent < 113 || exponent > 142 || (bits & 0x1fff) != 0) return false;
  *half = (uint16_t)(sign | (bits >> 13 & 0x3ff) | (exponent - 112) << 10);
  return true;
}

typedef struct {
  const char *w;
  size_t groups;
  _Atomic bool centred;
} centre_job;

static void look_at_scales(void *context, size_t begin, size_t end) {
  centre_job *job = context;
  const atk_bytes *stored = (const atk_bytes *)job->w + begin * job->groups;
  bool centred = true;
  uint16_t half;
  for (size_t i = 0; centred && i < (end - begin) * job->groups; i++)
    centred = stored[i].scale[0] == stored[i].scale[1] && to_half(stored[i].scale[0], &half);
  if (!centred) job->centred = false;
}

static codes_layout layout_of(const void *w, atk_weights format, size_t N, size_t K) {
  if (format == ATK_NIBBLES) return CODES_NIBBLES;
  if (format != ATK_BYTES) return CODES_WIDE;
  centre_job job = {w, groups_of(K), true};
  atk_parallel_rows(N, job.groups, look_at_scales, &job);
  return job.centred ? CODES_CENTRED : CODES_WIDE;
}

static void keep_nibbles(nibble_group *out, size_t r, const atk_nibbles *stored) {
  out->scale[r] = stored->scale;
  out->offset[r] = stored->offset;
  for (int q = 0; q < QUADS / 2; q++) memcpy(&out->codes[q][r], stored->codes + 4 * q, 4);
}

// Past the caches: a panel is not read before all are made.
INLINE void stream(char *out, const void *made, size_t bytes) {
  const i16 *from = made;
  for (size_t i = 0; i < bytes / sizeof *from; i++)
    __builtin_nontemporal_store(from[i], (i16 *)out + i);
}

static void pack_centred(void *context, size_t begin, size_t end) {
  const packing_job *job = context;
  size_t groups = groups_of(job->K);
  for (size_t panel = begin; panel < end; panel++) {
    char *out = job->out->memory + panel * job->out->panel_bytes;
    code_group *codes = (code_group *)out;
    half_scales *scales = (half_scales *)(codes + groups);
    memset(out, 0, job->out->panel_bytes);
    for (size_t r = 0; r < atk_min(job->N - panel * LANES, LANES); r++) {
      const atk_bytes *stored = (const atk_bytes *)job->w + (panel * LANES + r) * groups;
      for (size_t g = 0; g < groups; g++) {
        to_half(stored[g].scale[0], &scales[g][r]);
        keep_codes(codes + g, r, stored + g);
      }
    }
  }
}

// Panels begin ..< end.
INLINE void pack_weights(void *context, size_t begin, size_t end, const int R, const int S) {
  (void)R, (void)S;
  const packing_job *job = context;
  size_t groups = groups_of(job->K), row_bytes = atk_weight_bytes(job->format, job->K);
  size_t stored_bytes = atk_weight_bytes(job->format, GROUP);
  size_t bytes = job->format == ATK_NIBBLES ? sizeof(nibble_group) : sizeof(weight_group);
  for (size_t panel = begin; panel < end; panel++) {
    size_t rows = atk_min(job->N - panel * LANES, LANES);
    const char *w = (const char *)job->w + panel * LANES * row_bytes;
    char *out = job->out->memory + panel * job->out->panel_bytes;
    for (size_t g = 0; g < groups; g++, w += stored_bytes, out += bytes) {
      if (job->format == ATK_NIBBLES) {
        nibble_group made __attribute__((aligned(64))) = {0};
        for (size_t r = 0; r < rows; r++)
          keep_nibbles(&made, r, (const atk_nibbles *)(w + r * row_bytes));
        stream(out, &made, sizeof made);
        continue;
      }
      size_t count = atk_min(job->K - g * GROUP, GROUP);
      bool whole = job->format == ATK_FLOAT32 && count == GROUP;
      f16 expanded[LANES][2];
      const float *x[LANES];
      for (size_t r = 0; r < LANES; r++) {
        const char *row = w + r * row_bytes;
        x[r] = whole && r < rows ? (const float *)row : (const float *)expanded[r];
        if (r >= rows || count < GROUP) memset(expanded[r], 0, sizeof expanded[r]);
        if (r < rows && !whole)
          atk_expand_weights((float *)expanded[r], LANES, job->format, row, count);
        // Sixteen rows at once are too many for a processor to see where they go on: the next sixteen.
        for (size_t line = 0; line < stored_bytes; line += 64)
          __builtin_prefetch(row + LANES * row_bytes + line, 0, 2);
      }
      weight_group made __attribute__((aligned(64)));
      pack_floats(&made, x);
      for (size_t r = 0; job->format == ATK_BYTES && r < rows; r++)
        keep_bytes(&made, r, (const atk_bytes *)(w + r * row_bytes));
      for (size_t r = 0; job->format == ATK_FIVES && r < rows; r++)
        keep_fives(&made, r, (const atk_fives *)(w + r * row_bytes));
      stream(out, &made, sizeof made);
    }
  }
}
BODIES(pack_weights)

void atk_int8_pack(void *codes, const void *w, atk_weights format, size_t N, size_t K) {
  packed_codes *out = codes;
  out->layout = layout_of(w, format, N, K);
  out->panel_bytes = panel_bytes(out->layout, groups_of(K));
  packing_job job = {out, w, format, N, K};
  atk_parallel_for((N + LANES - 1) / LANES,
                   out->layout == CODES_CENTRED ? pack_centred : BODY(pack_weights), &job);
}
