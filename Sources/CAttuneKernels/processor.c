// SPDX-License-Identifier: Apache-2.0
// Which vectors the processor has.
#include "kernels_internal.h"

#include <stdlib.h>

int atk_vector_level(void) {
#if defined(__x86_64__)
  static int known;  // every thread would store the same
  int found = __atomic_load_n(&known, __ATOMIC_RELAXED);
  if (found) return found;
  __builtin_cpu_init();
  found = __builtin_cpu_supports("x86-64-v4") ? 4 : __builtin_cpu_supports("x86-64-v3") ? 3 : 1;
  const char *most = getenv("ATTUNE_VECTOR_LEVEL");
  if (most && atoi(most) == 3 && found > 3) found = 3;
  __atomic_store_n(&known, found, __ATOMIC_RELAXED);
  return found;
#else
  return 1;
#endif
}

bool atk_has_wide_vectors(void) { return atk_vector_level() == 4; }
