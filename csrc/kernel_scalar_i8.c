/* kernel_scalar_i8.c -- the kernel for int8 weights in plain C. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernel.h"

#define V_F64 0
#define V_FMA 0
#define V_FORM V_I8
#include "vec_scalar.h"
#include "activations_tpl.h"
#include "cells_tpl.h"
#include "sweep_tpl.h"
#include "tiles_tpl.h"
#include "narrow_scalar.h"
#include "products_i8_tpl.h"
#include "kernel_tpl.h"

const flstm_kernel flstm_kernel_scalar_i8 = KERNEL;
