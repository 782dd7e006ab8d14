// SPDX-License-Identifier: Apache-2.0
// The pool: as many threads as atk_start was told, the calling one among them. A job's parts are taken
// from a counter, and it is done when its parts are: a thread that the machine does not let run keeps
// nobody waiting for more than the part that it has begun. Who waits does so awake for a fraction of a
// millisecond, because the next kernel usually follows at once and waking a thread takes longer than a
// small kernel; then it sleeps. It never yields: to Linux a yield is a slice given away, and a thread
// that yields while it waits is not let run when there is work, however low the others' priority is.
#include "kernels_internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
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

enum {
  MOST_THREADS = 256,
  PAUSES_A_LOOK = 32,      // between two looks at the clock
  PARTS_A_THREAD = 1,      // of a range that is cut
  WAIT_FOR_JOB = 150000,   // nanoseconds
  WAIT_FOR_PARTS = 300000,
};

typedef struct {
  void (*part)(void *context, size_t begin, size_t end);  // either this
  void (*each)(void *context, size_t index);              // or this
  void *context;
  size_t count;
  size_t parts;  // indices of `each`, or ranges of `part` (0: as many as serve most)
} pool_job;

// One job at a time: several threads may call kernels, each waits for its turn.
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static pthread_cond_t done = PTHREAD_COND_INITIALIZER;
static pthread_t workers[MOST_THREADS];
static atomic_int thread_count = 1;
// The number of the job, and in the lower half how many of its parts nobody has taken: who takes one
// knows that the job is still the one that he saw, and it stays until his part is done.
static _Atomic uint64_t ticket;
static atomic_size_t unfinished;  // parts of the job that are not done
static atomic_int asleep;         // workers that need to be woken
static atomic_bool caller_asleep;
static bool stopping;
static bool crowded;  // more threads than processors: one that waits awake may keep another from working
static pool_job job;
static _Thread_local bool inside_job;

static uint32_t job_number(void) {
  return (uint32_t)(atomic_load_explicit(&ticket, memory_order_acquire) >> 32);
}

static int64_t nanoseconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

// Waits awake until `ready`, or for as long as that is worth it.
#define WAIT_AWAKE(ready, limit)                                                                  \
  for (int64_t start = nanoseconds(); !crowded && !(ready) && nanoseconds() - start < (limit);) \
    for (int i = 0; !(ready) && i < PAUSES_A_LOOK; i++) ATK_PAUSE();

// Takes a part of the job with this number: false if none is left.
static bool take_part(uint32_t number, size_t *part) {
  uint64_t now = atomic_load_explicit(&ticket, memory_order_acquire);
  do {
    if (now >> 32 != number || (uint32_t)now == 0) return false;
  } while (!atomic_compare_exchange_weak_explicit(&ticket, &now, now - 1, memory_order_acq_rel,
                                                  memory_order_acquire));
  *part = job.parts - (uint32_t)now;
  return true;
}

static void run_parts(uint32_t number) {
  size_t part;
  while (take_part(number, &part)) {
    if (job.part) {
      size_t begin = job.count * part / job.parts, end = job.count * (part + 1) / job.parts;
      job.part(job.context, begin, end);
    } else {
      job.each(job.context, part);
    }
    if (atomic_fetch_sub_explicit(&unfinished, 1, memory_order_seq_cst) == 1 &&
        atomic_load_explicit(&caller_asleep, memory_order_seq_cst)) {
      pthread_mutex_lock(&mutex);
      pthread_cond_signal(&done);
      pthread_mutex_unlock(&mutex);
    }
  }
}

static void *work(void *argument) {
  uint32_t seen = (uint32_t)(uintptr_t)argument;
  inside_job = true;
  flush_denormals();
  for (;;) {
    WAIT_AWAKE(job_number() != seen, WAIT_FOR_JOB)
    if (job_number() == seen) {
      atomic_fetch_add_explicit(&asleep, 1, memory_order_seq_cst);
      pthread_mutex_lock(&mutex);
      while ((uint32_t)(atomic_load_explicit(&ticket, memory_order_seq_cst) >> 32) == seen)
        pthread_cond_wait(&wake, &mutex);
      pthread_mutex_unlock(&mutex);
      atomic_fetch_sub_explicit(&asleep, 1, memory_order_relaxed);
    }
    seen = job_number();
    if (stopping) return NULL;
    run_parts(seen);
  }
}

static uint32_t publish(size_t parts) {
  uint32_t number = job_number() + 1;
  atomic_store_explicit(&ticket, (uint64_t)number << 32 | parts, memory_order_seq_cst);
  if (atomic_load_explicit(&asleep, memory_order_seq_cst) > 0) {
    pthread_mutex_lock(&mutex);
    pthread_cond_broadcast(&wake);
    pthread_mutex_unlock(&mutex);
  }
  return number;
}

static int processors(void) { return (int)sysconf(_SC_NPROCESSORS_ONLN); }

// Called with the turn held.
static void resize_pool(int threads) {
  int current = atomic_load(&thread_count);
  if (threads == current) return;
  stopping = true;
  publish(0);
  for (int i = 1; i < current; i++) pthread_join(workers[i], NULL);
  stopping = false;
  crowded = threads > processors();
  int started = 1;
  void *seen = (void *)(uintptr_t)job_number();
  while (started < threads && pthread_create(&workers[started], NULL, work, seen) == 0) started++;
  atomic_store(&thread_count, started);
}

const char *atk_blas_load(void);

int atk_start(int threads) {
  const char *error = atk_blas_load();
  if (!inside_job) {
    if (threads < 1) threads = processors();
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
  if (inside_job || wanted.count == 1 || atk_threads() == 1 || wanted.count > UINT32_MAX) {
    run_alone(wanted);
    return;
  }
  pthread_mutex_lock(&turn);
  if (!wanted.parts) wanted.parts = PARTS_A_THREAD * (size_t)atk_threads();
  wanted.parts = wanted.each ? wanted.count : atk_min(wanted.count, wanted.parts);
  job = wanted;
  atomic_store_explicit(&unfinished, wanted.parts, memory_order_relaxed);
  uint32_t number = publish(wanted.parts);
  inside_job = true;
  float_mode before = flush_denormals();
  run_parts(number);
  restore_mode(before);
  inside_job = false;
  WAIT_AWAKE(atomic_load_explicit(&unfinished, memory_order_acquire) == 0, WAIT_FOR_PARTS)
  if (atomic_load_explicit(&unfinished, memory_order_acquire) > 0) {
    atomic_store_explicit(&caller_asleep, true, memory_order_seq_cst);
    pthread_mutex_lock(&mutex);
    while (atomic_load_explicit(&unfinished, memory_order_seq_cst) > 0)
      pthread_cond_wait(&done, &mutex);
    pthread_mutex_unlock(&mutex);
    atomic_store_explicit(&caller_asleep, false, memory_order_relaxed);
  }
  pthread_mutex_unlock(&turn);
}

void atk_parallel_for(size_t count, void (*body)(void *context, size_t begin, size_t end),
                      void *context) {
  run_job((pool_job){.part = body, .context = context, .count = count});
}

void atk_parallel_stretches(size_t count, void (*body)(void *context, size_t begin, size_t end),
                            void *context) {
  run_job((pool_job){.part = body, .context = context, .count = count,
                     .parts = 2 * (size_t)atk_threads()});
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

size_t atk_scratch_held(void) {
  size_t bytes = 0;
  for (int slot = 0; scratch && slot < ATK_SCRATCH_SLOTS; slot++) bytes += scratch->bytes[slot];
  return bytes;
}

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
