// SPDX-License-Identifier: Apache-2.0
// exp and friends as inline polynomials, because calls into libm do not vectorise.
#ifndef ATTUNE_VECTOR_MATH_H
#define ATTUNE_VECTOR_MATH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ATK_INLINE static inline __attribute__((always_inline))

// exp(x), within 2 units in the last place; 0 below -87.3 (no denormals), infinity above 88.72,
// NaN for NaN. Cephes' expf: x = n·ln 2 + r, a polynomial for exp(r), n added to the exponent.
ATK_INLINE float atk_expf(float x) {
// The two steps that take n·ln 2 off must stay two.
#pragma clang fp reassociate(off) contract(fast)
  float inside = x > -87.3f ? x : -87.3f;
  inside = inside < 88.72f ? inside : 88.72f;
  float quotient = inside * 1.44269504088896341f;
  int32_t n = (int32_t)(quotient + (quotient >= 0 ? 0.5f : -0.5f));
  float r = inside - (float)n * 0.693359375f;
  r = r - (float)n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  uint32_t bits;
  memcpy(&bits, &p, sizeof bits);
  bits += (uint32_t)n << 23;
  float result;
  memcpy(&result, &bits, sizeof result);
  result = x < -87.3f ? 0.0f : result;
  result = x > 88.72f ? __builtin_inff() : result;
  return x != x ? x : result;
}

// The same of what can't be above ½·ln 2, spared the comparisons for it. A function of its own: a switch
// inside the one above changes in which order the compiler sums in the loops around it, and two of the
// head's have to sum alike (a policy with entropies and its reference without).
ATK_INLINE float atk_exp_small(float x) {
// The two steps that take n·ln 2 off must stay two.
#pragma clang fp reassociate(off) contract(fast)
  float inside = x > -87.3f ? x : -87.3f;
  float quotient = inside * 1.44269504088896341f;
  int32_t n = (int32_t)(quotient - 0.5f);
  float r = inside - (float)n * 0.693359375f;
  r = r - (float)n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  uint32_t bits;
  memcpy(&bits, &p, sizeof bits);
  bits += (uint32_t)n << 23;
  float result;
  memcpy(&result, &bits, sizeof result);
  result = x < -87.3f ? 0.0f : result;
  return x != x ? x : result;
}

// The natural logarithm of a normal number above 0, to about 1e-7 of it. Cephes' logf: x = 2^n·m with m
// between √½ and √2, a polynomial for log m.
ATK_INLINE float atk_logf(float x) {
#pragma clang fp reassociate(off) contract(fast)
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  // The exponent of m·√2, so that m is within its bounds.
  int32_t n = (int32_t)(bits - 0x3f3504f3u) >> 23;
  bits -= (uint32_t)n << 23;
  float m, e = (float)n;
  memcpy(&m, &bits, sizeof m);
  float r = m - 1.0f, square = r * r;
  float p = 7.0376836292e-2f;
  p = p * r - 1.1514610310e-1f;
  p = p * r + 1.1676998740e-1f;
  p = p * r - 1.2420140846e-1f;
  p = p * r + 1.4249322787e-1f;
  p = p * r - 1.6668057665e-1f;
  p = p * r + 2.0000714765e-1f;
  p = p * r - 2.4999993993e-1f;
  p = p * r + 3.3333331174e-1f;
  float rest = p * r * square - 2.12194440e-4f * e - 0.5f * square;
  return r + rest + 0.693359375f * e;
}

ATK_INLINE float atk_sigmoidf(float x) { return 1.0f / (1.0f + atk_expf(-x)); }

// Good to about 1e-7 absolutely, which is what 1 + tanh needs.
ATK_INLINE float atk_tanhf(float x) { return 1.0f - 2.0f / (atk_expf(2.0f * x) + 1.0f); }

// The largest of x[0..<count], -infinity if there is none; NaN is passed over. In vectors by hand:
// a loop over one maximum vectorises only where NaN is ruled out, one over lanes by halves.
ATK_INLINE float atk_largest(const float *x, size_t count) {
  typedef float vector __attribute__((vector_size(64), aligned(4)));
  typedef int32_t mask __attribute__((vector_size(64)));
  enum { LANES = 16 };
  float most = -__builtin_inff();
  if (count < LANES) {
    for (size_t i = 0; i < count; i++) most = x[i] > most ? x[i] : most;
    return most;
  }
  vector lane = {0};
  lane += most;
  for (size_t i = 0; i < count; i += LANES) {
    // The last may overlap.
    vector from = *(const vector *)(x + (i + LANES <= count ? i : count - LANES));
    mask larger = from > lane;
    lane = (vector)((larger & (mask)from) | (~larger & (mask)lane));
  }
  for (size_t l = 0; l < LANES; l++) most = lane[l] > most ? lane[l] : most;
  return most;
}

ATK_INLINE float atk_float_of_bf16(uint16_t x) {
  uint32_t bits = (uint32_t)x << 16;
  float y;
  memcpy(&y, &bits, sizeof y);
  return y;
}

#endif
