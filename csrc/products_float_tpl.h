/* products_float_tpl.h -- sums of float products, once for all instruction sets: included by kernel_*.c before
 * kernel_tpl.h. V_FORM says how the weights are stored: as they are, or narrower and widened on the way. */

#define OPERAND_BYTES 0 /* x and h are read as they are */

#if V_FORM == V_FULL
#define FORM (V_F64 ? FLSTM_FORM_F64 : FLSTM_FORM_F32)
#define GROUP 1
typedef real stored;
static ALWAYS_INLINE vf weight_at(const stored *w, int j)
{
    (void)j;
    return v_load(w);
}
#elif V_FORM == V_F16
#define FORM FLSTM_FORM_F16
#define GROUP 1
typedef uint16_t stored;
static ALWAYS_INLINE vf weight_at(const stored *w, int j)
{
    (void)j;
    return v_load_f16(w);
}
#else
#define FORM FLSTM_FORM_BF16
#define GROUP 2
typedef uint16_t stored;
static ALWAYS_INLINE vf weight_at(const stored *w, int j)
{
    return j ? v_odd_bf16(w) : v_even_bf16(w);
}
#endif
#define WHOLE GROUP

#define SUM_BLOCK 32  /* terms of a chain; divides steps.c's FEATURE_BLOCK */
#define SHORT_SUM 16  /* so few terms, fewer than FEATURE_REST, are not worth waiting for one after the other: */
#define SHORT_BLOCK 4 /* terms of their chains */

/* part[r][g][v] += a[r][k] * weight number j of each group. */
static ALWAYS_INLINE void add_term(const int G, const int R, const int V, vf part[][MOST_SUMS][TILE_VECTORS],
                                   const real *const a[], size_t k, const stored *w, size_t vector, const int j)
{
    vf x[TILE_ROWS];
    UNROLL for (int r = 0; r < R; r++)
        x[r] = v_set1(a[r][k]);
    UNROLL for (int v = 0; v < V; v++)
        UNROLL for (int g = 0; g < G; g++) {
            const vf weight = weight_at(w + (size_t)v * vector + (size_t)(g * GROUP * V_LEN), j);
            UNROLL for (int r = 0; r < R; r++)
                part[r][g][v] = v_fma(x[r], weight, part[r][g][v]);
        }
}

/* sum[r][g][v] += a[r][k] * w[v][k][g] for k < count, `vector` numbers between the vectors' weights; the
 * last of the G gates adds to sum number `last`. The products are summed in blocks, each a chain from zero
 * in the order of k, and the blocks added in turn: a long chain would lose several times the digits. */
static ALWAYS_INLINE void add_blocks(const size_t block, const int G, const int last, const int R, const int V,
                                     vf sum[][MOST_SUMS][TILE_VECTORS], size_t count, const real *const a[],
                                     const stored *w, size_t vector)
{
    for (size_t k = 0; k < count;) {
        const size_t end = count - k < block ? count : k + block;
        vf part[TILE_ROWS][MOST_SUMS][TILE_VECTORS];
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int g = 0; g < G; g++)
                UNROLL for (int v = 0; v < V; v++)
                    part[r][g][v] = v_set1(0);
        for (; k + GROUP <= end; k += GROUP, w += G * GROUP * V_LEN)
            UNROLL for (int j = 0; j < GROUP; j++)
                add_term(G, R, V, part, a, k + (size_t)j, w, vector, j);
        if (GROUP > 1 && k < end) /* the first of a last group that is not full */
            add_term(G, R, V, part, a, k++, w, vector, 0);
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int g = 0; g < G; g++)
                UNROLL for (int v = 0; v < V; v++) {
                    vf *const to = &sum[r][g == G - 1 ? last : g][v];
                    *to = v_add(*to, part[r][g][v]);
                }
    }
}

/* The rows of a matrix from `first` on, for the V vectors of units from `vector` on. */
static ALWAYS_INLINE void add_products(const int G, const int last, const int R, const int V,
                                       vf sum[][MOST_SUMS][TILE_VECTORS], const flstm_matrix *m, size_t padded,
                                       size_t vector, size_t first, size_t count, const char *const rows[])
{
    const stored *const w = (const stored *)((const char *)m->data + vector * m->stream) + first * (size_t)G * V_LEN;
    const size_t stream = m->stream / sizeof(stored);
    const real *a[TILE_ROWS];
    (void)padded;
    UNROLL for (int r = 0; r < R; r++)
        a[r] = (const real *)(const void *)rows[r];
    if (G < 4) /* half the code */
        add_blocks(count <= SHORT_SUM ? SHORT_BLOCK : SUM_BLOCK, G, last, R, V, sum, count, a, w, stream);
    else if (count <= SHORT_SUM)
        add_blocks(SHORT_BLOCK, G, last, R, V, sum, count, a, w, stream);
    else
        add_blocks(SUM_BLOCK, G, last, R, V, sum, count, a, w, stream);
}
