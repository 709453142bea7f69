/* block.c -- a program's layers over a block of rows: their memory, what they read and write, their states. */
#include "block.h"

#include <string.h>

/* Bytes between a layer and the one above it, which reads one chunk while the other is written. */
static size_t between(const flstm_program *p, const schedule *s, size_t l, size_t rows)
{
    const int needed = p->stacked && l + 1 < p->layers && !p->calls[l].y;
    return needed ? flstm_align64(2 * s->stride * rows * p->plans[l]->weights.outputs * p->plans[l]->element) : 0;
}

static chain blank_chain(const flstm_program *p, const schedule *s, size_t l, size_t rows)
{
    const flstm_call *call = &p->calls[l];
    chain w = {.plan = p->plans[l], .call = call, .rows = rows, .fused = p->plans[l]->fused_cell && !call->trace,
               .chunk = flstm_chunk(p->plans[l], rows, call->steps) ? s->stride : 0};
    flstm_choose_weights(&w, flstm_takes_wide(p, l));
    return w;
}

/* A workspace: each thread's layers, then what the threads have in common. */
static size_t layers_size(const flstm_program *p)
{
    return flstm_align64(p->layers * sizeof(flstm_layer));
}

static size_t block_size(const flstm_program *p, const schedule *s, size_t rows)
{
    size_t size = (s->share ? 1 : s->threads) * layers_size(p);
    for (size_t l = 0; l < p->layers; l++) {
        chain w = blank_chain(p, s, l, rows);
        size += flstm_lay_out(&w, s->members, 0, NULL) + between(p, s, l, rows);
    }
    return size;
}

/* The last block of so many rows may be a small one, which projects where the others do not. */
static size_t rows_size(const flstm_program *p, const schedule *s, size_t rows)
{
    const size_t block = rows < s->rows ? rows : s->rows, rest = s->rows ? rows % s->rows : 0;
    const size_t size = block_size(p, s, block), last = rest ? block_size(p, s, rest) : 0;
    return flstm_align64(size > last ? size : last);
}

size_t flstm_blocks_size(const flstm_program *p, const schedule *s)
{
    const size_t batch = p->calls[0].batch;
    if (!s->share)
        return rows_size(p, s, batch);
    size_t most = rows_size(p, s, s->rows);
    for (size_t l = 0, rows = 1; l < p->layers; l++) /* few may be left for a last block, which project their input */
        for (; rows < s->rows && rows < p->plans[l]->kernel->tile_rows; rows++) {
            const size_t size = rows_size(p, s, rows);
            most = size > most ? size : most;
        }
    return most;
}

static void fill_state(const chain *w, size_t first_row)
{
    const size_t row = first_row * w->plan->element;
    const char *const h0 = w->call->h0, *const c0 = w->call->c0;
    flstm_fill_states(w, h0 ? h0 + row * w->plan->weights.outputs : NULL, c0 ? c0 + row * w->plan->weights.units : NULL);
}

flstm_layer *flstm_open_layers(const flstm_program *p, const schedule *s, const flstm_part *me, size_t first_row,
                               size_t rows, char *memory)
{
    const size_t members = s->members, thread = me->group * members + me->member;
    flstm_layer *const layers = (flstm_layer *)(void *)(memory + (s->share ? 0 : thread) * layers_size(p));
    memory += (s->share ? 1 : s->threads) * layers_size(p);
    for (size_t l = 0; l < p->layers; l++) {
        const flstm_call *call = &p->calls[l];
        const flstm_plan *plan = p->plans[l];
        const ptrdiff_t e = (ptrdiff_t)plan->element, at = (ptrdiff_t)first_row;
        const ptrdiff_t end = call->go_backwards && call->steps ? (ptrdiff_t)call->steps - 1 : 0;
        const ptrdiff_t way = call->go_backwards ? -1 : 1;
        chain w = blank_chain(p, s, l, rows);
        flstm_take_part(&w, me->steps, me->group * members, members, me->member);
        const flstm_call *below = p->stacked && l > 0 ? call - 1 : NULL;
        layers[l].in = below ? layers[l - 1].out : NULL;
        if (layers[l].in) {
            w.x_row = (ptrdiff_t)plan->weights.features, w.x_step = w.x_row * (ptrdiff_t)rows;
        } else if (below) {
            w.x = (const char *)below->y + at * below->y_batch * e;
            w.x_row = below->y_batch, w.x_step = below->y_step;
        } else if (call->steps) {
            w.x = (const char *)call->x + (at * call->x_batch + end * call->x_step) * e;
            w.x_row = call->x_batch, w.x_step = way * call->x_step;
        }
        const size_t above = between(p, s, l, rows);
        layers[l].out = above ? memory : NULL;
        memory += above;
        if (above) {
            w.y_row = (ptrdiff_t)plan->weights.outputs, w.y_step = w.y_row * (ptrdiff_t)rows;
        } else if (call->y) {
            w.y = (char *)call->y + at * call->y_batch * e;
            w.y_row = call->y_batch, w.y_step = call->y_step;
        }
        if (call->trace) {
            w.trace = (char *)call->trace + at * call->trace_batch * e;
            w.trace_row = call->trace_batch, w.trace_step = call->trace_step;
        }
        if (call->mask) {
            w.mask = call->mask + at * call->mask_batch + end * call->mask_step;
            w.mask_row = call->mask_batch, w.mask_step = way * call->mask_step;
        }
        memory += flstm_lay_out(&w, members, me->member, memory);
        if (me->first <= l && l < me->end) {
            memset(w.seen, 0, rows);
            if (me->member == 0)
                fill_state(&w, first_row);
        }
        layers[l].chain = w;
    }
    return layers;
}

/* The output slot of the last step: the state, or zeros where a row never ran or was held with
 * zero_output_for_mask. The chain's mask stands behind its last step. */
static void last_output(const chain *w, char *last)
{
    const size_t e = w->plan->element, row = w->plan->weights.outputs_padded * e, width = w->plan->weights.outputs * e;
    for (size_t r = 0; r < w->rows; r++) {
        int blank = w->call->steps == 0;
        if (w->mask && w->call->steps) {
            const int held = !w->mask[(ptrdiff_t)r * w->mask_row - w->mask_step];
            blank = !w->seen[r] || (held && w->call->zero_output_for_mask);
        }
        if (blank)
            memset(last + r * width, 0, width);
        else
            memcpy(last + r * width, w->h + r * row, width);
    }
}

void flstm_read_state(const chain *w, size_t first_row)
{
    const size_t row = first_row * w->plan->element, at = row * w->plan->weights.outputs;
    char *const h = w->call->h, *const c = w->call->c;
    if (w->call->last)
        last_output(w, (char *)w->call->last + at);
    flstm_read_states(w, h ? h + at : NULL, c ? c + row * w->plan->weights.units : NULL);
}
