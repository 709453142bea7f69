/* stream.c -- sequences step by step: the state stays in the caller's memory between calls. */
#include "fpenv.h"
#include "work.h"

/* A stream's memory: which of the two h buffers holds the state, then a workspace for its rows. */
enum { STREAM_HEADER = 64, STREAM_CHUNK = 64 };

size_t flstm_stream_size(const flstm_plan *plan, size_t batch)
{
    if (batch > SIZE_MAX / 16 / (plan->weights.padded * plan->element))
        return SIZE_MAX; /* more than any allocation grants */
    return STREAM_HEADER + flstm_lay_out(plan, batch, STREAM_CHUNK, NULL, NULL);
}

static work open_stream(const flstm_plan *plan, size_t batch, const void *stream)
{
    work w;
    flstm_lay_out(plan, batch, STREAM_CHUNK, (char *)(uintptr_t)stream + STREAM_HEADER, &w);
    if (*(const uint32_t *)stream)
        flstm_swap_states(&w);
    return w;
}

void flstm_stream_set(const flstm_plan *plan, void *stream, size_t batch, const void *h0, const void *c0)
{
    *(uint32_t *)stream = 0;
    work w = open_stream(plan, batch, stream);
    flstm_fill_rows(plan, batch, h0, w.h);
    flstm_fill_rows(plan, batch, c0, w.c);
}

void flstm_stream_get(const flstm_plan *plan, const void *stream, size_t batch, void *h, void *c)
{
    const work w = open_stream(plan, batch, stream);
    if (h)
        flstm_read_rows(plan, batch, w.h, h);
    if (c)
        flstm_read_rows(plan, batch, w.c, c);
}

flstm_status flstm_stream_run(const flstm_plan *plan, void *stream, size_t batch, size_t steps,
                              const void *x, ptrdiff_t x_batch, ptrdiff_t x_step,
                              void *y, ptrdiff_t y_batch, ptrdiff_t y_step)
{
    if (!plan || !stream || (batch && steps && !x) || batch > UINT32_MAX)
        return FLSTM_ERR_ARGUMENT;
    if (batch == 0)
        return FLSTM_OK;
    const uint32_t caller = fpenv_enter(1);
    work w = open_stream(plan, batch, stream);
    const block b = {.steps = steps, .x = x, .x_row = x_batch, .x_step = x_step,
                     .y = y, .y_row = y_batch, .y_step = y_step};
    const flstm_status status = flstm_advance(plan, &w, &b, caller);
    *(uint32_t *)stream = (uint32_t)w.swapped;
    fpenv_leave(caller);
    return status;
}
