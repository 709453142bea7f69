/* cpu.h -- what this processor and operating system can run. */
#ifndef FLSTM_CPU_H
#define FLSTM_CPU_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) || defined(_M_X64)
#define FLSTM_X86 1
#else
#define FLSTM_X86 0
#endif

#if defined(__aarch64__)
#define FLSTM_AARCH64 1 /* Advanced SIMD with it: there is nothing to ask the processor for */
#else
#define FLSTM_AARCH64 0
#endif

enum {
    FLSTM_CPU_AVX2 = 1,        /* AVX2, FMA and F16C, with the operating system saving the ymm registers */
    FLSTM_CPU_AVX512 = 2,      /* AVX-512 F, DQ, BW, VL, with the zmm and mask registers saved */
    FLSTM_CPU_AVX512_BF16 = 4, /* with that, products of bfloat16 */
    FLSTM_CPU_AVX512_VNNI = 8, /* and of bytes */
    FLSTM_CPU_AMX = 16         /* tiles of bfloat16 beside AVX-512 with its, granted to this process */
};

/* The FLSTM_CPU_* bits of this machine. */
uint32_t flstm_cpu_features(void);

#endif
