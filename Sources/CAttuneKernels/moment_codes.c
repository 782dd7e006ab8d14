// SPDX-License-Identifier: Apache-2.0
#include "moment_codes.h"

#include <float.h>
#include <math.h>
#include <pthread.h>

enum { ONE = 8, LEVELS = 256 };

static atk_moment_codes first_moment, second_moment;
static pthread_once_t made = PTHREAD_ONCE_INIT;

// Where a level's shares begin: the smallest float that is as near to it as to the one before.
static float begin_of(const float *value, int level) {
  double middle = ((double)value[level - 1] + (double)value[level]) / 2;
  float begin = (float)middle;
  return begin < middle ? nextafterf(begin, 1) : begin;
}

static uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

// value[levels]: the shares; `bits` a code has without its sign.
static void make_codes(atk_moment_codes *codes, float *value, int bits) {
  int unit = bits == 7 ? 4 : 2, before = bits == 7 ? 0 : 1;  // n = unit · (level + before)
  const float half = 1 << (ATK_LEVEL_BITS - 1), whole = 2 * half;
  int first[ONE + 1] = {0}, levels = 1;
  value[0] = 0;
  codes->start[0] = codes->top[0] = half;
  for (int j = 1; j <= ONE; j++) {
    int parts = j == ONE ? 1 : 1 << (j + bits - ONE);
    double part = 0.9 * pow(10, j - 7) / parts;  // a part's width
    double base = pow(10, j - 7) * 0.1 + part * (0.5 - parts);
    if (j == ONE) base = 0, part = 1.0 / (1 << bits);
    first[j] = levels;
    codes->slope[j] = (float)(part / unit);
    codes->base[j] = (float)base;
    for (int i = 0; i < parts; i++, levels++)
      value[levels] = fmaf(codes->slope[j], (float)(unit * (levels + before)), codes->base[j]);
    codes->top[j] = whole * (float)(levels - 1) + half;
    codes->rise[j] = j == ONE ? 0 : (float)(whole / part);
    codes->start[j] = j == ONE ? codes->top[j]
                               : (float)(half - whole * (before + base / part) + ATK_LEVEL_ERROR);
  }
  // No octave has the beginning of two decades.
  for (int octave = 0; octave < ATK_OCTAVES; octave++) codes->next[octave] = FLT_MAX;
  for (int exponent = -23, j = 0; exponent <= 0; exponent++) {
    float octave = ldexpf(1, exponent);
    while (j < ONE && begin_of(value, first[j + 1]) <= octave) j++;
    int place = (int)(bits_of(octave) >> 23) % ATK_OCTAVES;
    codes->decade[place] = j;
    if (j < ONE && begin_of(value, first[j + 1]) < 2 * octave)
      codes->next[place] = begin_of(value, first[j + 1]);
  }
  for (uint32_t i = 0, level = 0; i < ATK_CELLS; i++) {
    uint32_t cell = (i + ATK_FIRST_CELL) << 16, next = 0x10000;
    if ((int)level + 1 < levels) {
      uint32_t begin = bits_of(begin_of(value, (int)level + 1));
      if (begin < cell + 0x10000) next = begin - cell;
    }
    codes->cell[i] = (level << 16) + 0x10000 - next;
    if (next < 0x10000) level++;
  }
}

static void make(void) {
  float value[LEVELS];
  make_codes(&first_moment, value, 7);
  for (int code = 0; code < LEVELS; code++)
    first_moment.value[code] =
        code < ATK_ZERO_CODE ? -value[ATK_ZERO_CODE - code] : value[code - ATK_ZERO_CODE];
  make_codes(&second_moment, second_moment.value, 8);
}

const atk_moment_codes *atk_first_moment_codes(void) {
  pthread_once(&made, make);
  return &first_moment;
}

const atk_moment_codes *atk_second_moment_codes(void) {
  pthread_once(&made, make);
  return &second_moment;
}

float atk_moment_value(int moment, uint8_t code) {
  return (moment == 1 ? atk_first_moment_codes() : atk_second_moment_codes())->value[code];
}
