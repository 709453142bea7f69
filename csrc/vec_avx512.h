/* vec_avx512.h -- vectors for AVX-512 F+DQ+BW+VL: 16 floats or 8 doubles (V_F64). */
#define V_REGS 32

#if !V_F64
typedef float real;
typedef __m512 vf;
#define V_LEN 16

static inline vf v_load(const real *p) { return _mm512_loadu_ps(p); }
static inline vf v_load_n(const real *p, size_t n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
static inline void v_store(real *p, vf a) { _mm512_storeu_ps(p, a); }
static inline void v_store_n(real *p, vf a, size_t n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), a); }
static inline vf v_set1(real a) { return _mm512_set1_ps(a); }
static inline vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static inline vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static inline vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static inline vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
/* b where either is NaN, as the hardware does: the variable goes second */
static inline vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
static inline vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
static inline vf v_abs(vf a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
static inline vf v_copysign(vf a, vf s)
{
    return _mm512_or_ps(a, _mm512_and_ps(_mm512_set1_ps(-0.0f), s));
}
static inline vf v_if_less(vf a, vf b, vf yes, vf no)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
static inline vf v_pow2(vf t) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(t), 23)); }

#else
typedef double real;
typedef __m512d vf;
#define V_LEN 8

static inline vf v_load(const real *p) { return _mm512_loadu_pd(p); }
static inline vf v_load_n(const real *p, size_t n) { return _mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p); }
static inline void v_store(real *p, vf a) { _mm512_storeu_pd(p, a); }
static inline void v_store_n(real *p, vf a, size_t n) { _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), a); }
static inline vf v_set1(real a) { return _mm512_set1_pd(a); }
static inline vf v_add(vf a, vf b) { return _mm512_add_pd(a, b); }
static inline vf v_sub(vf a, vf b) { return _mm512_sub_pd(a, b); }
static inline vf v_mul(vf a, vf b) { return _mm512_mul_pd(a, b); }
static inline vf v_div(vf a, vf b) { return _mm512_div_pd(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_pd(a, b, c); }
static inline vf v_min(vf a, vf b) { return _mm512_min_pd(a, b); }
static inline vf v_max(vf a, vf b) { return _mm512_max_pd(a, b); }
static inline vf v_abs(vf a) { return _mm512_andnot_pd(_mm512_set1_pd(-0.0), a); }
static inline vf v_copysign(vf a, vf s)
{
    return _mm512_or_pd(a, _mm512_and_pd(_mm512_set1_pd(-0.0), s));
}
static inline vf v_if_less(vf a, vf b, vf yes, vf no)
{
    return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, _CMP_LT_OQ), no, yes);
}
static inline vf v_pow2(vf t) { return _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(t), 52)); }
#endif
