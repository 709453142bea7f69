/* kernel_avx2_f64.c -- the float64 kernel for AVX2 with FMA. */
#include "cpu.h"
#if FLSTM_X86
#include <immintrin.h>

#include "kernel.h"
#include "target.h"

TARGET_BEGIN("avx2,fma,f16c")
#define V_F64 1
#define V_FORM V_FULL
#include "vec_avx2.h"
#include "activations_tpl.h"
#include "cells_tpl.h"
#include "sweep_tpl.h"
#include "tiles_tpl.h"
#include "products_float_tpl.h"
#include "kernel_tpl.h"
TARGET_END

const flstm_kernel flstm_kernel_avx2_f64 = KERNEL;
#else
typedef int flstm_kernel_avx2_f64_absent; /* a translation unit may not be empty */
#endif
