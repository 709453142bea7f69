/* kernel.h -- the contract between the schedules (steps.c) and the kernels (kernel_*.c). */
#ifndef FLSTM_KERNEL_H
#define FLSTM_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "pool.h"

/* What becomes of a unit's sums. The number of gates in the weights tells most of it; those of one gate
 * differ. */
typedef enum flstm_end {
    FLSTM_END_LSTM,      /* i, f, c, o; where outputs are summed alone, this too */
    FLSTM_END_GRU,       /* z, r, candidate, whose recurrent share is a fourth sum: r multiplies it. Of any three
                          * gates that a kernel only sums, too */
    FLSTM_END_RESET,     /* z, r of a GRU whose candidate reads r h: both go to memory */
    FLSTM_END_CANDIDATE, /* that candidate, after them */
    FLSTM_END_TANH,
    FLSTM_END_RELU
} flstm_end;

/* How the weights are stored. */
typedef enum flstm_form {
    FLSTM_FORM_F32,
    FLSTM_FORM_F64,
    FLSTM_FORM_BF16,
    FLSTM_FORM_F16,
    FLSTM_FORM_I8,     /* a byte, 128 more than the weight over its column's scale */
    FLSTM_FORM_SPLIT,  /* float32 as the sum of three bfloat16: a matrix of each, one behind the other */
    FLSTM_FORM_COUNT
} flstm_form;

/* A packed matrix: [vectors, rows / group, gates, lanes, group] numbers. Units are grouped in vectors of
 * `lanes`; the last one is padded, and a padded unit's output is 0. The weights of a vector lie together:
 * for each `group` of rows its gates side by side, so that when the sums are done a unit's gates sit in the
 * same lane of as many registers, and a sweep reads each vector's weights as one stream. */
typedef struct flstm_matrix {
    const void *data;
    const float *scale; /* [gates, padded] of FLSTM_FORM_I8 */
    size_t stream;      /* bytes of a vector */
    size_t plane;       /* bytes of a whole matrix */
} flstm_matrix;

typedef struct flstm_weights {
    size_t features, units;
    size_t outputs;                /* elements of h: units, or what a projection makes of them */
    size_t vectors;
    size_t padded;                 /* elements from row to row: units rounded up to whole vectors, or one more */
    size_t outputs_padded;         /* and of h */
    size_t gates;                  /* 1 to 4; 0 where there are no weights */
    flstm_end end;
    flstm_matrix kernel;           /* features rows */
    flstm_matrix recurrent_kernel; /* outputs rows */
    const void *bias;              /* [gates, padded] */
    const void *recurrent_bias;   /* [padded], where the fourth of three gates' sums begins */
} flstm_weights;

/* Where a thread that computes some of the units waits, after each step, for those that compute the rest. */
typedef struct flstm_meet_at {
    flstm_meeting *meeting; /* NULL: it computes them all */
    size_t first, members, member;
} flstm_meet_at;

/* A sweep over the weights for a block of rows, step by step. For each row r the sums begin at
 * init, x[k] * kernel[k] is added for `x_count` features from x_first on, then, if h is given,
 * h[k] * recurrent_kernel[k] for all outputs. The order of summation depends on x_count and outputs alone,
 * never on the tile: so neither the batch nor the cut into steps can change a bit. Then either
 * z takes the sums (each `padded` long), or the cell is advanced: c in place, the output to h_next and,
 * `units` wide, to y. h and h_next change places after each step. A GRU that resets h before the product
 * is two sweeps side by side: one leaves z in c and r h in `reset`, which the other multiplies in the
 * place of h. Steps alternate in the direction they read the weights, so that each begins with what a
 * cache still holds of the one before. */
typedef struct flstm_sweep {
    const flstm_weights *weights;
    size_t vector, vectors;               /* the units to compute: so many vectors from this one on */
    size_t rows;
    int backwards;                        /* direction of the first step */
    flstm_meet_at meet;
    const uint32_t *row;                  /* which rows of every array; NULL: 0 .. rows-1 */
    const void *init;
    ptrdiff_t init_row, init_step;        /* strides in elements, here and below */
    const void *x;
    size_t x_first, x_count;              /* x_count 0: x is not read */
    ptrdiff_t x_row, x_step;
    void *h, *h_next, *c, *reset;         /* rows of `padded` elements, h of `outputs_padded`; aligned; h NULL: no state */
    void *y;                              /* or NULL */
    ptrdiff_t y_row, y_step;
    void *z;                              /* or NULL */
    ptrdiff_t z_row;
    void *operands;                       /* flstm_operands bytes, where the kernel reads x and h in another form */
} flstm_sweep;

/* An LSTM's step of one row whose sums are in memory: i, f, c, o, of two coupled gates the first alone, c, o and the
 * recurrent share of o. c is advanced, m takes h'. All are whole vectors; functions are sigmoid and tanh. */
typedef struct flstm_row {
    size_t units, padded;
    const void *z;         /* [4, padded] */
    const void *peepholes; /* [3, padded] of i, f, o, or NULL */
    int coupled;           /* 0; 1: i = 1 - f; 2: f = 1 - i */
    double input_clip, cell_clip; /* or infinity */
    void *c, *m;
} flstm_row;

enum {
    FLSTM_MOST_CHAINS = 4, /* layers that run side by side */
    FLSTM_MOST_SWEEPS = 2 * FLSTM_MOST_CHAINS
};

typedef struct flstm_kernel {
    flstm_form form;
    size_t lanes;          /* elements of a vector */
    size_t tile_rows;      /* rows that share one reading of the weights */
    size_t group;          /* rows of a matrix side by side, ... */
    size_t whole;          /* ... which are padded to a multiple of this */
    size_t operand;        /* bytes of an x or h in the form that meets the weights; 0: as they are */
    /* Runs `count` sweeps, at most FLSTM_MOST_SWEEPS, side by side: a step of each, then the next one, so
     * that the end of one step, a chain of operations that wait for each other, hides behind another. */
    void (*sweeps)(size_t count, const flstm_sweep *, size_t steps);
    void (*sigmoid)(size_t n, const void *in, void *out); /* out may be in */
    void (*tanh)(size_t n, const void *in, void *out);
    void (*lstm_row)(const flstm_row *);
    const struct flstm_kernel *dot; /* one with instructions for products of this form, or NULL */
    int dot_needs;                  /* and what the processor must have for it; it may sum in another order */
} flstm_kernel;

/* A matrix's rows with their padding. */
static inline size_t flstm_whole(const flstm_kernel *kernel, size_t rows)
{
    return (rows + kernel->whole - 1) / kernel->whole * kernel->whole;
}

/* Bytes of a row of so many operands; whole cache lines, of which the first bytes are the kernel's own. */
static inline size_t flstm_operand_row(const flstm_kernel *kernel, size_t count)
{
    enum { OWN = 16 };
    return kernel->operand && count ? (OWN + flstm_whole(kernel, count) * kernel->operand + 63) / 64 * 64 : 0;
}

/* Bytes that a sweep needs for its operands. */
static inline size_t flstm_operands(const flstm_kernel *kernel, size_t rows, size_t features, size_t outputs)
{
    const size_t whole = (rows + kernel->tile_rows - 1) / kernel->tile_rows * kernel->tile_rows;
    return whole * (flstm_operand_row(kernel, features) + flstm_operand_row(kernel, outputs));
}

#endif
