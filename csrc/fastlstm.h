/* fastlstm.h -- the public C API: forward passes of LSTM, GRU and simple RNN layers over packed weights.
 *
 * B batch, T steps, I features, U units, G gates of a cell. Weights are Keras's: gates along the last axis.
 * Arrays hold the plan's element type; strides are counted in elements. Nothing here allocates
 * except flstm_plan_create and flstm_plan_widen, and nothing keeps a pointer to the caller's arrays after it returns.
 */
#ifndef FASTLSTM_H
#define FASTLSTM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum flstm_status {
    FLSTM_OK = 0,
    FLSTM_ERR_ARGUMENT,    /* a size, pointer or option that makes no sense */
    FLSTM_ERR_SIZE,        /* a product of sizes does not fit in memory's address range */
    FLSTM_ERR_MEMORY,      /* the allocation of a plan failed */
    FLSTM_ERR_ISA,         /* unknown kernel name, or this processor cannot run it */
    FLSTM_ERR_INTERRUPTED, /* the poll function asked to stop */
    FLSTM_ERR_RANGE        /* a weight that its precision cannot hold: not finite, or beyond float16's 65504 */
} flstm_status;

typedef enum flstm_dtype { FLSTM_F32 = 0, FLSTM_F64 = 1 } flstm_dtype;

/* How a plan keeps its two weight matrices; states, biases, sums and activations stay the dtype's, which is F32
 * wherever this is not FLSTM_FULL. */
typedef enum flstm_precision {
    FLSTM_FULL = 0,
    FLSTM_BFLOAT16, /* rounded; x and h too, where the processor multiplies bfloat16 and `reproducible` is 0 */
    FLSTM_FLOAT16,  /* rounded */
    FLSTM_INT8,     /* a byte and a scale for each column; each row of x and of h is rounded to 1/127 of its largest */
    FLSTM_PRECISION_COUNT
} flstm_precision;

/* What a step computes, with act and rec the two activations, and its gates along the last axis. */
typedef enum flstm_cell {
    FLSTM_CELL_LSTM = 0,   /* i, f, c, o: two states, h and c; the others have h alone */
    FLSTM_CELL_GRU,        /* z, r, h, Keras's reset_after=True: act(x W + b + r (h R + b')) is the candidate */
    FLSTM_CELL_GRU_BEFORE, /* z, r, h, Keras's reset_after=False: act(x W + b + (r h) R) is */
    FLSTM_CELL_SIMPLE,     /* act(x W + b + h R); rec is not used */
    FLSTM_CELL_COUNT
} flstm_cell;

typedef enum flstm_activation {
#define FLSTM_ACTIVATION(name) FLSTM_ACT_##name,
#include "activations.inc"
#undef FLSTM_ACTIVATION
    FLSTM_ACT_COUNT,
    /* with parameters: only a flstm_variant may have them */
#define FLSTM_CURVE(name, alpha, beta) FLSTM_CURVE_##name,
    FLSTM_CURVES = FLSTM_ACT_COUNT - 1, /* the next one is FLSTM_ACT_COUNT */
#include "curves.inc"
#undef FLSTM_CURVE
    FLSTM_CURVE_END
} flstm_activation;

/* ---- kernels ------------------------------------------------------------------------------- */

/* The kernels compiled in, best first. flstm_kernel_name returns NULL past the last one. */
const char *flstm_kernel_name(size_t index);
/* 1 if this processor and operating system run kernel `index`. */
int flstm_kernel_runs(size_t index);
/* 1 if the kernel rounds each multiply-add once; all such kernels give the same bits. */
int flstm_kernel_fused(size_t index);

/* ---- plan: packed weights and the chosen kernel; immutable, shared freely between threads ----- */

typedef struct flstm_plan flstm_plan;

/* A function of one number; alpha and beta count where it is one of curves.inc. */
typedef struct flstm_function {
    flstm_activation activation;
    double alpha, beta;
} flstm_function;

/* Of two gates one may be what the other leaves of 1; the weights then have three gates. */
typedef enum flstm_coupling {
    FLSTM_UNCOUPLED = 0,
    FLSTM_INPUT_COUPLED, /* i = 1 - f: gates f, c, o */
    FLSTM_FORGET_COUPLED /* f = 1 - i: gates i, c, o */
} flstm_coupling;

/* What an LSTM may compute beside Keras's, each part by itself:
 *     z = x W + h R + p c [+ b]         p only for i and f, and for o with c' in the place of c
 *     z = norm z / sqrt(var z) + b      about its mean over the units, if there is a norm
 *     i, f, o = gate(z), g = candidate(z), of z within +-input_clip
 *     c' = f c + i g within +-cell_clip, then normalised with state_norm
 *     h' = o output(c'), times projection + projection_bias, within +-projection_clip
 * Arrays are copied. TensorFlow 1's rnn_cell_impl.py, TFLite's lstm_eval and ONNX's LSTM have parts of it. */
typedef struct flstm_variant {
    flstm_function gate, candidate, output; /* the config's two activations are not read */
    flstm_coupling coupling;
    size_t outputs;              /* P, the width of h: any number with a projection, else U */
    const void *projection;      /* [U,P] or NULL; recurrent_kernel is then [P,GU], and h, y, last are [..,P] */
    const void *projection_bias; /* [P] or NULL */
    const void *peepholes;       /* [3,U] of i, f, o, or NULL; that of a gate there is not is not read */
    const void *norm;            /* [GU] or NULL */
    const void *state_norm;      /* [2,U], factors and what is added, or NULL */
    double norm_epsilon;         /* added to a variance; above 0 with a norm */
    double input_clip, cell_clip, projection_clip; /* 0: none */
} flstm_variant;

typedef struct flstm_config {
    flstm_dtype dtype;
    size_t features, units; /* both at least 1 */
    flstm_activation activation, recurrent_activation;
    const char *isa;  /* a kernel's name, or NULL for the best that runs here */
    int reproducible; /* 1: only a kernel whose multiply-adds round once */
    flstm_cell cell;
    flstm_precision precision; /* FLSTM_INT8: of at most 65536 features and units */
    const flstm_variant *variant; /* of FLSTM_CELL_LSTM, or NULL */
} flstm_config;

/* kernel [I,GU], recurrent_kernel [U,GU], bias [GU], of FLSTM_CELL_GRU [2,GU], or NULL: contiguous, copied.
 * *plan is owned by the caller and given back with flstm_plan_destroy; on error it is NULL. */
flstm_status flstm_plan_create(flstm_plan **plan, const flstm_config *config, const void *kernel,
                               const void *recurrent_kernel, const void *bias);
void flstm_plan_destroy(flstm_plan *plan); /* NULL is allowed */
/* Packs the weights once more for programs of so many rows that say `wide`, where this processor has tiles that
 * take them faster; else does nothing. Others may run the plan meanwhile, but not widen it. */
flstm_status flstm_plan_widen(flstm_plan *plan, size_t batch);
const char *flstm_plan_isa(const flstm_plan *plan);
size_t flstm_plan_bytes(const flstm_plan *plan); /* memory held by the packed weights */

/* ---- running whole sequences ------------------------------------------------------------------ */

typedef struct flstm_call {
    size_t batch, steps;
    const void *x;               /* [B,T,I]; each step's features contiguous */
    ptrdiff_t x_batch, x_step;
    const void *h0, *c0;         /* [B,U] contiguous; NULL means zeros. Only an LSTM may have c0 and c */
    void *h, *c;                 /* [B,U] state after the last step, or NULL; may be h0, c0 */
    void *y;                     /* [B,T,U] output of every step in processing order, or NULL */
    ptrdiff_t y_batch, y_step;   /* each step's units contiguous */
    void *last;                  /* [B,U] output of the last step, or NULL */
    const uint8_t *mask;         /* [B,T], 0 = hold the row at this step; NULL means all ones */
    ptrdiff_t mask_batch, mask_step;
    int go_backwards;            /* read the steps from the last to the first */
    int zero_output_for_mask;    /* held steps output zeros instead of the previous output */
    void *trace;                 /* [B,T,5,U]: i, f, g, o and c after every step that is not held, or NULL. An LSTM's */
    ptrdiff_t trace_batch, trace_step; /* each step's contiguous */
    int (*poll)(void *);         /* called every few milliseconds, or NULL; nonzero stops the run */
    void *poll_arg;
} flstm_call;

/* Bytes of workspace flstm_run needs; bounded, however long the batch and the sequence. A call with a trace may
 * need more: as a program of one layer it is asked about as it is. */
size_t flstm_workspace_size(const flstm_plan *plan, size_t batch, size_t steps);

/* Runs a call. workspace: flstm_workspace_size bytes, aligned to 64, contents irrelevant before and
 * after. Outputs may not overlap inputs, other than h, c with h0, c0. An interrupted call has
 * written part of y and last, but neither h nor c of the rows it had not finished. */
flstm_status flstm_run(const flstm_plan *plan, const flstm_call *call, void *workspace);

/* ---- several layers, several threads ------------------------------------------------------------ */

typedef struct flstm_program {
    size_t layers;                  /* at least 1 */
    const flstm_plan *const *plans; /* [layers]; all of one dtype */
    const flstm_call *calls;        /* [layers], of one batch and one number of steps; the first one's poll counts */
    int stacked;                    /* 1: each layer above the first reads what the one below puts out, and its
                                     * call's x is not read; 0: the layers have nothing to do with each other */
    size_t threads;                 /* as many as may be used, the caller's among them; 0 is 1 */
    int wide;                       /* 1: all plans have been widened for this batch; the order of sums may then
                                     * differ from that of other batches and of streams */
} flstm_program;

/* Bytes of workspace flstm_program_run needs; bounded, however long the batch and the sequence. */
size_t flstm_program_workspace_size(const flstm_program *program);

/* As flstm_run for each layer, together: in turns on one thread, or spread over several by rows, by
 * layers or by units, where the work is worth it. No bit of the result depends on that. */
flstm_status flstm_program_run(const flstm_program *program, void *workspace);

/* Ends the threads that calls have used and that wait for the next one, which would begin new ones. Waits
 * for a call that is using them; not to be called from a poll function. */
void flstm_threads_end(void);

/* ---- streaming: the state stays in the caller's memory between calls --------------------------- */

/* Bytes of a stream of `batch` rows: its state and the workspace it needs. Aligned to 64. */
size_t flstm_stream_size(const flstm_plan *plan, size_t batch);
/* Sets the state from h0, c0 [B,U] (NULL: zeros); must come before the first flstm_stream_run. Where the cell
 * has no c, neither this nor the next function touches what c points to. */
void flstm_stream_set(const flstm_plan *plan, void *stream, size_t batch, const void *h0, const void *c0);
/* Copies the state to h, c [B,U]; either may be NULL. */
void flstm_stream_get(const flstm_plan *plan, const void *stream, size_t batch, void *h, void *c);
/* Advances all rows by `steps`: x [B,T,I] -> y [B,T,U] or NULL, on up to `threads` threads. With 0 or 1:
 * no allocation, lock or system call, and time in proportion to batch * steps. */
flstm_status flstm_stream_run(const flstm_plan *plan, void *stream, size_t batch, size_t steps,
                              const void *x, ptrdiff_t x_batch, ptrdiff_t x_step,
                              void *y, ptrdiff_t y_batch, ptrdiff_t y_step, size_t threads);

/* ---- dense layers -------------------------------------------------------------------------------- */

/* y = activation(x W + b), packed once; immutable, shared freely between threads. A row's result does
 * not depend on the rows beside it. */
typedef struct flstm_dense flstm_dense;

/* config->units outputs; recurrent_activation and cell are not used, precision is FLSTM_FULL, variant NULL. kernel
 * [I,N], bias [N] or NULL: contiguous, copied. As flstm_plan_create. */
flstm_status flstm_dense_create(flstm_dense **dense, const flstm_config *config, const void *kernel,
                                const void *bias);
void flstm_dense_destroy(flstm_dense *dense); /* NULL is allowed */
size_t flstm_dense_workspace_size(const flstm_dense *dense, size_t rows);
/* x: rows x_row elements apart, each contiguous; y [rows,N] contiguous. workspace aligned to 64. */
flstm_status flstm_dense_run(const flstm_dense *dense, size_t rows, const void *x, ptrdiff_t x_row, void *y,
                             void *workspace);

/* ---- activations by themselves ------------------------------------------------------------------ */

const char *flstm_activation_name(flstm_activation activation);
/* A function's name and default parameters, for numbers from FLSTM_ACT_COUNT to FLSTM_CURVE_END; else NULL. */
const char *flstm_curve(flstm_activation activation, double *alpha, double *beta);
/* Applies an activation to `rows` rows of n contiguous elements (softmax and its kin act over a
 * row, the rest on each element); out may be in. kernel: index of a kernel that runs here; it
 * matters to sigmoid and tanh, which are ours and within 2 ulp, and to nothing else. */
flstm_status flstm_activate(flstm_dtype dtype, flstm_activation activation, size_t kernel, size_t rows,
                            size_t n, const void *in, void *out);

#ifdef __cplusplus
}
#endif
#endif
