/* steps.c -- the time loop of a row block: projection in chunks, masks, cells that no kernel holds. */
#include <string.h>

#include "fpenv.h"
#include "work.h"

enum {
    FEATURE_BLOCK = 512, /* features whose weights stay in L2 while the rows pass by */
    POLL_WORK = 1 << 24  /* multiply-adds between two polls: a few milliseconds */
};

void flstm_products(const flstm_plan *plan, size_t rows, const char *x, ptrdiff_t x_row, char *z, ptrdiff_t z_row)
{
    for (size_t first = 0; first < plan->weights.features; first += FEATURE_BLOCK) {
        const size_t left = plan->weights.features - first;
        const flstm_sweep s = {
            .steps = 1, .rows = rows,
            .init = first ? z : plan->weights.bias, .init_row = first ? z_row : 0,
            .x = x, .x_row = x_row,
            .x_first = first, .x_count = left < FEATURE_BLOCK ? left : FEATURE_BLOCK,
            .z = z, .z_row = z_row};
        plan->kernel->sweep(&plan->weights, &s);
    }
}

/* The input's share of the sums for `steps` steps, as one product with steps in the place of rows. */
static void project(const flstm_plan *plan, const work *w, size_t steps, const char *x, ptrdiff_t x_row,
                    ptrdiff_t x_step)
{
    const ptrdiff_t e = (ptrdiff_t)plan->element, gates = 4 * (ptrdiff_t)plan->weights.padded;
    for (ptrdiff_t r = 0; r < (ptrdiff_t)w->rows; r++)
        flstm_products(plan, steps, x + r * x_row * e, x_step, w->gates + r * gates * e, gates * (ptrdiff_t)w->rows);
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
            flstm_swap_states(w);
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
        flstm_swap_states(w);
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

flstm_status flstm_advance(const flstm_plan *plan, work *w, const block *b, uint32_t caller)
{
    const ptrdiff_t e = (ptrdiff_t)plan->element, gates = 4 * (ptrdiff_t)plan->weights.padded;
    const int project_first = b->steps > 1 && w->chunk > 0;
    const int polls = b->call && b->call->poll;
    const size_t per_step = w->rows * 4 * plan->weights.padded * (plan->weights.features + plan->weights.units);
    const size_t most = polls ? POLL_WORK / per_step + 1 : b->steps;
    size_t projected = 0; /* the step up to which the gates hold the input */
    flstm_sweep s = {.init = plan->weights.bias, .x_count = plan->weights.features,
                     .x_row = b->x_row, .x_step = b->x_step};
    if (project_first)
        s = (flstm_sweep){.init_row = gates, .init_step = gates * (ptrdiff_t)w->rows};

    for (size_t done = 0, n; done < b->steps; done += n) {
        const char *const x = b->x + (ptrdiff_t)done * b->x_step * e;
        n = b->steps - done < most ? b->steps - done : most;
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
        if (polls && (*b->unpolled += n * per_step) >= POLL_WORK) {
            *b->unpolled = 0;
            fpenv_leave(caller); /* the poll is the caller's code */
            const int stop = b->call->poll(b->call->poll_arg);
            fpenv_enter(1);
            if (stop)
                return FLSTM_ERR_INTERRUPTED;
        }
    }
    return FLSTM_OK;
}
