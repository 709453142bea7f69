/* work.c -- how much of a run is worked on at a time, and the memory that takes. */
#include "work.h"

#include <string.h>

enum {
    CHUNK_BYTES = 128 << 10, /* projected gates of a time chunk: they stay in L2 beside the weights */
    CHUNK_STEPS = 24,        /* but enough steps that reading the kernel again is paid for */
    PANEL_BYTES = 384 << 10, /* a vector's weights that L2 keeps while the tiles of a step pass by */
    CHUNK_ROWS = 384,        /* of larger ones, rows times steps that pay for one reading of the kernel */
    STATE_BYTES = 256 << 10, /* states of a row block, likewise */
    LEAST_ROWS = 96,         /* rows that pay for one reading of weights beyond the caches */
    FOLDED_FEATURES = 4      /* so few features are cheaper in the step itself */
};

size_t flstm_chunk(const flstm_plan *plan, size_t rows, size_t steps)
{
    const flstm_weights *w = &plan->weights;
    const int many = rows >= plan->kernel->tile_rows;
    if (steps <= 1 || rows == 0 || w->features <= FOLDED_FEATURES
        || (many && w->kernel.stream + w->recurrent_kernel.stream <= PANEL_BYTES))
        return 0;
    const size_t least = many ? CHUNK_ROWS / rows + 1 : CHUNK_STEPS;
    size_t chunk = many ? 0 : CHUNK_BYTES / (rows * plan->gates * w->padded * plan->element);
    chunk = chunk < least ? least : chunk;
    const size_t chunks = (steps - 1) / chunk + 1;
    return (steps - 1) / chunks + 1; /* even: a short last chunk reads the kernel for few steps */
}

int flstm_takes_wide(const flstm_program *p, size_t layer)
{
    return p->wide && p->plans[layer]->wide && flstm_is_for_wide(p->plans[layer], p->calls[0].batch);
}

size_t flstm_tile_rows(const flstm_program *p, size_t layer)
{
    const flstm_plan *plan = p->plans[layer];
    return (flstm_takes_wide(p, layer) ? plan->wide->kernel : plan->kernel)->tile_rows;
}

size_t flstm_row_block(const flstm_program *p, size_t layer)
{
    const flstm_plan *plan = p->plans[layer];
    const size_t batch = p->calls[0].batch;
    size_t most = STATE_BYTES / (3 * plan->weights.padded * plan->element);
    most = most < LEAST_ROWS ? LEAST_ROWS : most;
    if (batch <= most)
        return batch;
    const size_t blocks = (batch - 1) / most + 1, tile = flstm_tile_rows(p, layer);
    return ((batch - 1) / blocks / tile + 1) * tile;
}

void flstm_choose_weights(chain *w, int wide)
{
    const flstm_plan *plan = w->plan;
    w->kernel = wide ? plan->wide->kernel : plan->kernel;
    w->weights = wide ? &plan->wide->weights : &plan->weights;
    w->candidate = wide ? &plan->wide->candidate : &plan->candidate;
}

size_t flstm_lay_out(chain *w, size_t members, size_t member, char *base)
{
    const size_t rows = w->rows, e = w->plan->element, row = w->plan->weights.padded * e;
    const size_t h_row = w->plan->weights.outputs_padded * e;
    const flstm_plan *const projection = w->plan->update.projection;
    const int between = w->plan->candidate.gates > 0;
    size_t at = 0;
#define PART(pointer, type, bytes, own)                                             \
    do {                                                                            \
        const size_t part = flstm_align64(bytes);                                    \
        if (base)                                                                   \
            w->pointer = (type *)(void *)(base + at + ((own) ? member * part : 0)); \
        at += part * ((own) ? members : 1);                                         \
    } while (0)
    PART(h, char, rows * h_row, 0);
    PART(h_next, char, rows * h_row, 0);
    PART(c, char, flstm_has_c(w->plan) || between ? rows * row : 0, 0);
    PART(reset, char, between ? rows * row : 0, 0);
    PART(gates, char, w->chunk * rows * w->plan->gates * row, 0);
    PART(z, char, w->fused ? 0 : rows * w->plan->sums * row, 0);
    if (projection) {
        PART(m, char, rows * row, 0);
        PART(p, char, rows * 4 * projection->weights.padded * e, 0);
    }
    PART(operands, char, flstm_operands(w->kernel, rows > w->chunk ? rows : w->chunk, w->plan->weights.features,
                                        w->plan->weights.outputs), 1);
    PART(active, uint32_t, rows * sizeof(uint32_t), 1);
    PART(seen, uint8_t, rows, 1);
#undef PART
    return at;
}

void flstm_take_part(chain *w, flstm_meeting *meeting, size_t first, size_t members, size_t member)
{
    const size_t vectors = w->plan->weights.vectors;
    w->vector = vectors * member / members;
    w->vectors = vectors * (member + 1) / members - w->vector;
    if (members > 1)
        w->meet = (flstm_meet_at){meeting, first, members, first + member};
}

void flstm_swap_states(chain *w)
{
    char *const h = w->h;
    w->h = w->h_next;
    w->h_next = h;
    w->swapped ^= 1;
}

static void fill(size_t rows, size_t width, size_t row, const char *from, char *to)
{
    for (size_t r = 0; r < rows; r++, to += row) {
        if (from)
            memcpy(to, from + r * width, width);
        memset(to + (from ? width : 0), 0, from ? row - width : row);
    }
}

static void read(size_t rows, size_t width, size_t row, const char *from, char *to)
{
    for (size_t r = 0; to && r < rows; r++)
        memcpy(to + r * width, from + r * row, width);
}

void flstm_fill_states(const chain *w, const char *h0, const char *c0)
{
    const flstm_weights *s = &w->plan->weights;
    const size_t e = w->plan->element;
    fill(w->rows, s->outputs * e, s->outputs_padded * e, h0, w->h);
    if (flstm_has_c(w->plan))
        fill(w->rows, s->units * e, s->padded * e, c0, w->c);
}

void flstm_read_states(const chain *w, char *h, char *c)
{
    const flstm_weights *s = &w->plan->weights;
    const size_t e = w->plan->element;
    read(w->rows, s->outputs * e, s->outputs_padded * e, w->h, h);
    if (flstm_has_c(w->plan))
        read(w->rows, s->units * e, s->padded * e, w->c, c);
}
