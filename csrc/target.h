/* target.h -- a region of code compiled for more than the baseline instruction set. System headers
 * come before it; nothing but static functions and one constant table may stand inside. */
#ifndef FLSTM_TARGET_H
#define FLSTM_TARGET_H

#define TARGET_PRAGMA(text) _Pragma(#text)

#if defined(__clang__)
#define TARGET_BEGIN(isa) TARGET_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define TARGET_END TARGET_PRAGMA(clang attribute pop)
#else
#define TARGET_BEGIN(isa) TARGET_PRAGMA(GCC push_options) TARGET_PRAGMA(GCC target(isa))
#define TARGET_END TARGET_PRAGMA(GCC pop_options)
#endif

#endif
