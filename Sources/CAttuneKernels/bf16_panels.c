// SPDX-License-Identifier: Apache-2.0
// Weights, as they are kept, laid out for products of bfloat16: sixteen rows of w as [pair][row].
#include "bf16_tiles.h"
#include "stored_weights.h"

size_t atk_bf16_bytes(size_t N, size_t K) {
  return atk_round_up(N, 16) * ((K + 1) / 2) * 2 * sizeof(uint16_t);
}

#ifdef ATK_BF16_PRODUCTS
enum { STEP = 32, PAIRS = STEP / 2 };  // columns

// Where a step's 16 vectors go, `stride` pairs from one to the next.
typedef struct {
  pair *out;
  size_t stride;
} destination;

INLINE void put(destination to, size_t i, __m512i value) {
  _mm512_store_si512(to.out + i * to.stride, value);
}

// Rows of pairs, `ld` pairs apart.
INLINE void turn(destination to, const float *rows, size_t ld) {
  UNROLL for (size_t i = 0; i < PAIRS; i += 4) {
    atk_f16 columns[4];
    atk_transpose_16_4(columns, rows + i, ld);
    UNROLL for (size_t j = 0; j < 4; j++) put(to, i + j, (__m512i)columns[j]);
  }
}

INLINE void lay_floats(destination to, const char *rows, size_t stride) {
  pair turned[LANES * PAIRS] __attribute__((aligned(64)));
  UNROLL for (size_t r = 0; r < LANES; r++, rows += stride)
    _mm512_store_si512(turned + r * PAIRS, along((const float *)rows, STEP));
  turn(to, (const float *)turned, PAIRS);
}

// Sixteen groups: what is in front of the codes, and the codes.
INLINE void read_groups(atk_f16 *head, atk_f16 *codes, const char *rows, size_t stride, size_t begin) {
  atk_transpose_16_4(head, (const float *)rows, stride / sizeof(float));
  atk_transpose_16_4(codes, (const float *)(rows + begin), stride / sizeof(float));
}

// Lane r: code · scale + offset of row r. Codes begin at the given bit; fifth: the upper ones, at bit 4.
INLINE __m512 nibble_values(__m512i codes, unsigned bit, __m512i fifth, atk_f16 scale, atk_f16 offset) {
  __m512i code = _mm512_and_si512(_mm512_srli_epi32(codes, bit), _mm512_set1_epi32(15));
  code = _mm512_or_si512(code, _mm512_and_si512(fifth, _mm512_set1_epi32(16)));
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps(code), (__m512)scale, (__m512)offset);
}

// Columns 2 i and 2 i + 1 of what read_groups read.
INLINE void lay_pair(destination to, unsigned i, const atk_f16 *codes, __m512i fifth, atk_f16 scale,
                     atk_f16 offset) {
  __m512i four = (__m512i)codes[i % 8 / 2];
  unsigned bit = i % 2 * 16 + i / 8 * 4;
  put(to, i, pairs_of_two(
    nibble_values(four, bit, _mm512_slli_epi32(_mm512_srli_epi32(fifth, 2 * i), 4), scale, offset),
    nibble_values(four, bit + 8, _mm512_slli_epi32(_mm512_srli_epi32(fifth, 2 * i + 1), 4), scale,
                  offset)));
}

INLINE void lay_nibbles(destination to, const char *rows, size_t stride) {
  atk_f16 head[4], codes[4];
  read_groups(head, codes, rows, stride, offsetof(atk_nibbles, codes));
  UNROLL for (unsigned i = 0; i < PAIRS; i++)
    lay_pair(to, i, codes, _mm512_setzero_si512(), head[0], head[1]);
}

INLINE void lay_fine_nibbles(destination to, const char *rows, size_t stride) {
  atk_f16 head[4], codes[4];
  read_groups(head, codes, rows, stride, offsetof(atk_fine_nibbles, codes));
  UNROLL for (unsigned i = 0; i < PAIRS; i++)
    lay_pair(to, i, codes, _mm512_setzero_si512(), head[i / 8], head[2 + i / 8]);
}

INLINE void lay_fives(destination to, const char *rows, size_t stride) {
  atk_f16 head[4], codes[4];
  read_groups(head, codes, rows, stride, offsetof(atk_fives, codes));
  UNROLL for (unsigned i = 0; i < PAIRS; i++)
    lay_pair(to, i, codes, (__m512i)head[2], head[0], head[1]);
}

INLINE __m512 byte_values(__m512i codes, unsigned bit, __m512 scale) {
  __m512i code = _mm512_srai_epi32(_mm512_slli_epi32(codes, 24 - bit), 24);
  return _mm512_mul_ps(_mm512_cvtepi32_ps(code), scale);
}

INLINE void lay_bytes(destination to, const char *rows, size_t stride) {
  atk_f16 scales[4], codes[8];
  size_t ld = stride / sizeof(float);
  const float *first = (const float *)rows, *begin = first + offsetof(atk_bytes, codes) / 4;
  atk_transpose_16_4(scales, first, ld);
  atk_transpose_16_4(codes, begin, ld);
  atk_transpose_16_4(codes + 4, begin + 4, ld);
  UNROLL for (unsigned i = 0; i < PAIRS; i++) {
    __m512i four = (__m512i)codes[i / 2];
    __m512 scale = (__m512)scales[i / 8];
    put(to, i, pairs_of_two(byte_values(four, i % 2 * 16, scale),
                            byte_values(four, i % 2 * 16 + 8, scale)));
  }
}

// Sixteen whole rows; returns how many columns of `depth` were laid out.
INLINE size_t lay_rows(destination to, atk_matrix w, size_t depth) {
  size_t k = 0, step = atk_weight_bytes(w.format, STEP);
  // Rows are read as numbers of 32 bits.
  if (w.stride % sizeof(float) != 0) return 0;
  for (; k + STEP <= depth; k += STEP, to.out += PAIRS * to.stride, w.rows += step) {
    // Sixteen rows at once are too many for a processor to see where they go on: the next sixteen.
    for (size_t r = LANES; r < 2 * LANES; r++)
      for (size_t line = 0; line < step; line += 64)
        __builtin_prefetch(w.rows + r * w.stride + line, 0, 2);
    switch (w.format) {
      case ATK_FLOAT32: lay_floats(to, w.rows, w.stride); break;
      case ATK_BFLOAT16: turn(to, (const float *)w.rows, w.stride / sizeof(float)); break;
      case ATK_NIBBLES: lay_nibbles(to, w.rows, w.stride); break;
      case ATK_FINE_NIBBLES: lay_fine_nibbles(to, w.rows, w.stride); break;
      case ATK_FIVES: lay_fives(to, w.rows, w.stride); break;
      case ATK_BYTES: lay_bytes(to, w.rows, w.stride); break;
    }
  }
  return k;
}

HALVES static void lay_out(pair *out, size_t stride, atk_matrix w, size_t rows, size_t depth) {
  destination to = {out, stride};
  size_t done = rows < LANES ? 0 : lay_rows(to, w, depth);
  float part[LANES * STEP];
  for (; done < depth; done += STEP) {
    size_t columns = atk_min(depth - done, STEP);
    atk_expand_part(part, atk_matrix_part(w, 0, done), 0, atk_min(rows, LANES), 0, columns);
    pack_panel(out + done / 2 * stride, stride, part, columns, rows, columns);
  }
}

void atk_bf16_lay_out(uint32_t *out, atk_matrix w, size_t rows, size_t depth) {
  size_t stride = atk_round_up(rows, LANES);
  for (size_t r = 0; r < rows; r += LANES)
    lay_out(out + r, stride, atk_matrix_part(w, r, 0), rows - r, depth);
}

typedef struct {
  pair *out;
  atk_matrix w;
  size_t N, K;
} packing_job;

// A panel is laid out in the second-level cache and written past it, for it is not read before all are made.
HALVES static void pack_panels(void *context, size_t begin, size_t end) {
  const packing_job *job = context;
  size_t pairs = (job->K + 1) / 2;
  pair *scratch = atk_scratch(ATK_SCRATCH_OWN, COLUMNS * pairs * sizeof(pair));
  for (size_t n = begin * COLUMNS; n < atk_min(end * COLUMNS, job->N); n += COLUMNS) {
    size_t width = atk_min(job->N - n, COLUMNS);
    atk_bf16_lay_out(scratch, atk_matrix_part(job->w, n, 0), width, job->K);
    pair *out = job->out + n * pairs;
    for (size_t i = 0; i < atk_round_up(width, LANES) * pairs; i += LANES)
      _mm512_stream_si512((__m512i *)(out + i), _mm512_load_si512(scratch + i));
  }
  _mm_sfence();
}

void atk_bf16_pack(void *panels, const void *w, atk_weights format, size_t N, size_t K) {
  packing_job job = {panels, atk_dense_matrix(w, format, K), N, K};
  atk_parallel_for((N + COLUMNS - 1) / COLUMNS, pack_panels, &job);
}
#else
void atk_bf16_pack(void *panels, const void *w, atk_weights format, size_t N, size_t K) {
  (void)panels, (void)w, (void)format, (void)N, (void)K;
}
#endif
