/* tiles_amx.h -- the instructions of AMX under names of ours, which the tests can give another meaning: included
 * by kernel_amx_*.c, within their target region. Tiles are numbered by constants. */
#ifndef TILE_LOAD

/* What LDTILECFG reads. */
typedef struct tile_shapes {
    uint8_t palette, start_row, zero[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shapes;

#define TILE_SHAPES(shapes) __asm__ volatile("ldtilecfg %0" : : "m"(*(shapes)))
#define TILES_DONE() _tile_release()
#define TILE_ZERO(tile) _tile_zero(tile)
#define TILE_LOAD(tile, from, stride) _tile_loadd(tile, from, stride)
#define TILE_STORE(tile, to, stride) _tile_stored(tile, to, stride)
#define TILE_DOT(sum, a, b) _tile_dpbf16ps(sum, a, b)
/* the loads do not tell the compiler that they read memory */
#define TILE_OPERANDS_WRITTEN() __asm__ volatile("" : : : "memory")

#endif
