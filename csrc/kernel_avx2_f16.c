/* kernel_avx2_f16.c -- the kernel for float16 weights for AVX2 with FMA. */
#include "cpu.h"
#if FLSTM_X86
#include <immintrin.h>
#include <string.h>

#include "kernel.h"
#include "target.h"

TARGET_BEGIN("avx2,fma,f16c")
#define V_F64 0
#define V_FORM V_F16
#include "vec_avx2.h"
#include "activations_tpl.h"
#include "cells_tpl.h"
#include "sweep_tpl.h"
#include "tiles_tpl.h"
#include "narrow_avx2.h"
#include "products_float_tpl.h"
#include "kernel_tpl.h"
TARGET_END

const flstm_kernel flstm_kernel_avx2_f16 = KERNEL;
#else
typedef int flstm_kernel_avx2_f16_absent; /* a translation unit may not be empty */
#endif
