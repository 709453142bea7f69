/* work.h -- a workspace and the steps that run in it; shared by work.c, steps.c, run.c and stream.c. */
#ifndef FLSTM_WORK_H
#define FLSTM_WORK_H

#include "plan.h"

/* A workspace's parts. All rows are `padded` elements, gates 4 * padded. */
typedef struct work {
    size_t rows;
    size_t chunk;     /* steps of gates */
    char *h, *h_next, *c;
    int swapped;      /* h and h_next have changed places: the step is an odd one */
    char *gates;      /* [chunk, rows, 4, padded]: the input's share of the sums */
    char *z;          /* [rows, 4, padded]: whole sums, where the cell is not the kernel's */
    uint32_t *active; /* rows that the mask lets run at this step */
    uint8_t *seen;    /* rows that ran at some step of this call */
} work;

/* What one row block has to do. */
typedef struct block {
    size_t steps;
    const char *x;
    ptrdiff_t x_row, x_step;
    char *y;
    ptrdiff_t y_row, y_step;
    const uint8_t *mask;
    ptrdiff_t mask_row, mask_step;
    const flstm_call *call; /* NULL in a stream: no mask, no poll */
    size_t *unpolled;       /* multiply-adds since the last poll, carried from block to block */
} block;

/* Rows that run through all steps together. */
size_t flstm_row_block(const flstm_plan *plan, size_t batch);

/* Cuts a workspace into its parts; returns its size. With base NULL, only that. */
size_t flstm_lay_out(const flstm_plan *plan, size_t rows, size_t steps, char *base, work *w);

/* h and h_next change places: a step is done. */
void flstm_swap_states(work *w);

/* State between contiguous rows of units and the workspace's padded ones; `from` NULL is zeros. */
void flstm_fill_rows(const flstm_plan *plan, size_t rows, const char *from, char *to);
void flstm_read_rows(const flstm_plan *plan, size_t rows, const char *from, char *to);

/* z[r] = bias + x[r] W for all rows, gates side by side; strides in elements. */
void flstm_products(const flstm_plan *plan, size_t rows, const char *x, ptrdiff_t x_row, char *z, ptrdiff_t z_row);

/* Runs all steps of a block from w's state on. The floating-point environment is a run's; `caller` is
 * the one to poll in. */
flstm_status flstm_advance(const flstm_plan *plan, work *w, const block *b, uint32_t caller);

#endif
