// SPDX-License-Identifier: Apache-2.0
// Weights as they are kept (atk_weights), brought to float32 sixteen at a time in registers: what the
// products and the decoder read, so that no float32 copy of a matrix is ever made.
//
// code · scale is exact where an offset is added (scales have few bits), so a product and a sum that are
// fused give the same number as two.
#ifndef ATTUNE_STORED_WEIGHTS_H
#define ATTUNE_STORED_WEIGHTS_H

#include "kernels_internal.h"
#include "vector_math.h"

#include <string.h>

typedef float atk_v16 __attribute__((vector_size(64)));
typedef float atk_v16_unaligned __attribute__((vector_size(64), aligned(4)));
typedef int32_t atk_i16 __attribute__((vector_size(64)));
typedef uint32_t atk_u16 __attribute__((vector_size(64)));
typedef uint16_t atk_h16_unaligned __attribute__((vector_size(32), aligned(2)));
typedef uint8_t atk_b16_unaligned __attribute__((vector_size(16), aligned(1)));
typedef int8_t atk_s16_unaligned __attribute__((vector_size(16), aligned(1)));

// Bytes of so many weights of a row.
ATK_INLINE size_t atk_weight_bytes(atk_weights format, size_t count) {
  switch (format) {
    case ATK_FLOAT32: return count * sizeof(float);
    case ATK_BFLOAT16: return count * sizeof(uint16_t);
    case ATK_NIBBLES: return count / 32 * sizeof(atk_nibbles);
    case ATK_FINE_NIBBLES: return count / 32 * sizeof(atk_fine_nibbles);
    case ATK_FIVES: return count / 32 * sizeof(atk_fives);
    case ATK_BYTES: return count / 32 * sizeof(atk_bytes);
  }
  return 0;
}

// Whether weights are codes, in groups of 32.
ATK_INLINE bool atk_has_groups(atk_weights format) {
  return format != ATK_FLOAT32 && format != ATK_BFLOAT16;
}

ATK_INLINE float atk_float_at(const char *place) {
  float value;
  memcpy(&value, place, sizeof value);
  return value;
}

// Lower (0) or upper (1) halves of 16 bytes.
ATK_INLINE void atk_half_codes(atk_i16 *out, const char *codes, size_t half) {
  *out = __builtin_convertvector(*(const atk_b16_unaligned *)codes, atk_i16);
  *out = half == 0 ? *out & 15 : *out >> 4;
}

ATK_INLINE void atk_put_half(float *out, const atk_i16 *codes, float scale, float offset) {
  *(atk_v16_unaligned *)out = __builtin_convertvector(*codes, atk_v16) * scale + offset;
}

// Half 0 or 1 of a group.
ATK_INLINE void atk_half_nibbles(float *out, const char *group, size_t half) {
  atk_i16 codes;
  atk_half_codes(&codes, group + offsetof(atk_nibbles, codes), half);
  atk_put_half(out, &codes, atk_float_at(group + offsetof(atk_nibbles, scale)),
               atk_float_at(group + offsetof(atk_nibbles, offset)));
}

ATK_INLINE void atk_half_fine_nibbles(float *out, const char *group, size_t half) {
  atk_i16 codes;
  atk_half_codes(&codes, group + offsetof(atk_fine_nibbles, codes), half);
  atk_put_half(out, &codes, atk_float_at(group + offsetof(atk_fine_nibbles, scale) + 4 * half),
               atk_float_at(group + offsetof(atk_fine_nibbles, offset) + 4 * half));
}

ATK_INLINE void atk_half_fives(float *out, const char *group, size_t half) {
  const atk_u16 lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  uint32_t fifth;
  memcpy(&fifth, group + offsetof(atk_fives, fifth), sizeof fifth);
  atk_i16 codes;
  atk_half_codes(&codes, group + offsetof(atk_fives, codes), half);
  codes |= (atk_i16)((fifth >> 16 * half) >> lanes & 1) << 4;
  atk_put_half(out, &codes, atk_float_at(group + offsetof(atk_fives, scale)),
               atk_float_at(group + offsetof(atk_fives, offset)));
}

ATK_INLINE void atk_half_bytes(float *out, const char *group, size_t half) {
  float scale;
  memcpy(&scale, group + offsetof(atk_bytes, scale) + 4 * half, 4);
  atk_i16 codes = __builtin_convertvector(
      *(const atk_s16_unaligned *)(group + offsetof(atk_bytes, codes) + 16 * half), atk_i16);
  *(atk_v16_unaligned *)out = __builtin_convertvector(codes, atk_v16) * scale;
}

// Weights column ..< column + 16 of a row; column is a multiple of 16.
ATK_INLINE void atk_load_weights(float *out, atk_weights format, const char *row, size_t column) {
  switch (format) {
    case ATK_FLOAT32:
      *(atk_v16_unaligned *)out = *(const atk_v16_unaligned *)(row + column * sizeof(float));
      break;
    case ATK_BFLOAT16: {
      atk_u16 wide = __builtin_convertvector(
          *(const atk_h16_unaligned *)(row + column * sizeof(uint16_t)), atk_u16) << 16;
      *(atk_v16_unaligned *)out = (atk_v16)wide;
      break;
    }
    case ATK_NIBBLES:
      atk_half_nibbles(out, row + column / 32 * sizeof(atk_nibbles), column / 16 % 2);
      break;
    case ATK_FINE_NIBBLES:
      atk_half_fine_nibbles(out, row + column / 32 * sizeof(atk_fine_nibbles), column / 16 % 2);
      break;
    case ATK_FIVES:
      atk_half_fives(out, row + column / 32 * sizeof(atk_fives), column / 16 % 2);
      break;
    case ATK_BYTES:
      atk_half_bytes(out, row + column / 32 * sizeof(atk_bytes), column / 16 % 2);
      break;
  }
}

// One weight of a row that ends between multiples of 16: those of codes never do.
ATK_INLINE float atk_load_weight(atk_weights format, const char *row, size_t column) {
  if (format == ATK_BFLOAT16) {
    uint16_t half;
    memcpy(&half, row + column * sizeof half, sizeof half);
    return atk_float_of_bf16(half);
  }
  float value[16];
  if (format == ATK_FLOAT32) memcpy(value, row + column * sizeof(float), sizeof(float));
  else atk_load_weights(value, format, row, column / 16 * 16);
  return value[format == ATK_FLOAT32 ? 0 : column % 16];
}

// The first `count` weights, `stride` floats from sixteen to the next sixteen; a last part is filled
// up with zeros.
ATK_INLINE void atk_expand_weights(float *out, size_t stride, atk_weights format, const char *row,
                                   size_t count) {
  size_t i = 0;
  if (atk_has_groups(format)) {
    for (; i + 32 <= count; i += 32, out += 2 * stride) {
      atk_load_weights(out, format, row, i);
      atk_load_weights(out + stride, format, row, i + 16);
    }
  }
  for (; i + 16 <= count; i += 16, out += stride) atk_load_weights(out, format, row, i);
  if (i == count) return;
  for (size_t j = 0; j < 16; j++)
    out[j] = i + j < count ? atk_load_weight(format, row, i + j) : 0;
}

#endif
