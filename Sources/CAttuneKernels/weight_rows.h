// SPDX-License-Identifier: Apache-2.0
// Rows of weights, however they are kept, as float32 vectors of 16.
#ifndef ATTUNE_WEIGHT_ROWS_H
#define ATTUNE_WEIGHT_ROWS_H

#include "decode_vectors.h"

// Parts of a row, `stride` floats between a vector and the next.
typedef uint8_t b16_unaligned __attribute__((vector_size(16), aligned(1)));
typedef int8_t s16_unaligned __attribute__((vector_size(16), aligned(1)));

INLINE void expand_float(float *out, size_t stride, const float *x, size_t count) {
  size_t i = 0;
  for (; i + 16 <= count; i += 16, out += stride) *(f16 *)out = LOAD(x + i);
  if (i < count) load_part((f16 *)out, x + i, count - i, 0);
}

INLINE void expand_bf16(float *out, size_t stride, const uint16_t *x, size_t count) {
  size_t i = 0;
  for (; i + 16 <= count; i += 16, out += stride) {
    u16 wide = __builtin_convertvector(*(const h16_unaligned *)(x + i), u16) << 16;
    *(f16 *)out = (f16)wide;
  }
  if (i < count) {
    float part[16];
    for (size_t j = i; j < count; j++) {
      uint32_t bits = (uint32_t)x[j] << 16;
      memcpy(part + (j - i), &bits, 4);
    }
    load_part((f16 *)out, part, count - i, 0);
  }
}

INLINE void expand_nibbles(float *out, size_t stride, const uint8_t *group, size_t count) {
  for (size_t i = 0; i < count; i += 32, group += sizeof(atk_nibbles), out += 2 * stride) {
    float scale, offset;
    memcpy(&scale, group + offsetof(atk_nibbles, scale), 4);
    memcpy(&offset, group + offsetof(atk_nibbles, offset), 4);
    i16 codes = __builtin_convertvector(
        *(const b16_unaligned *)(group + offsetof(atk_nibbles, codes)), i16);
    *(f16 *)out = __builtin_convertvector(codes & 15, f16) * scale + offset;
    *(f16 *)(out + stride) = __builtin_convertvector(codes >> 4, f16) * scale + offset;
  }
}

INLINE void expand_bytes(float *out, size_t stride, const uint8_t *group, size_t count) {
  for (size_t i = 0; i < count; i += 32, group += sizeof(atk_bytes)) {
    UNROLL for (size_t half = 0; half < 2; half++, out += stride) {
      float scale;
      memcpy(&scale, group + offsetof(atk_bytes, scale) + 4 * half, 4);
      i16 codes = __builtin_convertvector(
          *(const s16_unaligned *)(group + offsetof(atk_bytes, codes) + 16 * half), i16);
      *(f16 *)out = __builtin_convertvector(codes, f16) * scale;
    }
  }
}

INLINE size_t weight_bytes(atk_weights format, size_t count) {
  switch (format) {
    case ATK_FLOAT32: return count * sizeof(float);
    case ATK_BFLOAT16: return count * sizeof(uint16_t);
    case ATK_NIBBLES: return count / 32 * sizeof(atk_nibbles);
    case ATK_BYTES: return count / 32 * sizeof(atk_bytes);
  }
  return 0;
}

INLINE void expand(float *out, size_t stride, atk_weights format, const void *w, size_t count) {
  switch (format) {
    case ATK_FLOAT32: expand_float(out, stride, w, count); break;
    case ATK_BFLOAT16: expand_bf16(out, stride, w, count); break;
    case ATK_NIBBLES: expand_nibbles(out, stride, w, count); break;
    case ATK_BYTES: expand_bytes(out, stride, w, count); break;
  }
}

#endif
