// SPDX-License-Identifier: Apache-2.0
// Vectors and instruction sets of the kernels that decode.
//
// All is written over vectors of 16 lanes, and every sum has one order: lane i adds the terms i,
// i + 16, i + 32 … one after another (the last part padded with zeros), then lanes 8, 4, 2 and 1
// apart are added. Neither tiles nor rows nor threads enter it.
#ifndef ATTUNE_DECODE_VECTORS_H
#define ATTUNE_DECODE_VECTORS_H

#include "kernels_internal.h"

#include <math.h>
#include <string.h>

// Unlike the other kernels: sums keep the order in which they are written.
#pragma clang fp reassociate(off) contract(fast)

typedef float f16 __attribute__((vector_size(64)));
typedef float f16_unaligned __attribute__((vector_size(64), aligned(4)));
typedef int32_t i16 __attribute__((vector_size(64)));
typedef uint16_t h16 __attribute__((vector_size(32)));
typedef uint16_t h16_unaligned __attribute__((vector_size(32), aligned(2)));

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")
#define LOAD(p) (*(const f16_unaligned *)(p))

// ---- instruction sets -------------------------------------------------------------------------
// A body is inlined into one function for each instruction set, with the tile (R rows of w times S
// rows of x, 16 lanes each) that its registers hold. All have the type that the pool calls.
typedef void body_function(void *job, size_t begin, size_t end);

#if defined(__x86_64__)
#define BODIES(name)                                                                    \
  __attribute__((target("arch=x86-64-v4"), min_vector_width(512))) static void          \
      name##_v4(void *job, size_t begin, size_t end) { name(job, begin, end, 6, 4); }   \
  __attribute__((target("arch=x86-64-v3"))) static void name##_v3(                      \
      void *job, size_t begin, size_t end) { name(job, begin, end, 3, 2); }             \
  static void name##_v1(void *job, size_t begin, size_t end) { name(job, begin, end, 1, 2); }
#define BODY(name) \
  (atk_vector_level() == 4 ? name##_v4 : atk_vector_level() == 3 ? name##_v3 : name##_v1)
#define TILE_ROWS (atk_vector_level() == 4 ? 6 : atk_vector_level() == 3 ? 3 : 1)
#define TILE_COLUMNS (atk_vector_level() == 4 ? 4 : 2)
#else
#define BODIES(name) \
  static void name##_v1(void *job, size_t begin, size_t end) { name(job, begin, end, 3, 2); }
#define BODY(name) name##_v1
#define TILE_ROWS 3
#define TILE_COLUMNS 2
#endif

// ---- vectors ----------------------------------------------------------------------------------
// The 16 lanes of each of four vectors added up.
INLINE void sum_lanes_4(float *out, const f16 *a, const f16 *b, const f16 *c, const f16 *d) {
  f16 ab = __builtin_shufflevector(*a, *b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
           __builtin_shufflevector(*a, *b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29,
                                   30, 31);
  f16 cd = __builtin_shufflevector(*c, *d, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
           __builtin_shufflevector(*c, *d, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29,
                                   30, 31);
  f16 all =
      __builtin_shufflevector(ab, cd, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
      __builtin_shufflevector(ab, cd, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  all += __builtin_shufflevector(all, all, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
  all += __builtin_shufflevector(all, all, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
  out[0] = all[0];
  out[1] = all[4];
  out[2] = all[8];
  out[3] = all[12];
}

INLINE float sum_lanes(const f16 *a) {
  float out[4];
  sum_lanes_4(out, a, a, a, a);
  return out[0];
}

// e^x to 2 units in the last place; 0 below −87, NaN for NaN, x must not exceed 88. Cephes'
// polynomial.
INLINE void exp_lanes(f16 *value) {
  f16 x = *value;
  i16 in_range = ~(x < -87.0f);
  x = (f16)((i16)x & in_range);
  const float round = 12582912.0f;  // 1.5 · 2^23: adding it rounds to an integer
  f16 shifted = x * 1.44269504088896341f + round;
  f16 n = shifted - round;
  f16 r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  f16 p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  i16 power = ((i16)shifted - 0x4B400000 + 127) << 23;
  *value = (f16)((i16)(p * (f16)power) & in_range);
}

// `count` < 16 floats, the rest zero (or `filler`).
INLINE void load_part(f16 *out, const float *x, size_t count, float filler) {
  float part[16] __attribute__((aligned(64)));
  for (size_t i = 0; i < 16; i++) part[i] = i < count ? x[i] : filler;
  *out = *(const f16 *)part;
}

#endif
