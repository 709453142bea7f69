/* cells.c -- a step of one row from its sums, for what the sweeps of the kernels do not hold. */
#include "cells.h"

#include <math.h>
#include <string.h>

static void activate(const flstm_plan *plan, flstm_activation activation, const char *in, char *out)
{
    flstm_apply(plan->kernel, plan->dtype, activation, 1, plan->weights.units, in, out);
}

static void combine(const flstm_plan *plan, flstm_operation operation, const char *a, const char *b, char *out)
{
    flstm_combine(plan->dtype, operation, plan->weights.units, a, b, out);
}

/* h' = z h + (1 - z) act(candidate) */
static void mix(const flstm_plan *plan, const char *z, char *candidate, const char *h, char *h_next)
{
    activate(plan, plan->activation, candidate, candidate);
    memcpy(h_next, h, plan->weights.units * plan->element);
    combine(plan, FLSTM_MIX, z, candidate, h_next);
}

void flstm_reset_row(const flstm_plan *plan, char *z, const char *h, char *reset)
{
    char *const r = z + plan->weights.padded * plan->element;
    activate(plan, plan->recurrent_activation, z, z);
    activate(plan, plan->recurrent_activation, r, r);
    combine(plan, FLSTM_PRODUCT, r, h, reset);
}

static void plain_lstm(const flstm_plan *plan, const char *z, char *c, char *m)
{
    const flstm_update *u = &plan->update;
    const flstm_row row = {
        .units = plan->weights.units, .padded = plan->weights.padded, .z = z, .peepholes = u->peepholes,
        .coupled = (int)u->coupling, .input_clip = u->input_clip > 0 ? u->input_clip : INFINITY,
        .cell_clip = u->cell_clip > 0 ? u->cell_clip : INFINITY, .c = c, .m = m};
    plan->kernel->lstm_row(&row);
}

void flstm_update_row(const flstm_plan *plan, char *z, char *c, const char *h, char *h_next, char *trace)
{
    const size_t gate = plan->weights.padded * plan->element;
    char *const sum[] = {z, z + gate, z + 2 * gate, z + 3 * gate};
    switch (plan->cell) {
    case FLSTM_CELL_LSTM:
        if (plan->update.plain && !trace)
            plain_lstm(plan, z, c, h_next);
        else
            (plan->dtype == FLSTM_F32 ? flstm_lstm_row_f32 : flstm_lstm_row_f64)(plan, z, c, h_next, trace);
        break;
    case FLSTM_CELL_GRU:
        activate(plan, plan->recurrent_activation, sum[0], sum[0]);
        activate(plan, plan->recurrent_activation, sum[1], sum[1]);
        combine(plan, FLSTM_ADD_PRODUCT, sum[1], sum[3], sum[2]);
        mix(plan, sum[0], sum[2], h, h_next);
        break;
    case FLSTM_CELL_GRU_BEFORE: mix(plan, sum[0], sum[2], h, h_next); break;
    default: activate(plan, plan->activation, z, h_next);
    }
}
