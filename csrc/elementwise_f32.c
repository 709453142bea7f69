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

void flstm_cell_state_f32(size_t n, const void *f, const void *i, const void *g, void *c)
{
    cell_state(n, f, i, g, c);
}

void flstm_product_f32(size_t n, const void *o, const void *t, void *h)
{
    product(n, o, t, h);
}
