/* kernel_tpl.h -- the fused sweep, once for all instruction sets and forms of weights: included by kernel_*.c
 * after a vector header, activations_tpl.h, cells_tpl.h, sweep_tpl.h, tiles_tpl.h and the header of the form's
 * products. See kernel.h for what a sweep is. */

#if OPERAND_BYTES
/* Bytes of a row of so many operands, as flstm_operand_row says. */
static ALWAYS_INLINE size_t operand_row(size_t count)
{
    return count ? (OPERAND_OWN + (count + WHOLE - 1) / WHOLE * WHOLE * OPERAND_BYTES + 63) / 64 * 64 : 0;
}

/* Brings x and h of a step into the form that meets the weights: all rows of x, then all of h. */
static void prepare(const flstm_sweep *s, const step *at)
{
    const flstm_weights *w = s->weights;
    char *to = s->operands;
    for (size_t i = 0; s->x_count && i < s->rows; i++, to += operand_row(s->x_count))
        prepare_row(x_row(s, at, i), s->x_count, to, to + OPERAND_OWN);
    for (size_t i = 0; at->h && i < s->rows; i++, to += operand_row(w->outputs))
        prepare_row(h_row(s, at, i), w->outputs, to, to + OPERAND_OWN);
}

static ALWAYS_INLINE const char *x_operands(const flstm_sweep *s, const step *at, size_t position)
{
    (void)at;
    return (const char *)s->operands + position * operand_row(s->x_count) + OPERAND_OWN;
}

static ALWAYS_INLINE const char *h_operands(const flstm_sweep *s, const step *at, size_t position)
{
    return x_operands(s, at, s->rows) + position * operand_row(s->weights->outputs);
}
#else
static ALWAYS_INLINE const char *x_operands(const flstm_sweep *s, const step *at, size_t position)
{
    return (const char *)x_row(s, at, position);
}

static ALWAYS_INLINE const char *h_operands(const flstm_sweep *s, const step *at, size_t position)
{
    return (const char *)h_row(s, at, position);
}
#endif

/* What becomes of the sums of one row and vector number v from `unit` on. */
static ALWAYS_INLINE void finish(const int G, const flstm_sweep *s, const step *at, size_t row, size_t unit, int v,
                                 vf sum[][TILE_VECTORS])
{
    const int sums = SUMS_OF(G);
    vf all[MOST_SUMS];
    UNROLL for (int g = 0; g < sums; g++)
        all[g] = sum[g][v];
    end_vector(G, s, at, row, unit + (size_t)v * V_LEN, all);
}

static ALWAYS_INLINE void tile(const int G, const int R, const int V, const flstm_weights *w, const flstm_sweep *s,
                               const step *at, size_t vector, size_t first_row)
{
    const int sums = SUMS_OF(G);
    vf sum[TILE_ROWS][MOST_SUMS][TILE_VECTORS];
    const char *a[TILE_ROWS];
    size_t row[TILE_ROWS];
    const size_t unit = vector * V_LEN, padded = w->padded;

    UNROLL for (int r = 0; r < R; r++) {
        row[r] = row_of(s, first_row + (size_t)r);
        const real *init = at->init + (ptrdiff_t)row[r] * s->init_row + unit;
        UNROLL for (int g = 0; g < sums; g++)
            UNROLL for (int v = 0; v < V; v++)
                sum[r][g][v] = v_load((g < G ? init + (size_t)g * padded : (const real *)w->recurrent_bias + unit)
                                      + (size_t)v * V_LEN);
    }
    if (s->x_count) {
        UNROLL for (int r = 0; r < R; r++)
            a[r] = x_operands(s, at, first_row + (size_t)r);
        add_products(G, G - 1, R, V, sum, &w->kernel, padded, vector, s->x_first, s->x_count, a);
    }
    if (at->h) {
        UNROLL for (int r = 0; r < R; r++)
            a[r] = h_operands(s, at, first_row + (size_t)r);
        add_products(G, sums - 1, R, V, sum, &w->recurrent_kernel, padded, vector, 0, w->outputs, a);
    }
    const int unrolled = G == 4 ? R : 0; /* there are many more tiles of fewer gates: a third of their code */
    UNROLL for (int r = 0; r < unrolled; r++)
        UNROLL for (int v = 0; v < V; v++)
            finish(G, s, at, row[r], unit, v, sum[r]);
    ROLLED for (int r = unrolled; r < R; r++)
        ROLLED for (int v = 0; v < V; v++)
            finish(G, s, at, row[r], unit, v, sum[r]);
}

/* The tile of `rows` rows and `vectors` vectors, its sizes constants to the compiler. */
typedef void run_tile(size_t rows, size_t vectors, const flstm_weights *w, const flstm_sweep *s, const step *at,
                      size_t vector, size_t first_row);

#define RUN_TILE(G)                                                                                     \
    static void run_tile_##G(size_t rows, size_t vectors, const flstm_weights *w, const flstm_sweep *s, \
                             const step *at, size_t vector, size_t first_row)                           \
    {                                                                                                   \
        enum { gates = G };                                                                             \
        switch (rows * 8 + vectors) {                                                                   \
            TILES_##G(TILE)                                                                             \
        }                                                                                               \
    }
#define TILE(R, V) case (R) * 8 + (V): tile(gates, R, V, w, s, at, vector, first_row); return;
RUN_TILE(1)
RUN_TILE(2)
RUN_TILE(3)
RUN_TILE(4)

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
                  .at = first_step(s), .backwards = s->backwards};
    const size_t gates = s->weights->gates, most_rows = p.tiles.base + (p.tiles.longer > 0);
    const unsigned char *const most = tile_vectors[gates - 1];
    p.groups = cut(s->vectors, most[most_rows == 1 && s->vectors <= most[0] ? 0 : most_rows]);
    p.run = gates == 4 ? run_tile_4 : gates == 3 ? run_tile_3 : gates == 2 ? run_tile_2 : run_tile_1;
    return p;
}

static void run_step(const flstm_sweep *s, progress *p)
{
    step *const at = &p->at;
#if OPERAND_BYTES
    prepare(s, at);
#endif
    for (size_t n = 0; n < p->groups.count; n++) {
        const size_t group = p->backwards ? p->groups.count - 1 - n : n;
        const size_t vector = part(&p->groups, group), vectors = part(&p->groups, group + 1) - vector;
        for (size_t k = 0; k < p->tiles.count; k++) {
            const size_t row = part(&p->tiles, k);
            p->run(part(&p->tiles, k + 1) - row, vectors, s->weights, s, at, s->vector + vector, row);
        }
    }
    p->backwards ^= 1;
    next_step(s, at);
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

/* A flstm_kernel; dot, needs: its last two members. */
#define KERNEL_WITH(dot, needs) \
    {FORM, V_LEN, TILE_ROWS, GROUP, WHOLE, OPERAND_BYTES, sweeps, sigmoid, hyperbolic_tangent, lstm_row, dot, needs}
#define KERNEL KERNEL_WITH(NULL, 0)
