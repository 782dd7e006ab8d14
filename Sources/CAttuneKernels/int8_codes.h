// SPDX-License-Identifier: Apache-2.0
// 8-bit codes of weights and inputs, as the kernels share them.
//
// A weight is code · scale + offset with a code of 0 to 255, scale and offset for each output and group
// of 32 inputs: the very numbers of what a file has in groups of 32 with codes of 4, 5 or 8 bits, else the
// group's range in 255 steps. Codes lie in panels of 16 outputs, a group after a group: 16 scales and
// offsets, then for every four inputs the 16 outputs' four codes. Those of 4 bits lie two in a byte, of
// the inputs 0 to 15 and 16 to 31, and are brought to bytes as they are read. Those of a file whose
// scales are float16 and whose codes are around 0 (Q8_0) lie in panels that begin with all their codes and
// end with all their scales, in float16: 8.5 bits a weight as in the file, where the others have 10.
#ifndef ATTUNE_INT8_CODES_H
#define ATTUNE_INT8_CODES_H

#include "decode_vectors.h"

// Sums and products are rounded one by one, and fused where that is written: other ways would differ
// between instruction sets.
#pragma clang fp reassociate(off) contract(off)

enum { GROUP = 32, QUADS = GROUP / 4, LANES = 16 };

typedef uint32_t code_group[QUADS][LANES];
typedef uint16_t half_scales[LANES];

typedef struct {
  float scale[LANES], offset[LANES];
  code_group codes;
} weight_group;

typedef struct {
  float scale[LANES], offset[LANES];
  uint32_t codes[QUADS / 2][LANES];
} nibble_group;

typedef enum { CODES_WIDE, CODES_NIBBLES, CODES_CENTRED } codes_layout;

// In front of the panels.
typedef struct {
  codes_layout layout;
  size_t panel_bytes;
  char memory[] __attribute__((aligned(64)));
} packed_codes;

// Bytes from a group's codes to the next one's, and from its scales to the next one's.
static inline size_t codes_step(codes_layout layout) {
  switch (layout) {
    case CODES_WIDE: return sizeof(weight_group);
    case CODES_NIBBLES: return sizeof(nibble_group);
    case CODES_CENTRED: return sizeof(code_group);
  }
  return 0;
}

static inline size_t scales_step(codes_layout layout) {
  return layout == CODES_CENTRED ? sizeof(half_scales) : codes_step(layout);
}

static inline size_t panel_bytes(codes_layout layout, size_t groups) {
  size_t scales = layout == CODES_CENTRED ? scales_step(layout) : 0;
  return atk_round_up(groups * (codes_step(layout) + scales), 64);
}

static inline size_t groups_of(size_t K) { return (K + GROUP - 1) / GROUP; }

// Numbers are rounded to integers by adding 1.5 · 2^23: they are then in the lowest bits.
static const float rounder = 12582912.0f;

typedef int8_t s16_lanes __attribute__((vector_size(16)));
typedef int8_t s16_unaligned __attribute__((vector_size(16), aligned(1)));

// Codes lie between other numbers, at no multiple of a vector.
INLINE void store_codes(int32_t *codes, const f16 *shifted) {
  *(s16_unaligned *)codes = __builtin_convertvector(*(const i16 *)shifted, s16_lanes);
}

#endif
