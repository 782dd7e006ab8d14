// SPDX-License-Identifier: Apache-2.0
// Attune's kernels: the whole C API on one page.
//
// Sizes: T tokens (rows), D width, F mlp width, V vocabulary, H query heads, G key/value heads,
// C head width, M × N × K of a product. All matrices are row-major float32 unless a name says
// bf16 (uint16_t holding the upper half of a float). Arguments go outputs, inputs, saved, sizes.
// An output marked `=` is overwritten, `+=` is accumulated into. Nothing here allocates per call,
// apart from scratch that each pool thread keeps and grows. Every kernel splits its rows over the
// pool; results do not depend on timing, only on the number of threads. Inside kernels numbers
// below 2^-126 count as 0, because products with denormals are a hundred times slower.
#ifndef ATTUNE_KERNELS_H
#define ATTUNE_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// ---- pool and BLAS (parallel.c, blas.c) -------------------------------------------------------

// Loads OpenBLAS (with the core type that this processor has: Debian's 0.3.21 takes recent Xeons
// for a Prescott, at a fifth of the speed) and starts the pool. May be called again to change the
// number of threads. 0 on success; 1: no BLAS was found (atk_blas_error says what was tried).
int atk_start(int threads);
int atk_threads(void);
const char *atk_blas_error(void);
// Takes the memory of the products of so many threads; the bytes that can't be had, 0 if all is well.
size_t atk_blas_reserve(int threads);
const char *atk_blas_core(void);    // e.g. "SkylakeX", never NULL
const char *atk_blas_config(void);  // OpenBLAS's own version line, never NULL

// Runs body(context, begin, end) on contiguous parts of 0..<count, as many as there are threads, which
// take them from a counter, the caller among them; returns when all are done. Where a part begins depends
// on the number of threads alone, not on who takes it. Calls from inside a body run serially on that thread.
void atk_parallel_for(size_t count, void (*body)(void *context, size_t begin, size_t end),
                      void *context);
// The same with every index a part (uneven work); their order is free, so bodies must not accumulate into
// shared memory.
void atk_parallel_each(size_t count, void (*body)(void *context, size_t index), void *context);

// The bytes of scratch that the calling thread keeps.
size_t atk_scratch_held(void);

// ---- weights as they are kept (stored_weights.c, quantise.c) -----------------------------------
// How a weight matrix is kept; each row begins a group anew, and rows follow one another.
typedef enum {
  ATK_FLOAT32, ATK_BFLOAT16, ATK_NIBBLES, ATK_FINE_NIBBLES, ATK_FIVES, ATK_BYTES
} atk_weights;
// 32 weights: code · scale + offset; a scale has at most 20 bits, so that code · scale is exact. Byte i
// holds the codes of weights i (low) and i + 16 (high).
typedef struct {
  float scale, offset;
  uint8_t codes[16];
} atk_nibbles;
// The same with a scale and an offset for each 16 weights.
typedef struct {
  float scale[2], offset[2];
  uint8_t codes[16];
} atk_fine_nibbles;
// The same of codes of five bits, with scales of at most 19: bit i of `fifth` is the upper bit of weight i.
typedef struct {
  float scale, offset;
  uint32_t fifth;
  uint8_t codes[16];
} atk_fives;
// 32 weights: code · scale, each scale for 16 of them.
typedef struct {
  float scale[2];
  int8_t codes[32];
} atk_bytes;
// out[rows, columns] = the float32 numbers of a matrix; columns is a multiple of 32 where there are groups.
void atk_weights_to_float(float *out, const void *w, atk_weights format, size_t rows, size_t columns);
// out = the matrix w[rows, columns] as it is to be kept: bfloat16 rounded to nearest even; bytes with the
// scale that the greatest of 16 needs; nibbles with the scale and offset of least squared error that
// a search over their range finds. What is not finite makes its group NaN. Fine nibbles and fives are only
// ever read from files, not made.
void atk_weights_from_float(void *out, atk_weights format, const float *w, size_t rows,
                            size_t columns);

// ---- products (gemm.c, linear.c) ---------------------------------------------------------------
typedef enum { ATK_PLAIN, ATK_TRANSPOSED } atk_order;
// How the products of a kernel that takes one are computed; numbers in memory are float32 in each.
typedef enum {
  ATK_PRODUCTS_FLOAT32,
  ATK_PRODUCTS_HIGH,  // large ones as sums of bfloat16 products on matrix tiles (tiles.c), where there are such
  ATK_PRODUCTS_BF16   // operands rounded to bfloat16, sums in float32; needs atk_has_bf16()
} atk_precision;
bool atk_has_tiles(void);
bool atk_has_bf16(void);
// C[M,N] = alpha · op(A)[M,K] · op(B)[K,N] + beta · C on the calling thread, by an own kernel or BLAS,
// whichever is the faster for the shape. C is not read if beta is 0.
void atk_sgemm(atk_order order_a, atk_order order_b, size_t M, size_t N, size_t K, float alpha,
               const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
               size_t ldc);
// The same on tiles, of operands as two bfloat16 parts, and of operands rounded to bfloat16, on tiles or by
// vectors; false where the processor can't.
bool atk_sgemm_tiles(atk_order order_a, atk_order order_b, size_t M, size_t N, size_t K, float alpha,
                     const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
                     size_t ldc);
bool atk_sgemm_bf16(atk_order order_a, atk_order order_b, size_t M, size_t N, size_t K, float alpha,
                    const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
                    size_t ldc);
// The same of dense matrices split over the pool as the linear layers are, in float32 by BLAS alone: what
// their speed is measured by. accumulate: 0 `=`, 1 `+=`.
void atk_product(float *c, atk_order order_a, const float *a, atk_order order_b, const float *b, size_t M,
                 size_t N, size_t K, int accumulate, atk_precision precision);

// ---- linear (linear.c): y[M,N] = x[M,K] · w[N,K]ᵀ, pieces split over the pool ---------------------
// ldx, ldy are row strides in floats (K and N if dense). accumulate: 0 `=`, 1 `+=`.
void atk_linear_forward(float *y, const float *x, const float *w, const float *bias_or_null,
                        size_t M, size_t N, size_t K, size_t ldy, size_t ldx, int accumulate,
                        atk_precision precision);
// The same of a matrix as it is kept, expanded a panel at a time in scratch (a thread's whole part where
// BLAS takes the product): bit for bit what its float32 copy gives.
void atk_linear_forward_stored(float *y, const float *x, const void *w, atk_weights format,
                               const float *bias_or_null, size_t M, size_t N, size_t K, size_t ldy,
                               size_t ldx, int accumulate, atk_precision precision);
// dx[M,K] = dy[M,N] · w[N,K]
void atk_linear_backward_input(float *dx, const float *dy, const float *w, size_t M, size_t N,
                               size_t K, size_t lddx, size_t lddy, int accumulate,
                               atk_precision precision);
void atk_linear_backward_input_stored(float *dx, const float *dy, const void *w,
                                      atk_weights format, size_t M, size_t N, size_t K,
                                      size_t lddx, size_t lddy, int accumulate,
                                      atk_precision precision);
// dw[N,K] += scale · dy[M,N]ᵀ · x[M,K];  dbias[N] += column sums of dy (skipped if NULL)
void atk_linear_backward_weight(float *dw, float *dbias_or_null, const float *dy, const float *x,
                                float scale, size_t M, size_t N, size_t K, size_t lddy, size_t ldx,
                                atk_precision precision);

// ---- small-batch linear (decode.c): own kernels that stream each weight once -------------------
// The same product for few rows. Each output is summed in one fixed order that does not depend on
// M, on the other rows, on the number of threads or on how the weights are kept, so a sequence
// decodes to the same numbers in any batch. K is a multiple of 32 where weights are in groups.
void atk_linear_decode(float *y, const float *x, const void *w, atk_weights format,
                       const float *bias_or_null, size_t M, size_t N, size_t K, int accumulate);
// The second product of adapters beside such a matrix (decode_adapters.c), in an order that is as fixed:
// y[M,N] += scale · low[M,rank] · b[N,rank]ᵀ, rows of y and low ldy and ldlow apart.
void atk_adapter_decode(float *y, size_t ldy, const float *low, size_t ldlow, const float *b,
                        float scale, size_t M, size_t N, size_t rank);
// ---- small-batch linear in bfloat16 (bf16_panels.c, decode_bf16.c) --------------------------------
// Weights w[N,K] rounded to bfloat16 and laid out for the product, in memory of atk_bf16_bytes, 64-byte
// aligned.
size_t atk_bf16_bytes(size_t N, size_t K);
void atk_bf16_pack(void *panels /* = */, const void *w, atk_weights format, size_t N, size_t K);
// y[M,N] = x[M,K] · wᵀ + bias of operands rounded to bfloat16: bit for bit atk_linear_forward_stored's at
// ATK_PRODUCTS_BF16 (where that is left to vectors, not to matrix tiles), in any batch and on any number
// of threads. Without panels w is laid out on the way. Of a small w, and where the processor can't:
// atk_linear_decode.
void atk_linear_decode_bf16(float *y, const float *x, const void *w, atk_weights format,
                            const void *panels_or_null, const float *bias_or_null, size_t M,
                            size_t N, size_t K, int accumulate);

// ---- small-batch linear in 8 bits (int8_weights.c, decode_int8.c) -------------------------------
// Weights w[N,K] in 8-bit codes, a scale and an offset for each output and 32 inputs, in memory of at
// most atk_int8_bytes, 64-byte aligned. Of nibbles (which stay in 4 bits), of fives, and of bytes with one scale
// a group, the codes are those that are there; other numbers are rounded to 255 steps of their group's range.
size_t atk_int8_bytes(atk_weights format, size_t N, size_t K);
void atk_int8_pack(void *codes /* = */, const void *w, atk_weights format, size_t N, size_t K);
// y[M,N] = x[M,K] · wᵀ + bias with x brought to 8-bit codes too, a scale for each row and 32 inputs:
// integers are summed exactly, groups of 32 in one fixed order, each step rounded as it is written, so
// that a row gives the same bits in any batch, on any number of threads and on every processor. An x
// that is not finite makes its whole row so.
void atk_linear_int8(float *y, const float *x, const void *codes, const float *bias_or_null, size_t M,
                     size_t N, size_t K, int accumulate);
// The same to the last bit without AVX512-VNNI and AVX2: what other processors run.
void atk_linear_int8_plain(float *y, const float *x, const void *codes, const float *bias_or_null,
                           size_t M, size_t N, size_t K, int accumulate);
// Whether they are faster here than products of float32 numbers.
bool atk_int8_is_fast(void);

// How attention differs from its plain form; all zero is that.
typedef struct {
  float scale;    // of scores; 0: C^-½
  float cap;      // scores s become cap·tanh(s/cap) (soft_cap.c); 0: they stay
  size_t window;  // positions that a row sees, its own among them; 0: all before it
} atk_attention_rule;

// ---- attention of small batches (decode.c) ------------------------------------------------------
// One query token a row against its cached keys and values: row m attends to prefix_count[m]
// positions at prefix_k/v[m] (shared by the samples of a prompt; may be 0) and then to
// own_count[m] positions at own_k/v[m]; caches are [positions, G·C] with row stride G·C.
// out[M,H·C] `=`; q has row stride ldq. Fixed summation order, as above. At ATK_PRODUCTS_BF16 the weights
// of values are rounded to bfloat16, as queries, keys and values have to be before. Keys and values are
// `cached` as ATK_FLOAT32 or as ATK_BFLOAT16. A window is the caller's: fewer positions, from later ones on.
void atk_attention_decode(float *out, const float *q, const void *const *prefix_k,
                          const void *const *prefix_v, const void *const *own_k,
                          const void *const *own_v, atk_weights cached,
                          const int32_t *prefix_count, const int32_t *own_count, size_t M, size_t H,
                          size_t G, size_t C, size_t ldq, atk_attention_rule rule,
                          atk_precision precision);

// ---- picking tokens (decode.c): logits[M,V] of one step, a row a sequence ----------------------
// log Σ exp(logit·inverse_temperature) of each row.
void atk_log_sum_exp(double *result, const float *logits, float inverse_temperature, size_t M,
                     size_t V);
// The first id at which the running sum of softmax(logits·inverse_temperature) exceeds uniform[m].
void atk_pick(int32_t *id, const float *logits, const double *uniform, float inverse_temperature,
              size_t M, size_t V);
// The id of the greatest logit, the first of equals.
void atk_pick_greatest(int32_t *id, const float *logits, size_t M, size_t V);
// A logit a row that is not above any of its top_k greatest (0: not asked) or, which may come
// first, any of the smallest set that holds the probability top_p (1: not asked): what is kept is
// among the ids at or above it, with few others.
void atk_pick_threshold(float *result, const float *logits, size_t top_k, double top_p,
                        float inverse_temperature, size_t M, size_t V);
// Ids of one row with logits not below `least`, ascending, to ids[V]; returns how many.
size_t atk_ids_above(int32_t *ids, const float *row, float least, size_t V);

// ---- embedding (embedding.c) ------------------------------------------------------------------
void atk_embedding_forward(float *y, const float *table, const int32_t *ids, size_t T, size_t D,
                           int accumulate);
void atk_embedding_forward_stored(float *y, const void *table, atk_weights format,
                                  const int32_t *ids, size_t T, size_t D, int accumulate);
void atk_embedding_backward(float *dtable /* += */, const float *dy, const int32_t *ids, size_t T,
                            size_t D);

// ---- norms (rmsnorm.c, layernorm.c) -----------------------------------------------------------
// `heads` vectors of `width` in each row, starting at x + t·ldx + h·width (a hidden state is
// heads = 1, q/k norm heads = H or G). rstd, mean: [T·heads], saved for the backward.
// y may be x (in place) in the forward: the backward takes the input x of the forward, and dx may be dy.
// A normalised number is multiplied by its weight + offset.
void atk_rmsnorm_forward(float *y /* = */, float *rstd /* =, may be NULL */, const float *x,
                         const float *weight, float offset, float epsilon, size_t T, size_t heads,
                         size_t width, size_t ldy, size_t ldx);
// accumulate: how dx is written. dweight `+=` (skipped if NULL).
void atk_rmsnorm_backward(float *dx, float *dweight_or_null, const float *dy, const float *x,
                          const float *weight, float offset, const float *rstd, size_t T,
                          size_t heads, size_t width, size_t lddx, size_t lddy, size_t ldx,
                          int accumulate);
void atk_layernorm_forward(float *y /* = */, float *mean /* =, may be NULL */,
                           float *rstd /* =, may be NULL */, const float *x, const float *weight,
                           const float *bias, float epsilon, size_t T, size_t D);
void atk_layernorm_backward(float *dx, float *dweight_or_null, float *dbias_or_null,
                            const float *dy, const float *x, const float *weight,
                            const float *mean, const float *rstd, size_t T, size_t D,
                            int accumulate);

// ---- rotary positions (rope.c) ----------------------------------------------------------------
// In place on `heads` vectors of C at x + t·ldx + h·C: of the first R (`turned`, C where all are) the pair
// (i, i + R/2) turns by the angle of position[t]; cosine and sine are tables [positions, R/2]. The backward
// turns back.
void atk_rope_forward(float *x, const int32_t *position, const float *cosine, const float *sine,
                      size_t T, size_t heads, size_t C, size_t turned, size_t ldx);
void atk_rope_backward(float *dx, const int32_t *position, const float *cosine, const float *sine,
                       size_t T, size_t heads, size_t C, size_t turned, size_t ldx);

// ---- attention (attention.c, attention_backward.c) -----------------------------------------------
// Causal attention of a batch of segments that lie one after another in the rows. Segment s owns
// rows segment_row[s] ..< segment_row[s] + segment_count[s]; parent[s] < s is the segment that it
// continues, or -1: its tokens see the whole of every ancestor, and themselves causally, as far back as the
// rule's window. Rows meet keys in blocks of 512 positions, so that scratch does not grow with the
// length; every sum has one order, which depends neither on the number of threads nor, for what belongs
// to one row, on other segments.
typedef struct {
  const int32_t *segment_row;
  const int32_t *segment_count;
  const int32_t *parent;
  size_t segments;
} atk_segments;

// q, k, v have row strides ldq, ldk, ldv (they may lie in one fused buffer).
// out[T,H·C] `=`; lse[T,H] `=` is the log of each row's softmax denominator (of scaled scores).
void atk_attention_forward(float *out, float *lse, const float *q, const float *k, const float *v,
                           atk_segments segments, size_t H, size_t G, size_t C, size_t ldq,
                           size_t ldk, size_t ldv, atk_attention_rule rule,
                           atk_precision precision);
// Of one sequence the rows first ..< first + count alone, against keys and values [first + count, G·C]
// in bfloat16 that are kept from the rows before: bit for bit what they are in a pass of all with such keys
// and values, if first is a multiple of 64. q[count], row stride ldq; out[count,H·C].
void atk_attention_prefill(float *out, const float *q, const uint16_t *k, const uint16_t *v,
                           size_t first, size_t count, size_t H, size_t G, size_t C, size_t ldq,
                           atk_attention_rule rule, atk_precision precision);
// dq, dk, dv `=` (written whole, rows that nobody sees become 0), strides as of q, k, v.
void atk_attention_backward(float *dq, float *dk, float *dv, const float *dout, const float *q,
                            const float *k, const float *v, const float *out, const float *lse,
                            atk_segments segments, size_t H, size_t G, size_t C, size_t ldq,
                            size_t ldk, size_t ldv, atk_attention_rule rule,
                            atk_precision precision);

// ---- activations (swiglu.c, gelu.c, other_activations.c) ------------------------------------------
// gate_up[T,2F]: gate in columns 0..<F, up in F..<2F. y[T,F] = silu(gate)·up
void atk_swiglu_forward(float *y /* = */, const float *gate_up, size_t T, size_t F);
// y_or_null: the forward's output again (a backward that did not keep it needs it for dw).
void atk_swiglu_backward(float *dgate_up /* = */, float *y_or_null /* = */, const float *dy,
                         const float *gate_up, size_t T, size_t F);
// The same with gelu in its tanh form in silu's place.
void atk_geglu_forward(float *y /* = */, const float *gate_up, size_t T, size_t F);
void atk_geglu_backward(float *dgate_up /* = */, float *y_or_null /* = */, const float *dy,
                        const float *gate_up, size_t T, size_t F);
// GPT-2's tanh form.
void atk_gelu_forward(float *y /* = */, const float *x, size_t count);
void atk_gelu_backward(float *dx /* = */, float *y_or_null /* = */, const float *dy, const float *x,
                       size_t count);
// By the error function: x·Φ(x).
void atk_gelu_erf_forward(float *y /* = */, const float *x, size_t count);
void atk_gelu_erf_backward(float *dx /* = */, float *y_or_null /* = */, const float *dy,
                           const float *x, size_t count);
void atk_relu_forward(float *y /* = */, const float *x, size_t count);
void atk_relu_backward(float *dx /* = */, float *y_or_null /* = */, const float *dy, const float *x,
                       size_t count);

// ---- language-model head (lm_head.c): linear → log-softmax → gather, by chunks of rows ---------
// hidden[n,D] is dense, w[V,D] as it is kept. Logits z become cap·tanh(z/cap) where cap is not 0, and are
// divided by `temperature`. Outputs `=`; entropy, untempered, candidate outputs and logits are skipped if NULL.
// log_probability[n], log_sum_exp[n] (of logits/temperature), entropy[n] in nats, untempered[n]: log-probabilities
// where what the temperature made of the logits is multiplied by `untempering`, candidate_log_probability[n,m] for the m ids in candidates, logits[n,V].
void atk_head_forward(float *log_probability, float *log_sum_exp, float *entropy_or_null,
                      float *untempered_or_null, float untempering, float *candidate_or_null, float *logits_or_null, const float *hidden,
                      const void *w, atk_weights format, const int32_t *target,
                      const int32_t *candidates, float temperature, float cap, size_t n, size_t m,
                      size_t D, size_t V, atk_precision precision);
// dhidden[n,D] `=`, dw[V,D] `+=` (skipped if NULL), from the gradients on log_probability[n] and
// entropy[n] (NULL: zero). logits[n,V]: what the forward left, which is overwritten; if NULL they are
// computed again.
void atk_head_backward(float *dhidden, float *dw_or_null, const float *dlog_probability,
                       const float *dentropy_or_null, const float *hidden, const void *w,
                       atk_weights format, const int32_t *target, const float *log_sum_exp,
                       const float *entropy_or_null, float *logits_or_null, float temperature,
                       float cap, size_t n, size_t D, size_t V, atk_precision precision);
// Both in one pass, where the gradient on each log-probability is known before (supervised loss):
// no logits are computed twice. log_probability `=`, dhidden `=`, dw `+=` (skipped if NULL).
void atk_head_forward_backward(float *log_probability, float *dhidden, float *dw_or_null,
                               const float *dlog_probability, const float *hidden, const void *w,
                               atk_weights format, const int32_t *target, float temperature,
                               float cap, size_t n, size_t D, size_t V, atk_precision precision);
// logits[count] = cap·tanh(logits/cap): a decoder's.
void atk_cap_logits(float *logits, float cap, size_t count);
// How far p is from q a row, in nats, two heads over the V tokens that both have: mix·KL(q ‖ m) +
// (1 − mix)·KL(p ‖ m) with m = mix·q + (1 − mix)·p; KL(q ‖ p) at mix 0, KL(p ‖ q) at 1. hidden_p[n,D_p],
// hidden_q[n,D_q]. dhidden[n,D_p] `=` and dw[V,D_p] `+=` (skipped if NULL) are the gradients of
// Σ weight·divergence, weight[n]; without dhidden there is none.
void atk_head_divergence(float *divergence /* = */, float *dhidden_or_null, float *dw_or_null,
                         const float *weight_or_null, const float *hidden_p, const void *w_p,
                         atk_weights format_p, float temperature_p, float cap_p, size_t D_p,
                         const float *hidden_q, const void *w_q, atk_weights format_q,
                         float temperature_q, float cap_q, size_t D_q, float mix, size_t n, size_t V,
                         atk_precision precision);

// ---- optimiser and vectors (adamw.c, adamw8.c, moment_codes.c, vector.c) -----------------------
// AdamW with decoupled weight decay (Loshchilov & Hutter 2019), as torch.optim.AdamW:
// p -= lr·wd·p; m, v updated from g·gradient_scale; p -= lr·(m/bias1)/(sqrt(v/bias2) + epsilon),
// bias1 = 1 − β1^step, bias2 = 1 − β2^step.
void atk_adamw_step(float *p, float *m, float *v, const float *g, float gradient_scale,
                    float learning_rate, float beta1, float beta2, float epsilon,
                    float weight_decay, float bias1, float bias2, size_t count);
// The same with moments of 8 bits (block-wise dynamic quantisation, Dettmers et al. 2022): a code a
// number in m and v, and for each block of 256 (the last may be shorter) the scale, its largest moment,
// in m_scale and v_scale. All zero before the first step. The step is that of the moments in float32,
// which are then rounded to the nearest code; second moments never to that of 0.
enum { ATK_MOMENT_BLOCK = 256 };
void atk_adamw8_step(float *p, uint8_t *m, uint8_t *v, float *m_scale, float *v_scale, const float *g,
                     float gradient_scale, float learning_rate, float beta1, float beta2,
                     float epsilon, float weight_decay, float bias1, float bias2, size_t count);
// What a code of the first (1) or second (2) moment stands for, in its block's scale.
float atk_moment_value(int moment, uint8_t code);
double atk_sum_of_squares(const float *x, size_t count);  // NaN or infinity shows in the result
void atk_add(float *y /* += */, const float *x, float scale, size_t count);
void atk_scale(float *x, float scale, size_t count);
void atk_approach(float *y /* += share·(x − y) */, const float *x, float share, size_t count);
void atk_zero(float *x /* = */, size_t count);
void atk_copy(float *y /* = */, const float *x, size_t count);
// rows of x[.,D] picked by index: y[n,D] = x[index[n],:]; and the transpose, += , in index order.
void atk_gather_rows(float *y /* = */, const float *x, const int32_t *index, size_t n, size_t D);
void atk_scatter_add_rows(float *x /* += */, const float *y, const int32_t *index, size_t n,
                          size_t D);
void atk_bf16_from_float(uint16_t *y, const float *x, size_t count);  // round to nearest even
void atk_float_from_bf16(float *y, const uint16_t *x, size_t count);
void atk_round_to_bf16(float *x, size_t count);  // in place, as atk_bf16_from_float

#ifdef __cplusplus
}
#endif
#endif
