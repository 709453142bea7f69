/* elementwise_tpl.h -- the activations that no kernel holds, in plain C for one element type;
 * included by elementwise_f32.c and elementwise_f64.c with `real` and M(name), the math function of that
 * type. Each is what Keras 3.15 computes at its default arguments (keras/src/activations/activations.py). */

static real softplus_of(real x)
{
    return (x > 0 ? x : 0) + M(log1p)(M(exp)(-M(fabs)(x)));
}

static real sigmoid_of(real x)
{
    const real e = M(exp)(-M(fabs)(x));
    return (x < 0 ? e : 1) / (1 + e);
}

static real clip(real x, real low, real high) /* NaN stays NaN */
{
    return x < low ? low : x > high ? high : x;
}

#define EACH(expression)                  \
    for (size_t i = 0; i < n; i++) {      \
        const real x = in[i];             \
        out[i] = (real)(expression);      \
    }                                     \
    return

static void elementwise(flstm_activation activation, size_t n, const real *in, real *out)
{
    const real half = (real)0.5;
    switch (activation) {
    case FLSTM_ACT_linear: EACH(x);
    case FLSTM_ACT_relu: EACH(x < 0 ? 0 : x);
    case FLSTM_ACT_leaky_relu: EACH(x < 0 ? (real)0.2f * x : x); /* TensorFlow keeps alpha as a float */
    case FLSTM_ACT_relu6: EACH(clip(x, 0, 6));
    case FLSTM_ACT_celu:
    case FLSTM_ACT_elu: EACH(x > 0 ? x : M(expm1)(x));
    case FLSTM_ACT_selu: EACH((real)1.0507009873554805 * (x > 0 ? x : (real)1.6732632423543772 * M(expm1)(x)));
    case FLSTM_ACT_softplus: EACH(softplus_of(x));
    case FLSTM_ACT_softsign: EACH(x / (1 + M(fabs)(x)));
    case FLSTM_ACT_squareplus: EACH(half * (x + M(sqrt)(x * x + 4)));
    case FLSTM_ACT_soft_shrink: EACH(x > half ? x - half : x < -half ? x + half : x - x);
    case FLSTM_ACT_sparse_plus: EACH(x <= -1 ? 0 : x < 1 ? (real)0.25 * (x + 1) * (x + 1) : x);
    case FLSTM_ACT_silu: EACH(x * sigmoid_of(x));
    case FLSTM_ACT_gelu: EACH(half * x * M(erfc)(-x * (real)0.70710678118654752f)); /* a float, too */
    case FLSTM_ACT_tanh_shrink: EACH(x - M(tanh)(x));
    case FLSTM_ACT_sparse_sigmoid: EACH(clip(half * (x + 1), 0, 1));
    case FLSTM_ACT_exponential: EACH(M(exp)(x));
    case FLSTM_ACT_hard_sigmoid: EACH(clip(x + 3, 0, 6) / 6);
    case FLSTM_ACT_hard_sigmoid_keras2: EACH(clip((real)0.2 * x + half, 0, 1));
    case FLSTM_ACT_hard_silu: EACH(x * (clip(x + 3, 0, 6) / 6));
    case FLSTM_ACT_hard_tanh: EACH(clip(x, -1, 1));
    case FLSTM_ACT_hard_shrink: EACH(x > half || x < -half || x != x ? x : 0);
    case FLSTM_ACT_mish: EACH(x * M(tanh)(softplus_of(x)));
    case FLSTM_ACT_log_sigmoid: EACH(-softplus_of(-x));
    default: return; /* sigmoid, tanh: the kernels'; the rest: over rows */
    }
}

static real largest(size_t n, const real *x)
{
    real most = x[0];
    for (size_t i = 1; i < n; i++)
        most = x[i] > most || x[i] != x[i] ? x[i] : most;
    return most;
}

static void softmax_row(size_t n, const real *in, real *out, int logarithm)
{
    const real most = largest(n, in);
    real sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += M(exp)(in[i] - most);
    const real log_sum = logarithm ? M(log)(sum) : 0;
    for (size_t i = 0; i < n; i++)
        out[i] = logarithm ? in[i] - most - log_sum : M(exp)(in[i] - most) / sum;
}

/* max(x - tau, 0), with Keras 3.15's tau on TensorFlow: over the support it adds up the running sums of
 * the sorted row, where Martins and Astudillo's definition takes the last one. A drop-in follows. */
static void sparsemax_row(size_t n, const real *in, real *out)
{
    real sum = 0, sums = 0, above = (real)INFINITY;
    size_t support = 0;
    for (int more = 1; more && support < n;) {
        real next = -(real)INFINITY; /* the largest value not yet counted, and how often it stands */
        size_t times = 0;
        for (size_t i = 0; i < n; i++)
            if (in[i] < above && in[i] >= next) {
                times = in[i] > next ? 1 : times + 1;
                next = in[i];
            }
        more = times > 0;
        for (; more && times; times--) {
            sum += next;
            more = next - (sum - 1) / (real)(support + 1) > 0;
            if (more)
                sums += sum, support++;
        }
        above = next;
    }
    const real tau = (sums - 1) / (real)support;
    for (size_t i = 0; i < n; i++)
        out[i] = in[i] - tau < 0 ? 0 : in[i] - tau;
}

static void apply(flstm_activation activation, size_t rows, size_t n, const void *in, void *out)
{
    const real *x = in;
    real *y = out;
    if (activation < FLSTM_ACT_softmax) {
        elementwise(activation, rows * n, x, y);
        return;
    }
    for (size_t r = 0; n && r < rows; r++, x += n, y += n) {
        if (activation == FLSTM_ACT_sparsemax)
            sparsemax_row(n, x, y);
        else
            softmax_row(n, x, y, activation == FLSTM_ACT_log_softmax);
    }
}

static void combine(flstm_operation operation, size_t n, const real *a, const real *b, real *out)
{
    for (size_t k = 0; k < n; k++)
        switch (operation) {
        case FLSTM_SUM: out[k] = a[k] + b[k]; break;
        case FLSTM_PRODUCT: out[k] = a[k] * b[k]; break;
        case FLSTM_ADD_PRODUCT: out[k] = out[k] + a[k] * b[k]; break;
        case FLSTM_MIX: out[k] = a[k] * out[k] + (1 - a[k]) * b[k]; break;
        }
}
