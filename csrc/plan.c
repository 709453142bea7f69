/* plan.c -- makes a plan: checks the configuration, chooses the kernel, packs the weights. */
#if defined(__linux__)
#define _DEFAULT_SOURCE /* madvise */
#include <sys/mman.h>
#endif
#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "fpenv.h"
#include "pack.h"

enum {
    ALIAS_BYTES = 4096, /* rows that far apart get in each other's way in L1 */
    WIDE_ROWS = 16,     /* of a tile, which cost as much as ... */
    WIDE_COST = 9,      /* ... so many one by one (measured elsewhere: 1.6 to 2 times the rate of multiply-adds) */
    WIDE_UNITS = 32,
    INT8_MOST = 1 << 16 /* products of bytes whose sum fits an integer of 32 bits */
};

/* ---- packing --------------------------------------------------------------------------------- */

static int multiply(size_t a, size_t b, size_t *product)
{
    *product = a * b;
    return a == 0 || *product / a == b;
}

/* Big weights go on 2 MiB pages where the system grants them: small pages end every prefetch. */
void *flstm_allocate(size_t bytes, size_t *granted)
{
    const size_t huge = (size_t)2 << 20, alignment = bytes >= huge ? huge : 64;
    if (bytes > SIZE_MAX - alignment)
        return NULL;
    *granted = (bytes + alignment - 1) / alignment * alignment;
    void *memory = aligned_alloc(alignment, *granted);
#if defined(__linux__)
    if (memory && alignment == huge)
        (void)madvise(memory, *granted, MADV_HUGEPAGE); /* a hint: refusal changes nothing */
#endif
    if (memory)
        memset(memory, 0, *granted);
    return memory;
}

/* bias [columns], of a GRU [2, columns], whose second row begins the recurrent sums: those of z and r are one
 * with the input's. */
static void pack_bias(const flstm_plan *plan, const flstm_weights *w, size_t gate, const char *bias)
{
    const size_t units = w->units, e = plan->element;
    for (size_t g = 0; g < w->gates && (gate + g) * units < plan->columns; g++) {
        const size_t first = (gate + g) * units, left = plan->columns - first, n = left < units ? left : units;
        char *const to = (char *)(uintptr_t)w->bias + g * w->padded * e;
        memcpy(to, bias + first * e, n * e);
        if (plan->cell != FLSTM_CELL_GRU)
            continue;
        const char *const recurrent = bias + (plan->columns + first) * e;
        if (g < 2)
            flstm_combine(plan->dtype, FLSTM_SUM, n, to, recurrent, to);
        else
            memcpy((char *)(uintptr_t)w->recurrent_bias, recurrent, n * e);
    }
}

/* The parts of some weights in memory from `base` on; returns their bytes. With base NULL, only that. */
static size_t lay_out(flstm_weights *w, const flstm_kernel *kernel, size_t e, int recurrent, char *base)
{
    size_t at = 0;
#define PART(pointer, bytes)                  \
    do {                                      \
        w->pointer = base ? base + at : NULL; \
        at += flstm_align64(bytes);           \
    } while (0)
    PART(bias, w->gates * w->padded * e);
    PART(recurrent_bias, w->end == FLSTM_END_GRU ? w->padded * e : 0);
#undef PART
    at += flstm_place_matrix(&w->kernel, kernel, w, w->features, base ? base + at : NULL);
    if (recurrent)
        at += flstm_place_matrix(&w->recurrent_kernel, kernel, w, w->outputs, base ? base + at : NULL);
    return at;
}

/* Which kernel does what for the plan's cell, and whether it does so for its activations. */
static void divide(flstm_plan *plan, const flstm_variant *variant)
{
    static const struct division {
        size_t sums, gates, left; /* of a step; of the weights, of the candidate's */
        flstm_end end;
    } divisions[FLSTM_CELL_COUNT] = {
        {4, 4, 0, FLSTM_END_LSTM}, {4, 3, 0, FLSTM_END_GRU}, {3, 2, 1, FLSTM_END_RESET}, {1, 1, 0, FLSTM_END_TANH}};
    const struct division *d = &divisions[plan->cell];
    const int relu = plan->activation == FLSTM_ACT_relu, simple = plan->cell == FLSTM_CELL_SIMPLE;
    plan->sums = d->sums;
    plan->gates = d->gates + d->left;
    plan->weights.gates = d->gates;
    plan->weights.end = simple && relu ? FLSTM_END_RELU : d->end;
    plan->fused_cell = simple ? relu || plan->activation == FLSTM_ACT_tanh
                              : plan->activation == FLSTM_ACT_tanh && plan->recurrent_activation == FLSTM_ACT_sigmoid;
    plan->update.gate.activation = plan->recurrent_activation;
    plan->update.candidate.activation = plan->update.output.activation = plan->activation;
    if (variant)
        plan->fused_cell = 0;
    if (variant && variant->coupling != FLSTM_UNCOUPLED) {
        plan->gates = plan->weights.gates = 3;
        plan->weights.end = FLSTM_END_GRU;
    }
    plan->candidate = plan->weights;
    plan->candidate.gates = d->left;
    plan->candidate.end = FLSTM_END_CANDIDATE;
}

static flstm_form form_of(const flstm_config *config)
{
    static const flstm_form forms[] = {FLSTM_FORM_F32, FLSTM_FORM_BF16, FLSTM_FORM_F16, FLSTM_FORM_I8};
    return config->dtype == FLSTM_F64 ? FLSTM_FORM_F64 : forms[config->precision];
}

flstm_status flstm_pack_plan(flstm_plan **result, const flstm_config *config, size_t units, size_t columns,
                             const void *kernel, const void *recurrent_kernel, const void *bias)
{
    flstm_plan plan = {.dtype = config->dtype,
                       .element = config->dtype == FLSTM_F32 ? sizeof(float) : sizeof(double),
                       .cell = config->cell,
                       .columns = columns,
                       .activation = config->activation,
                       .recurrent_activation = config->recurrent_activation};
    plan.kernel = flstm_choose_kernel(form_of(config), config->isa, config->reproducible, &plan.isa,
                                      &plan.wide_kernel);
    if (!plan.kernel)
        return FLSTM_ERR_ISA;

    flstm_weights *const w = &plan.weights, *const parts[] = {w, &plan.candidate};
    const size_t lanes = plan.kernel->lanes;
    size_t row, kernel_bytes, recurrent_bytes;
    w->features = config->features;
    w->units = units;
    w->outputs = config->variant ? config->variant->outputs : units;
    w->vectors = (units - 1) / lanes + 1;
    w->padded = w->vectors * lanes;
    if (w->padded * plan.element % ALIAS_BYTES == 0)
        w->padded += lanes;
    w->outputs_padded = w->outputs == units ? w->padded : (w->outputs + lanes - 1) / lanes * lanes;
    divide(&plan, config->variant);
    /* an eighth of the address range each: no sum or stride below can overflow */
    if (!multiply(w->vectors, lanes * 4 * plan.element, &row) || !multiply(row, w->features, &kernel_bytes)
        || !multiply(row, recurrent_kernel ? w->outputs : 0, &recurrent_bytes) || kernel_bytes > SIZE_MAX / 8
        || recurrent_bytes > SIZE_MAX / 8)
        return FLSTM_ERR_SIZE;

    size_t at = flstm_align64(sizeof plan), bytes = at;
    for (size_t i = 0; i < 2; i++)
        bytes += parts[i]->gates ? lay_out(parts[i], plan.kernel, plan.element, recurrent_kernel != NULL, NULL) : 0;
    char *const memory = flstm_allocate(bytes, &plan.bytes);
    if (!memory)
        return FLSTM_ERR_MEMORY;
    int held = 1;
    for (size_t i = 0, gate = 0; i < 2 && parts[i]->gates; gate += parts[i++]->gates) {
        at += lay_out(parts[i], plan.kernel, plan.element, recurrent_kernel != NULL, memory + at);
        if (bias && !(config->variant && config->variant->norm)) /* which comes before it */
            pack_bias(&plan, parts[i], gate, bias);
        held &= flstm_pack_matrix(&parts[i]->kernel, plan.kernel, parts[i], gate, w->features, columns, kernel);
        if (recurrent_kernel)
            held &= flstm_pack_matrix(&parts[i]->recurrent_kernel, plan.kernel, parts[i], gate, w->outputs, columns,
                                      recurrent_kernel);
    }
    if (!held) {
        free(memory);
        return FLSTM_ERR_RANGE;
    }
    memcpy(memory, &plan, sizeof plan);
    *result = (flstm_plan *)memory;
    return FLSTM_OK;
}

int flstm_config_valid(const flstm_config *config)
{
    return config && config->features > 0 && config->units > 0
           && (config->dtype == FLSTM_F32 || config->dtype == FLSTM_F64) && (unsigned)config->cell < FLSTM_CELL_COUNT
           && (config->variant || (unsigned)config->activation < FLSTM_ACT_COUNT)
           && (config->variant || (unsigned)config->recurrent_activation < FLSTM_ACT_COUNT)
           && (unsigned)config->precision < FLSTM_PRECISION_COUNT
           && (config->precision == FLSTM_FULL || config->dtype == FLSTM_F32) && flstm_variant_valid(config);
}

flstm_status flstm_plan_create(flstm_plan **result, const flstm_config *config, const void *kernel,
                               const void *recurrent_kernel, const void *bias)
{
    if (!result)
        return FLSTM_ERR_ARGUMENT;
    *result = NULL;
    if (!flstm_config_valid(config) || !kernel || !recurrent_kernel)
        return FLSTM_ERR_ARGUMENT;
    const size_t most = config->precision == FLSTM_INT8 ? INT8_MOST : SIZE_MAX / 64;
    const flstm_variant *const variant = config->variant;
    if (config->units > most || config->features > most || (variant && variant->outputs > most))
        return FLSTM_ERR_SIZE;
    const int whole = config->cell == FLSTM_CELL_LSTM && !(variant && variant->coupling != FLSTM_UNCOUPLED);
    const size_t gates = whole ? 4 : config->cell == FLSTM_CELL_SIMPLE ? 1 : 3;
    const uint32_t caller = fpenv_enter(0); /* weights are rounded, biases added */
    flstm_status status =
        flstm_pack_plan(result, config, config->units, gates * config->units, kernel, recurrent_kernel, bias);
    if (status == FLSTM_OK && variant)
        status = flstm_pack_variant(*result, config, bias);
    if (status != FLSTM_OK) {
        flstm_plan_destroy(*result);
        *result = NULL;
    }
    fpenv_leave(caller);
    return status;
}

/* ---- the weights once more, for many rows -------------------------------------------------------- */

int flstm_is_for_wide(const flstm_plan *plan, size_t batch)
{
    const size_t blocks = (batch + WIDE_ROWS - 1) / WIDE_ROWS;
    return plan->wide_kernel && plan->weights.units >= WIDE_UNITS && blocks * WIDE_COST < batch;
}

/* Packs a matrix for the wide kernel from what is packed for the other. Returns whether it can be held. */
static int repack(const flstm_packed *wide, const flstm_weights *to, const flstm_matrix *matrix,
                  const flstm_plan *plan, const flstm_matrix *from, size_t rows, float *plain)
{
    const size_t lanes = plan->kernel->lanes, units = to->units, columns = to->gates * units;
    for (size_t u = 0; u < units; u++)
        for (size_t k = 0; k < rows; k++)
            for (size_t g = 0; g < to->gates; g++) {
                const float *const vector = (const float *)(const void *)((const char *)from->data
                                                                          + u / lanes * from->stream);
                plain[k * columns + g * units + u] = vector[(k * to->gates + g) * lanes + u % lanes];
            }
    return flstm_pack_matrix(matrix, wide->kernel, to, 0, rows, columns, plain);
}

flstm_status flstm_plan_widen(flstm_plan *plan, size_t batch)
{
    if (!plan)
        return FLSTM_ERR_ARGUMENT;
    if (plan->wide || !flstm_is_for_wide(plan, batch))
        return FLSTM_OK;
    flstm_packed wide = {plan->wide_kernel, plan->weights, plan->candidate};
    const flstm_weights *const from[] = {&plan->weights, &plan->candidate};
    flstm_weights *const parts[] = {&wide.weights, &wide.candidate};
    const flstm_weights *const w = &plan->weights;
    const size_t most_rows = w->features > w->outputs ? w->features : w->outputs;
    size_t at = flstm_align64(sizeof wide), bytes = at, granted;
    for (size_t i = 0; i < 2; i++)
        bytes += parts[i]->gates ? lay_out(parts[i], wide.kernel, plan->element, 1, NULL) : 0;
    float *const plain = malloc(most_rows * wide.weights.gates * wide.weights.units * sizeof *plain);
    char *const memory = plain ? flstm_allocate(bytes, &granted) : NULL;
    int held = 1;
    for (size_t i = 0; memory && i < 2 && parts[i]->gates; i++) {
        flstm_weights *const to = parts[i];
        at += lay_out(to, wide.kernel, plan->element, 1, memory + at);
        to->bias = from[i]->bias, to->recurrent_bias = from[i]->recurrent_bias;
        held &= repack(&wide, to, &to->kernel, plan, &from[i]->kernel, to->features, plain);
        held &= repack(&wide, to, &to->recurrent_kernel, plan, &from[i]->recurrent_kernel, to->outputs, plain);
    }
    free(plain);
    if (!memory)
        return FLSTM_ERR_MEMORY;
    if (!held) { /* the usual kernel takes what three bfloat16 do not hold */
        free(memory);
        plan->wide_kernel = NULL;
        return FLSTM_OK;
    }
    memcpy(memory, &wide, sizeof wide);
    plan->wide = (flstm_packed *)(void *)memory;
    plan->bytes += granted;
    return FLSTM_OK;
}

void flstm_plan_destroy(flstm_plan *plan)
{
    if (plan) {
        free(plan->wide);
        free(plan->update.memory);
        flstm_plan_destroy((flstm_plan *)(uintptr_t)plan->update.projection);
    }
    free(plan);
}

const char *flstm_plan_isa(const flstm_plan *plan)
{
    return plan->isa;
}

size_t flstm_plan_bytes(const flstm_plan *plan)
{
    return plan->bytes;
}
