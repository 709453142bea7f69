/* kernels.c -- the list of kernels, and which of them a plan takes. */
#include <string.h>

#include "cpu.h"
#include "plan.h"

#if FLSTM_X86
extern const flstm_kernel flstm_kernel_amx_split;
#endif
#define FLSTM_KERNEL(name, fused, needs, wide, f32, f64, bf16, f16, i8)                                        \
    extern const flstm_kernel flstm_kernel_##f32, flstm_kernel_##f64, flstm_kernel_##bf16, flstm_kernel_##f16, \
        flstm_kernel_##i8;
#include "kernels.inc"
#undef FLSTM_KERNEL

static const struct listed {
    const char *name;
    int fused;
    uint32_t needs;
    const flstm_kernel *wide, *of[FLSTM_FORM_COUNT];
} kernels[] = {
#define FLSTM_KERNEL(name, fused, needs, wide, f32, f64, bf16, f16, i8)                 \
    {#name, fused, needs, wide,                                                         \
     {&flstm_kernel_##f32, &flstm_kernel_##f64, &flstm_kernel_##bf16, &flstm_kernel_##f16, &flstm_kernel_##i8}},
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

const flstm_kernel *flstm_choose_kernel(flstm_form form, const char *isa, int reproducible, const char **name,
                                        const flstm_kernel **wide)
{
    const uint32_t have = flstm_cpu_features();
    for (size_t i = 0; i < KERNELS; i++) {
        const struct listed *k = &kernels[i];
        if ((isa && strcmp(isa, k->name) != 0) || (k->needs & ~have) || (reproducible && !k->fused))
            continue;
        const flstm_kernel *const found = k->of[form];
        const int free_order = !reproducible || form == FLSTM_FORM_I8; /* whose sums are exact in any order */
        *name = k->name;
        *wide = form == FLSTM_FORM_F32 ? k->wide : NULL;
        return found->dot && free_order && !((uint32_t)found->dot_needs & ~have) ? found->dot : found;
    }
    return NULL;
}
