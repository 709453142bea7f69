/* pack.c -- weight matrices in the order and form that a kernel reads. */
#include "pack.h"

#include <float.h>
#include <math.h>
#include <string.h>

size_t flstm_form_size(flstm_form form)
{
    static const unsigned char sizes[FLSTM_FORM_COUNT] = {4, 8, 2, 2, 1, 2};
    return sizes[form];
}

static size_t align64(size_t n)
{
    return (n + 63) / 64 * 64;
}

size_t flstm_place_matrix(flstm_matrix *m, const flstm_kernel *kernel, const flstm_weights *w, size_t rows, char *base)
{
    m->stream = flstm_whole(kernel, rows) * w->gates * kernel->lanes * flstm_form_size(kernel->form);
    m->plane = align64(w->vectors * m->stream);
    const size_t planes = kernel->form == FLSTM_FORM_SPLIT ? 3 : 1;
    const size_t scale = kernel->form == FLSTM_FORM_I8 ? align64(w->gates * w->padded * sizeof *m->scale) : 0;
    m->data = base;
    m->scale = base && scale ? (const float *)(const void *)(base + planes * m->plane) : NULL;
    return planes * m->plane + scale;
}

static uint32_t bits_of(float a)
{
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    return bits;
}

/* The nearest bfloat16, of two the even one; a is finite. What is too large for it becomes infinity. */
static uint16_t bf16_of(float a)
{
    const uint32_t bits = bits_of(a);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float of_bf16(uint16_t a)
{
    const uint32_t bits = (uint32_t)a << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The nearest float16, of two the even one; |a| is below 65520. */
static uint16_t f16_of(float a)
{
    const uint16_t sign = (uint16_t)(bits_of(a) >> 16 & 0x8000);
    const float size = fabsf(a);
    if (size < 0x1p-14f) /* a denormal, or rounded up the least number that is none: its bits follow on */
        return (uint16_t)(sign | (uint16_t)nearbyintf(size * 0x1p24f));
    const uint32_t bits = bits_of(size) - (112u << 23);
    return (uint16_t)(sign | (bits + 0xfff + (bits >> 13 & 1)) >> 13);
}

/* One number to where it belongs. */
static void put(flstm_form form, char *to, size_t plane, float a, float inverse_scale)
{
    uint16_t part[3] = {0};
    switch (form) {
    case FLSTM_FORM_BF16: part[0] = bf16_of(a); break;
    case FLSTM_FORM_F16: part[0] = f16_of(a); break;
    case FLSTM_FORM_SPLIT:
        for (int i = 0; i < 3; i++) { /* each difference is exact */
            part[i] = bf16_of(a);
            memcpy(to + (size_t)i * plane, &part[i], sizeof part[i]);
            a -= of_bf16(part[i]);
        }
        return;
    default: *to = (char)(uint8_t)(128 + (int)nearbyintf(a * inverse_scale)); return;
    }
    memcpy(to, &part[0], sizeof part[0]);
}

static int holds(flstm_form form, float a)
{
    return fabsf(a) <= (form == FLSTM_FORM_F16 ? 65504 : form == FLSTM_FORM_I8 ? FLT_MAX : 0x1.fep127f);
}

/* The columns of one vector's gate: `width` of them from `column` on, the rows `stride` bytes apart for
 * every group. */
static int pack_columns(const flstm_matrix *m, const flstm_kernel *kernel, size_t rows, size_t columns, size_t column,
                        size_t width, size_t stride, const float *from, char *to, float *scale)
{
    const size_t group = kernel->group, size = flstm_form_size(kernel->form);
    for (size_t u = 0; u < width; u++) {
        float largest = 0;
        for (size_t k = 0; k < rows; k++) {
            const float a = from[k * columns + column + u];
            if (!holds(kernel->form, a))
                return 0;
            largest = fabsf(a) > largest ? fabsf(a) : largest;
        }
        const float inverse = largest > 0x1p-100f ? 127 / largest : 0; /* smaller ones are zeros to a run */
        if (scale)
            scale[u] = inverse > 0 ? largest / 127 : 0;
        for (size_t k = 0; k < rows; k++)
            put(kernel->form, to + k / group * stride + (u * group + k % group) * size, m->plane,
                from[k * columns + column + u], inverse);
    }
    return 1;
}

int flstm_pack_matrix(const flstm_matrix *m, const flstm_kernel *kernel, const flstm_weights *w, size_t gate,
                      size_t rows, size_t columns, const void *source)
{
    const size_t lanes = kernel->lanes, e = flstm_form_size(kernel->form), units = w->units;
    const size_t vector = lanes * kernel->group * e, stride = w->gates * vector;
    const int full = kernel->form == FLSTM_FORM_F32 || kernel->form == FLSTM_FORM_F64;
    for (size_t first = 0; first < units; first += lanes) {
        const size_t width = units - first < lanes ? units - first : lanes;
        char *const to = (char *)(uintptr_t)m->data + first / lanes * m->stream;
        if (full) /* row by row, in the order in which they lie */
            for (size_t k = 0; k < rows; k++)
                for (size_t g = 0; g < w->gates; g++) {
                    const size_t column = (gate + g) * units + first, left = column < columns ? columns - column : 0;
                    memcpy(to + k * stride + g * vector, (const char *)source + (k * columns + (left ? column : 0)) * e,
                           (left < width ? left : width) * e);
                }
        else
            for (size_t g = 0; g < w->gates; g++) {
                float *const scale = m->scale ? (float *)(uintptr_t)m->scale + g * w->padded + first : NULL;
                if (!pack_columns(m, kernel, rows, columns, (gate + g) * units + first, width, stride, source,
                                  to + g * vector, scale))
                    return 0;
            }
    }
    return 1;
}
