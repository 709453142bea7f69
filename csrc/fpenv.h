/* fpenv.h -- the floating-point environment of a run: round to nearest, no traps, denormals flushed
 * (they cost some processors a hundred cycles each). The caller's own is put back afterwards. */
#ifndef FLSTM_FPENV_H
#define FLSTM_FPENV_H

#include <stdint.h>

#include "cpu.h"

#if FLSTM_X86
#include <xmmintrin.h>

static inline uint32_t fpenv_enter(void)
{
    const uint32_t caller = _mm_getcsr();
    _mm_setcsr(0x9fc0); /* all exceptions masked, flush to zero, denormals are zero */
    return caller;
}

static inline void fpenv_leave(uint32_t caller)
{
    _mm_setcsr(caller);
}

#else

static inline uint32_t fpenv_enter(void)
{
    return 0;
}

static inline void fpenv_leave(uint32_t caller)
{
    (void)caller;
}

#endif
#endif
