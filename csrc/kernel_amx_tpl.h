/* kernel_amx_tpl.h -- the sweep over tiles of bfloat16, for weights that are (PLANES 1) and for float32 as the sum
 * of three of them (PLANES 3): included by kernel_amx_*.c after vec_avx512.h, cells_tpl.h,
 * sweep_tpl.h and tiles_amx.h.
 *
 * Sixteen rows times sixteen units of one gate are a tile of sums; the gates of a vector of units are summed
 * together, each product a tile of x or h (rows, 32 of k) times one of weights (16 pairs of k, units). With three
 * parts each, a = a1 + a2 + a3 and w = w1 + w2 + w3, the six largest of the nine products make the sum: for some
 * of k all but a1 w1 first, which are small beside it, so that little is lost when that is added. What a block of
 * k gives is added to the sums of the blocks before, as in the other kernels. The gates of the tiles before are
 * worked out while the next products are under way. */

#define ROWS 16
#define DEPTH 32  /* of k in a tile */
#define BLOCK 256 /* of k in a chain of sums */

/* Tiles 0 to 3 are the sums of as many gates; of operands and of weights there are two. */
#define OPERAND_0 4
#define OPERAND_1 5
#define WEIGHT_0 6
#define WEIGHT_1 7

/* A row of operands is that of each part, one behind the other; and once more of the first with 0 for what is not
 * finite, which is to meet only the first part of the weights: others may be 0, or of another sign. */
#define OPERAND_PLANES (PLANES == 1 ? 1 : 4)
#define PLANE_ROW(count) (((count) + DEPTH - 1) / DEPTH * DEPTH * 2)
#define OPERAND_OWN 16 /* flstm_operand_row counts them; not used here */

static ALWAYS_INLINE size_t operand_row(size_t count)
{
    return count ? (OPERAND_OWN + PLANE_ROW(count) * OPERAND_PLANES + 63) / 64 * 64 : 0;
}

/* Sixteen numbers as their PLANES parts. The largest float32 would round to infinity. */
static ALWAYS_INLINE void split(vf a, __m256i part[OPERAND_PLANES])
{
    const vf most = v_set1(0x1.fep127f);
    const __mmask16 finite = _mm512_cmp_ps_mask(v_abs(a), v_set1(INFINITY), _CMP_LT_OQ);
    for (int n = 0; n < PLANES; n++) {
        const vf limited = PLANES == 1 || n > 0 ? a : _mm512_mask_min_ps(a, finite, most, v_max(v_sub(v_set1(0), most), a));
        part[n] = (__m256i)_mm512_cvtneps_pbh(limited);
        const vf rounded = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(part[n]), 16));
        a = _mm512_maskz_sub_ps(finite, a, rounded);
    }
    if (OPERAND_PLANES > PLANES)
        part[OPERAND_PLANES - 1] = _mm256_maskz_mov_epi16(finite, part[0]);
}

static void prepare_row(const real *from, size_t count, char *to)
{
    const size_t plane = PLANE_ROW(count);
    for (size_t k = 0; k < plane / 2; k += V_LEN, to += 2 * V_LEN) {
        __m256i part[OPERAND_PLANES];
        const vf a = k + V_LEN <= count ? v_load(from + k) : k < count ? v_load_n(from + k, count - k) : v_set1(0);
        split(a, part);
        for (int n = 0; n < OPERAND_PLANES; n++)
            _mm256_storeu_si256((void *)(to + (size_t)n * plane), part[n]);
    }
}

static size_t whole_rows(const flstm_sweep *s)
{
    return s->rows < ROWS ? s->rows : (s->rows + ROWS - 1) / ROWS * ROWS;
}

/* All rows of x, then all of h; what fills up the last tile is zero. */
static void prepare(const flstm_sweep *s, const step *at)
{
    const flstm_weights *w = s->weights;
    const size_t x_bytes = operand_row(s->x_count), h_bytes = operand_row(w->outputs), blank = whole_rows(s) - s->rows;
    char *to = s->operands;
    if (s->x_count) {
        for (size_t i = 0; i < s->rows; i++, to += x_bytes)
            prepare_row(x_row(s, at, i), s->x_count, to);
        memset(to, 0, blank * x_bytes);
        to += blank * x_bytes;
    }
    if (at->h) {
        for (size_t i = 0; i < s->rows; i++, to += h_bytes)
            prepare_row(h_row(s, at, i), w->outputs, to);
        memset(to, 0, blank * h_bytes);
    }
    TILE_OPERANDS_WRITTEN();
}

/* The sums of a tile of rows and a vector of units, and how many of its rows have become states. */
typedef struct tile {
    const flstm_sweep *sweep;
    const step *at;
    size_t vector, first_row, rows, done;
    float sum[MOST_SUMS][ROWS][V_LEN];
} tile;

static ALWAYS_INLINE void finish_row(const int G, tile *t)
{
    const size_t n = t->done++;
    const int sums = SUMS_OF(G);
    vf sum[MOST_SUMS];
    UNROLL for (int g = 0; g < sums; g++)
        sum[g] = v_load(t->sum[g][n]);
    end_vector(G, t->sweep, t->at, row_of(t->sweep, t->first_row + n), t->vector * V_LEN, sum);
}

static ALWAYS_INLINE void finish_rows(const int G, tile *t, size_t most)
{
    for (; most > 0 && t->done < t->rows; most--)
        finish_row(G, t);
}

static ALWAYS_INLINE void begin_tile(const int G, tile *t)
{
    const flstm_sweep *s = t->sweep;
    const flstm_weights *w = s->weights;
    const size_t unit = t->vector * V_LEN;
    const int sums = SUMS_OF(G);
    t->done = 0;
    for (size_t n = 0; n < t->rows; n++) {
        const real *init = t->at->init + (ptrdiff_t)row_of(s, t->first_row + n) * s->init_row + unit;
        UNROLL for (int g = 0; g < sums; g++)
            v_store(t->sum[g][n], v_load(g < G ? init + (size_t)g * w->padded : (const real *)w->recurrent_bias + unit));
    }
}

/* The gates' sums of the last block of k to where the others are; the last gate's to sum number `last`. */
static ALWAYS_INLINE void add_sums(const int G, const int last, tile *t)
{
    float part[MOST_SUMS][ROWS][V_LEN];
    TILE_STORE(0, part[0], sizeof part[0][0]);
    if (G > 1)
        TILE_STORE(1, part[1], sizeof part[0][0]);
    if (G > 2)
        TILE_STORE(2, part[2], sizeof part[0][0]);
    if (G > 3)
        TILE_STORE(3, part[3], sizeof part[0][0]);
    for (size_t n = 0; n < t->rows; n++)
        UNROLL for (int g = 0; g < G; g++) {
            float *const to = t->sum[g == G - 1 ? last : g][n];
            v_store(to, v_add(v_load(to), v_load(part[g][n])));
        }
}

/* sum[g] += operand n times weights; `from` is where the gates' weights begin. */
#define GATE_PRODUCT(g, n, b, from)                                                    \
    if (G > (g)) {                                                                     \
        TILE_LOAD(WEIGHT_##b, (from) + (g) * V_LEN * 4, G * V_LEN * 4);                 \
        TILE_DOT(g, OPERAND_##n, WEIGHT_##b);                                            \
    }
#define PRODUCTS(n, from) \
    GATE_PRODUCT(0, n, 0, from) GATE_PRODUCT(1, n, 1, from) GATE_PRODUCT(2, n, 0, from) GATE_PRODUCT(3, n, 1, from)
/* the same with both operands and two parts of the weights: a2 w1, then a2 w2 and a1 w2, then a1 w3 */
#define SMALL_PRODUCTS(g, w1, w2, w3)                                                  \
    if (G > (g)) {                                                                     \
        TILE_LOAD(WEIGHT_0, (w1) + (g) * V_LEN * 4, G * V_LEN * 4);                   \
        TILE_DOT(g, OPERAND_1, WEIGHT_0);                                            \
        TILE_LOAD(WEIGHT_1, (w2) + (g) * V_LEN * 4, G * V_LEN * 4);                   \
        TILE_DOT(g, OPERAND_1, WEIGHT_1);                                            \
        TILE_DOT(g, OPERAND_0, WEIGHT_1);                                            \
        TILE_LOAD(WEIGHT_0, (w3) + (g) * V_LEN * 4, G * V_LEN * 4);                   \
        TILE_DOT(g, OPERAND_0, WEIGHT_0);                                            \
    }

/* Adds the product of a tile of rows, each `row` bytes after the one before, with a matrix from its row `first` on;
 * meanwhile rows of `before` become states, `each` of them a time. */
static ALWAYS_INLINE void add_products(const int G, const int last, tile *t, tile *before, size_t each,
                                       const flstm_matrix *m, size_t first, size_t count, const char *a, size_t row)
{
    const size_t plane = PLANE_ROW(count), depth = (size_t)G * V_LEN * 2; /* bytes of weights for one of k */
    const char *const w = (const char *)m->data + t->vector * m->stream + first * depth;
    for (size_t block = 0; block < plane / 2; block += BLOCK) {
        const size_t end = plane / 2 - block < BLOCK ? plane / 2 : block + BLOCK;
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
#if PLANES == 3
        for (size_t k = block; k < end; k += DEPTH) {
            const char *const w1 = w + k * depth, *const w2 = w1 + m->plane, *const w3 = w2 + m->plane;
            TILE_LOAD(OPERAND_0, a + 2 * plane + 2 * k, row);
            PRODUCTS(0, w1)
            TILE_LOAD(OPERAND_0, a + 3 * plane + 2 * k, row);
            TILE_LOAD(OPERAND_1, a + plane + 2 * k, row);
            SMALL_PRODUCTS(0, w1, w2, w3)
            SMALL_PRODUCTS(1, w1, w2, w3)
            SMALL_PRODUCTS(2, w1, w2, w3)
            SMALL_PRODUCTS(3, w1, w2, w3)
            finish_rows(G, before, each);
        }
#endif
        for (size_t k = block; k < end; k += DEPTH) {
            TILE_LOAD(OPERAND_0, a + 2 * k, row);
            PRODUCTS(0, w + k * depth)
            if (PLANES == 1)
                finish_rows(G, before, each);
        }
        add_sums(G, last, t);
    }
}

static ALWAYS_INLINE void step_of(const int G, const flstm_sweep *s, const step *at, int backwards)
{
    const flstm_weights *w = s->weights;
    const size_t whole = whole_rows(s), x_bytes = operand_row(s->x_count), h_bytes = operand_row(w->outputs);
    const char *const x = s->operands, *const h = x + whole * x_bytes;
    const size_t depths = (PLANE_ROW(s->x_count) + (at->h ? PLANE_ROW(w->outputs) : 0)) / 2 / DEPTH;
    const size_t each = (ROWS - 1) / depths + 1;
    tile tiles[2] = {{.sweep = s, .at = at}, {.sweep = s, .at = at}};
    tile *t = &tiles[0], *before = &tiles[1];
    for (size_t n = 0; n < s->vectors; n++)
        for (size_t row = 0; row < s->rows; row += ROWS) {
            t->vector = s->vector + (backwards ? s->vectors - 1 - n : n);
            t->first_row = row, t->rows = s->rows - row < ROWS ? s->rows - row : ROWS;
            begin_tile(G, t);
            if (s->x_count)
                add_products(G, G - 1, t, before, each, &w->kernel, s->x_first, s->x_count, x + row * x_bytes,
                             x_bytes);
            if (at->h)
                add_products(G, SUMS_OF(G) - 1, t, before, each, &w->recurrent_kernel, 0, w->outputs,
                             h + row * h_bytes, h_bytes);
            finish_rows(G, before, ROWS);
            tile *const finished = before;
            before = t;
            t = finished;
        }
    finish_rows(G, before, ROWS);
}

static void shape_tiles(size_t rows)
{
    tile_shapes shapes = {.palette = 1};
    for (int n = 0; n < 8; n++) {
        shapes.rows[n] = n < WEIGHT_0 && rows < ROWS ? (uint8_t)rows : ROWS;
        shapes.row_bytes[n] = 64;
    }
    TILE_SHAPES(&shapes);
}

static void run_step(const flstm_sweep *s, step *at, int *backwards)
{
    prepare(s, at);
    switch (s->weights->gates) {
    case 4: step_of(4, s, at, *backwards); break;
    case 3: step_of(3, s, at, *backwards); break;
    case 2: step_of(2, s, at, *backwards); break;
    default: step_of(1, s, at, *backwards);
    }
    *backwards ^= 1;
    next_step(s, at);
}

static void sweeps(size_t count, const flstm_sweep *s, size_t steps)
{
    step at[FLSTM_MOST_SWEEPS];
    int backwards[FLSTM_MOST_SWEEPS];
    size_t shaped = 0; /* for so many rows */
    for (size_t i = 0; i < count; i++) {
        at[i] = first_step(&s[i]);
        backwards[i] = s[i].backwards;
    }
    for (size_t t = 0; t < steps; t++)
        for (size_t i = 0; i < count; i++) {
            const size_t rows = s[i].rows < ROWS ? s[i].rows : ROWS;
            if (rows != shaped)
                shape_tiles(shaped = rows);
            run_step(&s[i], &at[i], &backwards[i]);
        }
    TILES_DONE();
}

#define KERNEL {FORM, V_LEN, ROWS, 2, DEPTH, 2 * OPERAND_PLANES, sweeps, sigmoid, hyperbolic_tangent, lstm_row, NULL, 0}
