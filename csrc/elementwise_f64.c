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

void flstm_cell_state_f64(size_t n, const void *f, const void *i, const void *g, void *c)
{
    cell_state(n, f, i, g, c);
}

void flstm_product_f64(size_t n, const void *o, const void *t, void *h)
{
    product(n, o, t, h);
}
