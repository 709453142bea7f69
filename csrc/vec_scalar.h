/* vec_scalar.h -- vectors of one element in plain C. V_FMA says whether a multiply-add rounds once
 * (exactly as the FMA instructions do, slow where the processor has none) or twice (fast anywhere). */
#define V_REGS 16
#define V_LEN 1

#if !V_F64
typedef float real;
typedef uint32_t v_bits;
#define V_MANTISSA 23
#define v_real(name) name##f
#else
typedef double real;
typedef uint64_t v_bits;
#define V_MANTISSA 52
#define v_real(name) name
#endif
typedef real vf;

static inline vf v_load(const real *p) { return *p; }
static inline vf v_load_n(const real *p, size_t n) { return n ? *p : 0; }
static inline void v_store(real *p, vf a) { *p = a; }
static inline void v_store_n(real *p, vf a, size_t n) { if (n) *p = a; }
static inline vf v_set1(real a) { return a; }
static inline vf v_add(vf a, vf b) { return a + b; }
static inline vf v_sub(vf a, vf b) { return a - b; }
static inline vf v_mul(vf a, vf b) { return a * b; }
static inline vf v_div(vf a, vf b) { return a / b; }
#if V_FMA
static inline vf v_fma(vf a, vf b, vf c) { return v_real(fma)(a, b, c); }
#else
static inline vf v_fma(vf a, vf b, vf c) { return a * b + c; }
#endif
/* b where either is NaN, as x86's instruction does: the variable goes second */
static inline vf v_min(vf a, vf b) { return a < b ? a : b; }
static inline vf v_max(vf a, vf b) { return a > b ? a : b; }
static inline vf v_abs(vf a) { return v_real(fabs)(a); }
static inline vf v_copysign(vf a, vf s) { return v_real(copysign)(a, s); }
static inline vf v_if_less(vf a, vf b, vf yes, vf no) { return a < b ? yes : no; }
static inline vf v_pow2(vf t)
{
    v_bits bits;
    memcpy(&bits, &t, sizeof bits);
    bits <<= V_MANTISSA;
    memcpy(&t, &bits, sizeof t);
    return t;
}
