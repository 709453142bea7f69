/* kernel_neon_f32.c -- the float32 kernel for AArch64, whose every processor has Advanced SIMD. */
#include "cpu.h"
#if FLSTM_AARCH64
#include <arm_neon.h>

#include "kernel.h"

#define V_F64 0
#define V_FORM V_FULL
#include "vec_neon.h"
#include "activations_tpl.h"
#include "cells_tpl.h"
#include "sweep_tpl.h"
#include "tiles_tpl.h"
#include "products_float_tpl.h"
#include "kernel_tpl.h"

const flstm_kernel flstm_kernel_neon_f32 = KERNEL;
#else
typedef int flstm_kernel_neon_f32_absent; /* a translation unit may not be empty */
#endif
