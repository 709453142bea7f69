/* kernel_avx512_f32.c -- the float32 kernel for AVX-512. */
#include "cpu.h"
#if FLSTM_X86
#include <immintrin.h>

#include "kernel.h"
#include "target.h"

TARGET_BEGIN("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#define V_F64 0
#define V_FORM V_FULL
#include "vec_avx512.h"
#include "activations_tpl.h"
#include "cells_tpl.h"
#include "sweep_tpl.h"
#include "tiles_tpl.h"
#include "products_float_tpl.h"
#include "kernel_tpl.h"
TARGET_END

const flstm_kernel flstm_kernel_avx512_f32 = KERNEL;
#else
typedef int flstm_kernel_avx512_f32_absent; /* a translation unit may not be empty */
#endif
