/* kernel_amx_split.c -- the kernel for float32 weights for the tiles of AMX, each weight in three parts. */
#include "cpu.h"
#if FLSTM_X86
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernel.h"
#include "target.h"

TARGET_BEGIN("avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,avx2,fma,amx-tile,amx-bf16")
#define V_F64 0
#define FORM FLSTM_FORM_SPLIT
#define PLANES 3
#include "vec_avx512.h"
#include "activations_tpl.h"
#include "cells_tpl.h"
#include "sweep_tpl.h"
#include "tiles_amx.h"
#include "kernel_amx_tpl.h"
TARGET_END

const flstm_kernel flstm_kernel_amx_split = KERNEL;
#else
typedef int flstm_kernel_amx_split_absent; /* a translation unit may not be empty */
#endif
