/* activations.c -- any activation over arrays: the kernels' own sigmoid and tanh, plain C for the rest. */
#include "fpenv.h"
#include "plan.h"

const char *flstm_activation_name(flstm_activation activation)
{
    static const char *const names[] = {
#define FLSTM_ACTIVATION(name) #name,
#include "activations.inc"
#undef FLSTM_ACTIVATION
    };
    return (unsigned)activation < FLSTM_ACT_COUNT ? names[activation] : NULL;
}

const char *flstm_curve(flstm_activation activation, double *alpha, double *beta)
{
    static const struct {
        const char *name;
        double alpha, beta;
    } curves[] = {
#define FLSTM_CURVE(name, alpha, beta) {#name, alpha, beta},
#include "curves.inc"
#undef FLSTM_CURVE
    };
    const size_t number = (size_t)activation - FLSTM_ACT_COUNT;
    if ((int)activation < FLSTM_ACT_COUNT || activation >= FLSTM_CURVE_END)
        return NULL;
    *alpha = curves[number].alpha, *beta = curves[number].beta;
    return curves[number].name;
}

void flstm_apply(const flstm_kernel *kernel, flstm_dtype dtype, flstm_activation activation, size_t rows,
                 size_t n, const void *in, void *out)
{
    if (activation == FLSTM_ACT_sigmoid)
        kernel->sigmoid(rows * n, in, out);
    else if (activation == FLSTM_ACT_tanh)
        kernel->tanh(rows * n, in, out);
    else if (dtype == FLSTM_F32)
        flstm_elementwise_f32(activation, rows, n, in, out);
    else
        flstm_elementwise_f64(activation, rows, n, in, out);
}

void flstm_apply_function(const flstm_kernel *kernel, flstm_dtype dtype, const flstm_function *function, size_t n,
                          const void *in, void *out)
{
    if (function->activation < FLSTM_ACT_COUNT)
        flstm_apply(kernel, dtype, function->activation, 1, n, in, out);
    else if (dtype == FLSTM_F32)
        flstm_curve_f32(function, n, in, out);
    else
        flstm_curve_f64(function, n, in, out);
}

flstm_status flstm_activate(flstm_dtype dtype, flstm_activation activation, size_t kernel, size_t rows,
                            size_t n, const void *in, void *out)
{
    const flstm_kernel *k = flstm_listed_kernel(dtype, kernel);
    if ((unsigned)activation >= FLSTM_ACT_COUNT || !k)
        return FLSTM_ERR_ARGUMENT;
    const uint32_t caller = fpenv_enter(0); /* denormal results count here */
    flstm_apply(k, dtype, activation, rows, n, in, out);
    fpenv_leave(caller);
    return FLSTM_OK;
}
