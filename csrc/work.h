/* work.h -- a layer at work on a block of rows; shared by work.c, steps.c, run.c, stream.c and dense.c. */
#ifndef FLSTM_WORK_H
#define FLSTM_WORK_H

#include "plan.h"

/* A layer's run over a block of rows: what it reads and writes, its part of a workspace, how far it is.
 * Threads that share the units each have one of their own over the same memory. All rows of a workspace
 * are `padded` elements, those of h `outputs_padded`. */
typedef struct chain {
    const flstm_plan *plan;
    const flstm_kernel *kernel; /* the plan's, or those for many rows */
    const flstm_weights *weights, *candidate;
    const flstm_call *call; /* NULL in a stream: no mask */
    size_t rows;
    size_t vector, vectors; /* this thread's part of the units */
    flstm_meet_at meet;
    const char *x;
    ptrdiff_t x_row, x_step; /* in elements, as all strides */
    char *y;                 /* or NULL */
    ptrdiff_t y_row, y_step;
    const uint8_t *mask; /* or NULL */
    ptrdiff_t mask_row, mask_step;
    size_t chunk;     /* steps of gates; 0 where the step itself takes the input in */
    char *h, *h_next;
    char *c;          /* where the cell has none, z between the sweeps of a step */
    char *reset;      /* and r h */
    int swapped;      /* h and h_next have changed places: the step is an odd one */
    char *gates;      /* [chunk, rows, gates, padded]: the input's share of the sums */
    int fused;        /* the kernel ends the steps, not cells.c */
    char *z;          /* [rows, sums, padded]: whole sums, where it does not */
    char *m, *p;      /* what a projection reads, [rows, padded], and its sums */
    char *trace;      /* as in flstm_call, or NULL */
    ptrdiff_t trace_row, trace_step;
    char *operands;   /* x and h of a sweep in the form that the kernel multiplies, where that is not theirs */
    uint32_t *active; /* rows that the mask lets run at this step */
    uint8_t *seen;    /* rows that ran at some step of this call */
} chain;

/* Who asks the caller whether to go on, and who is told to stop. */
typedef struct watch {
    int (*poll)(void *);
    void *arg;
    uint32_t caller;  /* the floating-point environment to poll in */
    int asks;         /* this thread is the caller's own */
    int shared;       /* and there are others */
    atomic_int *stop; /* of all threads */
    size_t unpolled;  /* multiply-adds since the last poll */
} watch;

/* Chooses the plan's weights for a chain, the ones for many rows where `wide`. */
void flstm_choose_weights(chain *w, int wide);

/* Whether a program's layer is for the weights for many rows. */
int flstm_takes_wide(const flstm_program *p, size_t layer);

/* Rows that one reading of the weights serves. */
size_t flstm_tile_rows(const flstm_program *p, size_t layer);

/* Rows that run through all steps together. */
size_t flstm_row_block(const flstm_program *p, size_t layer);

/* Steps whose projected gates are kept at once; 0 where the step itself takes the input in. */
size_t flstm_chunk(const flstm_plan *plan, size_t rows, size_t steps);

/* Cuts a workspace into a chain's parts, with `members` threads' own ones, of which these are member's;
 * returns its size. With base NULL, only that. Needs plan, rows, chunk. */
size_t flstm_lay_out(chain *w, size_t members, size_t member, char *base);

/* Leaves a chain the member's part of the units, to be met after every step by those who have the rest. */
void flstm_take_part(chain *w, flstm_meeting *meeting, size_t first, size_t members, size_t member);

/* h and h_next change places: a step is done. */
void flstm_swap_states(chain *w);

/* The states h and c between contiguous rows and the workspace's padded ones; from h0, c0 NULL they are zeros, and
 * what is NULL of h, c is not read. */
void flstm_fill_states(const chain *w, const char *h0, const char *c0);
void flstm_read_states(const chain *w, char *h, char *c);

/* to[r] = bias + x[r] W, for a dense layer's plan, at row row[r] or r of rows to_row bytes long. z: four padded
 * gates a row. */
void flstm_dense_rows(const flstm_plan *plan, size_t rows, const char *x, ptrdiff_t x_row, char *to, size_t to_row,
                      const uint32_t *row, char *z);

/* z[r] = bias + x[r] W for all rows, a dense layer's four gates side by side; strides in elements. */
void flstm_products(const flstm_plan *plan, size_t rows, const char *x, ptrdiff_t x_row, char *z, ptrdiff_t z_row);

/* Multiply-adds of a chain's step, on this thread. */
size_t flstm_step_work(const chain *w);

/* Whether to stop; polls where that is due and this thread's to do. */
int flstm_stopped(watch *watch, size_t work);

/* Advances `count` chains by n[i] steps each, n[i] no more than their chunk where they have one; x, y and mask move on.
 * Several are run side by side where that hides their latencies. Returns whether to stop. The
 * floating-point environment is a run's. */
int flstm_advance(size_t count, chain *const w[], const size_t n[], watch *watch);

#endif
