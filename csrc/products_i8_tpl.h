/* products_i8_tpl.h -- sums of products of bytes, once for all instruction sets: included by kernel_*.c before
 * kernel_tpl.h. Weights are bytes of 128 more than their value over the column's scale; each row of x or h
 * is rounded to 1/127 of its largest number. The sums are exact, so all instruction sets agree. */

#define FORM FLSTM_FORM_I8
#define GROUP 4
#define WHOLE 4
#define OPERAND_BYTES 1

/* What a row of operands begins with. */
typedef struct row_facts {
    float scale;   /* of the bytes; NaN where the row holds NaN or infinities: it has no largest number */
    int32_t begin; /* what the sums begin with: -128 for each byte's unit, as weights have 128 too many */
} row_facts;

#define LEAST_LARGEST 1e-30f /* a row with nothing larger counts as zeros: 127 over that is still finite */
#define ROUND_MAGIC 0x1.8p23f /* added, leaves an integer in the low bits */

static ALWAYS_INLINE void prepare_row(const real *from, size_t count, char *own, char *to)
{
    uint32_t largest = 0;
    for (size_t k = 0; k < count; k++) { /* as integers, so that NaN is larger than infinity */
        uint32_t bits;
        memcpy(&bits, &from[k], sizeof bits);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    float most;
    memcpy(&most, &largest, sizeof most);
    row_facts facts = {most / 127, 0};
    if (largest >= 0x7f800000)
        facts.scale = NAN;
    const float inverse = most > LEAST_LARGEST && most <= FLT_MAX ? 127 / most : 0;
    int32_t sum = 0;
    for (size_t k = 0; k < count; k++) {
        const float shifted = (inverse > 0 ? from[k] * inverse : 0) + ROUND_MAGIC;
        int32_t bits;
        memcpy(&bits, &shifted, sizeof bits);
        bits -= 0x4b400000;
        to[k] = (char)bits;
        sum += bits;
    }
    for (size_t k = count; k % GROUP; k++)
        to[k] = 0;
    facts.begin = -128 * sum;
    memcpy(own, &facts, sizeof facts);
}

/* As in products_float_tpl.h. */
static ALWAYS_INLINE void add_products(const int G, const int last, const int R, const int V,
                                       vf sum[][MOST_SUMS][TILE_VECTORS], const flstm_matrix *m, size_t padded,
                                       size_t vector, size_t first, size_t count, const char *const rows[])
{
    const size_t gates = (size_t)G;
    const char *w = (const char *)m->data + vector * m->stream + first * gates * V_LEN;
    const row_facts *facts[TILE_ROWS];
    vi part[TILE_ROWS][MOST_SUMS][TILE_VECTORS];
    UNROLL for (int r = 0; r < R; r++)
        facts[r] = (const row_facts *)(const void *)(rows[r] - OPERAND_OWN);
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int g = 0; g < G; g++)
            UNROLL for (int v = 0; v < V; v++)
                part[r][g][v] = v_set1_int(facts[r]->begin);
    for (size_t k = 0; k < count; k += GROUP, w += gates * V_LEN * GROUP) {
        v_four x[TILE_ROWS];
        UNROLL for (int r = 0; r < R; r++)
            x[r] = v_set1_four(rows[r] + k);
        UNROLL for (int v = 0; v < V; v++)
            UNROLL for (int g = 0; g < G; g++) {
                const vi weight = v_load_int(w + (size_t)v * m->stream + (size_t)(g * V_LEN * GROUP));
                UNROLL for (int r = 0; r < R; r++)
                    part[r][g][v] = v_dot4(part[r][g][v], weight, x[r]);
            }
    }
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int g = 0; g < G; g++)
            UNROLL for (int v = 0; v < V; v++) {
                const vf scale = v_load(m->scale + (size_t)g * padded + (vector + (size_t)v) * V_LEN);
                vf *const to = &sum[r][g == G - 1 ? last : g][v];
                *to = v_fma(v_from_int(part[r][g][v]), v_mul(scale, v_set1(facts[r]->scale)), *to);
            }
}
