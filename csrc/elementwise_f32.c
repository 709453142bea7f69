/* elementwise_f32.c -- activations and cell updates outside the kernels, for float. */
#include <math.h>

#include "plan.h"

typedef float real;
#define M(name) name##f
#include "elementwise_tpl.h"

void flstm_elementwise_f32(flstm_activation activation, size_t rows, size_t n, const void *in, void *out)
{
    apply(activation, rows, n, in, out);
}

void flstm_combine_f32(flstm_operation operation, size_t n, const void *a, const void *b, void *out)
{
    combine(operation, n, a, b, out);
}
