/* pack.h -- weight matrices in the order and form that a kernel reads; plan.c's. */
#ifndef FLSTM_PACK_H
#define FLSTM_PACK_H

#include "kernel.h"

/* Bytes of a number. */
size_t flstm_form_size(flstm_form form);

/* The parts of a packed matrix of so many rows in memory from `base` on; returns their bytes, whole cache
 * lines. With base NULL, only that. Needs weights' gates, vectors and padded. */
size_t flstm_place_matrix(flstm_matrix *matrix, const flstm_kernel *kernel, const flstm_weights *weights, size_t rows,
                          char *base);

/* source [rows, columns], float32 or float64 as the kernel's form: column g * units + u is gate g of unit u, and
 * the first gate of `weights` is number `gate`. The matrix is placed and zero. Returns whether the form can
 * hold all numbers. */
int flstm_pack_matrix(const flstm_matrix *matrix, const flstm_kernel *kernel, const flstm_weights *weights,
                      size_t gate, size_t rows, size_t columns, const void *source);

#endif
