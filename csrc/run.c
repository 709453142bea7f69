/* run.c -- whole sequences: row block by row block, chunk of steps by chunk, layer by layer. */
#include <string.h>

#include "fpenv.h"
#include "schedule.h"
#include "work.h"

/* What the threads of a run share. */
typedef struct run {
    const flstm_program *program;
    schedule schedule;
    char *workspace;
    size_t size; /* of one thread's workspace where threads share the rows, else of all */
    uint32_t caller;
    atomic_int stop;
    flstm_meeting steps, chunks; /* where threads meet that share units, and those that share layers */
} run;

/* A layer at work. */
typedef struct layer {
    chain chain;
    char *in, *out; /* two chunks of what it reads from the layer below, and writes for the one above; or NULL */
} layer;

/* One thread's share of the layers and the units. */
typedef struct share {
    run *run;
    size_t group, member;
    size_t first, end; /* layers */
    watch watch;
} share;

static size_t align64(size_t n)
{
    return (n + 63) / 64 * 64;
}

/* Rows that run through all steps together. */
static size_t row_block(const flstm_program *p, const schedule *s)
{
    size_t block = s->share ? s->share : p->calls[0].batch;
    for (size_t l = 0; l < p->layers; l++) {
        const size_t rows = flstm_row_block(p->plans[l], p->calls[0].batch);
        block = rows < block ? rows : block;
    }
    return block;
}

/* Bytes between a layer and the one above it, which reads one chunk while the other is written. */
static size_t between(const flstm_program *p, const schedule *s, size_t l, size_t rows)
{
    const int needed = p->stacked && l + 1 < p->layers && !p->calls[l].y;
    return needed ? align64(2 * s->stride * rows * p->plans[l]->weights.units * p->plans[l]->element) : 0;
}

static chain blank_chain(const flstm_program *p, const schedule *s, size_t l, size_t rows)
{
    const size_t steps = p->calls[l].steps;
    return (chain){.plan = p->plans[l], .call = &p->calls[l], .rows = rows,
                   .chunk = flstm_chunk(p->plans[l], rows, steps) ? s->stride : 0};
}

/* A workspace: each thread's layers, then what the threads have in common. */
static size_t layers_size(const flstm_program *p)
{
    return align64(p->layers * sizeof(layer));
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
    const size_t most = row_block(p, s), block = rows < most ? rows : most, rest = most ? rows % most : 0;
    const size_t size = block_size(p, s, block), last = rest ? block_size(p, s, rest) : 0;
    return align64(size > last ? size : last);
}

/* Of the workspace of one thread where threads share the rows, else of the whole. */
static size_t run_size(const flstm_program *p, const schedule *s)
{
    const size_t batch = p->calls[0].batch;
    if (!s->share)
        return rows_size(p, s, batch);
    const size_t size = rows_size(p, s, s->share), last = rows_size(p, s, batch - (s->threads - 1) * s->share);
    return size > last ? size : last;
}

static void fill_state(const chain *w, size_t first_row)
{
    const size_t at = first_row * w->plan->weights.units * w->plan->element;
    const char *const h0 = w->call->h0, *const c0 = w->call->c0;
    flstm_fill_rows(w->plan, w->rows, h0 ? h0 + at : NULL, w->h);
    flstm_fill_rows(w->plan, w->rows, c0 ? c0 + at : NULL, w->c);
}

/* Sets up all layers for a block of rows. */
static void open_layers(const share *me, layer *layers, size_t first_row, size_t rows, char *memory)
{
    const run *run = me->run;
    const flstm_program *p = run->program;
    const size_t members = run->schedule.members, thread = me->group * members + me->member;
    for (size_t l = 0; l < p->layers; l++) {
        const flstm_call *call = &p->calls[l];
        const flstm_plan *plan = p->plans[l];
        const ptrdiff_t e = (ptrdiff_t)plan->element, at = (ptrdiff_t)first_row;
        const ptrdiff_t end = call->go_backwards && call->steps ? (ptrdiff_t)call->steps - 1 : 0;
        const ptrdiff_t way = call->go_backwards ? -1 : 1;
        const size_t vectors = plan->weights.vectors;
        chain w = blank_chain(p, &run->schedule, l, rows);
        w.vector = vectors * me->member / members;
        w.vectors = vectors * (me->member + 1) / members - w.vector;
        if (members > 1)
            w.meet = (flstm_meet_at){&me->run->steps, me->group * members, members, thread};
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
        const size_t above = between(p, &run->schedule, l, rows);
        layers[l].out = above ? memory : NULL;
        memory += above;
        if (above) {
            w.y_row = (ptrdiff_t)plan->weights.units, w.y_step = w.y_row * (ptrdiff_t)rows;
        } else if (call->y) {
            w.y = (char *)call->y + at * call->y_batch * e;
            w.y_row = call->y_batch, w.y_step = call->y_step;
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
}

/* The output slot of the last step: the state, or zeros where a row never ran or was held with
 * zero_output_for_mask. The chain's mask stands behind its last step. */
static void last_output(const chain *w, char *last)
{
    const size_t row = w->plan->weights.padded * w->plan->element, width = w->plan->weights.units * w->plan->element;
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

static void read_state(const chain *w, size_t first_row)
{
    const size_t at = first_row * w->plan->weights.units * w->plan->element;
    if (w->call->last)
        last_output(w, (char *)w->call->last + at);
    if (w->call->h)
        flstm_read_rows(w->plan, w->rows, w->h, (char *)w->call->h + at);
    if (w->call->c)
        flstm_read_rows(w->plan, w->rows, w->c, (char *)w->call->c + at);
}

/* This thread's layers, each at the chunk whose turn it is; a stacked layer is one chunk behind the one
 * below it. Returns whether to stop. */
static int run_chunks(share *me, layer *layers, size_t turn)
{
    const flstm_program *p = me->run->program;
    const size_t stride = me->run->schedule.stride, steps = p->calls[0].steps, chunks = (steps - 1) / stride + 1;
    chain *ready[FLSTM_MOST_SWEEPS];
    size_t n[FLSTM_MOST_SWEEPS], count = 0;
    for (size_t l = me->first; l < me->end; l++) {
        const size_t lag = p->stacked ? l : 0, chunk = turn - lag;
        if (turn >= lag && chunk < chunks) {
            chain *const w = &layers[l].chain;
            const size_t e = w->plan->element, slot = chunk % 2 * stride * w->rows * e;
            if (layers[l].in)
                w->x = layers[l].in + slot * w->plan->weights.features;
            if (layers[l].out)
                w->y = layers[l].out + slot * w->plan->weights.units;
            n[count] = steps - chunk * stride < stride ? steps - chunk * stride : stride;
            ready[count++] = w;
        }
        if (count == FLSTM_MOST_SWEEPS || (count && l + 1 == me->end)) {
            if (flstm_advance(count, ready, n, &me->watch))
                return 1;
            count = 0;
        }
    }
    return 0;
}

/* Rows from `first` to `end` of the batch. Returns whether it was stopped. */
static int run_rows(share *me, size_t first, size_t end, char *memory)
{
    run *const run = me->run;
    const flstm_program *p = run->program;
    const schedule *s = &run->schedule;
    const size_t most = row_block(p, s), steps = p->calls[0].steps, thread = me->group * s->members + me->member;
    const size_t chunks = steps ? (steps - 1) / s->stride + 1 : 0, turns = chunks + (p->stacked && chunks ? p->layers - 1 : 0);
    layer *const layers = (layer *)(void *)(memory + (s->share ? 0 : thread) * layers_size(p));
    memory += (s->share ? 1 : s->threads) * layers_size(p);
    for (size_t rows; first < end; first += rows) {
        rows = end - first < most ? end - first : most;
        open_layers(me, layers, first, rows, memory);
        if (s->members > 1) /* the states are filled */
            flstm_meet(&run->steps, me->group * s->members, s->members, thread);
        for (size_t turn = 0; turn < turns; turn++) {
            if (run_chunks(me, layers, turn))
                return 1;
            if (s->groups > 1 && p->stacked)
                flstm_meet(&run->chunks, 0, s->threads, thread);
        }
        for (size_t l = me->first; me->member == 0 && l < me->end; l++)
            read_state(&layers[l].chain, first);
    }
    return 0;
}

static void run_thread(void *arg, size_t thread)
{
    run *const run = arg;
    const flstm_program *p = run->program;
    const schedule *s = &run->schedule;
    const size_t batch = p->calls[0].batch, first = s->share * thread, left = batch - first;
    const uint32_t own = fpenv_enter(1);
    share me = {.run = run, .group = s->share ? 0 : thread / s->members, .member = s->share ? 0 : thread % s->members,
                .watch = {.poll = p->calls[0].poll, .arg = p->calls[0].poll_arg, .caller = run->caller,
                          .asks = thread == 0, .stop = &run->stop}};
    me.first = p->layers * me.group / s->groups;
    me.end = p->layers * (me.group + 1) / s->groups;
    int stopped;
    if (s->share)
        stopped = run_rows(&me, first, first + (left < s->share ? left : s->share), run->workspace + thread * run->size);
    else
        stopped = run_rows(&me, 0, batch, run->workspace);
    if (stopped) { /* nobody waits for this thread any more */
        flstm_leave(&run->steps, thread);
        flstm_leave(&run->chunks, thread);
    }
    fpenv_leave(own);
}

static int program_valid(const flstm_program *p)
{
    if (!p || !p->layers || !p->plans || !p->calls)
        return 0;
    for (size_t l = 0; l < p->layers; l++) {
        const flstm_call *call = &p->calls[l], *below = p->stacked && l > 0 ? call - 1 : NULL;
        if (!p->plans[l] || call->batch != p->calls[0].batch || call->steps != p->calls[0].steps
            || call->batch > UINT32_MAX || p->plans[l]->kernel != p->plans[0]->kernel)
            return 0;
        if (below ? call->go_backwards || p->plans[l]->weights.features != p->plans[l - 1]->weights.units
                  : call->batch && call->steps && !call->x)
            return 0;
    }
    return 1;
}

size_t flstm_program_workspace_size(const flstm_program *p)
{
    const schedule alone = flstm_schedule(p, 1);
    const size_t one = run_size(p, &alone);
    if (p->threads < 2)
        return one;
    const schedule shared = flstm_schedule(p, p->threads); /* which may find the threads taken */
    const size_t all = run_size(p, &shared) * (shared.share ? shared.threads : 1);
    return one > all ? one : all;
}

flstm_status flstm_program_run(const flstm_program *p, void *workspace)
{
    if (!program_valid(p) || !workspace)
        return FLSTM_ERR_ARGUMENT;
    run run;
    run.program = p;
    run.workspace = workspace;
    run.caller = fpenv_enter(1);
    run.schedule = flstm_schedule(p, p->threads);
    atomic_init(&run.stop, 0);
    const size_t threads = run.schedule.threads;
    int done = 0;
    if (threads > 1) {
        for (size_t i = 0; i < threads; i++) {
            atomic_init(&run.steps.arrived[i].count, 0);
            atomic_init(&run.chunks.arrived[i].count, 0);
        }
        run.size = run_size(p, &run.schedule);
        done = flstm_together(threads, run.schedule.alone, run_thread, &run);
    }
    if (!done) {
        run.schedule = flstm_schedule(p, 1);
        run_thread(&run, 0);
    }
    fpenv_leave(run.caller);
    return atomic_load(&run.stop) ? FLSTM_ERR_INTERRUPTED : FLSTM_OK;
}

size_t flstm_workspace_size(const flstm_plan *plan, size_t batch, size_t steps)
{
    const flstm_call call = {.batch = batch, .steps = steps};
    return flstm_program_workspace_size(&(flstm_program){1, &plan, &call, 0, 1});
}

flstm_status flstm_run(const flstm_plan *plan, const flstm_call *call, void *workspace)
{
    return plan && call ? flstm_program_run(&(flstm_program){1, &plan, call, 0, 1}, workspace) : FLSTM_ERR_ARGUMENT;
}
