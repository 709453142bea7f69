/* kernel_tpl.h -- the fused LSTM sweep, once for all instruction sets: included by kernel_*.c after a
 * vector header and activations_tpl.h. See kernel.h for what a sweep is. */

#define GATES 4

/* A tile is R rows times V vectors of units, its GATES * R * V sums held in registers. */
#if V_REGS == 32
#define PANEL_VECTORS 4
#define TILE_ROWS 6
#else
#define PANEL_VECTORS 3
#define TILE_ROWS 3
#endif

#if defined(__GNUC__)
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")
#else
#define ALWAYS_INLINE inline
#define UNROLL
#endif

/* c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c'), with two divisions instead of
 * five: the gates stay fractions. The scale 1/4 on i keeps every product in range. */
static ALWAYS_INLINE void cell(vf zi, vf zf, vf zg, vf zo, vf *c, vf *h)
{
    const fraction i = sigmoid_fraction(zi, (real)0.25), f = sigmoid_fraction(zf, 1);
    const fraction g = tanh_fraction(zg), o = sigmoid_fraction(zo, 1);
    const vf n = v_mul(i.n, g.n), d = v_mul(i.d, g.d);
    const vf sum = v_fma(v_mul(*c, f.n), d, v_mul(n, f.d));
    *c = v_div(sum, v_mul(f.d, d));
    const fraction t = tanh_fraction(*c);
    *h = v_div(v_mul(o.n, t.n), v_mul(o.d, t.d));
}

/* sum[r][g][v] += a[r][k] * w[k][g][v] for k < count. Each sum is one chain in the order of k. */
static ALWAYS_INLINE void accumulate(const int R, const int V, vf sum[][GATES][PANEL_VECTORS], size_t count,
                                     const real *const a[], const real *w, const size_t panel)
{
    const size_t gate = panel * V_LEN;
    for (size_t k = 0; k < count; k++, w += GATES * gate) {
        vf row[GATES][PANEL_VECTORS];
        UNROLL for (int g = 0; g < GATES; g++)
            UNROLL for (int v = 0; v < V; v++)
                row[g][v] = v_load(w + (size_t)g * gate + (size_t)v * V_LEN);
        UNROLL for (int r = 0; r < R; r++) {
            const vf x = v_set1(a[r][k]);
            UNROLL for (int g = 0; g < GATES; g++)
                UNROLL for (int v = 0; v < V; v++)
                    sum[r][g][v] = v_fma(x, row[g][v], sum[r][g][v]);
        }
    }
}

/* Where a tile lies: V vectors from `vector` on, in a panel `panel` vectors wide. */
typedef struct place {
    size_t vector, panel;
    const real *kernel, *recurrent; /* the panel's weights, from the tile's first vector on */
} place;

/* Everything of a sweep at one step, typed. */
typedef struct step {
    const real *init, *x;
    real *h, *h_next, *c, *y, *z;
} step;

static ALWAYS_INLINE void tile(const int R, const int V, const flstm_weights *w, const flstm_sweep *s,
                               const step *at, const place *p, const size_t panel, size_t first_row)
{
    vf sum[TILE_ROWS][GATES][PANEL_VECTORS];
    const real *a[TILE_ROWS];
    size_t row[TILE_ROWS];
    const size_t unit = p->vector * V_LEN, padded = w->padded;

    UNROLL for (int r = 0; r < R; r++) {
        row[r] = s->row ? s->row[first_row + (size_t)r] : first_row + (size_t)r;
        const real *init = at->init + (ptrdiff_t)row[r] * s->init_row + unit;
        UNROLL for (int g = 0; g < GATES; g++)
            UNROLL for (int v = 0; v < V; v++)
                sum[r][g][v] = v_load(init + (size_t)g * padded + (size_t)v * V_LEN);
    }
    if (s->x_count) {
        UNROLL for (int r = 0; r < R; r++)
            a[r] = at->x + (ptrdiff_t)row[r] * s->x_row + s->x_first;
        accumulate(R, V, sum, s->x_count, a, p->kernel, panel);
    }
    if (at->h) {
        UNROLL for (int r = 0; r < R; r++)
            a[r] = at->h + row[r] * padded;
        accumulate(R, V, sum, w->units, a, p->recurrent, panel);
    }
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int v = 0; v < V; v++) {
            const size_t u = unit + (size_t)v * V_LEN;
            if (at->z) {
                real *z = at->z + (ptrdiff_t)row[r] * s->z_row + u;
                UNROLL for (int g = 0; g < GATES; g++)
                    v_store(z + (size_t)g * padded, sum[r][g][v]);
                continue;
            }
            const size_t i = row[r] * padded + u;
            vf c = v_load(at->c + i), h;
            cell(sum[r][0][v], sum[r][1][v], sum[r][2][v], sum[r][3][v], &c, &h);
            v_store(at->c + i, c);
            v_store(at->h_next + i, h);
            if (at->y) {
                real *y = at->y + (ptrdiff_t)row[r] * s->y_row + u;
                if (u + V_LEN <= w->units)
                    v_store(y, h);
                else
                    v_store_n(y, h, w->units - u);
            }
        }
}

/* `rows` rows (at most TILE_ROWS) of a whole panel, with the widest tiles that fit the registers. */
static void panel_rows(const flstm_weights *w, const flstm_sweep *s, const step *at, const place *panel,
                       size_t first_row, size_t rows)
{
    place p = *panel;
    size_t left = p.panel;
#define TILE(R, V)                                           \
    do {                                                     \
        tile(R, V, w, s, at, &p, p.panel, first_row);        \
        p.vector += V, p.kernel += V * V_LEN, p.recurrent += V * V_LEN, left -= V; \
    } while (0)
    switch (rows) {
    case 1:
        switch (left) { /* constants, so that the panel's width is one to the compiler */
        case 1: tile(1, 1, w, s, at, &p, 1, first_row); return;
        case 2: tile(1, 2, w, s, at, &p, 2, first_row); return;
        case 3: tile(1, 3, w, s, at, &p, 3, first_row); return;
#if PANEL_VECTORS == 4
        case 4: tile(1, 4, w, s, at, &p, 4, first_row); return;
#endif
        }
        return;
#if TILE_ROWS == 6
    case 2:
        while (left >= 2) TILE(2, 2);
        while (left) TILE(2, 1);
        return;
    case 3:
        while (left >= 2) TILE(3, 2);
        while (left) TILE(3, 1);
        return;
    case 4: while (left) TILE(4, 1); return;
    case 5: while (left) TILE(5, 1); return;
    case 6: while (left) TILE(6, 1); return;
#else
    case 2: while (left) TILE(2, 1); return;
    case 3: while (left) TILE(3, 1); return;
#endif
    }
#undef TILE
}

static void sweep(const flstm_weights *w, const flstm_sweep *s)
{
    step at = {s->init, s->x, s->h, s->h_next, s->c, s->y, s->z};
    const size_t tiles = (s->rows + TILE_ROWS - 1) / TILE_ROWS;

    for (size_t t = 0; t < s->steps; t++) {
        for (size_t n = 0; n < w->panels; n++) {
            /* every other step runs backwards: what a cache still holds of the last one comes first */
            const size_t i = t & 1 ? w->panels - 1 - n : n;
            const size_t start = flstm_panel_start(w, i), row = GATES * V_LEN * start;
            const place p = {
                start, flstm_panel_start(w, i + 1) - start,
                (const real *)w->kernel + row * w->features
                    + s->x_first * GATES * V_LEN * (flstm_panel_start(w, i + 1) - start),
                (const real *)w->recurrent_kernel + row * w->units};
            for (size_t k = 0, done = 0; k < tiles; k++) {
                const size_t rows = (s->rows - done + tiles - k - 1) / (tiles - k); /* even shares */
                panel_rows(w, s, &at, &p, done, rows);
                done += rows;
            }
        }
        at.init += s->init_step;
        if (at.x)
            at.x += s->x_step;
        if (at.y)
            at.y += s->y_step;
        real *const written = at.h_next;
        at.h_next = at.h;
        at.h = written;
    }
}

#define KERNEL {V_LEN, PANEL_VECTORS, TILE_ROWS, sweep, sigmoid, hyperbolic_tangent}
