/* run.c -- the schedules: row blocks, time chunks, masks, streams. Which arithmetic happens where is
 * the kernel's business (kernel.h); how much of it at a time, and on which rows, is decided here. */
#include <string.h>

#include "fpenv.h"
#include "plan.h"

enum {
    CHUNK_BYTES = 128 << 10,  /* projected gates of a time chunk: they stay in L2 beside the weights */
    CHUNK_STEPS = 24,         /* but enough steps that reading the kernel again is paid for */
    STATE_BYTES = 256 << 10,  /* states of a row block, likewise */
    LEAST_ROWS = 48,          /* rows that pay for one reading of weights beyond the caches */
    FEATURE_BLOCK = 512,      /* features whose weights stay in L2 while the rows pass by */
    FOLDED_FEATURES = 4,      /* so few features are cheaper in the step itself */
    POLL_WORK = 1 << 24       /* multiply-adds between two polls: a few milliseconds */
};

/* A workspace's parts. All rows are `padded` elements, gates 4 * padded. */
typedef struct work {
    size_t rows;
    size_t chunk;     /* steps of gates */
    char *h, *h_next, *c;
    int swapped;      /* h and h_next have changed places: the step is an odd one */
    char *gates;      /* [chunk, rows, 4, padded]: the input's share of the sums */
    char *z;          /* [rows, 4, padded]: whole sums, where the cell is not the kernel's */
    uint32_t *active; /* rows that the mask lets run at this step */
    uint8_t *seen;    /* rows that ran at some step of this call */
} work;

/* What one row block has to do. */
typedef struct block {
    size_t steps;
    const char *x;
    ptrdiff_t x_row, x_step;
    char *y;
    ptrdiff_t y_row, y_step;
    const uint8_t *mask;
    ptrdiff_t mask_row, mask_step;
    const flstm_call *call; /* NULL in a stream: no mask, no poll */
} block;

/* Steps whose projected gates are kept at once; 0 where the step itself takes the input in. */
static size_t chunk_steps(const flstm_plan *plan, size_t rows, size_t steps)
{
    if (steps <= 1 || rows == 0 || rows >= plan->kernel->tile_rows || plan->weights.features <= FOLDED_FEATURES)
        return 0;
    size_t chunk = CHUNK_BYTES / (rows * 4 * plan->weights.padded * plan->element);
    chunk = chunk < CHUNK_STEPS ? CHUNK_STEPS : chunk;
    const size_t chunks = (steps + chunk - 1) / chunk;
    return (steps + chunks - 1) / chunks; /* even: a short last chunk reads the kernel for few steps */
}

/* Rows that run through all steps together. */
static size_t row_block(const flstm_plan *plan, size_t batch)
{
    size_t most = STATE_BYTES / (3 * plan->weights.padded * plan->element);
    most = most < LEAST_ROWS ? LEAST_ROWS : most;
    if (batch <= most)
        return batch;
    const size_t blocks = (batch + most - 1) / most, tile = plan->kernel->tile_rows;
    return ((batch + blocks - 1) / blocks + tile - 1) / tile * tile;
}

/* Cuts a workspace into its parts; returns its size. With base NULL, only that. */
static size_t lay_out(const flstm_plan *plan, size_t rows, size_t steps, char *base, work *w)
{
    const size_t chunk = chunk_steps(plan, rows, steps);
    const size_t row = plan->weights.padded * plan->element;
    size_t at = 0;
#define PART(pointer, type, bytes)                          \
    do {                                                    \
        if (base)                                           \
            w->pointer = (type *)(void *)(base + at);       \
        at += ((bytes) + 63) / 64 * 64;                     \
    } while (0)
    PART(h, char, rows * row);
    PART(h_next, char, rows * row);
    PART(c, char, rows * row);
    PART(gates, char, chunk * rows * 4 * row);
    PART(z, char, plan->fused_cell ? 0 : rows * 4 * row);
    PART(active, uint32_t, rows * sizeof(uint32_t));
    PART(seen, uint8_t, rows);
#undef PART
    if (base)
        w->rows = rows, w->chunk = chunk, w->swapped = 0;
    return at;
}

static void swap_states(work *w)
{
    char *const h = w->h;
    w->h = w->h_next;
    w->h_next = h;
    w->swapped ^= 1;
}

/* ---- state in and out of its padded rows ------------------------------------------------------- */

static void fill_rows(const flstm_plan *plan, size_t rows, const char *from, char *to)
{
    const size_t width = plan->weights.units * plan->element, row = plan->weights.padded * plan->element;
    for (size_t r = 0; r < rows; r++, to += row) {
        if (from)
            memcpy(to, from + r * width, width);
        memset(to + (from ? width : 0), 0, from ? row - width : row);
    }
}

static void read_rows(const flstm_plan *plan, size_t rows, const char *from, char *to)
{
    const size_t width = plan->weights.units * plan->element, row = plan->weights.padded * plan->element;
    for (size_t r = 0; r < rows; r++)
        memcpy(to + r * width, from + r * row, width);
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* The input's share of the sums for `steps` steps, as one product with steps in the place of rows. */
static void project(const flstm_plan *plan, const work *w, size_t steps, const char *x, ptrdiff_t x_row,
                    ptrdiff_t x_step)
{
    const ptrdiff_t e = (ptrdiff_t)plan->element, gates = 4 * (ptrdiff_t)plan->weights.padded;
    for (size_t r = 0; r < w->rows; r++) {
        char *const z = w->gates + (ptrdiff_t)r * gates * e;
        for (size_t first = 0; first < plan->weights.features; first += FEATURE_BLOCK) {
            const size_t left = plan->weights.features - first;
            const flstm_sweep s = {
                .steps = 1, .rows = steps,
                .init = first ? z : plan->weights.bias, .init_row = first ? gates * (ptrdiff_t)w->rows : 0,
                .x = x + (ptrdiff_t)r * x_row * e, .x_row = x_step,
                .x_first = first, .x_count = left < FEATURE_BLOCK ? left : FEATURE_BLOCK,
                .z = z, .z_row = gates * (ptrdiff_t)w->rows};
            plan->kernel->sweep(&plan->weights, &s);
        }
    }
}

/* Cell update of one row from its sums in z, for activations that the kernel does not hold. */
static void update_row(const flstm_plan *plan, char *z, char *c, char *h)
{
    const size_t n = plan->weights.units, gate = plan->weights.padded * plan->element;
    const flstm_kernel *kernel = plan->kernel;
    const flstm_activation inner = plan->activation, outer = plan->recurrent_activation;
    char *const i = z, *const f = z + gate, *const g = z + 2 * gate, *const o = z + 3 * gate;
    flstm_apply(kernel, plan->dtype, outer, 1, n, i, i);
    flstm_apply(kernel, plan->dtype, outer, 1, n, f, f);
    flstm_apply(kernel, plan->dtype, inner, 1, n, g, g);
    flstm_apply(kernel, plan->dtype, outer, 1, n, o, o);
    if (plan->dtype == FLSTM_F32)
        flstm_cell_state_f32(n, f, i, g, c);
    else
        flstm_cell_state_f64(n, f, i, g, c);
    flstm_apply(kernel, plan->dtype, inner, 1, n, c, g);
    if (plan->dtype == FLSTM_F32)
        flstm_product_f32(n, o, g, h);
    else
        flstm_product_f64(n, o, g, h);
}

/* Runs the sweep s, whose init and x are set, for the rows in w->active (count of them; all: every
 * row), from w->h to where the states end up, and writes y. */
static void run_sweep(const flstm_plan *plan, work *w, flstm_sweep *s, size_t count, char *y,
                      ptrdiff_t y_row, ptrdiff_t y_step)
{
    const size_t row = plan->weights.padded * plan->element, e = plan->element;
    s->rows = count;
    s->row = count == w->rows ? NULL : w->active;
    s->h = w->h, s->h_next = w->h_next, s->c = w->c;
    s->backwards = w->swapped;
    if (plan->fused_cell) {
        s->y = y, s->y_row = y_row, s->y_step = y_step;
        plan->kernel->sweep(&plan->weights, s);
        if (s->steps % 2)
            swap_states(w);
        return;
    }
    const size_t steps = s->steps;
    s->steps = 1;
    s->z = w->z, s->z_row = 4 * (ptrdiff_t)plan->weights.padded;
    for (size_t t = 0; t < steps; t++) {
        s->h = w->h, s->backwards = w->swapped;
        plan->kernel->sweep(&plan->weights, s);
        for (size_t k = 0; k < count; k++) {
            const size_t r = s->row ? w->active[k] : k;
            update_row(plan, w->z + 4 * r * row, w->c + r * row, w->h_next + r * row);
            if (y)
                memcpy(y + ((ptrdiff_t)r * y_row + (ptrdiff_t)t * y_step) * (ptrdiff_t)e, w->h_next + r * row,
                       plan->weights.units * e);
        }
        swap_states(w);
        s->init = (const char *)s->init + s->init_step * (ptrdiff_t)e;
        if (s->x)
            s->x = (const char *)s->x + s->x_step * (ptrdiff_t)e;
    }
}

/* One step under a mask: rows that are held keep their state and output what they last did. */
static void masked_step(const flstm_plan *plan, work *w, flstm_sweep *s, const uint8_t *mask, ptrdiff_t mask_row,
                        int zero_output, char *y, ptrdiff_t y_row)
{
    const size_t row = plan->weights.padded * plan->element, width = plan->weights.units * plan->element;
    size_t count = 0;
    for (size_t r = 0; r < w->rows; r++)
        if (mask[(ptrdiff_t)r * mask_row]) {
            w->active[count++] = (uint32_t)r;
            w->seen[r] = 1;
        }
    for (size_t r = 0; r < w->rows; r++) {
        if (mask[(ptrdiff_t)r * mask_row])
            continue;
        if (count) /* the others' step changes the buffers */
            memcpy(w->h_next + r * row, w->h + r * row, row);
        if (y && w->seen[r] && !zero_output)
            memcpy(y + (ptrdiff_t)r * y_row * (ptrdiff_t)plan->element, w->h + r * row, width);
        else if (y)
            memset(y + (ptrdiff_t)r * y_row * (ptrdiff_t)plan->element, 0, width);
    }
    if (count)
        run_sweep(plan, w, s, count, y, y_row, 0);
}

/* `steps` steps from s's init and x on, with or without a mask. */
static void run_steps(const flstm_plan *plan, work *w, const flstm_sweep *from, size_t steps, const block *b,
                      size_t done)
{
    const ptrdiff_t e = (ptrdiff_t)plan->element;
    char *y = b->y ? b->y + (ptrdiff_t)done * b->y_step * e : NULL;
    flstm_sweep s = *from;
    if (!b->mask) {
        s.steps = steps;
        run_sweep(plan, w, &s, w->rows, y, b->y_row, b->y_step);
        return;
    }
    for (size_t t = 0; t < steps; t++) {
        s = *from;
        s.steps = 1;
        s.init = (const char *)s.init + (ptrdiff_t)t * s.init_step * e;
        if (s.x)
            s.x = (const char *)s.x + (ptrdiff_t)t * s.x_step * e;
        masked_step(plan, w, &s, b->mask + (ptrdiff_t)(done + t) * b->mask_step, b->mask_row,
                    b->call->zero_output_for_mask, y ? y + (ptrdiff_t)t * b->y_step * e : NULL, b->y_row);
    }
}

static flstm_status advance(const flstm_plan *plan, work *w, const block *b)
{
    const ptrdiff_t e = (ptrdiff_t)plan->element, gates = 4 * (ptrdiff_t)plan->weights.padded;
    const int project_first = b->steps > 1 && w->chunk > 0;
    const int polls = b->call && b->call->poll;
    const size_t work = w->rows * 4 * plan->weights.padded * (plan->weights.features + plan->weights.units);
    const size_t unpolled = polls ? POLL_WORK / work + 1 : b->steps;
    size_t since_poll = 0, projected = 0; /* steps, and the step up to which the gates hold the input */
    flstm_sweep s = {.init = plan->weights.bias, .x_count = plan->weights.features,
                     .x_row = b->x_row, .x_step = b->x_step};
    if (project_first)
        s = (flstm_sweep){.init_row = gates, .init_step = gates * (ptrdiff_t)w->rows};

    for (size_t done = 0, n; done < b->steps; done += n) {
        const char *const x = b->x + (ptrdiff_t)done * b->x_step * e;
        n = b->steps - done < unpolled ? b->steps - done : unpolled;
        if (!project_first) {
            s.x = x;
        } else {
            if (done == projected) {
                const size_t chunk = b->steps - done < w->chunk ? b->steps - done : w->chunk;
                project(plan, w, chunk, x, b->x_row, b->x_step);
                projected = done + chunk;
                s.init = w->gates;
            }
            n = projected - done < n ? projected - done : n;
        }
        run_steps(plan, w, &s, n, b, done);
        if (project_first)
            s.init = (const char *)s.init + (ptrdiff_t)n * s.init_step * e;
        since_poll += n;
        if (polls && since_poll >= unpolled) {
            since_poll = 0;
            if (b->call->poll(b->call->poll_arg))
                return FLSTM_ERR_INTERRUPTED;
        }
    }
    return FLSTM_OK;
}

/* ---- whole sequences --------------------------------------------------------------------------- */

size_t flstm_workspace_size(const flstm_plan *plan, size_t batch, size_t steps)
{
    const size_t block = row_block(plan, batch), rest = block ? batch % block : 0;
    const size_t most = lay_out(plan, block, steps, NULL, NULL), last = lay_out(plan, rest, steps, NULL, NULL);
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

static flstm_status run_blocks(const flstm_plan *plan, const flstm_call *call, void *workspace)
{
    const ptrdiff_t e = (ptrdiff_t)plan->element;
    const size_t most = row_block(plan, call->batch), width = plan->weights.units * plan->element;
    const ptrdiff_t end = call->go_backwards && call->steps ? (ptrdiff_t)call->steps - 1 : 0;
    const ptrdiff_t way = call->go_backwards ? -1 : 1;
#define ROW_OF(pointer, stride) ((pointer) ? (char *)(pointer) + (ptrdiff_t)first * (stride) * e : NULL)
    for (size_t first = 0, rows; first < call->batch; first += rows) {
        rows = call->batch - first < most ? call->batch - first : most;
        work w;
        lay_out(plan, rows, call->steps, workspace, &w);
        const ptrdiff_t units = (ptrdiff_t)plan->weights.units;
        fill_rows(plan, rows, ROW_OF(call->h0, units), w.h);
        fill_rows(plan, rows, ROW_OF(call->c0, units), w.c);
        memset(w.seen, 0, rows);
        const block b = {
            .steps = call->steps,
            .x = call->steps ? (const char *)call->x + ((ptrdiff_t)first * call->x_batch + end * call->x_step) * e
                             : call->x,
            .x_row = call->x_batch, .x_step = way * call->x_step,
            .y = ROW_OF(call->y, call->y_batch), .y_row = call->y_batch, .y_step = call->y_step,
            .mask = call->mask ? call->mask + (ptrdiff_t)first * call->mask_batch + end * call->mask_step : NULL,
            .mask_row = call->mask_batch, .mask_step = way * call->mask_step,
            .call = call};
        const flstm_status status = advance(plan, &w, &b);
        if (status != FLSTM_OK)
            return status;
        if (call->last)
            last_output(plan, &w, &b, (char *)call->last + first * width);
        if (call->h)
            read_rows(plan, rows, w.h, (char *)call->h + first * width);
        if (call->c)
            read_rows(plan, rows, w.c, (char *)call->c + first * width);
    }
#undef ROW_OF
    return FLSTM_OK;
}

flstm_status flstm_run(const flstm_plan *plan, const flstm_call *call, void *workspace)
{
    if (!plan || !call || !workspace || (call->batch && call->steps && !call->x) || call->batch > UINT32_MAX)
        return FLSTM_ERR_ARGUMENT;
    const uint32_t caller = fpenv_enter();
    const flstm_status status = run_blocks(plan, call, workspace);
    fpenv_leave(caller);
    return status;
}

/* ---- streams ----------------------------------------------------------------------------------- */

/* A stream's memory: which of the two h buffers holds the state, then a workspace for its rows. */
enum { STREAM_HEADER = 64, STREAM_CHUNK = 64 };

size_t flstm_stream_size(const flstm_plan *plan, size_t batch)
{
    if (batch > SIZE_MAX / 16 / (plan->weights.padded * plan->element))
        return SIZE_MAX; /* more than any allocation grants */
    return STREAM_HEADER + lay_out(plan, batch, STREAM_CHUNK, NULL, NULL);
}

static work open_stream(const flstm_plan *plan, size_t batch, const void *stream)
{
    work w;
    lay_out(plan, batch, STREAM_CHUNK, (char *)(uintptr_t)stream + STREAM_HEADER, &w);
    if (*(const uint32_t *)stream)
        swap_states(&w);
    return w;
}

void flstm_stream_set(const flstm_plan *plan, void *stream, size_t batch, const void *h0, const void *c0)
{
    *(uint32_t *)stream = 0;
    work w = open_stream(plan, batch, stream);
    fill_rows(plan, batch, h0, w.h);
    fill_rows(plan, batch, c0, w.c);
}

void flstm_stream_get(const flstm_plan *plan, const void *stream, size_t batch, void *h, void *c)
{
    const work w = open_stream(plan, batch, stream);
    if (h)
        read_rows(plan, batch, w.h, h);
    if (c)
        read_rows(plan, batch, w.c, c);
}

flstm_status flstm_stream_run(const flstm_plan *plan, void *stream, size_t batch, size_t steps,
                              const void *x, ptrdiff_t x_batch, ptrdiff_t x_step,
                              void *y, ptrdiff_t y_batch, ptrdiff_t y_step)
{
    if (!plan || !stream || (batch && steps && !x) || batch > UINT32_MAX)
        return FLSTM_ERR_ARGUMENT;
    if (batch == 0)
        return FLSTM_OK;
    const uint32_t caller = fpenv_enter();
    work w = open_stream(plan, batch, stream);
    const block b = {.steps = steps, .x = x, .x_row = x_batch, .x_step = x_step,
                     .y = y, .y_row = y_batch, .y_step = y_step};
    const flstm_status status = advance(plan, &w, &b);
    *(uint32_t *)stream = (uint32_t)w.swapped;
    fpenv_leave(caller);
    return status;
}
