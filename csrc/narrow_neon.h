/* narrow_neon.h -- narrow weights for Advanced SIMD of aarch64: included after vec_neon.h where they are used. */

static inline vf v_load_f16(const uint16_t *p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }

/* Pairs of bfloat16, the first of each in its lower half. */
static inline uint32x4_t v_load_pairs(const uint16_t *p) { return vreinterpretq_u32_u16(vld1q_u16(p)); }
static inline vf v_even_bf16(const uint16_t *p) { return vreinterpretq_f32_u32(vshlq_n_u32(v_load_pairs(p), 16)); }
static inline vf v_odd_bf16(const uint16_t *p)
{
    return vreinterpretq_f32_u32(vandq_u32(v_load_pairs(p), vdupq_n_u32(0xffff0000)));
}

typedef int32x4_t vi;
static inline vi v_load_int(const void *p) { return vreinterpretq_s32_u8(vld1q_u8(p)); }
static inline vi v_set1_int(int32_t a) { return vdupq_n_s32(a); }
static inline vf v_from_int(vi a) { return vcvtq_f32_s32(a); }

/* Four signed bytes for every lane, and their products with four unsigned ones of each. */
typedef struct v_four {
    int16x8_t even, odd; /* as 16-bit numbers */
} v_four;
static inline v_four v_set1_four(const char *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    const int16x8_t all = vreinterpretq_s16_s32(vdupq_n_s32(four));
    return (v_four){vshrq_n_s16(vshlq_n_s16(all, 8), 8), vshrq_n_s16(all, 8)};
}
static inline vi v_products(int16x8_t a, int16x8_t b)
{
    return vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b));
}
static inline vi v_dot4(vi sum, vi weights, v_four x)
{
    const uint16x8_t both = vreinterpretq_u16_s32(weights);
    const int16x8_t even = vreinterpretq_s16_u16(vandq_u16(both, vdupq_n_u16(0xff)));
    const int16x8_t odd = vreinterpretq_s16_u16(vshrq_n_u16(both, 8));
    return vaddq_s32(sum, vaddq_s32(v_products(even, x.even), v_products(odd, x.odd)));
}
