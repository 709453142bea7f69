/* kernel_tpl.h -- the fused sweep, once for all instruction sets: included by kernel_*.c after a vector
 * header, activations_tpl.h and cells_tpl.h. See kernel.h for what a sweep is. */

#define SUM_BLOCK 32  /* terms of a chain; divides steps.c's FEATURE_BLOCK */
#define SHORT_SUM 16  /* so few terms, fewer than FEATURE_REST, are not worth waiting for one after the other: */
#define SHORT_BLOCK 4 /* terms of their chains */

/* A tile is R rows times V vectors of units of G gates. Its G * R * V sums stay in registers, beside R
 * inputs and one vector of weights: what fits, and enough chains to hide a multiply-add's latency. One row
 * takes up to tile_vectors[G - 1][0] vectors at once where that is all of them; of more, the fewer above
 * go together, so that a sweep that turns round finds more of the last one in the cache. */
#define TILE_VECTORS 4
#if V_REGS == 32
#define TILE_ROWS 6
static const unsigned char tile_vectors[][TILE_ROWS + 1] = {
    {4, 4, 4, 4, 2, 2, 2}, {3, 3, 2, 2, 1, 1, 1}, {3, 3, 2, 2, 1, 1, 1}, {3, 2, 2, 2, 1, 1, 1}};
#else
#define TILE_ROWS 3
static const unsigned char tile_vectors[][TILE_ROWS + 1] = {{4, 4, 4, 2}, {3, 3, 2, 1}, {3, 3, 2, 1}, {3, 3, 1, 1}};
#endif

/* sum[r][g][v] += a[r][k] * w[v][k][g] for k < count, `vector` elements between the vectors' weights; the
 * last of the G gates adds to sum number `last`. The products are summed in blocks, each a chain from zero
 * in the order of k, and the blocks added in turn: a long chain would lose several times the digits. */
static ALWAYS_INLINE void add_blocks(const size_t block, const int G, const int last, const int R, const int V,
                                     vf sum[][MOST_SUMS][TILE_VECTORS], size_t count, const real *const a[],
                                     const real *w, size_t vector)
{
    for (size_t k = 0; k < count;) {
        const size_t end = count - k < block ? count : k + block;
        vf part[TILE_ROWS][MOST_SUMS][TILE_VECTORS];
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int g = 0; g < G; g++)
                UNROLL for (int v = 0; v < V; v++)
                    part[r][g][v] = v_set1(0);
        for (; k < end; k++, w += G * V_LEN) {
            vf x[TILE_ROWS];
            UNROLL for (int r = 0; r < R; r++)
                x[r] = v_set1(a[r][k]);
            UNROLL for (int v = 0; v < V; v++)
                UNROLL for (int g = 0; g < G; g++) {
                    const vf weight = v_load(w + (size_t)v * vector + (size_t)g * V_LEN);
                    UNROLL for (int r = 0; r < R; r++)
                        part[r][g][v] = v_fma(x[r], weight, part[r][g][v]);
                }
        }
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int g = 0; g < G; g++)
                UNROLL for (int v = 0; v < V; v++) {
                    vf *const to = &sum[r][g == G - 1 ? last : g][v];
                    *to = v_add(*to, part[r][g][v]);
                }
    }
}

static ALWAYS_INLINE void accumulate(const int G, const int last, const int R, const int V,
                                     vf sum[][MOST_SUMS][TILE_VECTORS], size_t count, const real *const a[],
                                     const real *w, size_t vector)
{
    if (G < 4) /* half the code */
        add_blocks(count <= SHORT_SUM ? SHORT_BLOCK : SUM_BLOCK, G, last, R, V, sum, count, a, w, vector);
    else if (count <= SHORT_SUM)
        add_blocks(SHORT_BLOCK, G, last, R, V, sum, count, a, w, vector);
    else
        add_blocks(SUM_BLOCK, G, last, R, V, sum, count, a, w, vector);
}

/* Everything of a sweep at one step, typed. */
typedef struct step {
    const real *init, *x;
    real *h, *h_next, *c, *reset, *y, *z;
} step;

/* What becomes of the sums of one row and vector number v from `unit` on. */
static ALWAYS_INLINE void finish(const int G, const flstm_weights *w, const flstm_sweep *s, const step *at, size_t row,
                                 size_t unit, int v, vf sum[][TILE_VECTORS])
{
    const size_t u = unit + (size_t)v * V_LEN, i = row * w->padded + u;
    const int sums = SUMS_OF(G);
    if (at->z) {
        real *z = at->z + (ptrdiff_t)row * s->z_row + u;
        UNROLL for (int g = 0; g < sums; g++)
            if (g < G || at->h)
                v_store(z + (size_t)g * w->padded, sum[g][v]);
        return;
    }
    vf all[MOST_SUMS], h;
    UNROLL for (int g = 0; g < sums; g++)
        all[g] = sum[g][v];
    if (!end_step(G, w->end, all, at->h + i, at->c + i, at->reset + i, &h))
        return;
    v_store(at->h_next + i, h);
    if (at->y) {
        real *y = at->y + (ptrdiff_t)row * s->y_row + u;
        if (u + V_LEN <= w->units)
            v_store(y, h);
        else
            v_store_n(y, h, w->units - u);
    }
}

static ALWAYS_INLINE void tile(const int G, const int R, const int V, const flstm_weights *w, const flstm_sweep *s,
                               const step *at, size_t vector, size_t first_row)
{
    const int sums = SUMS_OF(G);
    vf sum[TILE_ROWS][MOST_SUMS][TILE_VECTORS];
    const real *a[TILE_ROWS];
    size_t row[TILE_ROWS];
    const size_t unit = vector * V_LEN, padded = w->padded, gates = (size_t)G;

    UNROLL for (int r = 0; r < R; r++) {
        row[r] = s->row ? s->row[first_row + (size_t)r] : first_row + (size_t)r;
        const real *init = at->init + (ptrdiff_t)row[r] * s->init_row + unit;
        UNROLL for (int g = 0; g < sums; g++)
            UNROLL for (int v = 0; v < V; v++)
                sum[r][g][v] = v_load((g < G ? init + (size_t)g * padded : (const real *)w->recurrent_bias + unit)
                                      + (size_t)v * V_LEN);
    }
    if (s->x_count) {
        const size_t stream = w->features * gates * V_LEN;
        UNROLL for (int r = 0; r < R; r++)
            a[r] = at->x + (ptrdiff_t)row[r] * s->x_row + s->x_first;
        accumulate(G, G - 1, R, V, sum, s->x_count, a,
                   (const real *)w->kernel + vector * stream + s->x_first * gates * V_LEN, stream);
    }
    if (at->h) {
        const size_t stream = w->units * gates * V_LEN;
        const real *const operand = G == 1 && w->end == FLSTM_END_CANDIDATE ? at->reset : at->h;
        UNROLL for (int r = 0; r < R; r++)
            a[r] = operand + row[r] * padded;
        accumulate(G, sums - 1, R, V, sum, w->units, a, (const real *)w->recurrent_kernel + vector * stream, stream);
    }
    const int unrolled = G == 4 ? R : 0; /* there are many more tiles of fewer gates: a third of their code */
    UNROLL for (int r = 0; r < unrolled; r++)
        UNROLL for (int v = 0; v < V; v++)
            finish(G, w, s, at, row[r], unit, v, sum[r]);
    ROLLED for (int r = unrolled; r < R; r++)
        ROLLED for (int v = 0; v < V; v++)
            finish(G, w, s, at, row[r], unit, v, sum[r]);
}

/* The tile of `rows` rows and `vectors` vectors, its sizes constants to the compiler. */
typedef void run_tile(size_t rows, size_t vectors, const flstm_weights *w, const flstm_sweep *s, const step *at,
                      size_t vector, size_t first_row);

#define TILE(G, R, V) case (R) * 8 + (V): tile(G, R, V, w, s, at, vector, first_row); return;
#define UP_TO_2(G, R) TILE(G, R, 1) TILE(G, R, 2)
#define UP_TO_3(G, R) UP_TO_2(G, R) TILE(G, R, 3)
#define UP_TO_4(G, R) UP_TO_3(G, R) TILE(G, R, 4)
#define RUN_TILE(G, TILES)                                                                              \
    static void run_tile_##G(size_t rows, size_t vectors, const flstm_weights *w, const flstm_sweep *s, \
                             const step *at, size_t vector, size_t first_row)                           \
    {                                                                                                   \
        switch (rows * 8 + vectors) {                                                                   \
            TILES                                                                                       \
        }                                                                                               \
    }
/* as tile_vectors says */
#if V_REGS == 32
#define FEW(G) UP_TO_3(G, 1) UP_TO_2(G, 2) UP_TO_2(G, 3) TILE(G, 4, 1) TILE(G, 5, 1) TILE(G, 6, 1)
RUN_TILE(1, UP_TO_4(1, 1) UP_TO_4(1, 2) UP_TO_4(1, 3) UP_TO_2(1, 4) UP_TO_2(1, 5) UP_TO_2(1, 6))
RUN_TILE(2, FEW(2))
RUN_TILE(3, FEW(3))
RUN_TILE(4, FEW(4))
#else
RUN_TILE(1, UP_TO_4(1, 1) UP_TO_4(1, 2) UP_TO_2(1, 3))
RUN_TILE(2, UP_TO_3(2, 1) UP_TO_2(2, 2) TILE(2, 3, 1))
RUN_TILE(3, UP_TO_3(3, 1) UP_TO_2(3, 2) TILE(3, 3, 1))
RUN_TILE(4, UP_TO_3(4, 1) TILE(4, 2, 1) TILE(4, 3, 1))
#endif

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
    run_tile *run;
    step at;
    int backwards;
} progress;

static progress begin(const flstm_sweep *s)
{
    progress p = {.tiles = cut(s->rows, TILE_ROWS),
                  .at = {s->init, s->x, s->h, s->h_next, s->c, s->reset, s->y, s->z},
                  .backwards = s->backwards};
    const size_t gates = s->weights->gates, most_rows = p.tiles.base + (p.tiles.longer > 0);
    const unsigned char *const most = tile_vectors[gates - 1];
    p.groups = cut(s->vectors, most[most_rows == 1 && s->vectors <= most[0] ? 0 : most_rows]);
    p.run = gates == 4 ? run_tile_4 : gates == 3 ? run_tile_3 : gates == 2 ? run_tile_2 : run_tile_1;
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
            p->run(part(&p->tiles, k + 1) - row, vectors, s->weights, s, at, s->vector + vector, row);
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
