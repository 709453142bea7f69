/* run.c -- whole sequences: row block by row block through all steps. */
#include <string.h>

#include "fpenv.h"
#include "work.h"

size_t flstm_workspace_size(const flstm_plan *plan, size_t batch, size_t steps)
{
    const size_t full = flstm_row_block(plan, batch), rest = full ? batch % full : 0;
    const size_t most = flstm_lay_out(plan, full, steps, NULL, NULL), last = flstm_lay_out(plan, rest, steps, NULL, NULL);
    return most > last ? most : last; /* a small last block may project where the others do not */
}

/* The output slot of the last step: the state, or zeros where a row never ran or was held with
 * zero_output_for_mask. */
static void last_output(const flstm_plan *plan, const work *w, const block *b, char *last)
{
    const size_t row = plan->weights.padded * plan->element, width = plan->weights.units * plan->element;
    for (size_t r = 0; r < w->rows; r++) {
        int blank = b->steps == 0;
        if (b->mask && b->steps) {
            const int held = !b->mask[(ptrdiff_t)r * b->mask_row + (ptrdiff_t)(b->steps - 1) * b->mask_step];
            blank = !w->seen[r] || (held && b->call->zero_output_for_mask);
        }
        if (blank)
            memset(last + r * width, 0, width);
        else
            memcpy(last + r * width, w->h + r * row, width);
    }
}

static flstm_status run_blocks(const flstm_plan *plan, const flstm_call *call, void *workspace, uint32_t caller)
{
    const ptrdiff_t e = (ptrdiff_t)plan->element;
    const size_t most = flstm_row_block(plan, call->batch), width = plan->weights.units * plan->element;
    const ptrdiff_t end = call->go_backwards && call->steps ? (ptrdiff_t)call->steps - 1 : 0;
    const ptrdiff_t way = call->go_backwards ? -1 : 1;
    size_t unpolled = 0;
#define ROW_OF(pointer, stride) ((pointer) ? (char *)(pointer) + (ptrdiff_t)first * (stride) * e : NULL)
    for (size_t first = 0, rows; first < call->batch; first += rows) {
        rows = call->batch - first < most ? call->batch - first : most;
        work w;
        flstm_lay_out(plan, rows, call->steps, workspace, &w);
        const ptrdiff_t units = (ptrdiff_t)plan->weights.units;
        flstm_fill_rows(plan, rows, ROW_OF(call->h0, units), w.h);
        flstm_fill_rows(plan, rows, ROW_OF(call->c0, units), w.c);
        memset(w.seen, 0, rows);
        const block b = {
            .steps = call->steps,
            .x = call->steps ? (const char *)call->x + ((ptrdiff_t)first * call->x_batch + end * call->x_step) * e
                             : call->x,
            .x_row = call->x_batch, .x_step = way * call->x_step,
            .y = ROW_OF(call->y, call->y_batch), .y_row = call->y_batch, .y_step = call->y_step,
            .mask = call->mask ? call->mask + (ptrdiff_t)first * call->mask_batch + end * call->mask_step : NULL,
            .mask_row = call->mask_batch, .mask_step = way * call->mask_step,
            .call = call, .unpolled = &unpolled};
        const flstm_status status = flstm_advance(plan, &w, &b, caller);
        if (status != FLSTM_OK)
            return status;
        if (call->last)
            last_output(plan, &w, &b, (char *)call->last + first * width);
        if (call->h)
            flstm_read_rows(plan, rows, w.h, (char *)call->h + first * width);
        if (call->c)
            flstm_read_rows(plan, rows, w.c, (char *)call->c + first * width);
    }
#undef ROW_OF
    return FLSTM_OK;
}

flstm_status flstm_run(const flstm_plan *plan, const flstm_call *call, void *workspace)
{
    if (!plan || !call || !workspace || (call->batch && call->steps && !call->x) || call->batch > UINT32_MAX)
        return FLSTM_ERR_ARGUMENT;
    const uint32_t caller = fpenv_enter(1);
    const flstm_status status = run_blocks(plan, call, workspace, caller);
    fpenv_leave(caller);
    return status;
}
