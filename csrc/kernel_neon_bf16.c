/* kernel_neon_bf16.c -- the kernel for bfloat16 weights for AArch64. */
#include "cpu.h"
#if FLSTM_AARCH64
#include <arm_neon.h>
#include <string.h>

#include "kernel.h"

#define V_F64 0
#define V_FORM V_BF16
#include "vec_neon.h"
#include "activations_tpl.h"
#include "cells_tpl.h"
#include "sweep_tpl.h"
#include "tiles_tpl.h"
#include "narrow_neon.h"
#include "products_float_tpl.h"
#include "kernel_tpl.h"

const flstm_kernel flstm_kernel_neon_bf16 = KERNEL;
#else
typedef int flstm_kernel_neon_bf16_absent; /* a translation unit may not be empty */
#endif
