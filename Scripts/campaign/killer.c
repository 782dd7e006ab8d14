// SPDX-License-Identifier: Apache-2.0
// Preloaded into attune by the campaign: ends the process at the n-th call that changes a file.
//   CAMPAIGN_KILL=n    SIGKILL at the n-th call: before it, after it, or in the middle of a write
//   CAMPAIGN_AFTER=p   calls are counted from the first rename to a path that fits the pattern p
//   CAMPAIGN_COUNT=f   appends the number of calls to the file f when the process ends
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;
static long last = -1;
static const char *mark;
static atomic_int counts;

__attribute__((constructor)) static void begin(void) {
  const char *text = getenv("CAMPAIGN_KILL");
  if (text) last = atol(text);
  mark = getenv("CAMPAIGN_AFTER");
  atomic_store(&counts, !mark);
  // Programs that attune starts are left alone.
  unsetenv("LD_PRELOAD");
  unsetenv("CAMPAIGN_KILL");
}

__attribute__((destructor)) static void end(void) {
  const char *path = getenv("CAMPAIGN_COUNT");
  FILE *file = path ? fopen(path, "a") : NULL;
  if (!file) return;
  fprintf(file, "%ld\n", atomic_load(&calls));
  fclose(file);
}

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

static int is_file(int descriptor) {
  struct stat status;
  return fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
}

// Whether this call is the one: 1 before it, 2 after it, 0 for all others.
static int turn(void) {
  if (!atomic_load(&counts)) return 0;
  long now = atomic_fetch_add(&calls, 1) + 1;
  return now == last ? (now & 1 ? 1 : 2) : 0;
}

#define AROUND(type, name, parameters, arguments, condition)      \
  type name parameters {                                          \
    static type(*real) parameters;                                \
    if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, #name); \
    int when = (condition) ? turn() : 0;                          \
    if (when == 1) die();                                         \
    type result = real arguments;                                 \
    if (when == 2) die();                                         \
    return result;                                                \
  }

ssize_t write(int descriptor, const void *bytes, size_t count) {
  static ssize_t (*real)(int, const void *, size_t);
  if (!real) real = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
  int when = is_file(descriptor) ? turn() : 0;
  if (when) {
    real(descriptor, bytes, when == 1 ? count / 2 : count);
    die();
  }
  return real(descriptor, bytes, count);
}

AROUND(int, unlink, (const char *path), (path), 1)
AROUND(int, unlinkat, (int folder, const char *path, int flags), (folder, path, flags), 1)
AROUND(int, rmdir, (const char *path), (path), 1)
AROUND(int, mkdir, (const char *path, mode_t mode), (path, mode), 1)
AROUND(int, fsync, (int descriptor), (descriptor), 1)
AROUND(int, ftruncate, (int descriptor, off_t length), (descriptor, length), is_file(descriptor))

int rename(const char *from, const char *to) {
  static int (*real)(const char *, const char *);
  if (!real) real = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
  int when = turn();
  if (when == 1) die();
  int result = real(from, to);
  if (when == 2) die();
  if (mark && result == 0 && fnmatch(mark, to, 0) == 0) atomic_store(&counts, 1);
  return result;
}

int open(const char *path, int flags, ...) {
  static int (*real)(const char *, int, ...);
  if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
  va_list list;
  va_start(list, flags);
  mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
  va_end(list);
  int when = flags & O_CREAT ? turn() : 0;
  if (when == 1) die();
  int result = real(path, flags, mode);
  if (when == 2) die();
  return result;
}
