/* elementwise_f64.c -- activations and cell updates outside the kernels, for double. */
#include <math.h>

#include "plan.h"

typedef double real;
#define M(name) name
#include "elementwise_tpl.h"

void flstm_elementwise_f64(flstm_activation activation, size_t rows, size_t n, const void *in, void *out)
{
    apply(activation, rows, n, in, out);
}

void flstm_combine_f64(flstm_operation operation, size_t n, const void *a, const void *b, void *out)
{
    combine(operation, n, a, b, out);
}
