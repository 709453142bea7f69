/* narrow_avx2.h -- narrow weights for AVX2: included after vec_avx2.h where they are used. */

static inline vf v_load_f16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const void *)p)); }

/* Pairs of bfloat16, the first of each in its lower half. */
static inline vf v_even_bf16(const uint16_t *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256((const void *)p), 16));
}
static inline vf v_odd_bf16(const uint16_t *p)
{
    const __m256i upper = _mm256_set1_epi32((int)0xffff0000);
    return _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256((const void *)p), upper));
}

/* Vectors of integers of 32 bits. Not __m256i, whose elements are others: arrays of that would not stay in
 * registers. */
typedef int32_t vi __attribute__((vector_size(32)));
static inline vi v_load_int(const void *p) { return (vi)_mm256_loadu_si256(p); }
static inline vi v_set1_int(int32_t a) { return (vi)_mm256_set1_epi32(a); }
static inline vf v_from_int(vi a) { return _mm256_cvtepi32_ps((__m256i)a); }

/* Four signed bytes for every lane, and their products with four unsigned ones of each. */
typedef struct v_four {
    __m256i even, odd; /* as 16-bit numbers */
} v_four;
static inline v_four v_set1_four(const char *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    const __m256i all = _mm256_set1_epi32(four);
    return (v_four){_mm256_srai_epi16(_mm256_slli_epi16(all, 8), 8), _mm256_srai_epi16(all, 8)};
}
static inline vi v_dot4(vi sum, vi weights, v_four x)
{
    const __m256i even = _mm256_and_si256((__m256i)weights, _mm256_set1_epi16(0xff));
    const __m256i odd = _mm256_srli_epi16((__m256i)weights, 8);
    return sum + (vi)_mm256_madd_epi16(even, x.even) + (vi)_mm256_madd_epi16(odd, x.odd);
}
