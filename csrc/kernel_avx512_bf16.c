/* kernel_avx512_bf16.c -- the kernel for bfloat16 weights for AVX-512. */
#include "cpu.h"
#if FLSTM_X86
#include <immintrin.h>
#include <string.h>

#include "kernel.h"
#include "target.h"

TARGET_BEGIN("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#define V_F64 0
#define V_FORM V_BF16
#include "vec_avx512.h"
#include "activations_tpl.h"
#include "cells_tpl.h"
#include "sweep_tpl.h"
#include "tiles_tpl.h"
#include "narrow_avx512.h"
#include "products_float_tpl.h"
#include "kernel_tpl.h"
TARGET_END

extern const flstm_kernel flstm_kernel_avx512_bf16_dot;
const flstm_kernel flstm_kernel_avx512_bf16 = KERNEL_WITH(&flstm_kernel_avx512_bf16_dot, FLSTM_CPU_AVX512_BF16);
#else
typedef int flstm_kernel_avx512_bf16_absent; /* a translation unit may not be empty */
#endif
