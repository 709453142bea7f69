/* tiles_emulated.h -- AMX in plain C: forced before csrc's kernel_amx_*.c, whose instructions it replaces, so that
 * they run on processors without tiles. The arithmetic is that of Intel's manual for TDPBF16PS: float32 sums of the
 * even and of the odd products of a row, one multiply-add after the other, then added together and to the tile. */
#ifndef TILES_EMULATED_H
#define TILES_EMULATED_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct tile_shapes {
    uint8_t palette, start_row, zero[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shapes;

static _Thread_local struct {
    tile_shapes shapes;
    uint8_t tile[8][16][64];
} tiles;

/* What a processor would fault on. */
static inline void tile_must(int holds)
{
    if (!holds)
        abort();
}

static inline void tile_configure(const tile_shapes *shapes)
{
    tile_must(sizeof *shapes == 64 && shapes->palette == 1);
    for (int n = 0; n < 8; n++)
        tile_must(shapes->rows[n] >= 1 && shapes->rows[n] <= 16 && shapes->row_bytes[n] >= 1
                  && shapes->row_bytes[n] <= 64);
    tiles.shapes = *shapes;
    memset(tiles.tile, 0, sizeof tiles.tile);
}

static inline void tile_load(int n, const void *from, size_t stride)
{
    tile_must(tiles.shapes.palette == 1);
    memset(tiles.tile[n], 0, sizeof tiles.tile[n]);
    for (int r = 0; r < tiles.shapes.rows[n]; r++)
        memcpy(tiles.tile[n][r], (const char *)from + (size_t)r * stride, tiles.shapes.row_bytes[n]);
}

static inline void tile_store(int n, void *to, size_t stride)
{
    tile_must(tiles.shapes.palette == 1);
    for (int r = 0; r < tiles.shapes.rows[n]; r++)
        memcpy((char *)to + (size_t)r * stride, tiles.tile[n][r], tiles.shapes.row_bytes[n]);
}

/* A bfloat16 as a float; denormals count as zero. */
static inline float tile_bf16(const uint8_t *p)
{
    uint16_t half;
    memcpy(&half, p, sizeof half);
    const uint32_t bits = half & 0x7f80 ? (uint32_t)half << 16 : (uint32_t)(half & 0x8000) << 16;
    float a;
    memcpy(&a, &bits, sizeof a);
    return a;
}

static inline void tile_dot(int sum, int a, int b)
{
    const tile_shapes *s = &tiles.shapes;
    tile_must(s->palette == 1 && s->rows[sum] == s->rows[a] && s->row_bytes[sum] == s->row_bytes[b]
              && s->rows[b] * 4 == s->row_bytes[a]);
    for (int m = 0; m < s->rows[sum]; m++)
        for (int n = 0; n < s->row_bytes[sum] / 4; n++) {
            float even = 0, odd = 0, old;
            for (int k = 0; k < s->rows[b]; k++) {
                even = fmaf(tile_bf16(&tiles.tile[a][m][4 * k]), tile_bf16(&tiles.tile[b][k][4 * n]), even);
                odd = fmaf(tile_bf16(&tiles.tile[a][m][4 * k + 2]), tile_bf16(&tiles.tile[b][k][4 * n + 2]), odd);
            }
            memcpy(&old, &tiles.tile[sum][m][4 * n], sizeof old);
            old += even + odd;
            memcpy(&tiles.tile[sum][m][4 * n], &old, sizeof old);
        }
}

#define TILE_SHAPES(shapes) tile_configure(shapes)
#define TILES_DONE() memset(&tiles, 0, sizeof tiles)
#define TILE_ZERO(n) memset(tiles.tile[n], 0, sizeof tiles.tile[n])
#define TILE_LOAD(n, from, stride) tile_load(n, from, stride)
#define TILE_STORE(n, to, stride) tile_store(n, to, stride)
#define TILE_DOT(sum, a, b) tile_dot(sum, a, b)
#define TILE_OPERANDS_WRITTEN() ((void)0)

#endif
