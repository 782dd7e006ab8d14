// SPDX-License-Identifier: Apache-2.0
// What the two users of matrix tiles share (Intel AMX): tiles.c and bf16_matrix_tiles.c.
#ifndef ATTUNE_MATRIX_TILES_H
#define ATTUNE_MATRIX_TILES_H

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__clang__)
#define ATK_MATRIX_TILES 1
#include <immintrin.h>
#include <stdint.h>

#define TILES                                                                  \
  __attribute__((target("arch=x86-64-v4,avx512bf16,amx-tile,amx-bf16"), min_vector_width(512)))
#define INLINE TILES static inline __attribute__((always_inline))

enum { SIDE = 16 };  // rows of a tile, and its columns in 32-bit units

typedef struct {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} tile_shapes;

// Eight whole tiles, until _tile_release.
INLINE void begin_tiles(void) {
  tile_shapes shapes = {.palette = 1};
  for (int i = 0; i < 8; i++) shapes.row_bytes[i] = 64, shapes.rows[i] = SIDE;
  _tile_loadconfig(&shapes);
}
#endif

#endif
