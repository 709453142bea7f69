/* kernel_scalar_fma_f16.c -- the kernel for float16 weights in plain C with multiply-adds that round once. */
#include <math.h>
#include <string.h>

#include "kernel.h"

#define V_F64 0
#define V_FMA 1
#define V_FORM V_F16
#include "vec_scalar.h"
#include "activations_tpl.h"
#include "cells_tpl.h"
#include "sweep_tpl.h"
#include "tiles_tpl.h"
#include "narrow_scalar.h"
#include "products_float_tpl.h"
#include "kernel_tpl.h"

const flstm_kernel flstm_kernel_scalar_fma_f16 = KERNEL;
