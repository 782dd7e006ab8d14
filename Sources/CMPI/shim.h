// SPDX-License-Identifier: Apache-2.0
// What a collective needs of MPI, as functions: MPI's own names are macros that Swift does not see.
#ifndef ATTUNE_MPI_SHIM_H
#define ATTUNE_MPI_SHIM_H

#include <mpi.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

// Returns 0 if messages can be sent. All calls come from one thread at a time.
static inline int attune_mpi_start(int *rank, int *count) {
  int provided = 0, begun = 0;
  MPI_Initialized(&begun);
  if (!begun && MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS) return 1;
  if (MPI_Comm_rank(MPI_COMM_WORLD, rank) != MPI_SUCCESS) return 1;
  return MPI_Comm_size(MPI_COMM_WORLD, count) != MPI_SUCCESS;
}

static inline void attune_mpi_end(void) { MPI_Finalize(); }

static inline void attune_mpi_abort(int code) { MPI_Abort(MPI_COMM_WORLD, code); }

// Part i of `send` goes to rank i, whose part comes into `receive` i. A message holds at most 2^30 bytes,
// for MPI counts in int; a rank that waits leaves its core to others.
static inline int attune_mpi_exchange(const void *const *send, const size_t *send_bytes,
                                      void *const *receive, const size_t *receive_bytes, int count) {
  const size_t most = (size_t)1 << 30;
  size_t messages = 0, made = 0;
  for (int i = 0; i < count; i++)
    messages += (send_bytes[i] + most - 1) / most + (receive_bytes[i] + most - 1) / most;
  MPI_Request *requests = malloc((messages + 1) * sizeof *requests);
  if (!requests) return 1;
  int failed = 0;
  for (int i = 0; i < count; i++)
    for (size_t at = 0; at < receive_bytes[i]; at += most) {
      size_t bytes = receive_bytes[i] - at < most ? receive_bytes[i] - at : most;
      failed |= MPI_Irecv((char *)receive[i] + at, (int)bytes, MPI_BYTE, i, (int)(at / most),
                          MPI_COMM_WORLD, requests + made++) != MPI_SUCCESS;
    }
  for (int i = 0; i < count; i++)
    for (size_t at = 0; at < send_bytes[i]; at += most) {
      size_t bytes = send_bytes[i] - at < most ? send_bytes[i] - at : most;
      failed |= MPI_Isend((const char *)send[i] + at, (int)bytes, MPI_BYTE, i, (int)(at / most),
                          MPI_COMM_WORLD, requests + made++) != MPI_SUCCESS;
    }
  const struct timespec pause = {0, 50000};
  for (int done = 0, tries = 0; !done && !failed; tries++) {
    failed |= MPI_Testall((int)made, requests, &done, MPI_STATUSES_IGNORE) != MPI_SUCCESS;
    if (!done && tries > 2000) nanosleep(&pause, NULL);
    else if (!done && tries > 100) sched_yield();
  }
  free(requests);
  return failed;
}

#endif
