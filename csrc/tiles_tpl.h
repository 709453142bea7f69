/* tiles_tpl.h -- how weights are stored and which tiles the sums are cut into: included by kernel_*.c after
 * cells_tpl.h, with V_FORM one of these. */

#define V_FULL 0
#define V_F16 1
#define V_BF16 2
#define V_BF16_DOT 3 /* with instructions for its products */
#define V_I8 4
#define V_I8_DOT 5

/* A tile is R rows times V vectors of units of G gates. Its G * R * V sums stay in registers, beside R
 * inputs and one vector of weights: what fits, and enough chains to hide a multiply-add's latency. One row
 * takes up to tile_vectors[G - 1][0] vectors at once where that is all of them; of more, the fewer above
 * go together, so that a sweep that turns round finds more of the last one in the cache. Of narrow weights,
 * and of kernels without vectors, there are fewer tiles, for the size of the library. */
#define TILE_VECTORS 4
#if V_REGS == 32 && V_FORM == V_FULL
#define TILE_ROWS 6
static const unsigned char tile_vectors[][TILE_ROWS + 1] = {
    {4, 4, 4, 4, 2, 2, 2}, {3, 3, 2, 2, 1, 1, 1}, {3, 3, 2, 2, 1, 1, 1}, {3, 2, 2, 2, 1, 1, 1}};
#define TILES_1(T) T(1, 1) T(1, 2) T(1, 3) T(1, 4) T(2, 1) T(2, 2) T(2, 3) T(2, 4) T(3, 1) T(3, 2) T(3, 3) T(3, 4) \
    T(4, 1) T(4, 2) T(5, 1) T(5, 2) T(6, 1) T(6, 2)
#define TILES_2(T) TILES_4(T)
#define TILES_3(T) TILES_4(T)
#define TILES_4(T) T(1, 1) T(1, 2) T(1, 3) T(2, 1) T(2, 2) T(3, 1) T(3, 2) T(4, 1) T(5, 1) T(6, 1)
#elif V_REGS == 32
#define TILE_ROWS 6
static const unsigned char tile_vectors[][TILE_ROWS + 1] = {
    {3, 3, 1, 1, 1, 1, 1}, {3, 3, 1, 1, 1, 1, 1}, {3, 3, 1, 1, 1, 1, 1}, {3, 2, 2, 2, 1, 1, 1}};
#define TILES_1(T) TILES_3(T)
#define TILES_2(T) TILES_3(T)
#define TILES_3(T) T(1, 1) T(1, 2) T(1, 3) T(2, 1) T(3, 1) T(4, 1) T(5, 1) T(6, 1)
#define TILES_4(T) T(1, 1) T(1, 2) T(1, 3) T(2, 1) T(2, 2) T(3, 1) T(3, 2) T(4, 1) T(5, 1) T(6, 1)
#elif V_LEN == 1
#define TILE_ROWS 3
static const unsigned char tile_vectors[][TILE_ROWS + 1] = {{4, 4, 1, 1}, {3, 3, 1, 1}, {2, 2, 1, 1}, {2, 2, 1, 1}};
#define TILES_1(T) TILES_2(T) T(1, 4)
#define TILES_2(T) TILES_4(T) T(1, 3)
#define TILES_3(T) TILES_4(T)
#define TILES_4(T) T(1, 1) T(1, 2) T(2, 1) T(3, 1)
#elif V_FORM == V_FULL
#define TILE_ROWS 3
static const unsigned char tile_vectors[][TILE_ROWS + 1] = {{4, 4, 4, 2}, {3, 3, 2, 1}, {3, 3, 2, 1}, {3, 3, 1, 1}};
#define TILES_1(T) T(1, 1) T(1, 2) T(1, 3) T(1, 4) T(2, 1) T(2, 2) T(2, 3) T(2, 4) T(3, 1) T(3, 2)
#define TILES_2(T) TILES_3(T)
#define TILES_3(T) T(1, 1) T(1, 2) T(1, 3) T(2, 1) T(2, 2) T(3, 1)
#define TILES_4(T) T(1, 1) T(1, 2) T(1, 3) T(2, 1) T(3, 1)
#else
#define TILE_ROWS 3
static const unsigned char tile_vectors[][TILE_ROWS + 1] = {{2, 2, 1, 1}, {2, 2, 1, 1}, {2, 2, 1, 1}, {2, 2, 1, 1}};
#define TILES_1(T) TILES_4(T)
#define TILES_2(T) TILES_4(T)
#define TILES_3(T) TILES_4(T)
#define TILES_4(T) T(1, 1) T(1, 2) T(2, 1) T(3, 1)
#endif

#define OPERAND_OWN 16 /* bytes before each row of prepared operands; flstm_operand_row counts them */
