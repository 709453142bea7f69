/* steps.c -- the time loop of a row block: projection in chunks, masks, several layers side by side. */
#include <string.h>

#include "cells.h"
#include "fpenv.h"
#include "mask.h"

enum {
    FEATURE_BLOCK = 512,      /* features whose weights stay in L2 while the rows pass by */
    FEATURE_REST = 32,        /* so few more go with the last block: by themselves they are summed otherwise */
    SOME_BYTES = 256 << 10,   /* weights that stay in L2 while the rows of a batch are projected */
    POLL_WORK = 1 << 24,      /* multiply-adds between two polls: a few milliseconds */
    LATENT_UNITS = 16         /* so few that a step waits for itself longer than it computes */
};

static void products(const flstm_kernel *kernel, const flstm_weights *weights, size_t vector, size_t vectors,
                     size_t rows, const char *x, ptrdiff_t x_row, char *z, ptrdiff_t z_row, void *operands)
{
    /* of bytes a row is rounded as a whole, wherever it is multiplied */
    const size_t block = kernel->form == FLSTM_FORM_I8 ? weights->features : FEATURE_BLOCK;
    for (size_t first = 0, n; first < weights->features; first += n) {
        const size_t left = weights->features - first;
        n = left <= block + FEATURE_REST ? left : block;
        const flstm_sweep s = {
            .weights = weights, .vector = vector, .vectors = vectors, .rows = rows,
            .init = first ? z : weights->bias, .init_row = first ? z_row : 0,
            .x = x, .x_row = x_row,
            .x_first = first, .x_count = n,
            .z = z, .z_row = z_row, .operands = operands};
        kernel->sweeps(1, &s, 1);
    }
}

void flstm_products(const flstm_plan *plan, size_t rows, const char *x, ptrdiff_t x_row, char *z, ptrdiff_t z_row)
{
    products(plan->kernel, &plan->weights, 0, plan->weights.vectors, rows, x, x_row, z, z_row, NULL);
}

/* The same for some of a chain's vectors of units and `steps` steps, with steps in the place of rows. */
static void project_part(const chain *w, size_t vector, size_t vectors, size_t steps)
{
    const flstm_plan *plan = w->plan;
    const ptrdiff_t e = (ptrdiff_t)plan->element, padded = (ptrdiff_t)plan->weights.padded;
    const ptrdiff_t gates = (ptrdiff_t)plan->gates * padded, step = gates * (ptrdiff_t)w->rows;
    for (ptrdiff_t r = 0; r < (ptrdiff_t)w->rows; r++) {
        size_t first = 0;
        const size_t n = w->mask ? flstm_span(w, (size_t)r, steps, &first) : steps;
        if (n == 0)
            continue;
        const char *const x = w->x + (r * w->x_row + (ptrdiff_t)first * w->x_step) * e;
        char *const z = w->gates + (r * gates + (ptrdiff_t)first * step) * e;
        products(w->kernel, w->weights, vector, vectors, n, x, w->x_step, z, step, w->operands);
        if (plan->candidate.gates)
            products(w->kernel, w->candidate, vector, vectors, n, x, w->x_step,
                     z + (ptrdiff_t)plan->weights.gates * padded * e, step, w->operands);
    }
}

/* The input's share of the sums for `steps` steps. Of several rows each reads what the one before left in L2. */
static void project(const chain *w, size_t steps)
{
    const size_t stream = w->weights->kernel.stream, some = stream < SOME_BYTES ? SOME_BYTES / stream : 1;
    const size_t most = w->rows > 1 ? some : w->vectors;
    for (size_t done = 0, n; done < w->vectors; done += n) {
        n = w->vectors - done < most ? w->vectors - done : most;
        project_part(w, w->vector + done, n, steps);
    }
}

/* The sweeps, one or two, that take a chain on from where it is; returns how many. projected: gates hold the
 * input, of which so many steps are used up; -1: they do not. */
static size_t sweeps_of(const chain *w, ptrdiff_t projected, flstm_sweep s[2])
{
    const flstm_plan *plan = w->plan;
    const ptrdiff_t gates = (ptrdiff_t)(plan->gates * plan->weights.padded), step = gates * (ptrdiff_t)w->rows;
    s[0] = (flstm_sweep){
        .weights = w->weights, .vector = w->vector, .vectors = w->vectors, .meet = w->meet, .rows = w->rows,
        .backwards = w->swapped, .h = w->h, .h_next = w->h_next, .c = w->c, .reset = w->reset,
        .y = w->y, .y_row = w->y_row, .y_step = w->y_step, .operands = w->operands};
    if (projected >= 0) {
        s[0].init = w->gates + projected * step * (ptrdiff_t)plan->element;
        s[0].init_row = gates, s[0].init_step = step;
    } else {
        s[0].init = w->weights->bias;
        s[0].x = w->x, s[0].x_count = plan->weights.features, s[0].x_row = w->x_row, s[0].x_step = w->x_step;
    }
    if (!plan->candidate.gates)
        return 1;
    s[1] = s[0];
    s[1].weights = w->candidate;
    s[1].init = projected < 0 ? w->candidate->bias
                              : (const char *)s[0].init + plan->weights.gates * plan->weights.padded * plan->element;
    return 2;
}

/* The chain has its inputs and outputs `steps` later. */
static void move(chain *w, size_t steps)
{
    const ptrdiff_t n = (ptrdiff_t)steps, e = (ptrdiff_t)w->plan->element;
    if (w->x)
        w->x += n * w->x_step * e;
    if (w->y)
        w->y += n * w->y_step * e;
    if (w->trace)
        w->trace += n * w->trace_step * e;
    if (w->mask)
        w->mask += n * w->mask_step;
}

/* What cells.c has left of `count` rows' outputs in m becomes h. */
static void project_outputs(const chain *w, size_t count, const uint32_t *row)
{
    const flstm_plan *plan = w->plan, *projection = plan->update.projection;
    const size_t h_row = plan->weights.outputs_padded * plan->element;
    flstm_dense_rows(projection, count, w->m, (ptrdiff_t)plan->weights.padded, w->h_next, h_row, row, w->p);
    for (size_t k = 0; plan->update.projection_clip > 0 && k < count; k++)
        flstm_clip(plan->dtype, plan->update.projection_clip, plan->weights.outputs,
                   w->h_next + (row ? row[k] : k) * h_row);
}

/* One step of a cell that no kernel holds, for the sweeps' rows. */
static void foreign_step(chain *w, size_t count, flstm_sweep s[2])
{
    const flstm_plan *plan = w->plan;
    const size_t e = plan->element, row = plan->weights.padded * e, sums = plan->sums * row;
    const size_t h_row = plan->weights.outputs_padded * e, rows = s->rows;
    char *z = w->z;
    for (size_t i = 0; i < count; z += s[i++].weights->gates * row) {
        s[i].z = z, s[i].z_row = (ptrdiff_t)(plan->sums * plan->weights.padded);
        w->kernel->sweeps(1, &s[i], 1);
        for (size_t k = 0; k < rows; k++) {
            const size_t r = s->row ? s->row[k] : k;
            char *const h = w->h + r * h_row;
            if (i + 1 < count)
                flstm_reset_row(plan, w->z + r * sums, h, w->reset + r * row);
            else
                flstm_update_row(plan, w->z + r * sums, w->c + r * row, h,
                                 plan->update.projection ? w->m + k * row : w->h_next + r * h_row,
                                 w->trace ? w->trace + (ptrdiff_t)r * w->trace_row * (ptrdiff_t)e : NULL);
        }
    }
    if (plan->update.projection)
        project_outputs(w, rows, s->row);
    for (size_t k = 0; w->y && k < rows; k++) {
        const size_t r = s->row ? s->row[k] : k;
        memcpy(w->y + (ptrdiff_t)r * w->y_row * (ptrdiff_t)e, w->h_next + r * h_row, plan->weights.outputs * e);
    }
}

/* `steps` steps for the first `count` of the active rows, or for all. */
static void run_rows(chain *w, ptrdiff_t projected, size_t count, size_t steps)
{
    const size_t most = w->fused ? steps : 1;
    for (size_t done = 0; done < steps; done += most) {
        flstm_sweep s[2];
        const size_t sweeps = sweeps_of(w, projected < 0 ? projected : projected + (ptrdiff_t)done, s);
        for (size_t i = 0; i < sweeps; i++) {
            s[i].rows = count;
            s[i].row = count == w->rows ? NULL : w->active;
        }
        if (w->fused)
            w->kernel->sweeps(sweeps, s, most);
        else
            foreign_step(w, sweeps, s);
        if (most % 2)
            flstm_swap_states(w);
        move(w, most);
    }
}

/* A stretch of steps under a mask: as many together as the same rows run. */
static void run_masked(chain *w, ptrdiff_t projected, size_t steps)
{
    for (size_t t = 0, end, count; t < steps; t = end) {
        end = flstm_choose_rows(w, t, steps, &count);
        if (count) {
            run_rows(w, projected < 0 ? projected : projected + (ptrdiff_t)t, count, end - t);
            continue;
        }
        if (w->meet.meeting) /* which the sweep would have done: others may read what is put out */
            flstm_meet(w->meet.meeting, w->meet.first, w->meet.members, w->meet.member);
        move(w, end - t);
    }
    flstm_end_stretch(w);
}

/* `steps` steps of one chain. */
static void run_alone(chain *w, ptrdiff_t projected, size_t steps)
{
    if (!w->mask)
        run_rows(w, projected, w->rows, steps);
    for (size_t done = 0, n; w->mask && done < steps; done += n) {
        n = steps - done < FLSTM_STRETCH ? steps - done : FLSTM_STRETCH;
        run_masked(w, projected < 0 ? projected : projected + (ptrdiff_t)done, n);
    }
}

/* `steps` steps of several chains of one row that no mask or foreign cell stops, side by side. */
static void run_together(size_t count, chain *const w[], const ptrdiff_t projected[], size_t steps)
{
    flstm_sweep s[FLSTM_MOST_SWEEPS];
    size_t sweeps = sweeps_of(w[0], projected[0], s);
    for (size_t i = 1; i < count; i++)
        sweeps += sweeps_of(w[i], projected[i], s + sweeps);
    w[0]->kernel->sweeps(sweeps, s, steps);
    for (size_t i = 0; i < count; i++) {
        if (steps % 2)
            flstm_swap_states(w[i]);
        if (w[i]->mask)
            w[i]->seen[0] = 1;
        move(w[i], steps);
    }
}

/* Whether a chain's next `steps` leave the processor waiting for their own results, so that another's fit between. */
static int waits(const chain *w, size_t steps)
{
    if (w->plan->weights.padded > LATENT_UNITS || !w->fused || w->rows != 1 || w->meet.meeting)
        return 0;
    return !w->mask || flstm_runs_on(w, 0, steps);
}

size_t flstm_step_work(const chain *w)
{
    const flstm_plan *plan = w->plan;
    const size_t columns = plan->gates * w->vectors * plan->kernel->lanes;
    return w->rows * columns * (plan->weights.features + plan->weights.outputs);
}

int flstm_stopped(watch *watch, size_t work)
{
    if (!watch->poll || (watch->unpolled += work) < POLL_WORK)
        return 0;
    watch->unpolled = 0;
    if (watch->asks) {
        const size_t generation = flstm_pool_generation();
        fpenv_leave(watch->caller); /* the poll is the caller's code */
        const int stop = watch->poll(watch->arg);
        fpenv_enter(1);
        /* in a fork's child the other threads are gone */
        if (stop || (watch->shared && generation != flstm_pool_generation()))
            atomic_store(watch->stop, 1);
    }
    return atomic_load(watch->stop);
}

int flstm_advance(size_t count, chain *const w[], const size_t n[], watch *watch)
{
    ptrdiff_t projected[FLSTM_MOST_CHAINS];
    size_t together = count > 1 ? n[0] : 0, work = 0;
    for (size_t i = 0; i < count; i++) {
        projected[i] = w[i]->chunk && n[i] > 1 ? 0 : -1;
        if (projected[i] == 0)
            project(w[i], n[i]);
        const int waiting = waits(w[i], n[i]) && w[i]->kernel == w[0]->kernel;
        together = !waiting ? 0 : together < n[i] ? together : n[i];
        work += flstm_step_work(w[i]);
    }
    for (size_t done = 0, steps; done < together; done += steps) {
        steps = together - done < POLL_WORK / work + 1 ? together - done : POLL_WORK / work + 1;
        run_together(count, w, projected, steps);
        for (size_t i = 0; i < count; i++)
            projected[i] += projected[i] < 0 ? 0 : (ptrdiff_t)steps;
        if (flstm_stopped(watch, steps * work))
            return 1;
    }
    for (size_t i = 0; i < count; i++) {
        work = flstm_step_work(w[i]);
        const size_t most = watch->poll ? POLL_WORK / work + 1 : n[i];
        for (size_t done = together, steps; done < n[i]; done += steps) {
            steps = n[i] - done < most ? n[i] - done : most;
            run_alone(w[i], projected[i], steps);
            projected[i] += projected[i] < 0 ? 0 : (ptrdiff_t)steps;
            if (flstm_stopped(watch, steps * work))
                return 1;
        }
    }
    return 0;
}
