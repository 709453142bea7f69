/* stream.c -- sequences step by step: the state stays in the caller's memory between calls. */
#include "fpenv.h"
#include "schedule.h"
#include "work.h"

/* A stream's memory: which of the two h buffers holds the state, then a workspace for its rows. */
enum {
    STREAM_HEADER = 64,
    STREAM_CHUNK = 64,
    STREAM_MEMBERS = 8 /* threads that share the units of a kernel that needs memory for each of them */
};

/* The most threads that may share a stream's units, of up to so many. */
static size_t most_members(const flstm_plan *plan, size_t batch, size_t threads)
{
    const size_t most = plan->kernel->operand && threads > STREAM_MEMBERS ? STREAM_MEMBERS : threads;
    return flstm_unit_members(plan, batch, most);
}

/* How many of them have memory of their own. */
static size_t own_parts(const flstm_plan *plan, size_t batch)
{
    return plan->kernel->operand ? most_members(plan, batch, STREAM_MEMBERS) : 1;
}

/* How the rows of a stream are laid out behind its header; with base NULL, only how long that is. */
static size_t lay_out(chain *w, const flstm_plan *plan, size_t batch, char *base)
{
    *w = (chain){.plan = plan, .rows = batch, .vectors = plan->weights.vectors, .fused = plan->fused_cell,
                 .chunk = flstm_chunk(plan, batch, STREAM_CHUNK)};
    flstm_choose_weights(w, 0);
    return flstm_lay_out(w, own_parts(plan, batch), 0, base);
}

size_t flstm_stream_size(const flstm_plan *plan, size_t batch)
{
    chain w;
    const size_t operands = flstm_operands(plan->kernel, 1, plan->weights.features, plan->weights.outputs);
    const size_t row = (plan->weights.padded + plan->weights.outputs_padded) * plan->element;
    if (batch > SIZE_MAX / 32 / (row + STREAM_MEMBERS * operands))
        return SIZE_MAX; /* more than any allocation grants */
    return STREAM_HEADER + lay_out(&w, plan, batch, NULL);
}

static void open_stream(chain *w, const flstm_plan *plan, size_t batch, const void *stream)
{
    lay_out(w, plan, batch, (char *)(uintptr_t)stream + STREAM_HEADER);
    if (*(const uint32_t *)stream)
        flstm_swap_states(w);
}

void flstm_stream_set(const flstm_plan *plan, void *stream, size_t batch, const void *h0, const void *c0)
{
    *(uint32_t *)stream = 0;
    chain w;
    open_stream(&w, plan, batch, stream);
    flstm_fill_states(&w, h0, c0);
}

void flstm_stream_get(const flstm_plan *plan, const void *stream, size_t batch, void *h, void *c)
{
    chain w;
    open_stream(&w, plan, batch, stream);
    flstm_read_states(&w, h, c);
}

/* A stream's steps on threads that share the units. */
typedef struct shared {
    chain chain; /* as it is at the first step */
    char *base;  /* of its memory */
    size_t steps, members;
    int swapped; /* as it is after the last one */
    flstm_meeting meeting;
} shared;

static int run_chain(chain *w, size_t steps)
{
    watch unwatched = {.poll = NULL};
    const size_t most = w->chunk ? w->chunk : steps;
    for (size_t done = 0, n; done < steps; done += n) {
        n = steps - done < most ? steps - done : most;
        flstm_advance(1, &w, &n, &unwatched);
    }
    return w->swapped;
}

static void run_part(void *arg, size_t member)
{
    shared *const s = arg;
    const uint32_t own = fpenv_enter(1);
    chain w = s->chain;
    const size_t parts = own_parts(w.plan, w.rows);
    flstm_lay_out(&w, parts, parts > 1 ? member : 0, s->base);
    if (w.swapped) { /* which the layout knows nothing of */
        w.swapped = 0;
        flstm_swap_states(&w);
    }
    flstm_take_part(&w, &s->meeting, 0, s->members, member);
    const int swapped = run_chain(&w, s->steps);
    if (member == 0)
        s->swapped = swapped;
    fpenv_leave(own);
}

/* Whether the steps were run on several threads. */
static int run_shared(const chain *w, char *base, size_t steps, size_t threads, int *swapped)
{
    const int64_t alone = flstm_time_alone(w->plan, (double)flstm_step_work(w) * (double)steps);
    const size_t members = most_members(w->plan, w->rows, threads);
    if (members < 2 || !alone)
        return 0;
    shared s;
    s.chain = *w, s.base = base, s.steps = steps, s.members = members;
    for (size_t i = 0; i < members; i++)
        atomic_init(&s.meeting.arrived[i].count, 0);
    if (!flstm_together(members, alone, run_part, &s))
        return 0;
    *swapped = s.swapped;
    return 1;
}

flstm_status flstm_stream_run(const flstm_plan *plan, void *stream, size_t batch, size_t steps,
                              const void *x, ptrdiff_t x_batch, ptrdiff_t x_step,
                              void *y, ptrdiff_t y_batch, ptrdiff_t y_step, size_t threads)
{
    if (!plan || !stream || (batch && steps && !x) || batch > UINT32_MAX)
        return FLSTM_ERR_ARGUMENT;
    if (batch == 0)
        return FLSTM_OK;
    const uint32_t caller = fpenv_enter(1);
    chain w;
    int swapped;
    open_stream(&w, plan, batch, stream);
    w.x = x, w.x_row = x_batch, w.x_step = x_step;
    w.y = y, w.y_row = y_batch, w.y_step = y_step;
    if (threads < 2 || !run_shared(&w, (char *)stream + STREAM_HEADER, steps, threads, &swapped))
        swapped = run_chain(&w, steps);
    *(uint32_t *)stream = (uint32_t)swapped;
    fpenv_leave(caller);
    return FLSTM_OK;
}
