/* pool.c -- the pool of threads in use: argv[1] names what is done. Says which line was not as promised. */
#define _GNU_SOURCE
#include "pool.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fastlstm.h"

extern atomic_size_t plenty_jobs;
int plenty_together(size_t threads, void (*job)(void *, size_t), void *arg);
void plenty_kinds(const flstm_program *program, int kinds[3]);

#define CHECK(truth)                                              \
    do {                                                          \
        if (!(truth)) {                                           \
            fprintf(stderr, "line %d: not %s\n", __LINE__, #truth); \
            fflush(stderr);                                       \
            _exit(1);                                             \
        }                                                         \
    } while (0)

/* What comes about on a machine that is not always busy; whoever started this program has a limit. */
#define SOONER_OR_LATER(truth) while (!(truth)) usleep(1000)

/* ---- jobs ------------------------------------------------------------------------------------ */

/* Members who meet and check what all have written; who leaves early does so after the first meeting. */
typedef struct team {
    size_t threads, meetings;
    int first_leaves;
    flstm_meeting meeting;
    atomic_int ran[FLSTM_MOST_THREADS];
    size_t value[FLSTM_MOST_THREADS];
    atomic_size_t wrong;
} team;

static void meet_often(void *arg, size_t index)
{
    team *const t = arg;
    atomic_fetch_add(&t->ran[index], 1);
    for (size_t n = 1; n <= t->meetings; n++) {
        const size_t first = t->first_leaves && n > 1;
        if (index < first) {
            flstm_leave(&t->meeting, index);
            return;
        }
        size_t sum = 0;
        t->value[index] = n * (index + 1);
        flstm_meet(&t->meeting, 0, t->threads, index);
        for (size_t i = first; i < t->threads; i++)
            sum += t->value[i];
        if (sum != n * (t->threads * (t->threads + 1) / 2 - first))
            atomic_fetch_add(&t->wrong, 1);
        flstm_meet(&t->meeting, 0, t->threads, index);
    }
}

enum { PLENTY = 0, QUICK = 20 * 1000, LONG = 1000 * 1000 * 1000 }; /* nanoseconds that a job is said to take */

static int together(size_t threads, int64_t alone, void (*job)(void *, size_t), void *arg)
{
    return alone == PLENTY ? plenty_together(threads, job, arg) : flstm_together(threads, alone, job, arg);
}

/* Runs such a team or does nothing; says which. */
static int try_team(size_t threads, int64_t alone, size_t meetings, int first_leaves)
{
    team t = {.threads = threads, .meetings = meetings, .first_leaves = first_leaves};
    const int done = together(threads, alone, meet_often, &t);
    for (size_t i = 0; i < FLSTM_MOST_THREADS; i++)
        CHECK(t.ran[i] == (done && i < threads));
    CHECK(t.wrong == 0);
    return done;
}

static void must(size_t threads)
{
    CHECK(try_team(threads, PLENTY, 10, 0));
}

/* Pairs of one job that meet apart from each other, one of them more often. */
static void meet_in_pairs(void *arg, size_t index)
{
    team *const t = arg;
    const size_t first = index / 2 * 2;
    for (size_t n = 1; n <= t->meetings * (first + 1); n++) {
        t->value[index] = n;
        flstm_meet(&t->meeting, first, 2, index);
        if (t->value[index ^ 1] != n)
            atomic_fetch_add(&t->wrong, 1);
        flstm_meet(&t->meeting, first, 2, index);
    }
}

static void jobs(void)
{
    team pairs = {.threads = 4, .meetings = 10};
    for (size_t n = 0; n < 100; n++)
        must(2 + n % 4);
    must(FLSTM_MOST_THREADS);
    CHECK(try_team(4, PLENTY, 20, 1));
    CHECK(plenty_together(4, meet_in_pairs, &pairs) && pairs.wrong == 0);
    for (size_t n = 0; n < 2; n++)
        CHECK(!try_team(n, PLENTY, 1, 0));
    CHECK(!try_team(FLSTM_MOST_THREADS + 1, PLENTY, 1, 0) && !try_team(SIZE_MAX, PLENTY, 1, 0));
}

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Idle threads sleep, and wake up. */
static void idle(void)
{
    for (int n = 0; n < 5; n++) {
        must(4);
        usleep(10000);
        const double time = seconds(CLOCK_MONOTONIC), used = seconds(CLOCK_PROCESS_CPUTIME_ID);
        usleep(20000);
        CHECK(seconds(CLOCK_PROCESS_CPUTIME_ID) - used < (seconds(CLOCK_MONOTONIC) - time) / 2);
    }
}

/* Jobs too short to wake anyone find the threads awake when they come thick and fast. */
static void quick(void)
{
    for (int done = 0; done < 200; usleep(1000))
        for (int n = 0; n < 1000; n++)
            done += try_team(2, QUICK, 3, 0);
}

/* ---- several callers --------------------------------------------------------------------------- */

static atomic_int held, released;

static void hold(void *arg, size_t index)
{
    (void)arg;
    if (index)
        return;
    CHECK(!try_team(2, PLENTY, 1, 0)); /* it is ours, but busy */
    atomic_store(&held, 1);
    while (!atomic_load(&released))
        usleep(100);
}

static void *holder(void *arg)
{
    CHECK(plenty_together(3, hold, arg));
    return NULL;
}

static pthread_t take_pool(void)
{
    pthread_t thread;
    atomic_store(&held, 0);
    atomic_store(&released, 0);
    CHECK(pthread_create(&thread, NULL, holder, NULL) == 0);
    SOONER_OR_LATER(atomic_load(&held));
    return thread;
}

static void give_pool(pthread_t thread)
{
    atomic_store(&released, 1);
    pthread_join(thread, NULL);
}

static void *caller(void *arg)
{
    for (int n = 0; n < 150; n++)
        try_team(2 + (size_t)n % 3, n % 2 ? PLENTY : QUICK, 3, 0);
    return arg;
}

static void callers(void)
{
    const pthread_t other = take_pool();
    CHECK(!try_team(2, PLENTY, 1, 0) && !try_team(5, PLENTY, 1, 0));
    give_pool(other);
    must(2);
    pthread_t threads[6];
    for (int n = 0; n < 6; n++)
        CHECK(pthread_create(&threads[n], NULL, caller, NULL) == 0);
    for (int n = 0; n < 6; n++)
        pthread_join(threads[n], NULL);
    must(2);
}

/* ---- beginning and ending -------------------------------------------------------------------------- */

static int tasks(void)
{
    int count = 0;
    DIR *const directory = opendir("/proc/self/task");
    CHECK(directory);
    for (const struct dirent *entry; (entry = readdir(directory));)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

static void *end_often(void *arg)
{
    while (!atomic_load(&released)) {
        flstm_threads_end();
        usleep(300);
    }
    return arg;
}

static void restart(void)
{
    pthread_t other;
    must(4);
    flstm_threads_end();
    const int before = tasks(); /* a sanitizer has a thread of its own from now on */
    for (int n = 0; n < 30; n++) {
        must(4);
        CHECK(tasks() == before + 3);
        if (n % 3 == 0)
            usleep(2000); /* they sleep */
        flstm_threads_end();
        SOONER_OR_LATER(tasks() == before); /* a joined thread may be listed a moment longer */
        flstm_threads_end();
    }
    atomic_store(&released, 0);
    CHECK(pthread_create(&other, NULL, end_often, NULL) == 0);
    for (int n = 0; n < 100; n++)
        SOONER_OR_LATER(try_team(3, PLENTY, 10, 0)); /* the other may have the pool, to end it */
    give_pool(other);
}

/* Threads cannot be had where there is no memory for their stacks. */
static void refused(void)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){1 << 20, limit.rlim_max}) == 0);
    CHECK(!try_team(2, PLENTY, 1, 0) && !try_team(2, PLENTY, 1, 0));
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    must(2);
}

/* No more threads than processors in the affinity mask; a change of it is noticed in a while. */
static void pinned(void)
{
    cpu_set_t all, one;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    const size_t processors = (size_t)CPU_COUNT(&all);
    CPU_ZERO(&one);
    for (int n = 0; CPU_COUNT(&one) == 0; n++)
        if (CPU_ISSET(n, &all))
            CPU_SET(n, &one);
    CHECK(!try_team(processors + 1, LONG, 1, 0));
    SOONER_OR_LATER(processors == 1 || try_team(2, LONG, 3, 0));
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    usleep(50000);
    for (int n = 0; n < 100; n++)
        CHECK(!try_team(2, LONG, 3, 0));
    CHECK(sched_setaffinity(0, sizeof all, &all) == 0);
    SOONER_OR_LATER(processors == 1 || try_team(2, LONG, 3, 0));
}

/* ---- forks ------------------------------------------------------------------------------------------ */

/* The child has a pool of its own. */
static void fork_and_check(void)
{
    const size_t generation = flstm_pool_generation();
    const pid_t child = fork();
    int status;
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(flstm_pool_generation() != generation && tasks() == 1);
        must(3);
        must(2);
        flstm_threads_end();
        must(4);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(flstm_pool_generation() == generation);
}

static void fork_inside(void *arg, size_t index)
{
    pid_t *const child = arg;
    if (index == 0)
        *child = fork();
}

static void forks(void)
{
    for (int n = 0; n < 10; n++) {
        must(3);
        if (n % 2)
            usleep(2000);
        fork_and_check();
        must(3);
        const pthread_t other = take_pool();
        fork_and_check();
        CHECK(!try_team(2, PLENTY, 1, 0));
        give_pool(other);
        pid_t child;
        int status;
        CHECK(plenty_together(3, fork_inside, &child));
        must(3);
        if (child == 0)
            _exit(0);
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

/* ---- programs and streams ------------------------------------------------------------------------------- */

static float *numbers(size_t n)
{
    float *const x = malloc(n * sizeof *x);
    CHECK(x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((int)(i * 2654435761u % 1009) - 504) / 2000;
    return x;
}

enum { LAYERS = 3 };

typedef struct shape {
    const char *name;
    int kinds[3]; /* by rows, by layers, by units; none of them: a stream */
    size_t layers;
    int stacked;
    size_t batch, steps, features, units;
} shape;

/* Both give y, h and c of all layers in `out`, as far as there are any. */
static void run_program(const shape *s, const flstm_plan *const *plans, const float *x, size_t threads, float *out)
{
    const size_t sequence = s->batch * s->steps * s->units, state = s->batch * s->units;
    flstm_call calls[LAYERS];
    for (size_t l = 0; l < s->layers; l++, out += sequence + 2 * state)
        calls[l] = (flstm_call){
            .batch = s->batch, .steps = s->steps,
            .x = x, .x_batch = (ptrdiff_t)(s->steps * s->features), .x_step = (ptrdiff_t)s->features,
            .y = s->stacked && l + 1 < s->layers ? NULL : out,
            .y_batch = (ptrdiff_t)(s->steps * s->units), .y_step = (ptrdiff_t)s->units,
            .h = out + sequence, .c = out + sequence + state, .go_backwards = !s->stacked && l == 1};
    const flstm_program program = {s->layers, plans, calls, s->stacked, threads, 0};
    void *const workspace = aligned_alloc(64, (flstm_program_workspace_size(&program) + 63) / 64 * 64);
    int kinds[3];
    plenty_kinds(&program, kinds);
    CHECK(threads == 1 || memcmp(kinds, s->kinds, sizeof kinds) == 0);
    CHECK(flstm_program_run(&program, workspace) == FLSTM_OK);
    free(workspace);
}

static void run_stream(const shape *s, const flstm_plan *const *plans, const float *x, size_t threads, float *out)
{
    const ptrdiff_t units = (ptrdiff_t)s->units, steps = (ptrdiff_t)s->steps, features = (ptrdiff_t)s->features;
    void *const stream = aligned_alloc(64, (flstm_stream_size(plans[0], s->batch) + 63) / 64 * 64);
    flstm_stream_set(plans[0], stream, s->batch, NULL, NULL);
    for (ptrdiff_t t = 0; t < steps; t += steps / 2)
        CHECK(flstm_stream_run(plans[0], stream, s->batch, s->steps / 2, x + t * features, steps * features, features,
                               out + t * units, steps * units, units, threads) == FLSTM_OK);
    free(stream);
}

static void programs(void)
{
    static const shape shapes[] = {
        {"rows", {1, 0, 0}, 1, 0, 40, 8, 8, 5},
        {"rows of stacked layers", {1, 0, 0}, 3, 1, 40, 8, 5, 5},
        {"stacked layers", {0, 1, 0}, 3, 1, 1, 40, 5, 5},
        {"directions", {0, 1, 0}, 2, 0, 2, 40, 9, 5},
        {"units", {0, 0, 1}, 1, 0, 1, 20, 9, 40},
        {"units, row block by row block", {0, 0, 1}, 1, 0, 50, 6, 9, 40},
        {"units of stacked layers", {0, 0, 1}, 3, 1, 1, 20, 40, 40},
        {"a stream", {0, 0, 0}, 1, 0, 1, 20, 9, 40},
    };
    int wrong = 0;
    for (size_t n = 0; n < sizeof shapes / sizeof *shapes; n++) {
        const shape *const s = &shapes[n];
        const size_t size = s->layers * s->batch * (s->steps + 2) * s->units;
        const flstm_config config = {.features = s->features, .units = s->units,
                                     .recurrent_activation = FLSTM_ACT_sigmoid};
        float *const w = numbers((s->features + s->units + 1) * 4 * s->units);
        float *const x = numbers(s->batch * s->steps * s->features);
        float *const alone = calloc(size, sizeof *alone), *const shared = calloc(size, sizeof *shared);
        flstm_plan *plan;
        CHECK(flstm_plan_create(&plan, &config, w, w + 4 * s->units, w) == FLSTM_OK);
        const flstm_plan *const plans[LAYERS] = {plan, plan, plan};
        const size_t before = plenty_jobs;
        (s->kinds[0] + s->kinds[1] + s->kinds[2] ? run_program : run_stream)(s, plans, x, 1, alone);
        CHECK(plenty_jobs == before);
        (s->kinds[0] + s->kinds[1] + s->kinds[2] ? run_program : run_stream)(s, plans, x, 2, shared);
        CHECK(plenty_jobs > before);
        if (memcmp(alone, shared, size * sizeof *alone) != 0)
            wrong = fprintf(stderr, "by %s: other bits\n", s->name);
        flstm_plan_destroy(plan);
        free(alone), free(shared), free(x), free(w);
    }
    CHECK(!wrong);
}

/* More threads are asked for than there can be. */
static void too_many(void)
{
    enum { UNITS = 2000 };
    const shape s = {"too many threads", {0, 0, 1}, 1, 0, 1, 2, 1, UNITS};
    const flstm_config config = {.features = 1, .units = UNITS, .recurrent_activation = FLSTM_ACT_sigmoid};
    float *const w = calloc((UNITS + 2) * 4 * UNITS, sizeof *w), out[4 * UNITS];
    flstm_plan *plan;
    CHECK(flstm_plan_create(&plan, &config, w, w, w) == FLSTM_OK);
    run_program(&s, (const flstm_plan *const[]){plan}, w, 1000, out);
    flstm_plan_destroy(plan);
    free(w);
}

/* ---- what must be caught ---------------------------------------------------------------------------------- */

static void write_without_meeting(void *arg, size_t index)
{
    for (size_t k = 0; k < 1000; k++) /* of two writes at the very same time ThreadSanitizer may see neither */
        *(volatile size_t *)arg = index;
}

static void race(void)
{
    size_t shared = 0;
    CHECK(plenty_together(2, write_without_meeting, &shared));
}

static void write_past_the_end(void *arg, size_t index)
{
    ((volatile char *)arg)[index * 64] = 1;
}

static void overflow(void)
{
    char *const memory = malloc(64);
    CHECK(plenty_together(2, write_past_the_end, memory));
    free(memory);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } parts[] = {{"jobs", jobs}, {"idle", idle}, {"quick", quick}, {"callers", callers}, {"restart", restart},
                 {"refused", refused}, {"pinned", pinned}, {"forks", forks}, {"programs", programs},
                 {"too many", too_many}, {"race", race}, {"overflow", overflow}};
    for (size_t n = 0; n < sizeof parts / sizeof *parts; n++)
        if (argc == 2 && strcmp(argv[1], parts[n].name) == 0) {
            parts[n].run();
            flstm_threads_end();
            return 0;
        }
    return 2;
}
