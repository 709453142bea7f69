/* activations_tpl.h -- sigmoid and tanh as fractions n/d, over the vectors of the file that includes
 * this. Both are within 2 ulp for every float (tests/test_activations.py; docs/accuracy.md has the
 * maxima), NaN stays NaN, infinities saturate. Coefficients: bench/fit_activations.py. */

#if defined(__GNUC__)
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__)
#define ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE inline /* a build to find faults with compiles each function once */
#endif
#define UNROLL _Pragma("GCC unroll 16")
#define ROLLED _Pragma("GCC unroll 1")
#else
#define ALWAYS_INLINE inline
#define UNROLL
#define ROLLED
#endif

#if !V_F64
#define EXP_LOG2E 0x1.715476p+0f
#define EXP_LN2_HI 0x1.63p-1f       /* few bits, so that n * ln2_hi is exact */
#define EXP_LN2_LO -0x1.bd0106p-13f
#define EXP_LN2 0x1.62e43p-1f
#define EXP_ROUND 0x1.8p+23f        /* added and taken away again, rounds to an integer */
#define EXP_BIAS 127
#define SIGMOID_LEAST -104.0f       /* sigmoid(-104) rounds to 0, sigmoid(-103) does not */
#define SIGMOID_MOST 30.0f          /* sigmoid(30) rounds to 1 */
#define SIGMOID_SHIFT -25           /* keeps e^-x finite down to the least, and no smaller than it must */
#define SIGMOID_ONE 0x1p-25f
#define TANH_MOST 10.0f             /* tanh(10) rounds to 1 */
static const real exp_p[] = {0x1p-1f, 0x1.5554b8p-3f, 0x1.5555bap-5f, 0x1.122364p-7f, 0x1.6c5576p-10f};
static const real tanh_q[] = {-0x1.5554d6p-2f, 0x1.10e9fcp-3f, -0x1.b28c6ep-5f, 0x1.1a7beap-6f};
#else
#define EXP_LOG2E 0x1.71547652b82fep+0
#define EXP_LN2_HI 0x1.62e42fefa2p-1
#define EXP_LN2_LO 0x1.9ef35793c7673p-41
#define EXP_LN2 0x1.62e42fefa39efp-1
#define EXP_ROUND 0x1.8p+52
#define EXP_BIAS 1023
#define SIGMOID_LEAST -746.0
#define SIGMOID_MOST 60.0
#define SIGMOID_SHIFT -60
#define SIGMOID_ONE 0x1p-60
#define TANH_MOST 20.0
static const real exp_p[] = {
    0x1p-1, 0x1.555555555553ep-3, 0x1.5555555553b15p-5, 0x1.1111111118cf6p-7, 0x1.6c16c179fbcadp-10,
    0x1.a01a0171b2f1bp-13, 0x1.a019b3a7d280bp-16, 0x1.71de976ee5207p-19, 0x1.289759569022bp-22,
    0x1.ae4900da6fe69p-26};
static const real tanh_q[] = {
    -0x1.5555555555537p-2, 0x1.111111110e2a3p-3, -0x1.ba1ba1b70a125p-5, 0x1.664f47b4b4ebcp-6,
    -0x1.226e163c235e3p-7, 0x1.d6cdf96c2f0d6p-9, -0x1.7d49282302df3p-10, 0x1.31d1ac39daae1p-11,
    -0x1.c8d6258076704p-13, 0x1.dc841bc92738cp-15};
#endif

typedef struct fraction {
    vf n, d;
} fraction;

/* Added to x / ln(2) and taken away again, it leaves the power n of two in e^x = 2^n e^r; before it is
 * taken away, the low bits are the exponent of 2^(n + shift), which v_pow2 makes a number of. */
#define EXP_MAGIC(shift) v_set1(EXP_ROUND + EXP_BIAS + (shift))

/* e^r - 1 for |r| up to ln(2) / 2. short_chain: the last sum is made of two that do not wait for each
 * other, and rounds once more. */
static ALWAYS_INLINE vf expm1_reduced(vf r, const int short_chain)
{
    const vf r2 = v_mul(r, r), r4 = v_mul(r2, r2);
    const vf p01 = v_fma(v_set1(exp_p[1]), r, v_set1(exp_p[0]));
    const vf p23 = v_fma(v_set1(exp_p[3]), r, v_set1(exp_p[2]));
#if !V_F64
    const vf high = v_fma(v_set1(exp_p[4]), r2, p23);
#else
    const vf p45 = v_fma(v_set1(exp_p[5]), r, v_set1(exp_p[4]));
    const vf p67 = v_fma(v_set1(exp_p[7]), r, v_set1(exp_p[6]));
    const vf p89 = v_fma(v_set1(exp_p[9]), r, v_set1(exp_p[8]));
    const vf high = v_fma(v_fma(v_fma(p89, r2, p67), r2, p45), r2, p23);
#endif
    if (short_chain)
        return v_fma(high, r4, v_fma(p01, r2, r));
    return v_fma(v_fma(high, r2, p01), r2, r);
}

/* sigmoid(x) = n/d = one / (one + one e^-x); the scale `one` keeps d finite where n/d is denormal.
 * v_min and v_max return their second argument where it is NaN. */
static ALWAYS_INLINE fraction sigmoid_fraction(vf x)
{
    const vf limited = v_min(v_set1(SIGMOID_MOST), v_max(v_set1(SIGMOID_LEAST), x));
    const vf t = v_fma(limited, v_set1(-EXP_LOG2E), EXP_MAGIC(SIGMOID_SHIFT));
    const vf n = v_sub(t, EXP_MAGIC(SIGMOID_SHIFT));
    /* the product is exact, so that this rounds alike with and without fused multiply-adds */
    vf r = v_fma(n, v_set1(-EXP_LN2_HI), v_mul(limited, v_set1(-1)));
    r = v_fma(n, v_set1(-EXP_LN2_LO), r);
    const vf s = v_pow2(t), one = v_set1(SIGMOID_ONE);
    return (fraction){one, v_add(v_fma(s, expm1_reduced(r, 0), one), s)};
}

/* tanh(x) = n/d with the sign of x: x + x^3 Q(x^2) over 1 up to 1/2, where a quotient would round once
 * too often, then m / (m + 2), m = e^(2|x|) - 1, for which ln(2) need not be exact. */
static ALWAYS_INLINE fraction tanh_fraction(vf x)
{
    enum { TERMS = sizeof tanh_q / sizeof *tanh_q };
    const vf a = v_min(v_set1(TANH_MOST), v_abs(x)), u = v_mul(a, a);
    vf small = v_set1(tanh_q[TERMS - 1]);
    UNROLL for (int k = TERMS - 2; k >= 0; k--)
        small = v_fma(small, u, v_set1(tanh_q[k]));
    small = v_fma(v_mul(a, u), small, a);
    const vf t = v_fma(a, v_set1(2 * EXP_LOG2E), EXP_MAGIC(0));
    const vf n = v_sub(t, EXP_MAGIC(0)), s = v_pow2(t);
    const vf q = expm1_reduced(v_fma(n, v_set1(-EXP_LN2), v_add(a, a)), 1);
    const vf m = v_fma(s, q, v_sub(s, v_set1(1))), half = v_set1((real)0.5);
    return (fraction){v_copysign(v_if_less(a, half, small, m), x),
                      v_if_less(a, half, v_set1(1), v_add(m, v_set1(2)))};
}

/* An array of n elements; `of` is a constant to the compiler. */
static ALWAYS_INLINE void apply_over(size_t n, const real *x, real *y, fraction (*of)(vf))
{
    size_t i = 0;
    for (; i + V_LEN <= n; i += V_LEN) {
        const fraction f = of(v_load(x + i));
        v_store(y + i, v_div(f.n, f.d));
    }
    if (i < n) {
        const fraction f = of(v_load_n(x + i, n - i));
        v_store_n(y + i, v_div(f.n, f.d), n - i);
    }
}

static void sigmoid(size_t n, const void *in, void *out)
{
    apply_over(n, in, out, sigmoid_fraction);
}

static void hyperbolic_tangent(size_t n, const void *in, void *out)
{
    apply_over(n, in, out, tanh_fraction);
}
