// SPDX-License-Identifier: Apache-2.0
// The pool: as many threads as atk_start was told, the calling one among them. A worker waits awake
// for about half a millisecond after each job, because the next kernel usually follows at once and
// waking a thread takes longer than a small kernel; then it sleeps. It offers its processor to others
// meanwhile, or a machine that is also used for something else would wait for those who wait.
#include "kernels_internal.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define ATK_PAUSE() _mm_pause()
#elif defined(__aarch64__)
#define ATK_PAUSE() __asm__ volatile("yield")
#else
#define ATK_PAUSE() ((void)0)
#endif

// Inside a job, numbers below 2^-126 count as 0: a product that meets one takes a hundred times
// as long, and the probabilities of a softmax are full of them. The caller's mode comes back after.
typedef struct {
  uint64_t control;
} float_mode;

static float_mode flush_denormals(void) {
  float_mode before = {0};
#if defined(__x86_64__)
  before.control = _mm_getcsr();
  _mm_setcsr((unsigned)before.control | 0x8040);  // flush to zero, denormals are zero
#elif defined(__aarch64__)
  __asm__ volatile("mrs %0, fpcr" : "=r"(before.control));
  __asm__ volatile("msr fpcr, %0" : : "r"(before.control | 1u << 24));
#endif
  return before;
}

static void restore_mode(float_mode before) {
#if defined(__x86_64__)
  _mm_setcsr((unsigned)before.control);
#elif defined(__aarch64__)
  __asm__ volatile("msr fpcr, %0" : : "r"(before.control));
#else
  (void)before;
#endif
}

enum { PAUSES = 600, YIELDS = 500, PAUSES_A_YIELD = 20, MOST_THREADS = 256 };

typedef struct {
  void (*part)(void *context, size_t begin, size_t end);  // either this
  void (*each)(void *context, size_t index);              // or this
  void *context;
  size_t count;
} pool_job;

// One job at a time: several threads may call kernels, each waits for its turn.
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static pthread_cond_t done = PTHREAD_COND_INITIALIZER;
static pthread_t workers[MOST_THREADS];
static atomic_int thread_count = 1;
static atomic_uint generation;
static atomic_int pending;
static atomic_size_t next_index;
static bool stopping;
static pool_job job;
static _Thread_local bool inside_job;

// Waits awake until `ready`, or for as long as that is worth it.
#define WAIT_AWAKE(ready)                                             \
  for (int spins = 0; !(ready) && spins < PAUSES; spins++) ATK_PAUSE(); \
  for (int yields = 0; !(ready) && yields < YIELDS; yields++) {       \
    for (int i = 0; !(ready) && i < PAUSES_A_YIELD; i++) ATK_PAUSE(); \
    sched_yield();                                                    \
  }

static void run_share(size_t index, size_t threads) {
  if (job.part) {
    size_t begin = job.count * index / threads, end = job.count * (index + 1) / threads;
    if (begin < end) job.part(job.context, begin, end);
  } else {
    for (;;) {
      size_t i = atomic_fetch_add_explicit(&next_index, 1, memory_order_relaxed);
      if (i >= job.count) return;
      job.each(job.context, i);
    }
  }
}

static void *work(void *argument) {
  size_t index = (size_t)(uintptr_t)argument & 0xffff;
  unsigned seen = (unsigned)((uintptr_t)argument >> 16);
  inside_job = true;
  flush_denormals();
  for (;;) {
    WAIT_AWAKE(atomic_load_explicit(&generation, memory_order_acquire) != seen)
    if (atomic_load_explicit(&generation, memory_order_acquire) == seen) {
      pthread_mutex_lock(&mutex);
      while (atomic_load_explicit(&generation, memory_order_acquire) == seen)
        pthread_cond_wait(&wake, &mutex);
      pthread_mutex_unlock(&mutex);
    }
    seen++;
    if (stopping) return NULL;
    run_share(index, (size_t)atomic_load_explicit(&thread_count, memory_order_relaxed));
    if (atomic_fetch_sub_explicit(&pending, 1, memory_order_acq_rel) == 1) {
      pthread_mutex_lock(&mutex);
      pthread_cond_signal(&done);
      pthread_mutex_unlock(&mutex);
    }
  }
}

static void publish(void) {
  pthread_mutex_lock(&mutex);
  atomic_fetch_add_explicit(&generation, 1, memory_order_release);
  pthread_cond_broadcast(&wake);
  pthread_mutex_unlock(&mutex);
}

// Called with the turn held.
static void resize_pool(int threads) {
  int current = atomic_load(&thread_count);
  if (threads == current) return;
  stopping = true;
  publish();
  for (int i = 1; i < current; i++) pthread_join(workers[i], NULL);
  stopping = false;
  int started = 1;
  // Index and generation travel in one pointer; 48 bits of generation do not wrap within a wait.
  uintptr_t seen = (uintptr_t)atomic_load(&generation);
  while (started < threads) {
    void *argument = (void *)(seen << 16 | (uintptr_t)started);
    if (pthread_create(&workers[started], NULL, work, argument) != 0) break;
    started++;
  }
  atomic_store(&thread_count, started);
}

const char *atk_blas_load(void);

int atk_start(int threads) {
  const char *error = atk_blas_load();
  if (!inside_job) {
    if (threads < 1) threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (threads < 1) threads = 1;
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    pthread_mutex_lock(&turn);
    resize_pool(threads);
    pthread_mutex_unlock(&turn);
  }
  return error ? 1 : 0;
}

int atk_threads(void) { return atomic_load_explicit(&thread_count, memory_order_relaxed); }

static void run_alone(pool_job wanted) {
  float_mode before = flush_denormals();
  if (wanted.part) {
    wanted.part(wanted.context, 0, wanted.count);
  } else {
    for (size_t i = 0; i < wanted.count; i++) wanted.each(wanted.context, i);
  }
  restore_mode(before);
}

static void run_job(pool_job wanted) {
  if (wanted.count == 0) return;
  if (inside_job || wanted.count == 1 || atk_threads() == 1) {
    run_alone(wanted);
    return;
  }
  pthread_mutex_lock(&turn);
  int threads = atk_threads();
  job = wanted;
  atomic_store_explicit(&next_index, 0, memory_order_relaxed);
  atomic_store_explicit(&pending, threads - 1, memory_order_relaxed);
  publish();
  inside_job = true;
  float_mode before = flush_denormals();
  run_share(0, (size_t)threads);
  restore_mode(before);
  inside_job = false;
  WAIT_AWAKE(atomic_load_explicit(&pending, memory_order_acquire) == 0)
  if (atomic_load_explicit(&pending, memory_order_acquire) > 0) {
    pthread_mutex_lock(&mutex);
    while (atomic_load_explicit(&pending, memory_order_acquire) > 0)
      pthread_cond_wait(&done, &mutex);
    pthread_mutex_unlock(&mutex);
  }
  pthread_mutex_unlock(&turn);
}

void atk_parallel_for(size_t count, void (*body)(void *context, size_t begin, size_t end),
                      void *context) {
  run_job((pool_job){.part = body, .context = context, .count = count});
}

void atk_parallel_each(size_t count, void (*body)(void *context, size_t index), void *context) {
  run_job((pool_job){.each = body, .context = context, .count = count});
}

void atk_parallel_rows(size_t count, size_t cost, void (*body)(void *, size_t, size_t),
                       void *context) {
  if (count == 0) return;
  if (count * cost < 16384) {
    run_alone((pool_job){.part = body, .context = context, .count = count});
  } else {
    atk_parallel_for(count, body, context);
  }
}

// ---- scratch ----------------------------------------------------------------------------------

typedef struct {
  void *memory[ATK_SCRATCH_SLOTS];
  size_t bytes[ATK_SCRATCH_SLOTS];
} scratch_set;

static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;
static _Thread_local scratch_set *scratch;

static void free_scratch(void *set) {
  for (int slot = 0; slot < ATK_SCRATCH_SLOTS; slot++) free(((scratch_set *)set)->memory[slot]);
  free(set);
}

static void make_scratch_key(void) { pthread_key_create(&scratch_key, free_scratch); }

void *atk_scratch(atk_scratch_slot slot, size_t bytes) {
  if (!scratch) {
    pthread_once(&scratch_once, make_scratch_key);
    scratch = calloc(1, sizeof *scratch);
    if (scratch) pthread_setspecific(scratch_key, scratch);
  }
  bytes = atk_max(bytes, 1);
  if (scratch && scratch->bytes[slot] < bytes) {
    free(scratch->memory[slot]);
    bytes = atk_round_up(bytes, 4096);
    scratch->bytes[slot] = bytes;
    if (posix_memalign(&scratch->memory[slot], 4096, bytes) != 0) scratch->memory[slot] = NULL;
  }
  if (!scratch || !scratch->memory[slot]) {
    // As Swift's own allocations do.
    fprintf(stderr, "attune: out of memory (%zu bytes of scratch)\n", bytes);
    abort();
  }
  return scratch->memory[slot];
}
