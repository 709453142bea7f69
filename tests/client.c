/* client.c -- a program over the C library, for tests that run it where Python is not: it reads calls from its
 * input, makes them on the kernel named and writes what comes out. Every array ends at a page that faults. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fastlstm.h"

enum { PAGE = 1 << 16, MOST_PLACES = 16 };

/* What precedes the arrays of a call; the fields of tests/emulated.py's Request. */
typedef struct request {
    int64_t dtype, cell; /* of no cell: an activation over `batch` rows of `features` elements */
    int64_t activation, recurrent_activation, reproducible;
    int64_t batch, steps, features, units;
    int64_t bias, state, mask, backwards, zero_output; /* the first three: whether there is one */
    int64_t block; /* steps of a stream's call; 0: the whole sequence in one run */
    int64_t precision;
    int64_t variant; /* whether what follows precedes the arrays too */
} request;

/* An LSTM's variant: the fields of test_aarch64.py's asked. */
typedef struct variant_request {
    int64_t coupling, outputs;
    int64_t projection, projection_bias, peepholes, norm, state_norm, trace; /* whether there is one */
    struct {
        double number, alpha, beta;
    } functions[3];
    double norm_epsilon, input_clip, cell_clip, projection_clip;
} variant_request;

static struct place {
    char *from;
    size_t size;
} places[MOST_PLACES];
static size_t used;

/* Memory full of NaNs for this call. */
static void *place(size_t bytes)
{
    const size_t size = (bytes + PAGE - 1) / PAGE * PAGE;
    char *const from = mmap(NULL, size + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (from == MAP_FAILED || mprotect(from + size, PAGE, PROT_NONE) != 0 || used == MOST_PLACES)
        exit(3);
    places[used++] = (struct place){from, size + PAGE};
    return memset(from + size - bytes, 0xff, bytes);
}

static void *scratch(size_t bytes) /* aligned to 64 */
{
    return place((bytes + 63) / 64 * 64);
}

static void *input(int64_t given, size_t bytes)
{
    void *const memory = given ? place(bytes) : NULL;
    if (given && fread(memory, 1, bytes, stdin) != bytes)
        exit(4);
    return memory;
}

static void check(flstm_status status)
{
    if (status != FLSTM_OK)
        exit(10 + (int)status);
}

/* The caller's rounding, flushing and traps, which are to stay as they are. */
static void environment(uint64_t wanted, int set)
{
#if defined(__aarch64__)
    if (set)
        __asm__ volatile("msr fpcr, %0" : : "r"(wanted) : "memory");
    uint64_t found;
    __asm__ volatile("mrs %0, fpcr" : "=r"(found) : : "memory");
    if (found != wanted)
        exit(5);
#else
    (void)wanted, (void)set;
#endif
}

static void run(const request *r, flstm_plan *plan, flstm_call *call)
{
    if (!r->block) {
        check(flstm_plan_widen(plan, call->batch));
        const flstm_program program = {.layers = 1, .plans = (const flstm_plan *const *)&plan, .calls = call, .wide = 1};
        check(flstm_program_run(&program, scratch(flstm_program_workspace_size(&program))));
        return;
    }
    void *const stream = scratch(flstm_stream_size(plan, call->batch));
    const size_t element = r->dtype == FLSTM_F32 ? sizeof(float) : sizeof(double);
    flstm_stream_set(plan, stream, call->batch, call->h0, call->c0);
    for (size_t t = 0, n; t < call->steps; t += n) {
        n = call->steps - t < (size_t)r->block ? call->steps - t : (size_t)r->block;
        const char *const x = (const char *)call->x + t * (size_t)call->x_step * element;
        char *const y = (char *)call->y + t * (size_t)call->y_step * element;
        check(flstm_stream_run(plan, stream, call->batch, n, x, call->x_batch, call->x_step, y, call->y_batch,
                               call->y_step, 1));
    }
    flstm_stream_get(plan, stream, call->batch, call->h, call->c);
}

static flstm_function function(const variant_request *v, int n)
{
    return (flstm_function){(flstm_activation)v->functions[n].number, v->functions[n].alpha, v->functions[n].beta};
}

/* x, kernel, recurrent kernel, bias, h0, c0, mask, a variant's arrays -> y, h, c, trace, as far as there are such. */
static void layer(const request *r, const char *isa, uint64_t caller)
{
    const size_t e = r->dtype == FLSTM_F32 ? sizeof(float) : sizeof(double);
    const size_t b = (size_t)r->batch, t = (size_t)r->steps, i = (size_t)r->features, u = (size_t)r->units;
    const int lstm = r->cell == FLSTM_CELL_LSTM;
    variant_request v = {.outputs = r->units};
    if (r->variant && fread(&v, sizeof v, 1, stdin) != 1)
        exit(4);
    const size_t p = (size_t)v.outputs;
    const size_t columns = (lstm ? v.coupling ? 3 : 4 : r->cell == FLSTM_CELL_SIMPLE ? 1 : 3) * u;
    const void *const x = input(1, b * t * i * e), *const kernel = input(1, i * columns * e);
    const void *const recurrent = input(1, p * columns * e);
    const void *const bias = input(r->bias, (r->cell == FLSTM_CELL_GRU ? 2 : 1) * columns * e);
    const void *const h0 = input(r->state, b * p * e), *const c0 = input(r->state && lstm, b * u * e);
    const void *const mask = input(r->mask, b * t);
    const flstm_variant variant = {.gate = function(&v, 0), .candidate = function(&v, 1), .output = function(&v, 2),
                                   .coupling = (flstm_coupling)v.coupling, .outputs = p,
                                   .projection = input(v.projection, u * p * e),
                                   .projection_bias = input(v.projection_bias, p * e),
                                   .peepholes = input(v.peepholes, 3 * u * e), .norm = input(v.norm, columns * e),
                                   .state_norm = input(v.state_norm, 2 * u * e), .norm_epsilon = v.norm_epsilon,
                                   .input_clip = v.input_clip, .cell_clip = v.cell_clip,
                                   .projection_clip = v.projection_clip};
    const flstm_config config = {.dtype = (flstm_dtype)r->dtype, .features = i, .units = u,
                                 .activation = (flstm_activation)r->activation,
                                 .recurrent_activation = (flstm_activation)r->recurrent_activation, .isa = isa,
                                 .reproducible = (int)r->reproducible, .cell = (flstm_cell)r->cell,
                                 .precision = (flstm_precision)r->precision, .variant = r->variant ? &variant : NULL};
    flstm_call call = {.batch = b, .steps = t, .x = x, .x_batch = (ptrdiff_t)(t * i), .x_step = (ptrdiff_t)i,
                       .h0 = h0, .c0 = c0, .h = place(b * p * e), .c = lstm ? place(b * u * e) : NULL,
                       .y = place(b * t * p * e), .y_batch = (ptrdiff_t)(t * p), .y_step = (ptrdiff_t)p,
                       .mask = mask, .mask_batch = (ptrdiff_t)t, .mask_step = 1,
                       .go_backwards = (int)r->backwards, .zero_output_for_mask = (int)r->zero_output,
                       .trace = v.trace ? place(b * t * 5 * u * e) : NULL, .trace_batch = (ptrdiff_t)(t * 5 * u),
                       .trace_step = (ptrdiff_t)(5 * u)};
    flstm_plan *plan;
    check(flstm_plan_create(&plan, &config, kernel, recurrent, bias));
    environment(caller, 1);
    run(r, plan, &call);
    environment(caller, 0);
    flstm_plan_destroy(plan);
    fwrite(call.y, e, b * t * p, stdout);
    fwrite(call.h, e, b * p, stdout);
    if (lstm)
        fwrite(call.c, e, b * u, stdout);
    if (v.trace)
        fwrite(call.trace, e, b * t * 5 * u, stdout);
}

static void activation(const request *r, const char *isa, uint64_t caller)
{
    const size_t e = r->dtype == FLSTM_F32 ? sizeof(float) : sizeof(double);
    const size_t rows = (size_t)r->batch, n = (size_t)r->features;
    void *const x = input(1, rows * n * e), *const y = place(rows * n * e);
    size_t kernel = 0;
    while (flstm_kernel_name(kernel) && strcmp(flstm_kernel_name(kernel), isa) != 0)
        kernel++;
    environment(caller, 1);
    check(flstm_activate((flstm_dtype)r->dtype, (flstm_activation)r->activation, kernel, rows, n, x, y));
    environment(caller, 0);
    fwrite(y, e, rows * n, stdout);
}

int main(int argc, char **argv)
{
    request r;
    for (size_t k = 0; argc < 2 && flstm_kernel_name(k); k++)
        printf("%s %d %d\n", flstm_kernel_name(k), flstm_kernel_runs(k), flstm_kernel_fused(k));
    const uint64_t caller = argc > 2 ? strtoull(argv[2], NULL, 16) : 0;
    while (argc > 1 && fread(&r, sizeof r, 1, stdin) == 1) {
        (r.cell < 0 ? activation : layer)(&r, argv[1], caller);
        environment(0, 1); /* the C library's own arithmetic is not ours to disturb */
        for (; used > 0; used--)
            munmap(places[used - 1].from, places[used - 1].size);
    }
    return fflush(stdout) != 0;
}
