/* kernel_neon_i8.c -- the kernel for int8 weights for AArch64. */
#include "cpu.h"
#if FLSTM_AARCH64
#include <arm_neon.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernel.h"

#define V_F64 0
#define V_FORM V_I8
#include "vec_neon.h"
#include "activations_tpl.h"
#include "cells_tpl.h"
#include "sweep_tpl.h"
#include "tiles_tpl.h"
#include "narrow_neon.h"
#include "products_i8_tpl.h"
#include "kernel_tpl.h"

const flstm_kernel flstm_kernel_neon_i8 = KERNEL;
#else
typedef int flstm_kernel_neon_i8_absent; /* a translation unit may not be empty */
#endif
