/* plan.h -- what a plan holds; shared by the files of csrc and nobody else. */
#ifndef FLSTM_PLAN_H
#define FLSTM_PLAN_H

#include "fastlstm.h"
#include "kernel.h"

/* Weights as a kernel reads them. */
typedef struct flstm_packed {
    const flstm_kernel *kernel;
    flstm_weights weights;
    flstm_weights candidate;
} flstm_packed;

/* What an LSTM's step does with its sums, outside the kernels. Arrays are of the plan's elements. */
typedef struct flstm_update {
    flstm_function gate, candidate, output;
    flstm_coupling coupling;
    const void *peepholes;           /* [3, padded] or NULL */
    const void *norm, *offset;       /* [gates, padded] or NULL */
    const void *state_norm;          /* [2, padded] or NULL */
    const flstm_plan *projection;    /* a dense layer's plan, or NULL */
    double norm_epsilon, input_clip, cell_clip, projection_clip; /* clips: 0 is none */
    int plain;                       /* sigmoid and tanh, nothing normalised: the kernels have a row's step */
    void *memory;                    /* of all these arrays */
} flstm_update;

struct flstm_plan {
    flstm_weights weights;   /* where a GRU resets h before the product, those of z and r */
    flstm_weights candidate; /* and of its candidate; else of no gates */
    flstm_cell cell;
    size_t gates, sums; /* a unit has, whatever sweeps they are spread over */
    const flstm_kernel *kernel;
    const char *isa;
    flstm_dtype dtype;
    size_t element;  /* bytes */
    size_t columns;  /* of the weight matrices: gates * units, or a dense layer's outputs */
    flstm_activation activation, recurrent_activation;
    int fused_cell;  /* of these activations: the kernel's own cell update applies */
    flstm_update update; /* of an LSTM */
    size_t bytes;
    const flstm_kernel *wide_kernel; /* for many rows, or NULL */
    flstm_packed *wide;              /* its weights, once flstm_plan_widen has packed them */
};

/* Whether so many rows are for the wide kernel. */
int flstm_is_for_wide(const flstm_plan *plan, size_t batch);

/* Where the next part of a memory block may begin: each begins a cache line. */
static inline size_t flstm_align64(size_t n)
{
    return (n + 63) / 64 * 64;
}

/* Zeroed memory for packed weights, to be given to free; granted: its bytes. NULL if there is none. */
void *flstm_allocate(size_t bytes, size_t *granted);

int flstm_config_valid(const flstm_config *config);

/* Packs weights of `columns` columns as the gates of `units` units; recurrent_kernel may be NULL. */
flstm_status flstm_pack_plan(flstm_plan **result, const flstm_config *config, size_t units, size_t columns,
                             const void *kernel, const void *recurrent_kernel, const void *bias);

/* Whether a variant makes sense for its config. */
int flstm_variant_valid(const flstm_config *config);
/* Gives a packed plan its config's variant; bias is what a norm adds. */
flstm_status flstm_pack_variant(flstm_plan *plan, const flstm_config *config, const void *bias);

/* The best kernel for the form that runs here, or the one named, and the one beside it for many rows, or NULL; NULL
 * if there is none. */
const flstm_kernel *flstm_choose_kernel(flstm_form form, const char *isa, int reproducible, const char **name,
                                        const flstm_kernel **wide);

/* Kernel `index` of the list, or NULL past its end. */
const flstm_kernel *flstm_listed_kernel(flstm_dtype dtype, size_t index);

/* The activations that are not the kernels', over rows of n elements. in may be out. */
void flstm_elementwise_f32(flstm_activation activation, size_t rows, size_t n, const void *in, void *out);
void flstm_elementwise_f64(flstm_activation activation, size_t rows, size_t n, const void *in, void *out);

/* Over n elements; out may be a or b. */
typedef enum flstm_operation {
    FLSTM_SUM,         /* out = a + b */
    FLSTM_PRODUCT,     /* out = a b */
    FLSTM_ADD_PRODUCT, /* out += a b */
    FLSTM_MIX          /* out = a out + (1 - a) b */
} flstm_operation;
/* An LSTM's step of one row: z its sums, each `padded` long, which it spoils; c is advanced, m takes what a
 * projection, or nothing, makes h. trace: i, f, g, o, c, or NULL. */
void flstm_lstm_row_f32(const flstm_plan *plan, void *z, void *c, void *m, void *trace);
void flstm_lstm_row_f64(const flstm_plan *plan, void *z, void *c, void *m, void *trace);

/* n elements to within +-most. */
void flstm_clip_f32(double most, size_t n, void *x);
void flstm_clip_f64(double most, size_t n, void *x);

static inline void flstm_clip(flstm_dtype dtype, double most, size_t n, void *x)
{
    (dtype == FLSTM_F32 ? flstm_clip_f32 : flstm_clip_f64)(most, n, x);
}

/* Functions with parameters. in may be out. */
void flstm_curve_f32(const flstm_function *function, size_t n, const void *in, void *out);
void flstm_curve_f64(const flstm_function *function, size_t n, const void *in, void *out);

void flstm_combine_f32(flstm_operation operation, size_t n, const void *a, const void *b, void *out);
void flstm_combine_f64(flstm_operation operation, size_t n, const void *a, const void *b, void *out);

static inline void flstm_combine(flstm_dtype dtype, flstm_operation operation, size_t n, const void *a, const void *b,
                                 void *out)
{
    (dtype == FLSTM_F32 ? flstm_combine_f32 : flstm_combine_f64)(operation, n, a, b, out);
}

/* Whether the cell has a second state. */
static inline int flstm_has_c(const flstm_plan *plan)
{
    return plan->cell == FLSTM_CELL_LSTM;
}

/* Applies any activation over rows of n elements, with `kernel` for sigmoid and tanh. in may be out. */
void flstm_apply(const flstm_kernel *kernel, flstm_dtype dtype, flstm_activation activation, size_t rows,
                 size_t n, const void *in, void *out);
void flstm_apply_function(const flstm_kernel *kernel, flstm_dtype dtype, const flstm_function *function, size_t n,
                          const void *in, void *out);

#endif
