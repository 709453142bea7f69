/* schedule.c -- chooses which thread does what: pure functions of sizes, and of the masks of rows that are shared. */
#include "schedule.h"

#include "work.h"

enum {
    SHARED_TIME = 4 * 1000,   /* nanoseconds worth a second thread that is awake */
    LANE_RATE = 2,            /* multiply-adds a nanosecond and lane, of one thread, near enough */
    MEETING_WORK = 16 * 1000, /* multiply-adds of a thread's part of a step, worth meeting after it */
    OWN_BYTES = 640 << 10,    /* weights that a core's own cache holds beside the rest */
    WAVE_STEPS = 32,          /* steps of a chunk where no layer projects its input first */
    LEAST_WAVE = 6            /* steps worth meeting between layers */
};

static double step_work(const flstm_plan *plan, size_t batch)
{
    const flstm_weights *w = &plan->weights;
    return (double)plan->gates * (double)batch * (double)w->padded * (double)(w->features + w->outputs);
}

int64_t flstm_time_alone(const flstm_plan *plan, double work)
{
    const double time = work / LANE_RATE / (double)plan->kernel->lanes;
    return time < SHARED_TIME ? 0 : (int64_t)time;
}

size_t flstm_unit_members(const flstm_plan *plan, size_t batch, size_t threads)
{
    /* in integers: a stream asks outside of a run, where the floating-point environment is the caller's */
    const size_t row = plan->gates * plan->weights.units * plan->weights.padded;
    const size_t most = (size_t)FLSTM_MOST_THREADS * MEETING_WORK;
    const size_t worth = batch > most / row ? FLSTM_MOST_THREADS : row * batch / MEETING_WORK;
    const size_t wanted = threads < worth ? threads : worth;
    const size_t members = wanted < plan->weights.vectors ? wanted : plan->weights.vectors;
    return plan->fused_cell && members ? members : 1;
}

static size_t stride_of(const flstm_program *p, size_t rows, size_t groups)
{
    const size_t steps = p->calls[0].steps;
    size_t stride = 0;
    for (size_t l = 0; l < p->layers; l++) {
        const size_t chunk = flstm_chunk(p->plans[l], rows, steps);
        stride = chunk && (!stride || chunk < stride) ? chunk : stride;
    }
    if (!stride)
        stride = p->stacked && p->layers > 1 ? WAVE_STEPS : steps;
    if (p->stacked && groups > 1 && stride > steps / 16) /* the first and last chunks keep some threads idle */
        stride = steps / 16 > LEAST_WAVE ? steps / 16 / LEAST_WAVE * LEAST_WAVE : LEAST_WAVE;
    return stride < steps ? stride : steps ? steps : 1;
}

schedule flstm_schedule(const flstm_program *p, size_t threads)
{
    const size_t batch = p->calls[0].batch;
    schedule s = {.threads = 1, .groups = 1, .members = 1, .rows = batch};
    threads = threads < FLSTM_MOST_THREADS ? threads : FLSTM_MOST_THREADS;
    double work = 0;
    size_t members = threads, largest = 0;
    for (size_t l = 0; l < p->layers; l++) {
        const flstm_plan *plan = p->plans[l];
        const size_t shared = p->calls[l].trace ? 1 : flstm_unit_members(plan, batch, threads);
        const size_t rows = flstm_row_block(p, l);
        work += step_work(plan, batch) * (double)p->calls[0].steps;
        members = shared < members ? shared : members;
        s.rows = rows < s.rows ? rows : s.rows;
        largest = plan->bytes > largest ? plan->bytes : largest;
    }
    const size_t tile = flstm_tile_rows(p, 0);
    s.alone = flstm_time_alone(p->plans[0], work);
    if (threads > 1 && s.alone) {
        const size_t rows = (batch - 1) / threads + 1;
        const size_t groups = p->layers < threads ? p->layers : threads;
        const int few_rows = rows < 2 * tile;
        if (!few_rows && (largest <= OWN_BYTES || members < threads))
            s.share = ((rows - 1) / tile + 1) * tile;
        else if (groups > 1 && ((largest <= OWN_BYTES && p->layers % groups == 0) || members < 2))
            s.groups = groups, s.members = members < threads / groups ? members : threads / groups;
        else if (members > 1)
            s.members = members;
        else if (batch > 1)
            s.share = rows;
        s.threads = s.share ? (batch - 1) / s.share + 1 : s.groups * s.members;
    }
    if (s.share && s.share < s.rows && !p->calls[0].mask) /* under which a thread may have more */
        s.rows = s.share;
    /* a last block of few rows projects its input even where the others do not */
    s.stride = stride_of(p, s.rows < tile ? s.rows : tile - 1, s.groups);
    return s;
}

/* Steps that the mask lets a row run, and one for the row itself. */
static double row_work(const flstm_call *call, size_t row)
{
    const uint8_t *const mask = call->mask + (ptrdiff_t)row * call->mask_batch;
    size_t work = 1;
    for (size_t t = 0; t < call->steps; t++)
        work += mask[(ptrdiff_t)t * call->mask_step] != 0;
    return (double)work;
}

void flstm_share_rows(const flstm_program *p, const schedule *s, size_t first[])
{
    const flstm_call *const call = &p->calls[0];
    double total = 0, done = 0;
    size_t thread = 0;
    for (size_t r = 0; call->mask && r < call->batch; r++)
        total += row_work(call, r);
    for (size_t r = 0; call->mask && r < call->batch; r++) {
        const double work = row_work(call, r); /* a row goes to the thread that has its middle */
        for (; thread < s->threads && (done + work / 2) * (double)s->threads >= total * (double)thread; thread++)
            first[thread] = r;
        done += work;
    }
    for (; thread <= s->threads; thread++)
        first[thread] = call->mask || s->share * thread > call->batch ? call->batch : s->share * thread;
}
