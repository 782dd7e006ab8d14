// SPDX-License-Identifier: Apache-2.0
#include "attune_kernels.h"
#include <string.h>

void atk_bf16_from_float(uint16_t *y, const float *x, size_t count) {
  for (size_t i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, x + i, 4);
    int nan = (bits & 0x7fffffff) > 0x7f800000;
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    y[i] = (uint16_t)(nan ? (bits >> 16) | 0x40 : rounded);
  }
}
