// SPDX-License-Identifier: Apache-2.0
// The 8-bit codes of AdamW's moments: dynamic quantisation (Dettmers et al. 2022, arXiv:2110.02861),
// with the values of bitsandbytes.
//
// A code stands for a share, 0 to 1, of the largest number of its block. Shares are dense near 1 and
// reach down to 3e-7: decade j, which ends at 10^(j - 7 + 1), j = 1 ... 7, is cut into 2^j equal parts
// (the first moment's, which has a sign, into 2^(j - 1)), whose middles are codes, and so are 0 and 1.
// Levels are counted from 0 on, the level of 0. A level of the second moment is 2^j - 1 + (its part):
// the paper's tree of bits, where the leading zeros are the decade, so that a float's exponent finds it.
#ifndef ATTUNE_MOMENT_CODES_H
#define ATTUNE_MOMENT_CODES_H

#include "kernels_internal.h"
#include "vector_math.h"

#include <string.h>

enum {
  ATK_DECADES = 16,          // 0 of the level 0, 1 to 7, 8 of the level of share 1; a vector of them
  ATK_OCTAVES = 32,          // by the lower five bits of a share's exponent
  ATK_FIRST_CELL = 0x3400,   // upper half of 2^-23, below which every share has the level 0
  ATK_CELLS = 0x3f80 - ATK_FIRST_CELL + 1,  // up to that of 1
  ATK_LEVEL_BITS = 14,       // of a level's place after the point
  ATK_LEVEL_ERROR = 2,       // what its rounding may be off by, and what `start` has too much
  ATK_ZERO_CODE = 127,       // the first moment's code of 0: its code is 127 plus or minus the level
};

#define ATK_VECTOR __attribute__((aligned(64)))

// The codes of one moment.
typedef struct {
  float value[256];  // of each code
  // By a share's upper half: (level << 16) + 65536 - (lower half of where the next level begins).
  uint32_t cell[ATK_CELLS];
  // By decade: value = slope · n + base, where n, whose exponent is j + 1, is 2 · (level + 1) for the
  // second moment and 4 · level for the first.
  float slope[ATK_DECADES] ATK_VECTOR, base[ATK_DECADES] ATK_VECTOR;
  // By decade: a level's place = share · rise + start, in units of 2^-14, at most `top`. The level is
  // what is before the point; where what is after it is less than twice the error, it may be the
  // level before.
  float rise[ATK_DECADES] ATK_VECTOR, start[ATK_DECADES] ATK_VECTOR, top[ATK_DECADES] ATK_VECTOR;
  // By octave: the decade in which its first share has its level, and where the next one's levels begin.
  int32_t decade[ATK_OCTAVES] ATK_VECTOR;
  float next[ATK_OCTAVES] ATK_VECTOR;
} atk_moment_codes;

// Made by the first call.
const atk_moment_codes *atk_first_moment_codes(void);
const atk_moment_codes *atk_second_moment_codes(void);

// The level nearest to a share's magnitude, which is at most 1 but for rounding (NaN: any level); of two
// as near the larger. No cell has two levels' beginnings: one sum carries over where the next has begun.
ATK_INLINE uint32_t atk_nearest_level(const uint32_t *cell, float share) {
  const uint32_t least = (uint32_t)ATK_FIRST_CELL << 16, most = least + (ATK_CELLS << 16) - 1;
  uint32_t bits;
  memcpy(&bits, &share, sizeof bits);
  bits &= 0x7fffffff;
  bits = bits < least ? least : bits > most ? most : bits;
  return (cell[(bits >> 16) - ATK_FIRST_CELL] + (bits & 0xffff)) >> 16;
}

// The first moment's code; -1 has no level of its own.
ATK_INLINE uint8_t atk_first_moment_code(const uint32_t *cell, float share) {
  int level = (int)atk_nearest_level(cell, share);
  int negative = ATK_ZERO_CODE - level;
  return (uint8_t)(share < 0 ? (negative < 0 ? 0 : negative) : ATK_ZERO_CODE + level);
}

// The second moment's code: never that of 0 (adamw8.c says why).
ATK_INLINE uint8_t atk_second_moment_code(const uint32_t *cell, float share) {
  uint32_t level = atk_nearest_level(cell, share);
  return (uint8_t)(level > 0 ? level : 1);
}

#endif
