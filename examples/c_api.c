// c_api.c -- a sine through a small LSTM, one step at a time, with nothing but the C library:
//
//     cc -O3 -std=c11 -ffp-contract=off -Icsrc examples/c_api.c csrc/*.c -lm -o c_api && ./c_api
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fastlstm.h"

enum { FEATURES = 1, UNITS = 5, STEPS = 100, ROWS = 1 };

/* Stands in for trained weights, which come as Keras has them: gates i, f, c, o along the last axis. */
static void fill(float *weights, size_t n, size_t factor)
{
    for (size_t i = 0; i < n; i++)
        weights[i] = ((float)(i * factor % 11) - 5) / 8;
}

int main(void)
{
    float kernel[FEATURES * 4 * UNITS], recurrent_kernel[UNITS * 4 * UNITS], bias[4 * UNITS], y[UNITS];
    fill(kernel, FEATURES * 4 * UNITS, 3);
    fill(recurrent_kernel, UNITS * 4 * UNITS, 5);
    fill(bias, 4 * UNITS, 7);

    /* A plan holds its own copy of the weights and never changes: any number of streams share it. */
    const flstm_config config = {
        .dtype = FLSTM_F32, .features = FEATURES, .units = UNITS,
        .activation = FLSTM_ACT_tanh, .recurrent_activation = FLSTM_ACT_sigmoid,
        .isa = NULL /* the best kernel that runs here */};
    flstm_plan *plan;
    if (flstm_plan_create(&plan, &config, kernel, recurrent_kernel, bias) != FLSTM_OK)
        return EXIT_FAILURE;

    /* The state lives in memory of ours, aligned to 64; after this nothing is allocated. */
    const size_t size = (flstm_stream_size(plan, ROWS) + 63) / 64 * 64;
    void *const stream = aligned_alloc(64, size);
    if (!stream) {
        flstm_plan_destroy(plan);
        return EXIT_FAILURE;
    }
    flstm_stream_set(plan, stream, ROWS, NULL, NULL);

    for (int t = 0; t < STEPS; t++) {
        const float x[FEATURES] = {sinf(0.1f * (float)t)};
        flstm_stream_run(plan, stream, ROWS, 1, x, FEATURES, FEATURES, y, UNITS, UNITS, 1);
    }
    for (int u = 0; u < UNITS; u++)
        printf("%.9g\n", (double)y[u]);

    free(stream);
    flstm_plan_destroy(plan);
    return EXIT_SUCCESS;
}
