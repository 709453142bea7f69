/* kernel_avx512_i8_dot.c -- the kernel for int8 weights for AVX-512 with instructions for their products. */
#include "cpu.h"
#if FLSTM_X86
#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernel.h"
#include "target.h"

TARGET_BEGIN("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,avx512vnni")
#define V_F64 0
#define V_FORM V_I8_DOT
#include "vec_avx512.h"
#include "activations_tpl.h"
#include "cells_tpl.h"
#include "sweep_tpl.h"
#include "tiles_tpl.h"
#include "narrow_avx512.h"
#include "products_i8_tpl.h"
#include "kernel_tpl.h"
TARGET_END

const flstm_kernel flstm_kernel_avx512_i8_dot = KERNEL;
#else
typedef int flstm_kernel_avx512_i8_dot_absent; /* a translation unit may not be empty */
#endif
