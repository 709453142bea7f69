/* kernel_tpl.h -- the fused LSTM sweep, once for all instruction sets: included by kernel_*.c after a
 * vector header and activations_tpl.h. See kernel.h for what a sweep is. */

#define GATES 4
#define SUM_BLOCK 32  /* terms of a chain; divides steps.c's FEATURE_BLOCK */
#define SHORT_SUM 16  /* so few terms are not worth waiting for one after the other: */
#define SHORT_BLOCK 4 /* terms of their chains */

/* A tile is R rows times V vectors of units. Its GATES * R * V sums stay in registers, beside R
 * inputs and one vector of weights: what fits, and enough chains to hide a multiply-add's latency. */
#if V_REGS == 32
#define TILE_ROWS 6
static const unsigned char tile_vectors[TILE_ROWS + 1] = {0, 2, 2, 2, 1, 1, 1};
#else
#define TILE_ROWS 3
static const unsigned char tile_vectors[TILE_ROWS + 1] = {0, 3, 1, 1};
#endif
/* One row takes up to so many vectors at once where that is all of them; of more, the fewer above go
 * together, so that a sweep that turns round finds more of the last one in the cache. */
#define TILE_VECTORS 3

/* c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c'), with three divisions instead of
 * five: a product of two fractions is one fraction. */
static ALWAYS_INLINE void cell(vf zi, vf zf, vf zg, vf zo, vf *c, vf *h)
{
    const fraction i = sigmoid_fraction(zi), f = sigmoid_fraction(zf);
    const fraction g = tanh_fraction(zg), o = sigmoid_fraction(zo);
    *c = v_fma(v_div(f.n, f.d), *c, v_div(v_mul(i.n, g.n), v_mul(i.d, g.d)));
    const fraction t = tanh_fraction(*c);
    *h = v_div(v_mul(o.n, t.n), v_mul(o.d, t.d));
}

/* sum[r][g][v] += a[r][k] * w[v][k][g] for k < count, `vector` elements between the vectors' weights.
 * The products are summed in blocks, each a chain from zero in the order of k, and the blocks added
 * in turn: a long chain would lose several times the digits. */
static ALWAYS_INLINE void add_blocks(const size_t block, const int R, const int V, vf sum[][GATES][TILE_VECTORS],
                                     size_t count, const real *const a[], const real *w, size_t vector)
{
    for (size_t k = 0; k < count;) {
        const size_t end = count - k < block ? count : k + block;
        vf part[TILE_ROWS][GATES][TILE_VECTORS];
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int g = 0; g < GATES; g++)
                UNROLL for (int v = 0; v < V; v++)
                    part[r][g][v] = v_set1(0);
        for (; k < end; k++, w += GATES * V_LEN) {
            vf x[TILE_ROWS];
            UNROLL for (int r = 0; r < R; r++)
                x[r] = v_set1(a[r][k]);
            UNROLL for (int v = 0; v < V; v++)
                UNROLL for (int g = 0; g < GATES; g++) {
                    const vf weight = v_load(w + (size_t)v * vector + (size_t)g * V_LEN);
                    UNROLL for (int r = 0; r < R; r++)
                        part[r][g][v] = v_fma(x[r], weight, part[r][g][v]);
                }
        }
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int g = 0; g < GATES; g++)
                UNROLL for (int v = 0; v < V; v++)
                    sum[r][g][v] = v_add(sum[r][g][v], part[r][g][v]);
    }
}

static ALWAYS_INLINE void accumulate(const int R, const int V, vf sum[][GATES][TILE_VECTORS], size_t count,
                                     const real *const a[], const real *w, size_t vector)
{
    if (count <= SHORT_SUM)
        add_blocks(SHORT_BLOCK, R, V, sum, count, a, w, vector);
    else
        add_blocks(SUM_BLOCK, R, V, sum, count, a, w, vector);
}

/* Everything of a sweep at one step, typed. */
typedef struct step {
    const real *init, *x;
    real *h, *h_next, *c, *y, *z;
} step;

static ALWAYS_INLINE void tile(const int R, const int V, const flstm_weights *w, const flstm_sweep *s,
                               const step *at, size_t vector, size_t first_row)
{
    vf sum[TILE_ROWS][GATES][TILE_VECTORS];
    const real *a[TILE_ROWS];
    size_t row[TILE_ROWS];
    const size_t unit = vector * V_LEN, padded = w->padded;

    UNROLL for (int r = 0; r < R; r++) {
        row[r] = s->row ? s->row[first_row + (size_t)r] : first_row + (size_t)r;
        const real *init = at->init + (ptrdiff_t)row[r] * s->init_row + unit;
        UNROLL for (int g = 0; g < GATES; g++)
            UNROLL for (int v = 0; v < V; v++)
                sum[r][g][v] = v_load(init + (size_t)g * padded + (size_t)v * V_LEN);
    }
    if (s->x_count) {
        const size_t stream = w->features * GATES * V_LEN;
        UNROLL for (int r = 0; r < R; r++)
            a[r] = at->x + (ptrdiff_t)row[r] * s->x_row + s->x_first;
        accumulate(R, V, sum, s->x_count, a,
                   (const real *)w->kernel + vector * stream + s->x_first * GATES * V_LEN, stream);
    }
    if (at->h) {
        const size_t stream = w->units * GATES * V_LEN;
        UNROLL for (int r = 0; r < R; r++)
            a[r] = at->h + row[r] * padded;
        accumulate(R, V, sum, w->units, a, (const real *)w->recurrent_kernel + vector * stream, stream);
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

/* The tile of `rows` rows and `vectors` vectors, its sizes constants to the compiler. */
static void run_tile(size_t rows, size_t vectors, const flstm_weights *w, const flstm_sweep *s, const step *at,
                     size_t vector, size_t first_row)
{
#define TILE(R, V) case (R) * 8 + (V): tile(R, V, w, s, at, vector, first_row); return
    switch (rows * 8 + vectors) {
    TILE(1, 1);
    TILE(1, 2);
    TILE(1, 3);
    TILE(2, 1);
    TILE(3, 1);
#if V_REGS == 32
    TILE(2, 2);
    TILE(3, 2);
    TILE(4, 1);
    TILE(5, 1);
    TILE(6, 1);
#endif
    }
#undef TILE
}

/* `whole` cut into nearly even parts of at most `most`. */
typedef struct parts {
    size_t count, base, longer;
} parts;

static parts cut(size_t whole, size_t most)
{
    const size_t count = (whole + most - 1) / most;
    return (parts){count, whole / count, whole % count};
}

/* The n-th part begins here. */
static ALWAYS_INLINE size_t part(const parts *p, size_t n)
{
    return n * p->base + (n < p->longer ? n : p->longer);
}

/* How a sweep's units and rows are cut into tiles, and where it stands. */
typedef struct progress {
    parts groups, tiles;
    step at;
    int backwards;
} progress;

static progress begin(const flstm_sweep *s)
{
    progress p = {.tiles = cut(s->rows, TILE_ROWS),
                  .at = {s->init, s->x, s->h, s->h_next, s->c, s->y, s->z},
                  .backwards = s->backwards};
    const size_t most_rows = p.tiles.base + (p.tiles.longer > 0);
    const int whole = most_rows == 1 && s->vectors <= TILE_VECTORS;
    p.groups = cut(s->vectors, whole ? TILE_VECTORS : tile_vectors[most_rows]);
    return p;
}

static void run_step(const flstm_sweep *s, progress *p)
{
    step *const at = &p->at;
    for (size_t n = 0; n < p->groups.count; n++) {
        const size_t group = p->backwards ? p->groups.count - 1 - n : n;
        const size_t vector = part(&p->groups, group), vectors = part(&p->groups, group + 1) - vector;
        for (size_t k = 0; k < p->tiles.count; k++) {
            const size_t row = part(&p->tiles, k);
            run_tile(part(&p->tiles, k + 1) - row, vectors, s->weights, s, at, s->vector + vector, row);
        }
    }
    if (s->meet.meeting)
        flstm_meet(s->meet.meeting, s->meet.first, s->meet.members, s->meet.member);
    p->backwards ^= 1;
    at->init += s->init_step;
    if (at->x)
        at->x += s->x_step;
    if (at->y)
        at->y += s->y_step;
    real *const written = at->h_next;
    at->h_next = at->h;
    at->h = written;
}

static void sweeps(size_t count, const flstm_sweep *s, size_t steps)
{
    progress p[FLSTM_MOST_SWEEPS];
    for (size_t i = 0; i < count; i++)
        p[i] = begin(&s[i]);
    for (size_t t = 0; t < steps; t++)
        for (size_t i = 0; i < count; i++)
            run_step(&s[i], &p[i]);
}

#define KERNEL {V_LEN, TILE_ROWS, sweeps, sigmoid, hyperbolic_tangent}
