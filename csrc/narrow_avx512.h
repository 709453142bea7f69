/* narrow_avx512.h -- narrow weights for AVX-512: included after vec_avx512.h where they are used. */

static inline vf v_load_f16(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p)); }

/* Pairs of bfloat16, the first of each in its lower half. */
static inline vf v_even_bf16(const uint16_t *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
}
static inline vf v_odd_bf16(const uint16_t *p)
{
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32((int)0xffff0000)));
}

/* Vectors of integers of 32 bits. Not __m512i, whose elements are others: arrays of that would not stay in
 * registers. */
typedef int32_t vi __attribute__((vector_size(64)));
static inline vi v_load_int(const void *p) { return (vi)_mm512_loadu_si512(p); }
static inline vi v_set1_int(int32_t a) { return (vi)_mm512_set1_epi32(a); }
static inline vf v_from_int(vi a) { return _mm512_cvtepi32_ps((__m512i)a); }

/* Four signed bytes for every lane, and their products with four unsigned ones of each. */
#if V_FORM == V_I8_DOT
typedef __m512i v_four;
static inline v_four v_set1_four(const char *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}
static inline vi v_dot4(vi sum, vi weights, v_four x)
{
    return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)weights, x);
}
#else
typedef struct v_four {
    __m512i even, odd; /* as 16-bit numbers */
} v_four;
static inline v_four v_set1_four(const char *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    const __m512i all = _mm512_set1_epi32(four);
    return (v_four){_mm512_srai_epi16(_mm512_slli_epi16(all, 8), 8), _mm512_srai_epi16(all, 8)};
}
static inline vi v_dot4(vi sum, vi weights, v_four x)
{
    const __m512i even = _mm512_and_si512((__m512i)weights, _mm512_set1_epi16(0xff));
    const __m512i odd = _mm512_srli_epi16((__m512i)weights, 8);
    return sum + (vi)_mm512_madd_epi16(even, x.even) + (vi)_mm512_madd_epi16(odd, x.odd);
}
#endif

#if V_FORM == V_BF16_DOT
typedef __m512bh vb;
static inline vb v_load_pairs(const void *p) { return (vb)_mm512_loadu_si512(p); }
static inline vb v_set1_pair(const char *p)
{
    int32_t pair;
    memcpy(&pair, p, sizeof pair);
    return (vb)_mm512_set1_epi32(pair);
}
static inline vf v_dot2(vf sum, vb weights, vb x) { return _mm512_dpbf16_ps(sum, weights, x); }
static inline void v_round_bf16(const float *from, size_t count, uint16_t *to)
{
    size_t k = 0;
    for (; k + 16 <= count; k += 16)
        _mm256_storeu_si256((void *)(to + k), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from + k)));
    if (k < count) {
        const __mmask16 rest = (__mmask16)((1u << (count - k)) - 1);
        _mm256_mask_storeu_epi16(to + k, rest, (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(rest, from + k)));
    }
}
#endif
