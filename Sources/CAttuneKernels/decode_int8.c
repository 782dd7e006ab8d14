// SPDX-License-Identifier: Apache-2.0
// Small-batch products of weights in 8-bit codes with inputs that are brought to 8 bits on the way.
//
// An input is code · scale with a code of −127 to 127, a scale for each row and group. Sums of a group
// are sums of integers, so exact in any order; groups are added one after another in float32, where
// each operation is rounded as it is written. So a row gives the same bits in any batch, on any number
// of threads and on every processor. AVX512-VNNI multiplies unsigned bytes with signed ones.
#include "int8_codes.h"

// As in the header.
#pragma clang fp reassociate(off) contract(off)

// A tile. For many rows that of codes around 0 has 12 sums, whose totals fit into registers too; a row alone
// is slower by it, and the other layouts are no faster.
enum { PANELS = 2, ROWS = 8, CENTRED_PANELS = 3, CENTRED_ROWS = 4, MOST_SUMS = 16 };

typedef uint32_t u16 __attribute__((vector_size(64)));

// One row's inputs of one group.
typedef struct {
  int32_t codes[QUADS];
  float scale;
  float shift;  // the sum of the inputs as their codes have them, times what an offset is of its scale
} input_group;

// ---- inputs -------------------------------------------------------------------------------------
typedef struct {
  input_group *out;
  const float *x;
  size_t K;
  float offset;  // of weights, as a multiple of the scale, or 1 where each has its own
} input_job;

INLINE void pack_group(input_group *out, const float *x, float offset) {
  f16 a = LOAD(x), b = LOAD(x + LANES);
  // Magnitudes as bits, which are ordered as they are: infinity and NaN are the greatest.
  int32_t bits = __builtin_reduce_max(
      __builtin_elementwise_max((i16)a & 0x7fffffff, (i16)b & 0x7fffffff));
  float greatest;
  memcpy(&greatest, &bits, sizeof greatest);
  bool counts = !(greatest <= 1e-30f);  // what is less has no use, and no reciprocal
  float inverse = counts ? 127.0f / greatest : 0, scale = counts ? greatest / 127.0f : 0;
  f16 first = a * inverse + rounder, second = b * inverse + rounder;
  store_codes(out->codes, &first);
  store_codes(out->codes + LANES / 4, &second);
  f16 zero = (f16){0} + rounder;
  i16 codes = (i16)first - (i16)zero + (i16)second - (i16)zero;
  out->scale = scale;
  out->shift = (float)__builtin_reduce_add(codes) * scale * offset;
}

INLINE void pack_inputs(void *context, size_t begin, size_t end, const int R, const int S) {
  (void)R, (void)S;
  const input_job *job = context;
  size_t K = job->K, groups = groups_of(K);
  for (size_t m = begin; m < end; m++) {
    input_group *out = job->out + m * groups;
    const float *x = job->x + m * K;
    for (size_t g = 0; g < K / GROUP; g++) pack_group(out + g, x + g * GROUP, job->offset);
    if (K % GROUP == 0) continue;
    float part[GROUP] = {0};
    memcpy(part, x + K / GROUP * GROUP, K % GROUP * sizeof(float));
    pack_group(out + groups - 1, part, job->offset);
  }
}
BODIES(pack_inputs)

// ---- the product --------------------------------------------------------------------------------
typedef struct {
  float *y;
  const input_group *x;
  const packed_codes *w;
  const float *bias;
  size_t M, N, groups;
  int accumulate;
} int8_job;

// The codes of inputs 4 · q to 4 · q + 3 of a group of 16 outputs, as bytes.
INLINE void load_quad(i16 *codes, const char *at, const int q, const codes_layout layout) {
  const i16 *quads = (const i16 *)at;
  if (layout != CODES_NIBBLES) {
    *codes = quads[q];
  } else {
    i16 two = quads[q % (QUADS / 2)];
    *codes = (q < QUADS / 2 ? two : two >> 4) & 0x0f0f0f0f;
  }
}

// Panels with codes of 4 bits brought to bytes.
INLINE const char *byte_panels(const int8_job *job, const char *panel, const size_t panels) {
  size_t groups = panels * job->groups;
  weight_group *out = atk_scratch(ATK_SCRATCH_OWN, groups * sizeof *out);
  for (size_t g = 0; g < groups; g++) {
    const nibble_group *from = (const nibble_group *)panel + g;
    *(i16 *)out[g].scale = *(const i16 *)from->scale;
    *(i16 *)out[g].offset = *(const i16 *)from->offset;
    UNROLL for (int q = 0; q < QUADS; q++)
      load_quad((i16 *)out[g].codes[q], (const char *)from->codes, q, CODES_NIBBLES);
  }
  return (const char *)out;
}

// 16 normal numbers of float16, or zeros.
INLINE void halves_plain(f16 *out, const h16 *at) {
  u16 bits = __builtin_convertvector(*at, u16);
  u16 magnitude = (bits & 0x7fff) << 13;  // and the exponent from a bias of 15 to one of 127
  magnitude += (u16)(magnitude != 0) & (112u << 23);
  *out = (f16)(magnitude | (bits & 0x8000) << 16);
}

// sum += Σ code of w · code of x over four inputs, in each lane.
INLINE void multiply_quad_plain(i16 *sum, const i16 *w, const int32_t *x) {
  i16 codes = *w;
  int32_t quad = *x;
  *sum += (codes & 255) * (int32_t)(int8_t)quad;
  *sum += ((codes >> 8) & 255) * (int32_t)(int8_t)(quad >> 8);
  *sum += ((codes >> 16) & 255) * (int32_t)(int8_t)(quad >> 16);
  *sum += ((codes >> 24) & 255) * (quad >> 24);
}

#if defined(__x86_64__)
typedef int i512 __attribute__((vector_size(64)));
__attribute__((target("avx512f,avx512vnni"), always_inline)) static inline void multiply_quad_vnni(
    i16 *sum, const i16 *w, const int32_t *x) {
  *sum = (i16)__builtin_ia32_vpdpbusd512((i512)*sum, (i512)*w, (i512){0} + *x);
}

typedef _Float16 f16_halves __attribute__((vector_size(32)));
__attribute__((target("avx512f"), always_inline)) static inline void halves_vnni(f16 *out,
                                                                                 const h16 *at) {
  *out = __builtin_convertvector(*(const f16_halves *)at, f16);
}
#endif

// Where a panel's codes and scales begin, and the bytes from a panel to the next.
typedef struct {
  const char *codes, *scales;
  size_t stride;
} panels_of_codes;

// What is read after this panel, and how many of its lines are fetched with each group.
typedef struct {
  const char *line;
  size_t lines;
} ahead;

// S rows of x times `panels` panels w of the weights, to y + 16 · panel of each row. A number of x minus 0
// is itself, whatever it is, in every lane. Codes around 0 are read as 0 to 255, so −128 · scale is their
// offset, and it is taken in with the scale.
#define MULTIPLY(name, quad, halves)                                                              \
  INLINE void name(const int8_job *job, panels_of_codes w, size_t m, size_t panel, ahead *next,   \
                   const int S, const int panels, const codes_layout layout) {                    \
    size_t groups = job->groups;                                                                  \
    const size_t step = codes_step(layout), scale_step = scales_step(layout);                     \
    const input_group *x = job->x + m * groups;                                                   \
    f16 total[MOST_SUMS];                                                                         \
    UNROLL for (int i = 0; i < panels * S; i++) total[i] = (f16){0};                              \
    for (size_t g = 0; g < groups; g++, w.codes += step, w.scales += scale_step, x++) {           \
      i16 sum[MOST_SUMS];                                                                         \
      for (size_t i = 0; i < next->lines; i++, next->line += 64)                                  \
        __builtin_prefetch(next->line, 0, 2);                                                     \
      UNROLL for (int i = 0; i < panels * S; i++) sum[i] = (i16){0};                              \
      UNROLL for (int q = 0; q < QUADS; q++) {                                                    \
        UNROLL for (int p = 0; p < panels; p++) {                                                 \
          i16 codes;                                                                              \
          load_quad(&codes, w.codes + p * w.stride, q, layout);                                   \
          UNROLL for (int s = 0; s < S; s++)                                                      \
            quad(&sum[p * S + s], &codes, &x[s * groups].codes[q]);                               \
        }                                                                                         \
      }                                                                                           \
      UNROLL for (int p = 0; p < panels; p++) {                                                   \
        const char *scales = w.scales + p * w.stride;                                             \
        f16 scale;                                                                                \
        if (layout == CODES_CENTRED) {                                                            \
          halves(&scale, (const h16 *)scales);                                                    \
        } else {                                                                                  \
          scale = *(const f16 *)scales;                                                           \
        }                                                                                         \
        UNROLL for (int s = 0; s < S; s++) {                                                      \
          f16 *t = &total[p * S + s], codes = __builtin_convertvector(sum[p * S + s], f16);       \
          f16 x_scale = x[s * groups].scale - (f16){0}, shift = x[s * groups].shift - (f16){0};   \
          if (layout == CODES_CENTRED) {                                                          \
            codes = __builtin_elementwise_fma(codes, x_scale, shift);                             \
            *t = __builtin_elementwise_fma(codes, scale, *t);                                     \
          } else {                                                                                \
            f16 offset = *((const f16 *)scales + 1);                                              \
            *t = __builtin_elementwise_fma(codes * scale, x_scale, *t);                           \
            *t = __builtin_elementwise_fma(offset, shift, *t);                                    \
          }                                                                                       \
        }                                                                                         \
      }                                                                                           \
    }                                                                                             \
    UNROLL for (int p = 0; p < panels; p++)                                                       \
      UNROLL for (int s = 0; s < S; s++)                                                          \
        store(job, m + (size_t)s, panel + (size_t)p, &total[p * S + s]);                          \
  }

INLINE void store(const int8_job *job, size_t m, size_t panel, const f16 *total) {
  size_t n = panel * LANES, count = atk_min(job->N - n, LANES);
  float *y = job->y + m * job->N + n;
  f16 value = *total, bias = {0}, before;
  if (count == LANES) {
    if (job->bias) value += LOAD(job->bias + n);
    if (job->accumulate) value += LOAD(y);
    *(f16_unaligned *)y = value;
  } else {
    if (job->bias) load_part(&bias, job->bias + n, count, 0);
    if (job->bias) value += bias;
    if (job->accumulate) load_part(&before, y, count, 0), value += before;
    for (size_t r = 0; r < count; r++) y[r] = value[r];
  }
}

MULTIPLY(multiply_plain, multiply_quad_plain, halves_plain)

// Several tiles of rows: panels are met several times.
static bool is_large(const int8_job *job) { return job->M > ROWS; }

static size_t panels_of_tile(const int8_job *job) {
  return job->w->layout == CODES_CENTRED && is_large(job) ? CENTRED_PANELS : PANELS;
}

// How a product reads its panels: where each is met several times, 4 bits are brought to bytes once.
static codes_layout layout_read(const int8_job *job) {
  bool expands = job->w->layout == CODES_NIBBLES && is_large(job);
  return expands ? CODES_WIDE : job->w->layout;
}

INLINE panels_of_codes find_panels(const int8_job *job, size_t panel, const size_t panels,
                                   const codes_layout layout) {
  size_t stride = job->w->panel_bytes;
  const char *at = job->w->memory + panel * stride;
  if (layout == CODES_CENTRED)
    return (panels_of_codes){at, at + job->groups * sizeof(code_group), stride};
  if (layout == CODES_WIDE && job->w->layout == CODES_NIBBLES) {
    at = byte_panels(job, at, panels);
    stride = job->groups * sizeof(weight_group);
  }
  return (panels_of_codes){at + offsetof(weight_group, codes), at, stride};
}

static size_t end_of_panels(const int8_job *job, size_t tiles) {
  return atk_min(panels_of_tile(job) * tiles, (job->N + LANES - 1) / LANES);
}

#define ROWS_CASE(multiply, panels, most, layout, rows)                                            \
  case rows:                                                                                      \
    multiply(job, w, m, panel, &next, most < rows ? most : rows, panels, layout);                 \
    break;
#define ROW_TILES(multiply, panels, most, layout)                                                 \
  size_t tiles = (job->M + most - 1) / most;                                                      \
  panels_of_codes w = find_panels(job, panel, panels, layout);                                    \
  ahead next = {job->w->memory + (panel + panels) * job->w->panel_bytes,                          \
                (panels * job->w->panel_bytes / job->groups / 64 + tiles - 1) / tiles};           \
  for (size_t m = 0, rows; m < job->M; m += rows) {                                               \
    rows = atk_min(job->M - m, most);                                                             \
    switch (rows) {                                                                               \
      ROWS_CASE(multiply, panels, most, layout, 1)                                                \
      ROWS_CASE(multiply, panels, most, layout, 2)                                                \
      ROWS_CASE(multiply, panels, most, layout, 3)                                                \
      ROWS_CASE(multiply, panels, most, layout, 4)                                                \
      ROWS_CASE(multiply, panels, most, layout, 5)                                                \
      ROWS_CASE(multiply, panels, most, layout, 6)                                                \
      ROWS_CASE(multiply, panels, most, layout, 7)                                                \
      ROWS_CASE(multiply, panels, most, layout, 8)                                                \
    }                                                                                             \
  }

// Tiles of panels begin ..< end.
INLINE void int8_plain(void *context, size_t begin, size_t end, const int R, const int S) {
  (void)R, (void)S;
  const int8_job *job = context;
  size_t panel = panels_of_tile(job) * begin, stop = end_of_panels(job, end);
  for (; panel < stop; panel++) {
    switch (layout_read(job)) {
      case CODES_WIDE: { ROW_TILES(multiply_plain, 1, 2, CODES_WIDE) } break;
      case CODES_NIBBLES: { ROW_TILES(multiply_plain, 1, 2, CODES_NIBBLES) } break;
      case CODES_CENTRED: { ROW_TILES(multiply_plain, 1, 2, CODES_CENTRED) } break;
    }
  }
}
BODIES(int8_plain)

#if defined(__x86_64__)
#define VNNI __attribute__((target("arch=x86-64-v4,avx512vnni"), min_vector_width(512)))
#undef INLINE
#define INLINE VNNI static inline __attribute__((always_inline))
MULTIPLY(multiply_vnni, multiply_quad_vnni, halves_vnni)

#define INT8_VNNI(name, panels, rows, layout)                                                     \
  VNNI static void name(void *context, size_t begin, size_t end) {                                \
    const int8_job *job = context;                                                                \
    size_t panel = panels * begin, stop = end_of_panels(job, end);                                \
    for (; panel + panels <= stop; panel += panels) {                                             \
      ROW_TILES(multiply_vnni, panels, rows, layout)                                              \
    }                                                                                             \
    for (; panel < stop; panel++) { ROW_TILES(multiply_vnni, 1, rows, layout) }                   \
  }
INT8_VNNI(vnni_wide, PANELS, ROWS, CODES_WIDE)
INT8_VNNI(vnni_nibbles, PANELS, ROWS, CODES_NIBBLES)
INT8_VNNI(vnni_centred, PANELS, ROWS, CODES_CENTRED)
INT8_VNNI(vnni_large_centred, CENTRED_PANELS, CENTRED_ROWS, CODES_CENTRED)

static void int8_vnni(void *context, size_t begin, size_t end) {
  switch (layout_read(context)) {
    case CODES_WIDE: vnni_wide(context, begin, end); break;
    case CODES_NIBBLES: vnni_nibbles(context, begin, end); break;
    case CODES_CENTRED:
      (is_large(context) ? vnni_large_centred : vnni_centred)(context, begin, end);
      break;
  }
}

bool atk_has_vnni(void) {
  __builtin_cpu_init();
  return atk_has_wide_vectors() && __builtin_cpu_supports("avx512vnni");
}
#else
bool atk_has_vnni(void) { return false; }
#endif

static void product(float *y, const float *x, const packed_codes *w, const float *bias, size_t M,
                    size_t N, size_t K, int accumulate, body_function *body) {
  if (M == 0 || N == 0) return;
  size_t groups = groups_of(K);
  input_group *inputs = atk_scratch(ATK_SCRATCH_SHARED, M * groups * sizeof(input_group));
  input_job pack = {inputs, x, K, w->layout == CODES_CENTRED ? -128.0f : 1.0f};
  atk_parallel_rows(M, K, BODY(pack_inputs), &pack);
  int8_job job = {y, inputs, w, bias, M, N, groups, accumulate};
  // A row or two read weights as fast as memory gives them; with more there is work to share out.
  size_t outputs = panels_of_tile(&job) * LANES;
  (M <= 2 ? atk_parallel_stretches : atk_parallel_for)((N + outputs - 1) / outputs, body, &job);
}

void atk_linear_int8_plain(float *y, const float *x, const void *codes, const float *bias, size_t M,
                           size_t N, size_t K, int accumulate) {
  product(y, x, codes, bias, M, N, K, accumulate, BODY(int8_plain));
}

void atk_linear_int8(float *y, const float *x, const void *codes, const float *bias, size_t M,
                     size_t N, size_t K, int accumulate) {
#if defined(__x86_64__)
  if (atk_has_vnni()) {
    product(y, x, codes, bias, M, N, K, accumulate, int8_vnni);
    return;
  }
#endif
  atk_linear_int8_plain(y, x, codes, bias, M, N, K, accumulate);
}
