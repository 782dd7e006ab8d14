// SPDX-License-Identifier: Apache-2.0
// 16 × 16 numbers of 32 bits, rows to columns, in vectors of 16 lanes: one register of 512 bits, two of 256.
#ifndef ATTUNE_VECTOR_TRANSPOSE_H
#define ATTUNE_VECTOR_TRANSPOSE_H

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__clang__)
#include <stddef.h>

typedef float atk_f16 __attribute__((vector_size(64)));
typedef float atk_f8 __attribute__((vector_size(32)));
typedef float atk_f4 __attribute__((vector_size(16)));
typedef float atk_f4_unaligned __attribute__((vector_size(16), aligned(4)));

// Inlined into functions of any instruction set, so vectors go by their place.
#define ATK_ANYWHERE static inline __attribute__((always_inline))
#define ATK_SHUFFLE __builtin_shufflevector

// Four floats of each of the rows 0, 4, 8 and 12.
ATK_ANYWHERE void atk_quarters(atk_f16 *out, const float *p, size_t ld) {
  atk_f4 a = *(const atk_f4_unaligned *)p, b = *(const atk_f4_unaligned *)(p + 4 * ld);
  atk_f4 c = *(const atk_f4_unaligned *)(p + 8 * ld), d = *(const atk_f4_unaligned *)(p + 12 * ld);
  atk_f8 ab = ATK_SHUFFLE(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
  atk_f8 cd = ATK_SHUFFLE(c, d, 0, 1, 2, 3, 4, 5, 6, 7);
  *out = ATK_SHUFFLE(ab, cd, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

#define ATK_LOW(a, b) ATK_SHUFFLE(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define ATK_HIGH(a, b) ATK_SHUFFLE(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define ATK_LOW_2(a, b) \
  ATK_SHUFFLE(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define ATK_HIGH_2(a, b) \
  ATK_SHUFFLE(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)

// Four columns of 16 rows, a vector each: out[k][n] = in[n · ld + k].
ATK_ANYWHERE void atk_transpose_16_4(atk_f16 *out, const float *in, size_t ld) {
  atk_f16 a, b, c, d;
  atk_quarters(&a, in, ld);
  atk_quarters(&b, in + ld, ld);
  atk_quarters(&c, in + 2 * ld, ld);
  atk_quarters(&d, in + 3 * ld, ld);
  atk_f16 ab = ATK_LOW(a, b), ab_high = ATK_HIGH(a, b);
  atk_f16 cd = ATK_LOW(c, d), cd_high = ATK_HIGH(c, d);
  out[0] = ATK_LOW_2(ab, cd);
  out[1] = ATK_HIGH_2(ab, cd);
  out[2] = ATK_LOW_2(ab_high, cd_high);
  out[3] = ATK_HIGH_2(ab_high, cd_high);
}

// out[k · step + n] = in[n · ld + k], 16 × 16.
ATK_ANYWHERE void atk_transpose_16(float *out, size_t step, const float *in, size_t ld) {
  _Pragma("clang loop unroll(full)") for (size_t k = 0; k < 16; k += 4) {
    atk_f16 columns[4];
    atk_transpose_16_4(columns, in + k, ld);
    _Pragma("clang loop unroll(full)") for (size_t i = 0; i < 4; i++)
      *(atk_f16 *)(out + (k + i) * step) = columns[i];
  }
}
#endif

#endif
