/* narrow_scalar.h -- narrow weights in plain C: included after vec_scalar.h where they are used. */

static inline float v_of_bits(uint32_t bits)
{
    float a;
    memcpy(&a, &bits, sizeof a);
    return a;
}

static inline vf v_load_f16(const uint16_t *p)
{
    const uint32_t sign = (uint32_t)(*p & 0x8000) << 16, exponent = *p >> 10 & 31, mantissa = *p & 0x3ff;
    if (exponent == 0) { /* not by its bits: the arithmetic of a run takes denormals for zero */
        const float small = (float)mantissa * 0x1p-24f;
        return sign ? -small : small;
    }
    return v_of_bits(sign | (exponent + (exponent == 31 ? 224 : 112)) << 23 | mantissa << 13);
}

/* Pairs of bfloat16. */
static inline vf v_even_bf16(const uint16_t *p) { return v_of_bits((uint32_t)p[0] << 16); }
static inline vf v_odd_bf16(const uint16_t *p) { return v_of_bits((uint32_t)p[1] << 16); }

typedef int32_t vi;
typedef const char *v_four;
static inline vi v_load_int(const void *p)
{
    vi four;
    memcpy(&four, p, sizeof four);
    return four;
}
static inline vi v_set1_int(int32_t a) { return a; }
static inline vf v_from_int(vi a) { return (float)a; }

/* Four signed bytes, and their products with four unsigned ones. */
static inline v_four v_set1_four(const char *p) { return p; }
static inline vi v_dot4(vi sum, vi weights, v_four x)
{
    uint8_t four[4];
    memcpy(four, &weights, sizeof four);
    for (int k = 0; k < 4; k++)
        sum += four[k] * (int8_t)x[k];
    return sum;
}
