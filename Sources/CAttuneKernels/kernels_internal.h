// SPDX-License-Identifier: Apache-2.0
// What the kernels share and nobody else sees.
#ifndef ATTUNE_KERNELS_INTERNAL_H
#define ATTUNE_KERNELS_INTERNAL_H

#include "attune_kernels.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Sums may be taken in another order (so that they vectorise), products and sums may be fused;
// infinities, NaN and signed zeros keep their meaning, which -ffast-math would give up.
#pragma clang fp reassociate(on) contract(fast)
// Some loops do not vectorise for the oldest instruction set; they are still right.
#pragma clang diagnostic ignored "-Wpass-failed"

// One copy of a function for each of three instruction sets; the loader picks. Elsewhere the
// compiler's baseline serves (on arm64 it has NEON).
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__clang__)
#define ATK_MULTIVERSION \
  __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define ATK_MULTIVERSION
#endif

// For loops whose iterations touch only their own index, even where an output is an input.
#define ATK_ELEMENTWISE _Pragma("clang loop vectorize(assume_safety)")

static inline size_t atk_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t atk_max(size_t a, size_t b) { return a > b ? a : b; }
static inline size_t atk_round_up(size_t count, size_t unit) {
  return (count + unit - 1) / unit * unit;
}

// The begin of part `part` when 0..<count is cut into `parts` pieces that start at multiples of
// `unit`; the end is the begin of the next part.
static inline size_t atk_part_begin(size_t count, size_t parts, size_t unit, size_t part) {
  size_t piece = atk_round_up((count + parts - 1) / parts, unit);
  return atk_min(part * piece, count);
}

// Memory of this thread that lives until the thread ends, 64-byte aligned, at least `bytes` long;
// what an earlier call with the same slot returned is no longer valid. A kernel's slots are its
// own: kernels do not call one another while they use a slot, apart from atk_sgemm.
typedef enum {
  ATK_SCRATCH_SHARED = 0,  // written by all threads, owned by the one that called the kernel
  ATK_SCRATCH_SHARED_2,
  ATK_SCRATCH_SHARED_3,
  ATK_SCRATCH_OWN,
  ATK_SCRATCH_OWN_2,
  ATK_SCRATCH_PRODUCT,  // atk_sgemm's: it is called by kernels that use the others
  ATK_SCRATCH_PANELS,   // of products that all threads share
  ATK_SCRATCH_WEIGHTS,  // of products with weights that are kept otherwise than in float32
  ATK_SCRATCH_SLOTS
} atk_scratch_slot;
void *atk_scratch(atk_scratch_slot slot, size_t bytes);

// atk_parallel_for, but on the calling thread alone where count · cost (in floats touched or so)
// is too little to be worth waking others. Only for bodies whose result does not depend on how
// the range is cut.
void atk_parallel_rows(size_t count, size_t cost, void (*body)(void *, size_t, size_t),
                       void *context);

// atk_parallel_for in longer ranges, for bodies that fetch what comes next in theirs.
void atk_parallel_stretches(size_t count, void (*body)(void *context, size_t begin, size_t end),
                            void *context);

// What `find` says of the processor, asked once: `known` is 0 at first, then 1 for no and 2 for yes. Every
// thread would store the same.
static inline bool atk_find_once(int *known, bool (*find)(void)) {
  int found = __atomic_load_n(known, __ATOMIC_RELAXED);
  if (found == 0) {
    found = find() ? 2 : 1;
    __atomic_store_n(known, found, __ATOMIC_RELAXED);
  }
  return found == 2;
}

// x[0..<count] = cap·tanh(x/cap), on the calling thread (Gemma Team 2024, arXiv:2408.00118).
void atk_soft_cap(float *x, float cap, size_t count);

// The processor's vectors: 4 where it has 512 bits (x86-64-v4), 3 where it has 256 (x86-64-v3), else 1, and
// where it is not of x86. ATTUNE_VECTOR_LEVEL=3 lowers 4 to 3, so that tests run what other processors do;
// loops that the compiler cuts for instruction sets by itself stay as they are.
int atk_vector_level(void);
// Whether it is 4.
bool atk_has_wide_vectors(void);

// A matrix as it is kept, or a part of one that begins at whole groups.
typedef struct {
  const char *rows;
  atk_weights format;
  size_t stride;  // bytes from a row to the next
} atk_matrix;

// One of dense rows.
atk_matrix atk_dense_matrix(const void *weights, atk_weights format, size_t columns);
// The part from `row` and `column` on; `column` is a multiple of 32.
atk_matrix atk_matrix_part(atk_matrix matrix, size_t row, size_t column);
// out[rows, columns] = the part's float32 numbers, dense, on the calling thread.
void atk_expand_part(float *out, atk_matrix matrix, size_t row, size_t rows, size_t column,
                     size_t columns);

// atk_gemm of a plain A and a B that is expanded on the way: the same numbers, bit for bit, as of B's
// float32 copy.
void atk_gemm_stored(atk_precision precision, atk_order order_b, size_t M, size_t N, size_t K,
                     float alpha, const float *a, size_t lda, atk_matrix b, float beta, float *c,
                     size_t ldc);

// atk_sgemm_bf16 of a B that is expanded on the way.
bool atk_gemm_bf16(atk_order order_a, atk_order order_b, size_t M, size_t N, size_t K, float alpha,
                   const float *a, size_t lda, atk_matrix b, float beta, float *c, size_t ldc);

// The same by all threads, who share B as it is packed; of a product that atk_shares_bf16.
bool atk_shares_bf16(size_t M, size_t N, size_t K);
void atk_gemm_bf16_by_all(atk_order order_a, atk_order order_b, size_t M, size_t N, size_t K,
                          float alpha, const float *a, size_t lda, atk_matrix b, float beta,
                          float *c, size_t ldc);

// C[rows, width] = alpha · A · B + keep · C on matrix tiles (bf16_matrix_tiles.c), where atk_has_tiles(); C is not
// read if keep is 0. a: lines of pairs along K, `stride` from one to the next, whose last step of 16 ends in zeros, and
// memory for whole sixteens of lines; b: a panel of `pairs` rows, of `width` columns rounded up to whole sixteens, 48
// at most.
void atk_bf16_multiply_on_tiles(float *c, size_t ldc, size_t rows, size_t width, const uint32_t *a,
                                size_t stride, const uint32_t *b, size_t pairs, float alpha,
                                float keep);

// out = the rows of w laid out for products of bfloat16: [pair of columns][row], rows rounded up to whole
// sixteens.
void atk_bf16_lay_out(uint32_t *out, atk_matrix w, size_t rows, size_t depth);

// atk_sgemm by BLAS, whatever the shape.
void atk_blas_sgemm(atk_order order_a, atk_order order_b, size_t M, size_t N, size_t K,
                    float alpha, const float *a, size_t lda, const float *b, size_t ldb,
                    float beta, float *c, size_t ldc);

// atk_sgemm as a precision asks for it.
void atk_gemm(atk_precision precision, atk_order order_a, atk_order order_b, size_t M, size_t N,
              size_t K, float alpha, const float *a, size_t lda, const float *b, size_t ldb,
              float beta, float *c, size_t ldc);

// Whether atk_gemm leaves a product of high precision to matrix tiles.
bool atk_tiles_pay(atk_order order_a, size_t M, size_t N, size_t K);

#endif
