// SPDX-License-Identifier: Apache-2.0
// Float32 weights to how they are to be kept.
//
// Nibbles: 4-bit codes with scale and offset, 32 weights a group, as GGUF's Q4_1 and K types have them.
// The range from the least to the greatest weight cut into 15 steps is not the best: where steps are a
// little narrower or wider, more weights lie near a level. So some widths are tried; for the codes of
// each, the best scale and offset are those of least squares, which leave the error Σ(x − x̄)² − c²/v
// with c = Σ(x − x̄)·code and v = Σ(code − mean code)², and the codes of the greatest c²/v win.
// The root mean square error of normal weights is 0.069 of theirs, 0.077 by the range alone.
#include "stored_weights.h"

#include <math.h>
#include <stdlib.h>

enum { GROUP = 32, LANES = 16, WIDTHS = 11, REFITS = 2 };

// Sixteen groups beside one another, a lane each.
typedef struct {
  atk_v16 x[GROUP], codes[GROUP];
  atk_v16 mean;
} nibble_lanes;

typedef struct {
  atk_v16 least, inverse_step;         // code = (x − least) · inverse step, rounded
  atk_v16 gain, covariance, variance, mean_code;
} nibble_fit;

#define EACH for (int i = 0; i < GROUP; i++)
#define PICK(mask, a, b) ((atk_v16)(((atk_i16)(a) & (mask)) | ((atk_i16)(b) & ~(mask))))

// Codes by f->least and f->inverse_step, and how good they are.
ATK_INLINE void fit_codes(nibble_fit *f, nibble_lanes *lanes) {
  atk_v16 sum = {0}, squares = {0}, covariance = {0}, none = {0};
  EACH {
    atk_v16 level = (lanes->x[i] - f->least) * f->inverse_step + 0.5f;
    level = PICK(level > 0.0f, level, none);
    level = PICK(level < 15.5f, level, none + 15.5f);
    atk_v16 code = __builtin_convertvector(__builtin_convertvector(level, atk_i16), atk_v16);
    lanes->codes[i] = code;
    sum += code;
    squares += code * code;
    covariance += code * (lanes->x[i] - lanes->mean);
  }
  f->mean_code = sum * (1.0f / GROUP);
  f->variance = squares - sum * f->mean_code;
  f->covariance = covariance;
  atk_v16 gain = covariance * covariance / f->variance;
  f->gain = PICK((f->variance > 0.0f) & (covariance > 0.0f), gain, none);
}

// The best scale, cut to 16 bits, so that its product with a code is exact.
ATK_INLINE void short_scale(atk_v16 *out, const nibble_fit *f) {
  atk_i16 good = f->gain > 0.0f;
  atk_i16 bits = (atk_i16)(f->covariance / f->variance);
  *out = (atk_v16)((bits + 0x80) & ~0xFF & good);
}

ATK_MULTIVERSION static void put_nibbles(atk_nibbles *out, const float *w, size_t groups) {
  nibble_lanes lanes;
  atk_v16 sum = {0}, none = {0};
  for (size_t g = 0; g < LANES; g++)  // past the end the last group again, which is not written
    EACH lanes.x[i][g] = w[atk_min(g, groups - 1) * GROUP + (size_t)i];
  atk_v16 least = lanes.x[0], most = lanes.x[0];
  EACH {
    least = PICK(lanes.x[i] < least, lanes.x[i], least);
    most = PICK(lanes.x[i] > most, lanes.x[i], most);
    sum += lanes.x[i];
  }
  lanes.mean = sum * (1.0f / GROUP);
  atk_v16 range = most - least;

  nibble_fit best = {.gain = none - 1};
  for (int trial = 0; trial < WIDTHS + REFITS; trial++) {
    nibble_fit now = {.least = least, .inverse_step = (14.1f + 0.18f * (float)trial) / range};
    if (trial >= WIDTHS) {  // the levels of the best fit so far
      now.inverse_step = best.variance / best.covariance;
      now.least = lanes.mean - best.mean_code * best.covariance / best.variance;
    }
    fit_codes(&now, &lanes);
    atk_i16 better = now.gain > best.gain;
    best.least = PICK(better, now.least, best.least);
    best.inverse_step = PICK(better, now.inverse_step, best.inverse_step);
    best.gain = PICK(better, now.gain, best.gain);
    best.covariance = PICK(better, now.covariance, best.covariance);
    best.variance = PICK(better, now.variance, best.variance);
    best.mean_code = PICK(better, now.mean_code, best.mean_code);
  }
  fit_codes(&best, &lanes);
  atk_v16 scale, offset;
  short_scale(&scale, &best);
  // Numbers that are equal, or too near one another for a step, are the least of them; what is not
  // finite makes that NaN.
  offset = PICK(scale > 0.0f, lanes.mean - scale * best.mean_code, least) + (sum - sum);
  atk_i16 known = offset == offset;
  for (size_t g = 0; g < atk_min(LANES, groups); g++) {
    out[g].scale = known[g] ? scale[g] : 0;
    out[g].offset = known[g] ? offset[g] : NAN;
    for (int i = 0; i < GROUP / 2; i++) {
      int low = scale[g] > 0 ? (int)lanes.codes[i][g] : 0;
      int high = scale[g] > 0 ? (int)lanes.codes[i + GROUP / 2][g] : 0;
      out[g].codes[i] = known[g] ? (uint8_t)(low | high << 4) : 0;
    }
  }
}

ATK_MULTIVERSION static void put_bytes(atk_bytes *out, const float *w, size_t groups) {
  for (size_t half = 0; half < 2 * groups; half++, w += GROUP / 2) {
    float most = 0, nothing = 0;
    for (int i = 0; i < GROUP / 2; i++) {
      float size = fabsf(w[i]);
      most = size > most ? size : most;
      nothing += w[i] - w[i];
    }
    float scale = most > 1e-30f ? most / 127 : 0, inverse = scale > 0 ? 1 / scale : 0;
    bool finite = nothing == 0;
    int8_t *codes = out[half / 2].codes + half % 2 * (GROUP / 2);
    out[half / 2].scale[half % 2] = finite ? scale : NAN;
    for (int i = 0; i < GROUP / 2; i++) {
      float level = finite ? w[i] * inverse : 0;
      codes[i] = (int8_t)(int32_t)(level + (level < 0 ? -0.5f : 0.5f));
    }
  }
}

typedef struct {
  char *out;
  atk_weights format;
  const float *w;
} store_job;

static void store_groups(void *context, size_t begin, size_t end) {
  const store_job *job = context;
  for (size_t i = begin; i < end; i += LANES) {
    size_t groups = atk_min(LANES, end - i);
    void *out = job->out + atk_weight_bytes(job->format, i * GROUP);
    if (job->format == ATK_NIBBLES) put_nibbles(out, job->w + i * GROUP, groups);
    else put_bytes(out, job->w + i * GROUP, groups);
  }
}

void atk_weights_from_float(void *out, atk_weights format, const float *w, size_t rows,
                            size_t columns) {
  store_job job = {out, format, w};
  switch (format) {
    case ATK_FLOAT32: memcpy(out, w, rows * columns * sizeof *w); break;
    case ATK_BFLOAT16: atk_bf16_from_float(out, w, rows * columns); break;
    case ATK_NIBBLES:
    case ATK_BYTES: atk_parallel_rows(rows * columns / GROUP, 1000, store_groups, &job); break;
    case ATK_FINE_NIBBLES:
    case ATK_FIVES: abort();  // the header says so
  }
}
