/* fpenv.h -- the floating-point environment of our arithmetic: round to nearest, no traps and, in a run,
 * denormals flushed (they cost some processors a hundred cycles each). The caller's is put back. */
#ifndef FLSTM_FPENV_H
#define FLSTM_FPENV_H

#include <stdint.h>

#include "cpu.h"

#if FLSTM_X86

static inline void fpenv_leave(uint32_t caller)
{
    __asm__ volatile("ldmxcsr %0" : : "m"(caller) : "memory");
}

static inline uint32_t fpenv_enter(int flush)
{
    uint32_t caller;
    __asm__ volatile("stmxcsr %0" : "=m"(caller) : : "memory");
    fpenv_leave(flush ? 0x9fc0 : 0x1f80); /* all exceptions masked; flush to zero, denormals are zero */
    return caller;
}

#elif FLSTM_AARCH64

static inline void fpenv_leave(uint32_t caller)
{
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)caller) : "memory");
}

/* Flushes as x86 does, but for results that round up to the least normal number: they are 0 here. */
static inline uint32_t fpenv_enter(int flush)
{
    uint64_t caller;
    __asm__ volatile("mrs %0, fpcr" : "=r"(caller) : : "memory");
    fpenv_leave(flush ? 1u << 24 : 0);
    return (uint32_t)caller;
}

#else

static inline uint32_t fpenv_enter(int flush)
{
    (void)flush;
    return 0;
}

static inline void fpenv_leave(uint32_t caller)
{
    (void)caller;
}

#endif
#endif
