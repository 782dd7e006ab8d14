// SPDX-License-Identifier: Apache-2.0
// OpenBLAS (Accelerate on Apple systems), loaded at run time: OpenBLAS reads the name of the
// kernels to use from the environment when it is loaded, and Debian 12's version (0.3.21) does not
// know processors newer than itself and falls back to kernels a fifth as fast.
#include "kernels_internal.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };

typedef void (*sgemm_function)(int layout, int trans_a, int trans_b, int m, int n, int k,
                               float alpha, const float *a, int lda, const float *b, int ldb,
                               float beta, float *c, int ldc);

// What OpenBLAS maps for each product that runs at the same time as others, and keeps.
static const size_t BUFFER_BYTES = (size_t)128 << 20;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static sgemm_function sgemm;
static void *(*take_buffer)(int);
static void (*give_buffer_back)(void *);
static char failure[1024];
static const char *core_name = "unknown";
static const char *config_line = "unknown";

#if defined(__APPLE__)
static const char *const libraries[] = {
    "/System/Library/Frameworks/Accelerate.framework/Accelerate"};
#else
static const char *const libraries[] = {"libopenblas.so.0", "libopenblas.so", "libcblas.so.3",
                                        "libblas.so.3"};
#endif

// The core type for a processor that OpenBLAS may be too old to know, or NULL to let it choose.
static const char *wanted_core(void) {
#if defined(__x86_64__) && !defined(__APPLE__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    return "SkylakeX";
  // AMD's AVX2 processors are all known as Zen, which has these kernels.
  if (__builtin_cpu_is("intel") && __builtin_cpu_supports("avx2") &&
      __builtin_cpu_supports("fma"))
    return "Haswell";
#endif
  return NULL;
}

static void load(void) {
  // Our own pool does the splitting; OpenBLAS's threads would only stand in the way. The variables
  // are taken back after the load, so that no child process inherits them.
  const char *core = getenv("OPENBLAS_CORETYPE") ? NULL : wanted_core();
  bool limit = getenv("OPENBLAS_NUM_THREADS") == NULL;
  if (core) setenv("OPENBLAS_CORETYPE", core, 1);
  if (limit) setenv("OPENBLAS_NUM_THREADS", "1", 1);
#if defined(__APPLE__)
  setenv("VECLIB_MAXIMUM_THREADS", "1", 1);
#endif
  void *library = NULL;
  size_t used = 0;
  for (size_t i = 0; i < sizeof libraries / sizeof *libraries && !sgemm; i++) {
    library = dlopen(libraries[i], RTLD_NOW | RTLD_LOCAL);
    if (library) sgemm = (sgemm_function)dlsym(library, "cblas_sgemm");
    const char *reason = sgemm ? NULL : dlerror();
    if (!sgemm && used < sizeof failure)
      used += (size_t)snprintf(failure + used, sizeof failure - used, "%s%s", used ? "; " : "",
                               reason ? reason : libraries[i]);
  }
  if (core) unsetenv("OPENBLAS_CORETYPE");
  if (limit) unsetenv("OPENBLAS_NUM_THREADS");
  if (!sgemm) return;
  failure[0] = 0;
  void (*set_threads)(int) = (void (*)(int))dlsym(library, "openblas_set_num_threads");
  if (set_threads) set_threads(1);
  take_buffer = (void *(*)(int))dlsym(library, "blas_memory_alloc");
  give_buffer_back = (void (*)(void *))dlsym(library, "blas_memory_free");
  char *(*corename)(void) = (char *(*)(void))dlsym(library, "openblas_get_corename");
  if (corename) core_name = corename();
  char *(*config)(void) = (char *(*)(void))dlsym(library, "openblas_get_config");
  if (config) config_line = config();
#if defined(__APPLE__)
  core_name = "Accelerate";
  config_line = "Accelerate";
#endif
}

// OpenBLAS tries for ever to map a buffer that can't be had (ulimit -v), deaf to all but a kill. So
// those of all threads are taken here, once it is known that there is room for them; it keeps them.
// Returns the bytes that can't be had, 0 if all is well.
size_t atk_blas_reserve(int threads) {
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  static int reserved;
  if (!take_buffer || !give_buffer_back) return 0;  // another BLAS
  size_t missing = 0;
  pthread_mutex_lock(&mutex);
  if (threads > reserved) {
    void **buffers = calloc((size_t)threads, sizeof *buffers);
    size_t bytes = (size_t)(threads - reserved) * BUFFER_BYTES;
    void *probe = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (probe != MAP_FAILED) munmap(probe, bytes);
    if (!buffers || probe == MAP_FAILED) {
      missing = bytes;
    } else {
      for (int i = 0; i < threads; i++) buffers[i] = take_buffer(0);
      for (int i = 0; i < threads; i++) give_buffer_back(buffers[i]);
      reserved = threads;
    }
    free(buffers);
  }
  pthread_mutex_unlock(&mutex);
  return missing;
}

// NULL if a BLAS is loaded, else what was tried.
const char *atk_blas_load(void) {
  pthread_once(&once, load);
  return sgemm ? NULL : failure;
}

const char *atk_blas_error(void) {
  pthread_once(&once, load);
  return failure;
}

const char *atk_blas_core(void) {
  pthread_once(&once, load);
  return core_name;
}

const char *atk_blas_config(void) {
  pthread_once(&once, load);
  return config_line;
}

void atk_blas_sgemm(atk_order order_a, atk_order order_b, size_t M, size_t N, size_t K,
                    float alpha, const float *a, size_t lda, const float *b, size_t ldb,
                    float beta, float *c, size_t ldc) {
  if (M == 0 || N == 0) return;
  if (!sgemm && atk_blas_load()) {
    fprintf(stderr, "attune: no BLAS library (%s)\n", failure);
    abort();  // atk_start said so before
  }
  sgemm(ROW_MAJOR, order_a == ATK_TRANSPOSED ? TRANS : NO_TRANS,
        order_b == ATK_TRANSPOSED ? TRANS : NO_TRANS, (int)M, (int)N, (int)K, alpha, a, (int)lda,
        b, (int)ldb, beta, c, (int)ldc);
}
