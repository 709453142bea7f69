/* plan.c -- makes a plan: checks the configuration, chooses the kernel, packs the weights. */
#if defined(__linux__)
#define _DEFAULT_SOURCE /* madvise */
#include <sys/mman.h>
#endif
#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "cpu.h"

#define FLSTM_KERNEL(name, fused, needs) \
    extern const flstm_kernel flstm_kernel_##name##_f32, flstm_kernel_##name##_f64;
#include "kernels.inc"
#undef FLSTM_KERNEL

static const struct listed {
    const char *name;
    int fused;
    uint32_t needs;
    const flstm_kernel *of[2]; /* by dtype */
} kernels[] = {
#define FLSTM_KERNEL(name, fused, needs) \
    {#name, fused, needs, {&flstm_kernel_##name##_f32, &flstm_kernel_##name##_f64}},
#include "kernels.inc"
#undef FLSTM_KERNEL
};

enum { KERNELS = sizeof kernels / sizeof *kernels };

const char *flstm_kernel_name(size_t index)
{
    return index < KERNELS ? kernels[index].name : NULL;
}

int flstm_kernel_runs(size_t index)
{
    return index < KERNELS && (kernels[index].needs & ~flstm_cpu_features()) == 0;
}

int flstm_kernel_fused(size_t index)
{
    return index < KERNELS && kernels[index].fused;
}

const flstm_kernel *flstm_listed_kernel(flstm_dtype dtype, size_t index)
{
    return index < KERNELS && (dtype == FLSTM_F32 || dtype == FLSTM_F64) ? kernels[index].of[dtype] : NULL;
}

const flstm_kernel *flstm_choose_kernel(flstm_dtype dtype, const char *isa, int reproducible, const char **name)
{
    const uint32_t have = flstm_cpu_features();
    for (size_t i = 0; i < KERNELS; i++) {
        const struct listed *k = &kernels[i];
        if ((isa && strcmp(isa, k->name) != 0) || (k->needs & ~have) || (reproducible && !k->fused))
            continue;
        *name = k->name;
        return k->of[dtype];
    }
    return NULL;
}

/* ---- packing --------------------------------------------------------------------------------- */

/* source [rows, columns] -> [vectors, rows, 4, lanes]: column g * units + u is gate g of unit u. What
 * the columns do not fill stays zero, as the destination is. */
static void pack(const flstm_plan *plan, size_t rows, size_t columns, const void *source, void *destination)
{
    const flstm_weights *w = &plan->weights;
    const size_t lanes = plan->kernel->lanes, e = plan->element;
    const char *from = source;
    char *to = destination;
    for (size_t first = 0; first < w->units; first += lanes) {
        const size_t width = w->units - first < lanes ? w->units - first : lanes;
        for (size_t k = 0; k < rows; k++)
            for (size_t g = 0; g < 4; g++, to += lanes * e) {
                const size_t column = g * w->units + first, left = column < columns ? columns - column : 0;
                memcpy(to, from + (k * columns + (left ? column : 0)) * e, (left < width ? left : width) * e);
            }
    }
}

static int multiply(size_t a, size_t b, size_t *product)
{
    *product = a * b;
    return a == 0 || *product / a == b;
}

/* Big weights go on 2 MiB pages where the system grants them: small pages end every prefetch. */
static void *allocate(size_t bytes, size_t *granted)
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

flstm_status flstm_pack_plan(flstm_plan **result, const flstm_config *config, size_t units, size_t columns,
                             const void *kernel, const void *recurrent_kernel, const void *bias)
{
    flstm_plan plan = {.dtype = config->dtype,
                       .element = config->dtype == FLSTM_F32 ? sizeof(float) : sizeof(double),
                       .columns = columns,
                       .activation = config->activation,
                       .recurrent_activation = config->recurrent_activation};
    plan.kernel = flstm_choose_kernel(config->dtype, config->isa, config->reproducible, &plan.isa);
    if (!plan.kernel)
        return FLSTM_ERR_ISA;
    plan.fused_cell = config->activation == FLSTM_ACT_tanh && config->recurrent_activation == FLSTM_ACT_sigmoid;

    flstm_weights *w = &plan.weights;
    const size_t lanes = plan.kernel->lanes;
    size_t row, kernel_bytes, recurrent_bytes;
    w->features = config->features;
    w->units = units;
    w->vectors = (units - 1) / lanes + 1;
    /* an eighth of the address range each: no sum or stride below can overflow */
    if (!multiply(w->vectors, lanes * 4 * plan.element, &row) || !multiply(row, w->features, &kernel_bytes)
        || !multiply(row, recurrent_kernel ? units : 0, &recurrent_bytes) || kernel_bytes > SIZE_MAX / 8
        || recurrent_bytes > SIZE_MAX / 8)
        return FLSTM_ERR_SIZE;
    w->padded = w->vectors * lanes;

    const size_t bias_at = flstm_align64(sizeof plan), kernel_at = bias_at + flstm_align64(row);
    const size_t recurrent_at = kernel_at + flstm_align64(kernel_bytes);
    char *memory = allocate(recurrent_at + recurrent_bytes, &plan.bytes);
    if (!memory)
        return FLSTM_ERR_MEMORY;
    w->bias = memory + bias_at;
    w->kernel = memory + kernel_at;
    w->recurrent_kernel = memory + recurrent_at;
    for (size_t g = 0; bias && g < 4 && g * units < columns; g++) {
        const size_t left = columns - g * units;
        memcpy(memory + bias_at + g * w->padded * plan.element, (const char *)bias + g * units * plan.element,
               (left < units ? left : units) * plan.element);
    }
    pack(&plan, w->features, columns, kernel, memory + kernel_at);
    if (recurrent_kernel)
        pack(&plan, units, columns, recurrent_kernel, memory + recurrent_at);
    memcpy(memory, &plan, sizeof plan);
    *result = (flstm_plan *)memory;
    return FLSTM_OK;
}

int flstm_config_valid(const flstm_config *config)
{
    return config && config->features > 0 && config->units > 0
           && (config->dtype == FLSTM_F32 || config->dtype == FLSTM_F64)
           && (unsigned)config->activation < FLSTM_ACT_COUNT
           && (unsigned)config->recurrent_activation < FLSTM_ACT_COUNT;
}

flstm_status flstm_plan_create(flstm_plan **result, const flstm_config *config, const void *kernel,
                               const void *recurrent_kernel, const void *bias)
{
    if (!result)
        return FLSTM_ERR_ARGUMENT;
    *result = NULL;
    if (!flstm_config_valid(config) || !kernel || !recurrent_kernel)
        return FLSTM_ERR_ARGUMENT;
    if (config->units > SIZE_MAX / 64)
        return FLSTM_ERR_SIZE;
    return flstm_pack_plan(result, config, config->units, 4 * config->units, kernel, recurrent_kernel, bias);
}

void flstm_plan_destroy(flstm_plan *plan)
{
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
