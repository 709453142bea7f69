/* cells_tpl.h -- what becomes of a unit's sums, in registers, once for all instruction sets: included by
 * kernel_*.c after activations_tpl.h. */

#define MOST_SUMS 4
#define SUMS_OF(G) ((G) == 3 ? 4 : (G)) /* of so many gates: see flstm_end */

static ALWAYS_INLINE vf value(fraction f)
{
    return v_div(f.n, f.d);
}

/* c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c'), with three divisions instead of
 * five: a product of two fractions is one fraction. */
static ALWAYS_INLINE vf lstm(vf zi, vf zf, vf zg, vf zo, vf *c)
{
    const fraction i = sigmoid_fraction(zi), f = sigmoid_fraction(zf);
    const fraction g = tanh_fraction(zg), o = sigmoid_fraction(zo);
    *c = v_fma(v_div(f.n, f.d), *c, v_div(v_mul(i.n, g.n), v_mul(i.d, g.d)));
    const fraction t = tanh_fraction(*c);
    return v_div(v_mul(o.n, t.n), v_mul(o.d, t.d));
}

/* h' = z h + (1 - z) tanh(candidate) */
static ALWAYS_INLINE vf mix(vf z, vf h, vf candidate)
{
    return v_fma(z, h, v_mul(v_sub(v_set1(1), z), value(tanh_fraction(candidate))));
}

/* Ends a step for one vector of units of G gates; what it reads and writes is as in flstm_sweep. Returns
 * whether there is an h'. */
static ALWAYS_INLINE int end_step(const int G, flstm_end end, const vf sum[], const real *h, real *c, real *reset,
                                  vf *h_next)
{
    if (G == 4) {
        vf state = v_load(c);
        *h_next = lstm(sum[0], sum[1], sum[2], sum[3], &state);
        v_store(c, state);
    } else if (G == 3) {
        const vf r = value(sigmoid_fraction(sum[1]));
        *h_next = mix(value(sigmoid_fraction(sum[0])), v_load(h), v_fma(r, sum[3], sum[2]));
    } else if (G == 2) {
        v_store(c, value(sigmoid_fraction(sum[0])));
        v_store(reset, v_mul(value(sigmoid_fraction(sum[1])), v_load(h)));
        return 0;
    } else if (end == FLSTM_END_CANDIDATE) {
        *h_next = mix(v_load(c), v_load(h), sum[0]);
    } else {
        *h_next = end == FLSTM_END_RELU ? v_max(v_set1(0), sum[0]) : value(tanh_fraction(sum[0]));
    }
    return 1;
}
