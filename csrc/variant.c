/* variant.c -- what an LSTM may have beside Keras's: checked, and packed beside the plan's weights. */
#include <float.h>
#include <string.h>

#include "plan.h"

static int function_valid(const flstm_function *f)
{
    const double alpha = f->alpha < 0 ? -f->alpha : f->alpha, beta = f->beta < 0 ? -f->beta : f->beta;
    const int curve = f->activation >= FLSTM_ACT_COUNT;
    return f->activation >= 0 && f->activation < FLSTM_CURVE_END
           && (!curve || (alpha <= FLT_MAX && beta <= FLT_MAX))
           && (f->activation != FLSTM_CURVE_celu || alpha > 0);
}

static int clip_valid(double clip)
{
    return clip >= 0 && clip <= DBL_MAX;
}

int flstm_variant_valid(const flstm_config *config)
{
    const flstm_variant *v = config->variant;
    return !v
           || (config->cell == FLSTM_CELL_LSTM && function_valid(&v->gate) && function_valid(&v->candidate)
               && function_valid(&v->output) && (unsigned)v->coupling <= FLSTM_FORGET_COUPLED && v->outputs > 0
               && (v->projection || (v->outputs == config->units && !v->projection_bias && v->projection_clip == 0))
               && clip_valid(v->input_clip) && clip_valid(v->cell_clip) && clip_valid(v->projection_clip)
               && (!(v->norm || v->state_norm) || (v->norm_epsilon > 0 && v->norm_epsilon <= DBL_MAX)));
}

/* `rows` rows of units behind one another to rows of `padded`; returns where they lie, and moves `at` behind them. */
static const void *spread(const flstm_plan *plan, size_t rows, const void *from, char **at)
{
    const size_t width = plan->weights.units * plan->element, row = plan->weights.padded * plan->element;
    char *const to = *at;
    for (size_t r = 0; from && r < rows; r++)
        memcpy(to + r * row, (const char *)from + r * width, width);
    *at += flstm_align64(rows * row);
    return to;
}

flstm_status flstm_pack_variant(flstm_plan *plan, const flstm_config *config, const void *bias)
{
    const flstm_variant *v = config->variant;
    flstm_update *const u = &plan->update;
    const size_t row = plan->weights.padded * plan->element, gates = plan->weights.gates;
    u->gate = v->gate, u->candidate = v->candidate, u->output = v->output, u->coupling = v->coupling;
    u->norm_epsilon = v->norm_epsilon, u->input_clip = v->input_clip, u->cell_clip = v->cell_clip;
    u->projection_clip = v->projection_clip;
    u->plain = v->gate.activation == FLSTM_ACT_sigmoid && v->candidate.activation == FLSTM_ACT_tanh
               && v->output.activation == FLSTM_ACT_tanh && !v->norm && !v->state_norm;
    const size_t rows = (v->peepholes ? 3 : 0) + (v->norm ? 2 * gates : 0) + (v->state_norm ? 2 : 0);
    size_t bytes = 0;
    char *at = rows ? flstm_allocate(rows * row + 4 * 64, &bytes) : NULL; /* each array begins a cache line */
    if (rows && !at)
        return FLSTM_ERR_MEMORY;
    plan->bytes += bytes;
    u->memory = at;
    if (v->peepholes)
        u->peepholes = spread(plan, 3, v->peepholes, &at);
    if (v->norm) {
        u->norm = spread(plan, gates, v->norm, &at);
        u->offset = spread(plan, gates, bias, &at);
    }
    if (v->state_norm)
        u->state_norm = spread(plan, 2, v->state_norm, &at);
    if (!v->projection)
        return FLSTM_OK;
    const flstm_config dense = {.dtype = config->dtype, .features = config->units, .units = v->outputs,
                                .isa = plan->isa, .reproducible = config->reproducible};
    flstm_plan *projection;
    const flstm_status status = flstm_pack_plan(&projection, &dense, (v->outputs - 1) / 4 + 1, v->outputs,
                                                v->projection, NULL, v->projection_bias);
    if (status == FLSTM_OK) {
        u->projection = projection;
        plan->bytes += projection->bytes;
    }
    return status;
}
