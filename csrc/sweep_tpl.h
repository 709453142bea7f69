/* sweep_tpl.h -- what the steps of a sweep do around their products, and the step of a row, once for all kernels:
 * included by kernel_*.c after cells_tpl.h. */

/* Everything of a sweep at one step, typed. */
typedef struct step {
    const real *init, *x;
    real *h, *h_next, *c, *reset, *y, *z;
} step;

static step first_step(const flstm_sweep *s)
{
    return (step){s->init, s->x, s->h, s->h_next, s->c, s->reset, s->y, s->z};
}

static size_t row_of(const flstm_sweep *s, size_t position)
{
    return s->row ? s->row[position] : position;
}

static ALWAYS_INLINE const real *x_row(const flstm_sweep *s, const step *at, size_t position)
{
    return at->x + (ptrdiff_t)row_of(s, position) * s->x_row + s->x_first;
}

/* What the recurrent weights multiply. */
static ALWAYS_INLINE const real *h_row(const flstm_sweep *s, const step *at, size_t position)
{
    const flstm_weights *w = s->weights;
    const real *const operand = w->gates == 1 && w->end == FLSTM_END_CANDIDATE ? at->reset : at->h;
    return operand + row_of(s, position) * w->outputs_padded;
}

/* What becomes of the sums of a row and the vector of units from `unit` on. */
static ALWAYS_INLINE void end_vector(const int G, const flstm_sweep *s, const step *at, size_t row, size_t unit,
                                     const vf sum[])
{
    const flstm_weights *w = s->weights;
    const size_t i = row * w->padded + unit;
    const int sums = SUMS_OF(G);
    if (at->z) {
        real *z = at->z + (ptrdiff_t)row * s->z_row + unit;
        UNROLL for (int g = 0; g < sums; g++)
            if (g < G || at->h)
                v_store(z + (size_t)g * w->padded, sum[g]);
        return;
    }
    vf h;
    if (!end_step(G, w->end, sum, at->h + i, at->c + i, at->reset + i, &h))
        return;
    v_store(at->h_next + i, h);
    if (at->y) {
        real *y = at->y + (ptrdiff_t)row * s->y_row + unit;
        if (unit + V_LEN <= w->units)
            v_store(y, h);
        else
            v_store_n(y, h, w->units - unit);
    }
}

/* Waits for the others who share the units, and goes on to the next step. */
static void next_step(const flstm_sweep *s, step *at)
{
    if (s->meet.meeting)
        flstm_meet(s->meet.meeting, s->meet.first, s->meet.members, s->meet.member);
    at->init += s->init_step;
    if (at->x)
        at->x += s->x_step;
    if (at->y)
        at->y += s->y_step;
    real *const written = at->h_next;
    at->h_next = at->h;
    at->h = written;
}

static ALWAYS_INLINE vf within(vf most, vf a) /* NaN stays NaN */
{
    return v_min(most, v_max(v_sub(v_set1(0), most), a));
}

/* The sum of a gate as its function gets it. */
static ALWAYS_INLINE vf gate_sum(vf z, const real *peephole, vf c, vf most)
{
    return within(most, peephole ? v_fma(v_load(peephole), c, z) : z);
}

/* See flstm_row. */
static void lstm_row(const flstm_row *r)
{
    const vf most = v_set1((real)r->input_clip), most_c = v_set1((real)r->cell_clip);
    for (size_t k = 0; k < r->units; k += V_LEN) {
        const real *z = (const real *)r->z + k, *p = r->peepholes ? (const real *)r->peepholes + k : NULL;
        real *const c = (real *)r->c + k;
        const vf before = v_load(c);
        vf zo = v_load(z + 3 * r->padded), after;
        if (r->coupled) {
            zo = v_add(zo, v_load(z + 2 * r->padded));
            const real *const own = p && r->coupled == 1 ? p + r->padded : p;
            const vf one = value(sigmoid_fraction(gate_sum(v_load(z), own, before, most)));
            const vf other = v_sub(v_set1(1), one), g = value(tanh_fraction(within(most, v_load(z + r->padded))));
            after = r->coupled == 1 ? v_fma(one, before, v_mul(other, g)) : v_fma(other, before, v_mul(one, g));
        } else {
            const fraction i = sigmoid_fraction(gate_sum(v_load(z), p, before, most));
            const fraction f = sigmoid_fraction(gate_sum(v_load(z + r->padded), p ? p + r->padded : p, before, most));
            const fraction g = tanh_fraction(within(most, v_load(z + 2 * r->padded)));
            after = v_fma(value(f), before, v_div(v_mul(i.n, g.n), v_mul(i.d, g.d)));
        }
        after = within(most_c, after);
        const fraction o = sigmoid_fraction(gate_sum(zo, p ? p + 2 * r->padded : p, after, most));
        const fraction t = tanh_fraction(after);
        v_store(c, after);
        v_store((real *)r->m + k, v_div(v_mul(o.n, t.n), v_mul(o.d, t.d)));
    }
}
