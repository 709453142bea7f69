/* vec_neon.h -- vectors for AArch64's Advanced SIMD: 4 floats or 2 doubles (V_F64). */
#define V_REGS 32

#if !V_F64
typedef float real;
typedef float32x4_t vf;
#define V_LEN 4

static inline vf v_load(const real *p) { return vld1q_f32(p); }
static inline vf v_load_n(const real *p, size_t n) /* no element may be touched beyond n */
{
    vf a = vdupq_n_f32(0);
    a = n > 0 ? vld1q_lane_f32(p, a, 0) : a;
    a = n > 1 ? vld1q_lane_f32(p + 1, a, 1) : a;
    a = n > 2 ? vld1q_lane_f32(p + 2, a, 2) : a;
    return n > 3 ? vld1q_lane_f32(p + 3, a, 3) : a;
}
static inline void v_store(real *p, vf a) { vst1q_f32(p, a); }
static inline void v_store_n(real *p, vf a, size_t n)
{
    if (n > 0) vst1q_lane_f32(p, a, 0);
    if (n > 1) vst1q_lane_f32(p + 1, a, 1);
    if (n > 2) vst1q_lane_f32(p + 2, a, 2);
    if (n > 3) vst1q_lane_f32(p + 3, a, 3);
}
static inline vf v_set1(real a) { return vdupq_n_f32(a); }
static inline vf v_add(vf a, vf b) { return vaddq_f32(a, b); }
static inline vf v_sub(vf a, vf b) { return vsubq_f32(a, b); }
static inline vf v_mul(vf a, vf b) { return vmulq_f32(a, b); }
static inline vf v_div(vf a, vf b) { return vdivq_f32(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
/* b where either is NaN or both are zeros, as x86's instruction does; vminq and vmaxq do neither */
static inline vf v_min(vf a, vf b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
static inline vf v_max(vf a, vf b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
static inline vf v_abs(vf a) { return vabsq_f32(a); }
static inline vf v_copysign(vf a, vf s) { return vbslq_f32(vdupq_n_u32(0x80000000), s, a); }
static inline vf v_if_less(vf a, vf b, vf yes, vf no) { return vbslq_f32(vcltq_f32(a, b), yes, no); }
static inline vf v_pow2(vf t) { return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(t), 23)); }

#else
typedef double real;
typedef float64x2_t vf;
#define V_LEN 2

static inline vf v_load(const real *p) { return vld1q_f64(p); }
static inline vf v_load_n(const real *p, size_t n)
{
    vf a = vdupq_n_f64(0);
    a = n > 0 ? vld1q_lane_f64(p, a, 0) : a;
    return n > 1 ? vld1q_lane_f64(p + 1, a, 1) : a;
}
static inline void v_store(real *p, vf a) { vst1q_f64(p, a); }
static inline void v_store_n(real *p, vf a, size_t n)
{
    if (n > 0) vst1q_lane_f64(p, a, 0);
    if (n > 1) vst1q_lane_f64(p + 1, a, 1);
}
static inline vf v_set1(real a) { return vdupq_n_f64(a); }
static inline vf v_add(vf a, vf b) { return vaddq_f64(a, b); }
static inline vf v_sub(vf a, vf b) { return vsubq_f64(a, b); }
static inline vf v_mul(vf a, vf b) { return vmulq_f64(a, b); }
static inline vf v_div(vf a, vf b) { return vdivq_f64(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return vfmaq_f64(c, a, b); }
static inline vf v_min(vf a, vf b) { return vbslq_f64(vcltq_f64(a, b), a, b); }
static inline vf v_max(vf a, vf b) { return vbslq_f64(vcgtq_f64(a, b), a, b); }
static inline vf v_abs(vf a) { return vabsq_f64(a); }
static inline vf v_copysign(vf a, vf s) { return vbslq_f64(vdupq_n_u64((uint64_t)1 << 63), s, a); }
static inline vf v_if_less(vf a, vf b, vf yes, vf no) { return vbslq_f64(vcltq_f64(a, b), yes, no); }
static inline vf v_pow2(vf t) { return vreinterpretq_f64_u64(vshlq_n_u64(vreinterpretq_u64_f64(t), 52)); }
#endif
