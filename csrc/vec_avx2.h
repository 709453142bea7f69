/* vec_avx2.h -- vectors for AVX2 with FMA: 8 floats or 4 doubles (V_F64). */
#define V_REGS 16

#if !V_F64
typedef float real;
typedef __m256 vf;
#define V_LEN 8

static inline __m256i v_first(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline vf v_load(const real *p) { return _mm256_loadu_ps(p); }
static inline vf v_load_n(const real *p, size_t n) { return _mm256_maskload_ps(p, v_first(n)); }
static inline void v_store(real *p, vf a) { _mm256_storeu_ps(p, a); }
static inline void v_store_n(real *p, vf a, size_t n) { _mm256_maskstore_ps(p, v_first(n), a); }
static inline vf v_set1(real a) { return _mm256_set1_ps(a); }
static inline vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
static inline vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
static inline vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
static inline vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
/* b where either is NaN, as the hardware does: the variable goes second */
static inline vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
static inline vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
static inline vf v_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline vf v_copysign(vf a, vf s)
{
    return _mm256_or_ps(a, _mm256_and_ps(_mm256_set1_ps(-0.0f), s));
}
static inline vf v_if_less(vf a, vf b, vf yes, vf no)
{
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
static inline vf v_pow2(vf t) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(t), 23)); }

#else
typedef double real;
typedef __m256d vf;
#define V_LEN 4

static inline __m256i v_first(size_t n)
{
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x((long long)n), _mm256_setr_epi64x(0, 1, 2, 3));
}
static inline vf v_load(const real *p) { return _mm256_loadu_pd(p); }
static inline vf v_load_n(const real *p, size_t n) { return _mm256_maskload_pd(p, v_first(n)); }
static inline void v_store(real *p, vf a) { _mm256_storeu_pd(p, a); }
static inline void v_store_n(real *p, vf a, size_t n) { _mm256_maskstore_pd(p, v_first(n), a); }
static inline vf v_set1(real a) { return _mm256_set1_pd(a); }
static inline vf v_add(vf a, vf b) { return _mm256_add_pd(a, b); }
static inline vf v_sub(vf a, vf b) { return _mm256_sub_pd(a, b); }
static inline vf v_mul(vf a, vf b) { return _mm256_mul_pd(a, b); }
static inline vf v_div(vf a, vf b) { return _mm256_div_pd(a, b); }
static inline vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_pd(a, b, c); }
static inline vf v_min(vf a, vf b) { return _mm256_min_pd(a, b); }
static inline vf v_max(vf a, vf b) { return _mm256_max_pd(a, b); }
static inline vf v_abs(vf a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
static inline vf v_copysign(vf a, vf s)
{
    return _mm256_or_pd(a, _mm256_and_pd(_mm256_set1_pd(-0.0), s));
}
static inline vf v_if_less(vf a, vf b, vf yes, vf no)
{
    return _mm256_blendv_pd(no, yes, _mm256_cmp_pd(a, b, _CMP_LT_OQ));
}
static inline vf v_pow2(vf t) { return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(t), 52)); }
#endif
