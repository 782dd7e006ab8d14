// SPDX-License-Identifier: Apache-2.0
// Weights as they are kept, expanded row by row.
#include "stored_weights.h"

atk_matrix atk_dense_matrix(const void *weights, atk_weights format, size_t columns) {
  return (atk_matrix){weights, format, atk_weight_bytes(format, columns)};
}

atk_matrix atk_matrix_part(atk_matrix matrix, size_t row, size_t column) {
  matrix.rows += row * matrix.stride + atk_weight_bytes(matrix.format, column);
  return matrix;
}

// Whole sixteens of a row; returns how many weights those are.
ATK_INLINE size_t expand_row(float *out, const atk_weights format, const char *row, size_t count) {
  size_t whole = count / 16 * 16;
  atk_expand_weights(out, 16, format, row, whole);
  return whole;
}

ATK_MULTIVERSION static void expand(float *out, atk_matrix matrix, size_t rows, size_t columns) {
  for (size_t i = 0; i < rows; i++, out += columns, matrix.rows += matrix.stride) {
    size_t done = columns;
    switch (matrix.format) {
      case ATK_FLOAT32: memcpy(out, matrix.rows, columns * sizeof *out); break;
      case ATK_BFLOAT16: done = expand_row(out, ATK_BFLOAT16, matrix.rows, columns); break;
#define CODES(format) \
      case format: expand_row(out, format, matrix.rows, columns); break;
      CODES(ATK_NIBBLES) CODES(ATK_FINE_NIBBLES) CODES(ATK_FIVES) CODES(ATK_BYTES)
#undef CODES
    }
    for (; done < columns; done++) out[done] = atk_load_weight(matrix.format, matrix.rows, done);
  }
}

void atk_expand_part(float *out, atk_matrix matrix, size_t row, size_t rows, size_t column,
                     size_t columns) {
  expand(out, atk_matrix_part(matrix, row, column), rows, columns);
}

typedef struct {
  float *out;
  atk_matrix matrix;
  size_t columns;
} expand_job;

static void expand_rows(void *context, size_t begin, size_t end) {
  const expand_job *job = context;
  atk_expand_part(job->out + begin * job->columns, job->matrix, begin, end - begin, 0,
                  job->columns);
}

void atk_weights_to_float(float *out, const void *w, atk_weights format, size_t rows,
                          size_t columns) {
  expand_job job = {out, atk_dense_matrix(w, format, columns), columns};
  atk_parallel_rows(rows, columns, expand_rows, &job);
}
