/* activations_tpl.h -- sigmoid and tanh as fractions n/d, over the vectors of the file that includes
 * this. Both are within 2 ulp for every float (tests/test_activations.py; docs/accuracy.md has the
 * maxima), NaN stays NaN, infinities saturate. Coefficients: bench/fit_exp.py. */

#if !V_F64
#define EXP_LOG2E 0x1.715476p+0f
#define EXP_LN2_HI 0x1.63p-1f        /* few bits, so that n * ln2_hi is exact */
#define EXP_LN2_LO -0x1.bd0106p-13f
#define EXP_ROUND 0x1.8p+23f         /* added and taken away again, rounds to an integer */
#define EXP_BIAS 127
#define SIGMOID_LIMIT 104.0f         /* e^-104 rounds to 0, e^-103 does not */
#define TANH_LIMIT 10.0f             /* tanh(10) rounds to 1 */
#define SIGMOID_LIFT 64              /* keeps 2^n normal for n down to -151 */
#define SIGMOID_UNLIFT 0x1p-64f
static const real exp_p[] = {0x1p-1f, 0x1.5554b8p-3f, 0x1.5555bap-5f, 0x1.122364p-7f, 0x1.6c5576p-10f};
#else
#define EXP_LOG2E 0x1.71547652b82fep+0
#define EXP_LN2_HI 0x1.62e42fefa2p-1
#define EXP_LN2_LO 0x1.9ef35793c7673p-41
#define EXP_ROUND 0x1.8p+52
#define EXP_BIAS 1023
#define SIGMOID_LIMIT 746.0
#define TANH_LIMIT 20.0
#define SIGMOID_LIFT 512
#define SIGMOID_UNLIFT 0x1p-512
static const real exp_p[] = {
    0x1p-1, 0x1.555555555553ep-3, 0x1.5555555553b15p-5, 0x1.1111111118cf6p-7, 0x1.6c16c179fbcadp-10,
    0x1.a01a0171b2f1bp-13, 0x1.a019b3a7d280bp-16, 0x1.71de976ee5207p-19, 0x1.289759569022bp-22,
    0x1.ae4900da6fe69p-26};
#endif

typedef struct fraction {
    vf n, d;
} fraction;

/* For a >= 0: e^-a = 2^n (1 + q). The low bits of the returned t hold n + bias + lift, from which
 * v_pow2 makes 2^(n + lift). */
static inline vf exp_split(vf a, real lift, vf *q)
{
    const real magic = EXP_ROUND + EXP_BIAS + lift;
    const vf t = v_fma(a, v_set1(-EXP_LOG2E), v_set1(magic));
    const vf n = v_sub(t, v_set1(magic));
    vf r = v_sub(v_mul(n, v_set1(-EXP_LN2_HI)), a); /* both exact: the same with and without FMA */
    r = v_fma(n, v_set1(-EXP_LN2_LO), r);
    const vf r2 = v_mul(r, r);
    const vf p01 = v_fma(v_set1(exp_p[1]), r, v_set1(exp_p[0]));
    const vf p23 = v_fma(v_set1(exp_p[3]), r, v_set1(exp_p[2]));
#if !V_F64
    const vf p = v_fma(v_fma(v_set1(exp_p[4]), r2, p23), r2, p01);
#else
    const vf r4 = v_mul(r2, r2);
    const vf p45 = v_fma(v_set1(exp_p[5]), r, v_set1(exp_p[4]));
    const vf p67 = v_fma(v_set1(exp_p[7]), r, v_set1(exp_p[6]));
    const vf p89 = v_fma(v_set1(exp_p[9]), r, v_set1(exp_p[8]));
    const vf low = v_fma(p23, r2, p01), mid = v_fma(p67, r2, p45);
    const vf p = v_fma(v_fma(p89, r4, mid), r4, low);
#endif
    *q = v_fma(p, r2, r);
    return t;
}

/* sigmoid(x) = n/d with d in [one, 2 one]: e^-|x| on top for negative x, so that small results keep
 * their digits. `one` is a power of two, a scale that costs nothing here. */
static inline fraction sigmoid_fraction(vf x, real one)
{
    vf q;
    const vf a = v_min(v_set1(SIGMOID_LIMIT), v_abs(x));
    const vf t = exp_split(a, SIGMOID_LIFT, &q);
    const vf lifted = v_mul(v_add(v_set1(1), q), v_pow2(t));
    const vf e = v_mul(lifted, v_set1(one * SIGMOID_UNLIFT));
    return (fraction){v_if_negative(x, e, v_set1(one)), v_add(v_set1(one), e)};
}

/* tanh(x) = n/d = -m / (2 + m), m = e^(-2|x|) - 1, with d in [1, 2]. */
static inline fraction tanh_fraction(vf x)
{
    vf q;
    const vf a = v_min(v_set1(TANH_LIMIT), v_abs(x));
    const vf t = exp_split(v_add(a, a), 0, &q);
    const vf s = v_pow2(t);
    const vf m = v_fma(s, q, v_sub(s, v_set1(1)));
    return (fraction){v_copysign(v_abs(m), x), v_add(v_set1(2), m)};
}

static void sigmoid(size_t n, const void *in, void *out)
{
    const real *x = in;
    real *y = out;
    size_t i = 0;
    for (; i + V_LEN <= n; i += V_LEN) {
        const fraction f = sigmoid_fraction(v_load(x + i), 1);
        v_store(y + i, v_div(f.n, f.d));
    }
    if (i < n) {
        const fraction f = sigmoid_fraction(v_load_n(x + i, n - i), 1);
        v_store_n(y + i, v_div(f.n, f.d), n - i);
    }
}

static void hyperbolic_tangent(size_t n, const void *in, void *out)
{
    const real *x = in;
    real *y = out;
    size_t i = 0;
    for (; i + V_LEN <= n; i += V_LEN) {
        const fraction f = tanh_fraction(v_load(x + i));
        v_store(y + i, v_div(f.n, f.d));
    }
    if (i < n) {
        const fraction f = tanh_fraction(v_load_n(x + i, n - i));
        v_store_n(y + i, v_div(f.n, f.d), n - i);
    }
}
