/* lstm_tpl.h -- an LSTM's step of one row from its sums, with every variant, in plain C for one element type;
 * included by elementwise_f32.c and elementwise_f64.c with `real`. */

static void curve(const flstm_function *f, size_t n, const real *in, real *out)
{
    const real alpha = (real)f->alpha, beta = (real)f->beta, half = (real)0.5;
    switch ((int)f->activation) {
    case FLSTM_CURVE_affine: EACH(alpha * x + beta);
    case FLSTM_CURVE_leaky_relu: EACH(x < 0 ? alpha * x : x);
    case FLSTM_CURVE_thresholded_relu: EACH(x > alpha || x != x ? x : 0);
    case FLSTM_CURVE_scaled_tanh: EACH(alpha * M(tanh)(beta * x));
    case FLSTM_CURVE_hard_sigmoid: EACH(clip(alpha * x + beta, 0, 1));
    case FLSTM_CURVE_elu: EACH(x < 0 ? alpha * M(expm1)(x) : x);
    case FLSTM_CURVE_celu: EACH(x < 0 ? alpha * M(expm1)(x / alpha) : x);
    case FLSTM_CURVE_soft_shrink: EACH(x > alpha ? x - alpha : x < -alpha ? x + alpha : x - x);
    case FLSTM_CURVE_hard_shrink: EACH(x > alpha || x < -alpha || x != x ? x : 0);
    case FLSTM_CURVE_squareplus: EACH(half * (x + M(sqrt)(x * x + alpha)));
    default: return;
    }
}

static void clip_row(double most, size_t n, real *x)
{
    for (size_t k = 0; most > 0 && k < n; k++)
        x[k] = clip(x[k], -(real)most, (real)most);
}

/* About the mean, to a variance of 1, times scale, plus offset. */
static void normalise(double epsilon, size_t n, const real *restrict scale, const real *restrict offset,
                      real *restrict x)
{
    double mean = 0, variance = 0;
    for (size_t k = 0; k < n; k++)
        mean += (double)x[k];
    mean /= (double)n;
    for (size_t k = 0; k < n; k++)
        variance += ((double)x[k] - mean) * ((double)x[k] - mean);
    const double inverse = 1 / sqrt(variance / (double)n + epsilon);
    for (size_t k = 0; k < n; k++)
        x[k] = (real)(((double)x[k] - mean) * inverse) * scale[k] + offset[k];
}

/* From the sum of packed gate number `gate` to what the function makes of it. peephole: its row, or -1. */
static void open_gate(const flstm_plan *plan, const flstm_function *function, size_t gate, int peephole,
                      const real *restrict c, real *restrict z)
{
    const flstm_update *u = &plan->update;
    const size_t n = plan->weights.units, padded = plan->weights.padded;
    if (u->peepholes && peephole >= 0) {
        const real *restrict p = (const real *)u->peepholes + (size_t)peephole * padded;
        for (size_t k = 0; k < n; k++)
            z[k] += p[k] * c[k];
    }
    if (u->norm)
        normalise(u->norm_epsilon, n, (const real *)u->norm + gate * padded, (const real *)u->offset + gate * padded, z);
    clip_row(u->input_clip, n, z);
    flstm_apply_function(plan->kernel, plan->dtype, function, n, z, z);
}

static void next_cell(size_t n, const real *restrict i, const real *restrict f, const real *restrict g,
                      real *restrict c)
{
    for (size_t k = 0; k < n; k++)
        c[k] = f[k] * c[k] + i[k] * g[k];
}

static void lstm_row(const flstm_plan *plan, real *z, real *c, real *m, real *trace)
{
    const flstm_update *u = &plan->update;
    const size_t n = plan->weights.units, padded = plan->weights.padded;
    const int coupled = u->coupling != FLSTM_UNCOUPLED;
    real *const last = z + 3 * padded;
    real *const first = z, *const second = coupled ? last : z + padded;
    real *const i = u->coupling == FLSTM_INPUT_COUPLED ? second : first;
    real *const f = u->coupling == FLSTM_INPUT_COUPLED ? first : second;
    real *const g = coupled ? z + padded : z + 2 * padded, *const o = coupled ? z + 2 * padded : last;
    for (size_t k = 0; coupled && k < n; k++) /* of three gates the last one's recurrent share is by itself */
        o[k] += last[k];
    open_gate(plan, &u->gate, 0, u->coupling == FLSTM_INPUT_COUPLED, c, first);
    if (!coupled)
        open_gate(plan, &u->gate, 1, 1, c, second);
    for (size_t k = 0; coupled && k < n; k++)
        second[k] = 1 - first[k];
    open_gate(plan, &u->candidate, coupled ? 1 : 2, -1, c, g);
    next_cell(n, i, f, g, c);
    clip_row(u->cell_clip, n, c);
    if (u->state_norm)
        normalise(u->norm_epsilon, n, u->state_norm, (const real *)u->state_norm + padded, c);
    open_gate(plan, &u->gate, coupled ? 2 : 3, 2, c, o);
    const real *const parts[] = {i, f, g, o, c};
    for (size_t part = 0; trace && part < 5; part++)
        memcpy(trace + part * n, parts[part], n * sizeof *trace);
    flstm_apply_function(plan->kernel, plan->dtype, &u->output, n, c, g);
    for (size_t k = 0; k < n; k++)
        m[k] = o[k] * g[k];
}
