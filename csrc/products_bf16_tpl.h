/* products_bf16_tpl.h -- sums of products of bfloat16 pairs, for processors with instructions for them:
 * included by kernel_*.c before kernel_tpl.h. x and h are rounded to bfloat16, the sums are float32. */

#define FORM FLSTM_FORM_BF16
#define GROUP 2
#define WHOLE 2
#define OPERAND_BYTES 2

static ALWAYS_INLINE void prepare_row(const real *from, size_t count, char *own, char *to)
{
    (void)own;
    v_round_bf16(from, count, (uint16_t *)(void *)to);
    if (count % 2)
        ((uint16_t *)(void *)to)[count] = 0;
}

/* As in products_float_tpl.h, in one chain: what that loses is nothing beside the rounding of the factors. */
static ALWAYS_INLINE void add_products(const int G, const int last, const int R, const int V,
                                       vf sum[][MOST_SUMS][TILE_VECTORS], const flstm_matrix *m, size_t padded,
                                       size_t vector, size_t first, size_t count, const char *const rows[])
{
    const size_t gates = (size_t)G;
    const char *w = (const char *)m->data + vector * m->stream + first * gates * V_LEN * 2;
    (void)padded;
    for (size_t k = 0; k < count; k += 2, w += gates * V_LEN * 4) {
        vb x[TILE_ROWS];
        UNROLL for (int r = 0; r < R; r++)
            x[r] = v_set1_pair(rows[r] + 2 * k);
        UNROLL for (int v = 0; v < V; v++)
            UNROLL for (int g = 0; g < G; g++) {
                const vb weight = v_load_pairs(w + (size_t)v * m->stream + (size_t)(g * V_LEN * 4));
                UNROLL for (int r = 0; r < R; r++) {
                    vf *const to = &sum[r][g == G - 1 ? last : g][v];
                    *to = v_dot2(*to, weight, x[r]);
                }
            }
    }
}
