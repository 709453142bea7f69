/* What a core can do, measured: multiply-adds, their latency, reading by size, a cache line to another core.

   cc -O2 -march=native -ffp-contract=fast -pthread -DLANES=16 limits.c -o limits
   ./limits SECONDS CPU [CPU]          all at once, a thread a CPU; each probe lasts so long, ten times; prints
   fma RATE                            multiply-adds a nanosecond
   latency TIME                        nanoseconds from a multiply-add to the next that needs it
   read BYTES FORWARD ZIGZAG           bytes a nanosecond, over and over in one order, or there and back
   handover TIME                       nanoseconds until the other CPU sees what this one wrote

   Of the ten the best, of the CPUs the slower. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

typedef float vec __attribute__((vector_size(4 * LANES), may_alias));

static const size_t sizes[] = {24 << 10, 32 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20,
                               2 << 20,  4 << 20,  16 << 20,  128 << 20};
enum { SIZES = sizeof sizes / sizeof *sizes, LEAST = 4 << 20, LARGEST = 128 << 20, PAGE = 4096 };
enum { FMA, LATENCY, READ, PROBES = READ + 2 * SIZES };      /* the reads of a size: forward, then zigzag */
enum { CHAINS = 12, STEPS = 10000, REPEATS = 10, CPUS = 2 }; /* 12 hide the latency and fit 16 registers */

static double seconds;
static int cpus, cpu[CPUS];
static double best[CPUS][PROBES]; /* things a nanosecond */
static pthread_barrier_t together;
static volatile float factor = 0.5f, sink; /* what the compiler must not know, and must not leave out */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void pin(int to)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(to, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void keep(const vec *a, int count)
{
    for (int i = 0; i < count; i++)
        for (int lane = 0; lane < LANES; lane++)
            sink = a[i][lane];
}

/* Chains of multiply-adds side by side, each waiting only for itself. */
static inline __attribute__((always_inline)) double multiply_add(int count)
{
    const vec x = factor + (vec){0};
    vec a[CHAINS];
    for (int i = 0; i < count; i++)
        a[i] = x + (float)i;
    for (int n = 0; n < STEPS; n++)
#pragma GCC unroll 16
        for (int i = 0; i < count; i++)
            a[i] = a[i] * x + x;
    keep(a, count);
    return STEPS;
}

/* Reads a size's bytes again and again, every other time from the end where zigzag says so. */
static double sweep(const char *memory, size_t bytes, int zigzag)
{
    enum { LOADS = 8 };
    const size_t times = bytes < LEAST ? LEAST / bytes : 2;
    const vec x = factor + (vec){0};
    vec a[LOADS] = {{0}};
    for (size_t time = 0; time < times; time++)
        for (size_t page = 0; page < bytes; page += PAGE) {
            const vec *from = (const vec *)(memory + (zigzag && time % 2 ? bytes - PAGE - page : page));
            for (size_t i = 0; i < PAGE / sizeof(vec); i += LOADS)
#pragma GCC unroll 16
                for (size_t k = 0; k < LOADS; k++)
                    a[k] = x * from[i + k] + a[k];
        }
    keep(a, LOADS);
    return (double)(times * bytes);
}

/* Does a piece of work, long beside a reading of the clock, and returns how many things that were. */
static double piece(int probe, const char *memory)
{
    switch (probe) {
    case FMA: return multiply_add(CHAINS) * CHAINS * LANES;
    case LATENCY: return multiply_add(1);
    default: return sweep(memory, sizes[(probe - READ) / 2], (probe - READ) % 2);
    }
}

static void *measure(void *which)
{
    const int me = (int)(size_t)which;
    pin(cpu[me]);
    char *memory = aligned_alloc(2 << 20, LARGEST);
    if (!memory)
        abort();
    madvise(memory, LARGEST, MADV_HUGEPAGE);
    memset(memory, 0, LARGEST);
    for (int repeat = 0; repeat < REPEATS; repeat++)
        for (int probe = 0; probe < PROBES; probe++) {
            piece(probe, memory);
            pthread_barrier_wait(&together);
            const double start = now();
            double things = 0, spent = 0;
            while (spent < seconds) {
                things += piece(probe, memory);
                spent = now() - start;
            }
            if (1e-9 * things / spent > best[me][probe])
                best[me][probe] = 1e-9 * things / spent;
        }
    free(memory);
    return NULL;
}

static double slower(int probe)
{
    return cpus == 2 && best[1][probe] < best[0][probe] ? best[1][probe] : best[0][probe];
}

static _Alignas(128) atomic_long ball; /* odd: the second CPU is to throw it back; negative: the end */

static void *throw_back(void *unused)
{
    pin(cpu[1]);
    for (long seen; (seen = ball) >= 0;)
        if (seen % 2)
            ball = seen + 1;
    return unused;
}

static double handover(void)
{
    pthread_t other;
    pthread_create(&other, NULL, throw_back, NULL);
    pin(cpu[0]);
    double least = 1e9;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        const double start = now();
        for (int n = 0; n < STEPS; n++) {
            const long thrown = ++ball;
            while (ball == thrown)
                ;
        }
        const double one_way = 1e9 * (now() - start) / (2 * STEPS);
        least = one_way < least ? one_way : least;
    }
    ball = -1;
    pthread_join(other, NULL);
    return least;
}

int main(int count, char **words)
{
    if (count < 3 || count > 2 + CPUS)
        return 2;
    seconds = atof(words[1]);
    for (cpus = 0; cpus < count - 2; cpus++)
        cpu[cpus] = atoi(words[2 + cpus]);
    pthread_t threads[CPUS];
    pthread_barrier_init(&together, NULL, (unsigned)cpus);
    for (int i = 0; i < cpus; i++)
        pthread_create(&threads[i], NULL, measure, (void *)(size_t)i);
    for (int i = 0; i < cpus; i++)
        pthread_join(threads[i], NULL);
    printf("fma %.4g\nlatency %.4g\n", slower(FMA), 1 / slower(LATENCY));
    for (int i = 0; i < SIZES; i++)
        printf("read %zu %.4g %.4g\n", sizes[i], slower(READ + 2 * i), slower(READ + 2 * i + 1));
    if (cpus == 2)
        printf("handover %.4g\n", handover());
    return 0;
}
