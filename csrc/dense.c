/* dense.c -- dense layers over the LSTM's kernels: the outputs are packed as if they were four gates. */
#include <string.h>

#include "fpenv.h"
#include "work.h"

enum { ROWS = 48 }; /* rows whose sums are kept at once; a multiple of every tile */

struct flstm_dense {
    flstm_plan plan;
};

flstm_status flstm_dense_create(flstm_dense **dense, const flstm_config *config, const void *kernel,
                                const void *bias)
{
    if (!dense)
        return FLSTM_ERR_ARGUMENT;
    *dense = NULL;
    if (!flstm_config_valid(config) || config->variant || config->precision != FLSTM_FULL || !kernel)
        return FLSTM_ERR_ARGUMENT;
    if (config->units > SIZE_MAX / 64)
        return FLSTM_ERR_SIZE;
    flstm_config four = *config;
    four.cell = FLSTM_CELL_LSTM;
    return flstm_pack_plan((flstm_plan **)dense, &four, (four.units - 1) / 4 + 1, four.units, kernel, NULL, bias);
}

void flstm_dense_destroy(flstm_dense *dense)
{
    flstm_plan_destroy((flstm_plan *)dense);
}

size_t flstm_dense_workspace_size(const flstm_dense *dense, size_t rows)
{
    return (rows < ROWS ? rows : ROWS) * 4 * dense->plan.weights.padded * dense->plan.element;
}

void flstm_dense_rows(const flstm_plan *plan, size_t rows, const char *x, ptrdiff_t x_row, char *to, size_t to_row,
                      const uint32_t *row, char *z)
{
    const size_t e = plan->element, units = plan->weights.units, gate = plan->weights.padded * e;
    flstm_products(plan, rows, x, x_row, z, 4 * (ptrdiff_t)plan->weights.padded);
    for (size_t r = 0; r < rows; r++)
        for (size_t g = 0; g < 4 && g * units < plan->columns; g++) {
            const size_t left = plan->columns - g * units;
            memcpy(to + (row ? row[r] : r) * to_row + g * units * e, z + (4 * r + g) * gate,
                   (left < units ? left : units) * e);
        }
}

flstm_status flstm_dense_run(const flstm_dense *dense, size_t rows, const void *x, ptrdiff_t x_row, void *y,
                             void *workspace)
{
    if (!dense || !workspace || (rows && (!x || !y)))
        return FLSTM_ERR_ARGUMENT;
    const flstm_plan *plan = &dense->plan;
    const size_t row = plan->columns * plan->element;
    const char *from = x;
    char *to = y;
    const uint32_t caller = fpenv_enter(1);
    for (size_t done = 0, n; done < rows; done += n) {
        n = rows - done < ROWS ? rows - done : ROWS;
        flstm_dense_rows(plan, n, from, x_row, to, row, NULL, workspace);
        if (plan->activation != FLSTM_ACT_linear)
            flstm_apply(plan->kernel, plan->dtype, plan->activation, n, plan->columns, to, to);
        from += (ptrdiff_t)n * x_row * (ptrdiff_t)plan->element;
        to += n * row;
    }
    fpenv_leave(caller);
    return FLSTM_OK;
}
