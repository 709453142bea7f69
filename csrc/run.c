/* run.c -- whole sequences: row block by row block, chunk of steps by chunk, layer by layer. */
#include "block.h"
#include "fpenv.h"

enum { WAITING_WORK = 1000 }; /* multiply-adds in the time of one look at the others */

/* What the threads of a run share. */
typedef struct run {
    const flstm_program *program;
    schedule schedule;
    size_t first[FLSTM_MOST_THREADS + 1]; /* the threads' rows, where they share them */
    char *workspace;
    size_t size; /* of one thread's workspace where threads share the rows, else of all */
    uint32_t caller;
    atomic_int stop;
    atomic_size_t finished; /* threads */
    size_t generation;
    flstm_meeting steps, chunks; /* where threads meet that share units, and those that share layers */
} run;

/* One thread of it. */
typedef struct worker {
    run *run;
    flstm_part part;
    watch watch;
} worker;

/* Waits for all threads. The caller is asked all the same whether to go on; returns whether not to. */
static int meet_all(worker *me)
{
    run *const run = me->run;
    const size_t threads = run->schedule.threads, thread = me->part.group * run->schedule.members + me->part.member;
    const size_t count = flstm_arrive(&run->chunks, thread);
    for (size_t other = 0; other < threads; other++)
        for (size_t n = 0; !flstm_is_here(&run->chunks, other, count); n++) {
            flstm_wait_a_little(n);
            if (flstm_stopped(&me->watch, WAITING_WORK))
                return 1;
        }
    return 0;
}

/* This thread's layers, each at the chunk whose turn it is; a stacked layer is one chunk behind the one
 * below it. Returns whether to stop. */
static int run_chunks(worker *me, flstm_layer *layers, size_t turn)
{
    const flstm_program *p = me->run->program;
    const size_t stride = me->run->schedule.stride, steps = p->calls[0].steps, chunks = (steps - 1) / stride + 1;
    chain *ready[FLSTM_MOST_CHAINS];
    size_t n[FLSTM_MOST_CHAINS], count = 0;
    for (size_t l = me->part.first; l < me->part.end; l++) {
        const size_t lag = p->stacked ? l : 0, chunk = turn - lag;
        if (turn >= lag && chunk < chunks) {
            chain *const w = &layers[l].chain;
            const size_t e = w->plan->element, slot = chunk % 2 * stride * w->rows * e;
            if (layers[l].in)
                w->x = layers[l].in + slot * w->plan->weights.features;
            if (layers[l].out)
                w->y = layers[l].out + slot * w->plan->weights.outputs;
            n[count] = steps - chunk * stride < stride ? steps - chunk * stride : stride;
            ready[count++] = w;
        }
        if (count == FLSTM_MOST_CHAINS || (count && l + 1 == me->part.end)) {
            if (flstm_advance(count, ready, n, &me->watch))
                return 1;
            count = 0;
        }
    }
    return 0;
}

/* Rows from `first` to `end` of the batch. Returns whether it was stopped. */
static int run_rows(worker *me, size_t first, size_t end, char *memory)
{
    run *const run = me->run;
    const flstm_program *p = run->program;
    const schedule *s = &run->schedule;
    const size_t thread = me->part.group * s->members + me->part.member;
    const size_t steps = p->calls[0].steps, chunks = steps ? (steps - 1) / s->stride + 1 : 0;
    const size_t turns = chunks + (p->stacked && chunks ? p->layers - 1 : 0);
    for (size_t rows; first < end; first += rows) {
        rows = end - first < s->rows ? end - first : s->rows;
        flstm_layer *const layers = flstm_open_layers(p, s, &me->part, first, rows, memory);
        if (s->members > 1) /* the states are filled */
            flstm_meet(&run->steps, me->part.group * s->members, s->members, thread);
        for (size_t turn = 0; turn < turns; turn++) {
            if (run_chunks(me, layers, turn))
                return 1;
            if (s->groups > 1 && p->stacked && meet_all(me))
                return 1;
        }
        for (size_t l = me->part.first; me->part.member == 0 && l < me->part.end; l++)
            flstm_read_state(&layers[l].chain, first);
        /* the next block lies in the memory of this one */
        if (!s->share && s->threads > 1 && first + rows < end && meet_all(me))
            return 1;
    }
    return 0;
}

/* In a fork's child they are gone. */
static int others_work(run *run)
{
    return atomic_load_explicit(&run->finished, memory_order_acquire) < run->schedule.threads
           && run->generation == flstm_pool_generation();
}

static void run_thread(void *arg, size_t thread)
{
    run *const run = arg;
    const flstm_program *p = run->program;
    const schedule *s = &run->schedule;
    const uint32_t own = fpenv_enter(1);
    const size_t group = s->share ? 0 : thread / s->members;
    worker me = {.run = run,
                .part = {.group = group, .member = s->share ? 0 : thread % s->members,
                         .first = p->layers * group / s->groups, .end = p->layers * (group + 1) / s->groups,
                         .steps = &run->steps},
                .watch = {.poll = p->calls[0].poll, .arg = p->calls[0].poll_arg, .caller = run->caller,
                          .asks = thread == 0, .shared = s->threads > 1, .stop = &run->stop}};
    int stopped;
    if (s->share)
        stopped = run_rows(&me, run->first[thread], run->first[thread + 1], run->workspace + thread * run->size);
    else
        stopped = run_rows(&me, 0, p->calls[0].batch, run->workspace);
    if (stopped) { /* nobody waits for this thread any more */
        flstm_leave(&run->steps, thread);
        flstm_leave(&run->chunks, thread);
    }
    atomic_fetch_add_explicit(&run->finished, 1, memory_order_release);
    if (thread == 0)
        for (size_t n = 0; others_work(run); n++) { /* and the caller is to be asked all the same */
            flstm_wait_a_little(n);
            (void)flstm_stopped(&me.watch, WAITING_WORK);
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
            || call->batch > UINT32_MAX || p->plans[l]->dtype != p->plans[0]->dtype
            || (!flstm_has_c(p->plans[l]) && (call->c0 || call->c || call->trace)))
            return 0;
        if (below ? call->go_backwards || p->plans[l]->weights.features != p->plans[l - 1]->weights.outputs
                  : call->batch && call->steps && !call->x)
            return 0;
    }
    return 1;
}

size_t flstm_program_workspace_size(const flstm_program *p)
{
    const schedule alone = flstm_schedule(p, 1);
    const size_t one = flstm_blocks_size(p, &alone);
    if (p->threads < 2)
        return one;
    const schedule shared = flstm_schedule(p, p->threads); /* which may find the threads taken */
    const size_t all = flstm_blocks_size(p, &shared) * (shared.share ? shared.threads : 1);
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
    atomic_init(&run.finished, 0);
    run.generation = flstm_pool_generation();
    const size_t threads = run.schedule.threads;
    int done = 0;
    if (threads > 1) {
        for (size_t i = 0; i < threads; i++) {
            atomic_init(&run.steps.arrived[i].count, 0);
            atomic_init(&run.chunks.arrived[i].count, 0);
        }
        run.size = flstm_blocks_size(p, &run.schedule);
        if (run.schedule.share)
            flstm_share_rows(p, &run.schedule, run.first);
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
    return flstm_program_workspace_size(&(flstm_program){1, &plan, &call, 0, 1, 0});
}

flstm_status flstm_run(const flstm_plan *plan, const flstm_call *call, void *workspace)
{
    return plan && call ? flstm_program_run(&(flstm_program){1, &plan, call, 0, 1, 0}, workspace) : FLSTM_ERR_ARGUMENT;
}
