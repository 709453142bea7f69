/* elementwise_f64.c -- activations and cell updates outside the kernels, for double. */
#include <math.h>
#include <string.h>

#include "plan.h"

typedef double real;
#define M(name) name
#include "elementwise_tpl.h"
#include "lstm_tpl.h"

void flstm_elementwise_f64(flstm_activation activation, size_t rows, size_t n, const void *in, void *out)
{
    apply(activation, rows, n, in, out);
}

void flstm_combine_f64(flstm_operation operation, size_t n, const void *a, const void *b, void *out)
{
    combine(operation, n, a, b, out);
}

void flstm_curve_f64(const flstm_function *function, size_t n, const void *in, void *out)
{
    curve(function, n, in, out);
}

void flstm_lstm_row_f64(const flstm_plan *plan, void *z, void *c, void *m, void *trace)
{
    lstm_row(plan, z, c, m, trace);
}

void flstm_clip_f64(double most, size_t n, void *x)
{
    clip_row(most, n, x);
}
