/* cpu.c -- CPUID says what the processor has, XGETBV what the operating system saves: both count. */
#if defined(__linux__)
#define _DEFAULT_SOURCE /* syscall */
#include <sys/syscall.h>
#include <unistd.h>
#endif
#include "cpu.h"

#if FLSTM_X86
#include <cpuid.h>

static uint64_t xgetbv(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Tiles are large, and Linux saves them for those who have asked for them; for the whole process, once. */
static int tiles_granted(uint64_t saved)
{
    const uint64_t tiles_saved = 3u << 17;
#if defined(__linux__) && defined(SYS_arch_prctl)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return (saved & tiles_saved) == tiles_saved && syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    (void)saved, (void)tiles_saved;
    return 0;
#endif
}

uint32_t flstm_cpu_features(void)
{
    enum { FMA = 1 << 12, OSXSAVE = 1 << 27, AVX = 1 << 28, F16C = 1 << 29 }; /* leaf 1, ecx */
    enum { ALL = FMA | OSXSAVE | AVX | F16C };
    const uint32_t avx2 = 1u << 5, vnni = 1u << 11, bf16 = 1u << 5; /* leaf 7, ebx and ecx; then its 1, eax */
    const uint32_t avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F DQ BW VL */
    const uint32_t tiles = 1u << 22 | 1u << 24;                        /* leaf 7, edx: AMX of bfloat16 */
    const uint64_t ymm_saved = 0x06, zmm_saved = 0xe6;
    uint32_t a, b, c, d, found = 0;

    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & ALL) != ALL)
        return 0;
    const uint64_t saved = xgetbv();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return 0;
    if ((b & avx2) && (saved & ymm_saved) == ymm_saved) {
        found |= FLSTM_CPU_AVX2;
        if ((b & avx512) == avx512 && (saved & zmm_saved) == zmm_saved) {
            found |= FLSTM_CPU_AVX512 | (c & vnni ? FLSTM_CPU_AVX512_VNNI : 0);
            const int has_tiles = (d & tiles) == tiles;
            if (__get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & bf16)) {
                found |= FLSTM_CPU_AVX512_BF16;
                found |= has_tiles && tiles_granted(saved) ? FLSTM_CPU_AMX : 0;
            }
        }
    }
    return found;
}

#else

uint32_t flstm_cpu_features(void)
{
    return 0;
}

#endif
