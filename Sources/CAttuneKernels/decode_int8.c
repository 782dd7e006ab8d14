// SPDX-License-Identifier: Apache-2.0
// Small-batch products of weights in 8-bit codes with inputs that are brought to 8 bits on the way.
//
// An input is code · scale with a code of −127 to 127, a scale for each row and group. Sums of a group
// are sums of integers, so exact in any order; groups are added one after another in float32, where
// each operation is rounded as it is written. So a row gives the same bits in any batch, on any number
// of threads and on every processor. AVX512-VNNI multiplies unsigned bytes with signed ones and adds four
// products; AVX2 adds two of 16 bits, or two of bytes where their sum has room in 16 bits.
#include "int8_codes.h"

// As in the header.
#pragma clang fp reassociate(off) contract(off)

// A tile. For many rows that of codes around 0 has 12 sums, whose totals fit into registers too; a row alone
// is slower by it, and the other layouts are no faster. In 256 bits a sum is two registers of sixteen.
enum { PANELS = 2, ROWS = 8, CENTRED_PANELS = 3, CENTRED_ROWS = 4, MOST_SUMS = 16, AVX2_ROWS = 4 };

typedef uint32_t u16 __attribute__((vector_size(64)));

// One row's inputs of one group.
typedef struct {
  int32_t codes[QUADS];
  float scale;
  float shift;  // the sum of the inputs as their codes have them, times what an offset is of its scale
} input_group;

// With codes of 16 bits: of each four inputs the first and third, then the second and fourth.
typedef struct {
  int32_t outer, inner;
} wide_quad;

typedef struct {
  wide_quad codes[QUADS];
  float scale, shift;
} wide_input_group;

// ---- inputs -------------------------------------------------------------------------------------
typedef struct {
  void *out;
  const float *x;
  size_t K;
  float offset;  // of weights, as a multiple of the scale, or 1 where each has its own
  bool wide;     // codes of 16 bits
} input_job;

typedef int16_t s16_halves __attribute__((vector_size(32)));
typedef int16_t s16_halves_unaligned __attribute__((vector_size(32), aligned(2)));

INLINE void store_wide_codes(wide_quad *codes, const f16 *shifted) {
  s16_halves all = __builtin_convertvector(*(const i16 *)shifted, s16_halves);
  *(s16_halves_unaligned *)codes = __builtin_shufflevector(
      all, all, 0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
}

INLINE void pack_group(const input_job *job, size_t group, const float *x) {
  f16 a = LOAD(x), b = LOAD(x + LANES);
  // Magnitudes as bits, which are ordered as they are: infinity and NaN are the greatest.
  int32_t bits = __builtin_reduce_max(
      __builtin_elementwise_max((i16)a & 0x7fffffff, (i16)b & 0x7fffffff));
  float greatest;
  memcpy(&greatest, &bits, sizeof greatest);
  bool counts = !(greatest <= 1e-30f);  // what is less has no use, and no reciprocal
  float inverse = counts ? 127.0f / greatest : 0, scale = counts ? greatest / 127.0f : 0;
  f16 first = a * inverse + rounder, second = b * inverse + rounder;
  f16 zero = (f16){0} + rounder;
  i16 codes = (i16)first - (i16)zero + (i16)second - (i16)zero;
  float shift = (float)__builtin_reduce_add(codes) * scale * job->offset;
  if (job->wide) {
    wide_input_group *out = (wide_input_group *)job->out + group;
    store_wide_codes(out->codes, &first);
    store_wide_codes(out->codes + QUADS / 2, &second);
    out->scale = scale, out->shift = shift;
  } else {
    input_group *out = (input_group *)job->out + group;
    store_codes(out->codes, &first);
    store_codes(out->codes + QUADS / 2, &second);
    out->scale = scale, out->shift = shift;
  }
}

INLINE void pack_inputs(void *context, size_t begin, size_t end, const int R, const int S) {
  (void)R, (void)S;
  const input_job *job = context;
  size_t K = job->K, groups = groups_of(K);
  for (size_t m = begin; m < end; m++) {
    const float *x = job->x + m * K;
    for (size_t g = 0; g < K / GROUP; g++) pack_group(job, m * groups + g, x + g * GROUP);
    if (K % GROUP == 0) continue;
    float part[GROUP] = {0};
    memcpy(part, x + K / GROUP * GROUP, K % GROUP * sizeof(float));
    pack_group(job, (m + 1) * groups - 1, part);
  }
}
BODIES(pack_inputs)

// ---- the product --------------------------------------------------------------------------------
typedef struct {
  float *y;
  const void *x;  // groups of inputs, as the kernel takes them
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

// Where a sum of integers needs nothing more.
INLINE void whole_sum(i16 *sum) { (void)sum; }

#if defined(__x86_64__)
typedef int i512 __attribute__((vector_size(64)));
__attribute__((target("avx512f,avx512vnni"), always_inline)) static inline void multiply_quad_vnni(
    i16 *sum, const i16 *w, const int32_t *x) {
  *sum = (i16)__builtin_ia32_vpdpbusd512((i512)*sum, (i512)*w, (i512){0} + *x);
}

typedef _Float16 f16_halves __attribute__((vector_size(32)));
__attribute__((target("f16c"), always_inline)) static inline void halves_f16c(f16 *out,
                                                                              const h16 *at) {
  *out = __builtin_convertvector(*(const f16_halves *)at, f16);
}

typedef int8_t b256 __attribute__((vector_size(32)));
typedef int16_t s256 __attribute__((vector_size(32)));
typedef uint16_t u256 __attribute__((vector_size(32)));
typedef int32_t i256 __attribute__((vector_size(32)));
#define AVX2 __attribute__((target("arch=x86-64-v3"), always_inline)) static inline

AVX2 void multiply_quad_avx2(i16 *sum, const i16 *w, const wide_quad *x) {
  s256 outer = (s256)((i256){0} + x->outer), inner = (s256)((i256){0} + x->inner);
  UNROLL for (int half = 0; half < 2; half++) {
    u256 codes = ((const u256 *)w)[half];
    i256 *s = (i256 *)sum + half;
    *s += (i256)__builtin_ia32_pmaddwd256((s256)(codes & 255), outer);
    *s += (i256)__builtin_ia32_pmaddwd256((s256)(codes >> 8), inner);
  }
}

// Codes of 0 to 15: eight sums of two products with one of −127 to 127 are at most 30,480.
AVX2 void multiply_small_quad(i16 *sum, const i16 *w, const int32_t *x) {
  b256 inputs = (b256)((i256){0} + *x);
  UNROLL for (int half = 0; half < 2; half++)
    ((s256 *)sum)[half] += (s256)__builtin_ia32_pmaddubsw256(((const b256 *)w)[half], inputs);
}

AVX2 void small_sum(i16 *sum) {
  UNROLL for (int half = 0; half < 2; half++) {
    i256 *s = (i256 *)sum + half;
    *s = (i256)__builtin_ia32_pmaddwd256((s256)*s, (s256){0} + 1);
  }
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
#define MULTIPLY(name, input, quad, whole, halves)                                                \
  INLINE void name(const int8_job *job, panels_of_codes w, size_t m, size_t panel, ahead *next,   \
                   const int S, const int panels, const codes_layout layout) {                    \
    size_t groups = job->groups;                                                                  \
    const size_t step = codes_step(layout), scale_step = scales_step(layout);                     \
    const input *x = (const input *)job->x + m * groups;                                          \
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
          whole(&sum[p * S + s]);                                                                 \
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

// The last panel's, of which there are fewer. Not inlined: it would be most of what there is to compile.
static __attribute__((noinline)) void store_part(const int8_job *job, size_t m, size_t n,
                                                 const f16 *total) {
  float *y = job->y + m * job->N + n;
  for (size_t r = 0; r < job->N - n; r++) {
    float value = (*total)[r];
    if (job->bias) value += job->bias[n + r];
    if (job->accumulate) value += y[r];
    y[r] = value;
  }
}

INLINE void store(const int8_job *job, size_t m, size_t panel, const f16 *total) {
  size_t n = panel * LANES;
  f16 value = *total;
  if (job->N - n < LANES) {
    store_part(job, m, n, &value);  // not of total, which has to stay in a register
    return;
  }
  float *y = job->y + m * job->N + n;
  if (job->bias) value += LOAD(job->bias + n);
  if (job->accumulate) value += LOAD(y);
  *(f16_unaligned *)y = value;
}

MULTIPLY(multiply_plain, input_group, multiply_quad_plain, whole_sum, halves_plain)

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
// Tiles of `panels` panels and `rows` rows, for the instruction set that `multiply` needs. The one or two panels
// that a matrix may have left over have small tiles.
#define INT8_BODY(name, multiply, panels, rows, layout)                                           \
  TARGET static void name(void *context, size_t begin, size_t end) {                              \
    const int8_job *job = context;                                                                \
    size_t panel = panels_of_tile(job) * begin, stop = end_of_panels(job, end);                   \
    for (; panel + panels <= stop; panel += panels) {                                             \
      ROW_TILES(multiply, panels, rows, layout)                                                   \
    }                                                                                             \
    for (; panels > 1 && panel < stop; panel++) { ROW_TILES(multiply, 1, 2, layout) }             \
  }
#undef INLINE
#define INLINE TARGET static inline __attribute__((always_inline))

#define TARGET __attribute__((target("arch=x86-64-v3")))
MULTIPLY(multiply_avx2, wide_input_group, multiply_quad_avx2, whole_sum, halves_f16c)
MULTIPLY(multiply_small, input_group, multiply_small_quad, small_sum, halves_f16c)
INT8_BODY(avx2_wide, multiply_avx2, 1, AVX2_ROWS, CODES_WIDE)
INT8_BODY(avx2_centred, multiply_avx2, 1, AVX2_ROWS, CODES_CENTRED)
INT8_BODY(avx2_small, multiply_small, 1, AVX2_ROWS, CODES_WIDE)
INT8_BODY(avx2_nibbles, multiply_small, 1, AVX2_ROWS, CODES_NIBBLES)
#undef TARGET

#define TARGET __attribute__((target("arch=x86-64-v4,avx512vnni"), min_vector_width(512)))
MULTIPLY(multiply_vnni, input_group, multiply_quad_vnni, whole_sum, halves_f16c)
INT8_BODY(vnni_wide, multiply_vnni, PANELS, ROWS, CODES_WIDE)
INT8_BODY(vnni_nibbles, multiply_vnni, PANELS, ROWS, CODES_NIBBLES)
INT8_BODY(vnni_centred, multiply_vnni, PANELS, ROWS, CODES_CENTRED)
INT8_BODY(vnni_large_centred, multiply_vnni, CENTRED_PANELS, CENTRED_ROWS, CODES_CENTRED)
#undef TARGET

static bool has_vnni(void) {
  __builtin_cpu_init();
  return atk_has_wide_vectors() && __builtin_cpu_supports("avx512vnni");
}
#endif

bool atk_int8_is_fast(void) { return atk_vector_level() >= 3; }

// Who multiplies, and whether of inputs with codes of 16 bits.
typedef struct {
  body_function *multiply;
  bool wide;
} int8_kernel;

static int8_kernel plain_kernel(void) { return (int8_kernel){BODY(int8_plain), false}; }

static int8_kernel fastest_kernel(const int8_job *job) {
#if defined(__x86_64__)
  codes_layout read = layout_read(job);
  if (has_vnni()) {
    if (read == CODES_WIDE) return (int8_kernel){vnni_wide, false};
    if (read == CODES_NIBBLES) return (int8_kernel){vnni_nibbles, false};
    return (int8_kernel){is_large(job) ? vnni_large_centred : vnni_centred, false};
  }
  if (atk_vector_level() >= 3) {
    if (read == CODES_NIBBLES) return (int8_kernel){avx2_nibbles, false};
    if (job->w->layout == CODES_NIBBLES) return (int8_kernel){avx2_small, false};
    return (int8_kernel){read == CODES_WIDE ? avx2_wide : avx2_centred, true};
  }
#endif
  return plain_kernel();
}

static void product(int8_job job, const float *x, size_t K, int8_kernel kernel) {
  if (job.M == 0 || job.N == 0) return;
  size_t bytes = kernel.wide ? sizeof(wide_input_group) : sizeof(input_group);
  void *inputs = atk_scratch(ATK_SCRATCH_SHARED, job.M * job.groups * bytes);
  input_job pack = {inputs, x, K, job.w->layout == CODES_CENTRED ? -128.0f : 1.0f, kernel.wide};
  atk_parallel_rows(job.M, K, BODY(pack_inputs), &pack);
  job.x = inputs;
  // A row or two read weights as fast as memory gives them; with more there is work to share out.
  size_t outputs = panels_of_tile(&job) * LANES;
  (job.M <= 2 ? atk_parallel_stretches : atk_parallel_for)((job.N + outputs - 1) / outputs,
                                                           kernel.multiply, &job);
}

void atk_linear_int8_plain(float *y, const float *x, const void *codes, const float *bias, size_t M,
                           size_t N, size_t K, int accumulate) {
  product((int8_job){y, NULL, codes, bias, M, N, groups_of(K), accumulate}, x, K, plain_kernel());
}

void atk_linear_int8(float *y, const float *x, const void *codes, const float *bias, size_t M,
                     size_t N, size_t K, int accumulate) {
  int8_job job = {y, NULL, codes, bias, M, N, groups_of(K), accumulate};
  product(job, x, K, fastest_kernel(&job));
}
