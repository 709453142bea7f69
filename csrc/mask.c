/* mask.c -- rows under a mask: which run, from which step to which, and what becomes of those that do not. */
#include "mask.h"

#include <string.h>

/* What `seen` has of a row: whether it has run at all; and, inside a stretch, whether it runs now and the step
 * of the stretch at which that changes. */
enum { RAN = 1, RUNS = 2, UNTIL = 4 };

/* A row stops for `steps` steps: both buffers get its state, since the others' steps change them, and it puts
 * out what it last did. */
static void hold_row(const chain *w, size_t r, size_t steps)
{
    const flstm_plan *plan = w->plan;
    const size_t e = plan->element, row = plan->weights.outputs_padded * e, lanes = plan->kernel->lanes;
    const size_t from = w->vector * lanes * e, part = plan->update.projection ? row : w->vectors * lanes * e;
    const size_t left = plan->weights.outputs * e - from, width = left < part ? left : part;
    const char *const h = w->h + r * row + from;
    memcpy(w->h_next + r * row + from, h, part);
    if (!w->y)
        return;
    const int again = w->seen[r] & RAN && !w->call->zero_output_for_mask;
    char *y = w->y + (ptrdiff_t)r * w->y_row * (ptrdiff_t)e + from;
    for (; steps > 0; steps--, y += w->y_step * (ptrdiff_t)e)
        if (again)
            memcpy(y, h, width);
        else
            memset(y, 0, width);
}

/* At step t the mask may begin to say something else of row r. */
static void turn_row(const chain *w, size_t r, size_t t, size_t steps)
{
    const uint8_t *const mask = w->mask + (ptrdiff_t)r * w->mask_row;
    const int runs = mask[0] != 0;
    size_t n = 1;
    while (n < steps - t && (mask[(ptrdiff_t)n * w->mask_step] != 0) == runs)
        n++;
    if (!runs)
        hold_row(w, r, n);
    w->seen[r] = (uint8_t)((runs ? RAN | RUNS : w->seen[r] & RAN) + (t + n) * UNTIL);
}

size_t flstm_choose_rows(const chain *w, size_t t, size_t steps, size_t *count)
{
    const uint8_t *const seen = w->seen;
    uint8_t end = FLSTM_STRETCH;
    size_t n = 0;
    for (size_t r = 0; r < w->rows; r++)
        if (seen[r] / UNTIL == t)
            turn_row(w, r, t, steps);
    for (size_t r = 0; r < w->rows; r++)
        end = seen[r] / UNTIL < end ? seen[r] / UNTIL : end;
    for (size_t r = 0; r < w->rows; r++) { /* without a branch: the next row overwrites one that does not run */
        w->active[n] = (uint32_t)r;
        n += seen[r] / RUNS % 2;
    }
    *count = n;
    return end;
}

void flstm_end_stretch(const chain *w)
{
    for (size_t r = 0; r < w->rows; r++)
        w->seen[r] &= RAN;
}

size_t flstm_span(const chain *w, size_t r, size_t steps, size_t *first)
{
    const uint8_t *const mask = w->mask + (ptrdiff_t)r * w->mask_row;
    size_t end = steps;
    while (end > 0 && !mask[(ptrdiff_t)(end - 1) * w->mask_step])
        end--;
    for (*first = 0; *first < end && !mask[(ptrdiff_t)*first * w->mask_step];)
        ++*first;
    return end - *first;
}

int flstm_runs_on(const chain *w, size_t r, size_t steps)
{
    const uint8_t *const mask = w->mask + (ptrdiff_t)r * w->mask_row;
    for (size_t t = 0; t < steps; t++)
        if (!mask[(ptrdiff_t)t * w->mask_step])
            return 0;
    return 1;
}
