/* tiles_emulated.c -- makes csrc believe in the tiles of tiles_emulated.h: linked with --wrap=flstm_cpu_features. */
#include "cpu.h"

uint32_t __real_flstm_cpu_features(void);
uint32_t __wrap_flstm_cpu_features(void);

uint32_t __wrap_flstm_cpu_features(void)
{
    return __real_flstm_cpu_features() | FLSTM_CPU_AMX;
}
