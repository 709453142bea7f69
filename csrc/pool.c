/* pool.c -- the one pool of threads: made when first needed, awake a short while after each job, then
 * asleep; a fork's child begins with none. Without POSIX threads every job is its caller's alone. */
#if defined(__linux__)
#define _GNU_SOURCE /* sched_getaffinity */
#endif
#include "pool.h"

#include "fastlstm.h"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

enum {
    AWAKE = 100 * 1000,   /* nanoseconds that an idle thread spins before it sleeps */
    WAKING = 30 * 1000,   /* patience that is worth waking one */
    RESPITE = 2,          /* times what was lost on threads that were held up, until the next attempt: */
    MOST_RESPITE = 16,    /* twice as many each time that it happens again, up to so many, */
    LULL = 100 * 1000 * 1000, /* unless so long has passed */
    HELD_UP = 4,          /* times as long as one thread would take: they were */
    PATIENCE = 4,         /* the part of a job's time alone that may be spent waiting for it to begin */
    MOST_PATIENCE = 1000 * 1000,
    ASKING = 10 * 1000 * 1000, /* between two looks at the affinity mask */
    PAUSES = 64           /* between two looks at the clock */
};

/* A worker's state. It goes from rising to spinning, to sleeping and, called, to ready by itself; the rest
 * it is told. One that rises has been made or woken, and is not there yet. */
enum { RISES, SPINS, SLEEPS, CALLED, READY, WORKS, ENDS };

typedef struct worker {
    _Alignas(64) atomic_uint state;
    pthread_t thread;
    pthread_mutex_t lock; /* of going to sleep and being woken */
    pthread_cond_t wake;
    void (*job)(void *, size_t);
    void *arg;
    size_t index;
    int avoids; /* the processor that it may not run on, or -1 */
} worker;

static struct {
    atomic_flag taken;
    atomic_size_t generation;
    int64_t last;    /* when a job last wanted threads that slept */
    int64_t respite; /* no attempt before this time */
    int64_t factor;  /* of the last respite */
    int64_t asked;   /* for the affinity mask, which granted so many processors */
    size_t processors;
#if defined(__linux__)
    cpu_set_t mask;
#endif
    size_t workers;
    int watches_forks;
    worker worker[FLSTM_MOST_THREADS];
} pool = {.taken = ATOMIC_FLAG_INIT};

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void flstm_yield(void)
{
    sched_yield();
}

size_t flstm_pool_generation(void)
{
    return atomic_load(&pool.generation);
}

static void sleep_until_told(worker *w)
{
    if (!atomic_compare_exchange_strong(&w->state, &(unsigned){SPINS}, SLEEPS))
        return;
    pthread_mutex_lock(&w->lock);
    while (atomic_load(&w->state) == SLEEPS)
        pthread_cond_wait(&w->wake, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

/* Returns when the worker is to do something. */
static unsigned wait_for_work(worker *w)
{
    unsigned state;
    for (int64_t end = now() + AWAKE; (state = atomic_load_explicit(&w->state, memory_order_acquire)) < WORKS;) {
        if (state == CALLED || state == RISES)
            atomic_compare_exchange_strong(&w->state, &state, state == CALLED ? READY : SPINS);
        for (int n = 0; n < PAUSES && state == atomic_load_explicit(&w->state, memory_order_relaxed); n++)
            FLSTM_PAUSE();
        if (state == SPINS && now() > end) {
            sleep_until_told(w);
            end = now() + AWAKE;
        }
    }
    return state;
}

static void *work(void *arg)
{
    worker *const w = arg;
    while (wait_for_work(w) == WORKS) {
        w->job(w->arg, w->index);
        atomic_store_explicit(&w->state, SPINS, memory_order_release);
    }
    return NULL;
}

/* Keeps a worker that is about to run from the processor of the caller, where a system that does not look
 * for an idle one would have it wait for the end of our job. */
static void keep_apart(worker *w)
{
#if defined(__linux__)
    const int here = sched_getcpu();
    cpu_set_t others = pool.mask;
    if (here < 0 || here == w->avoids)
        return;
    CPU_CLR((size_t)here, &others);
    if (CPU_COUNT(&others) && pthread_setaffinity_np(w->thread, sizeof others, &others) == 0)
        w->avoids = here;
#else
    (void)w;
#endif
}

/* Tells a worker its new state, wakes it if it sleeps, and returns the state it was in. */
static unsigned tell(worker *w, unsigned state)
{
    const unsigned before = atomic_exchange(&w->state, state);
    if (before == SLEEPS) {
        keep_apart(w);
        pthread_mutex_lock(&w->lock);
        pthread_cond_signal(&w->wake);
        pthread_mutex_unlock(&w->lock);
    }
    return before;
}

/* In a fork's child: the threads, and whoever held the pool, are the parent's. */
static void forget(void)
{
    pool.workers = 0;
    atomic_flag_clear(&pool.taken);
    atomic_fetch_add(&pool.generation, 1);
}

/* Makes workers until there are `count`; says whether there are. Signals stay with the callers' threads. */
static int hire(size_t count)
{
    sigset_t all, before;
    if (pool.workers >= count)
        return 1;
    if (!pool.watches_forks)
        pool.watches_forks = pthread_atfork(NULL, NULL, forget) == 0;
    if (!pool.watches_forks)
        return 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; pool.workers < count; pool.workers++) {
        worker *const w = &pool.worker[pool.workers];
        pthread_mutex_init(&w->lock, NULL);
        pthread_cond_init(&w->wake, NULL);
        atomic_store(&w->state, RISES);
        if (pthread_create(&w->thread, NULL, work, w) != 0)
            break;
        w->avoids = -1;
        keep_apart(w);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pool.workers >= count;
}

/* Whether the process may run on so many processors. The system is asked now and then only. */
static int granted(size_t threads)
{
#if defined(__linux__)
    const int64_t time = now();
    if (!pool.processors || time - pool.asked > ASKING) {
        const int known = sched_getaffinity(0, sizeof pool.mask, &pool.mask) == 0;
        pool.processors = known ? (size_t)CPU_COUNT(&pool.mask) : SIZE_MAX;
        pool.asked = time;
    }
    return pool.processors >= threads;
#else
    (void)threads;
    return 1;
#endif
}

/* Whether all of the first `count` workers spin. If not, and jobs come thick and fast, they are woken for
 * the next one. */
static int awake(size_t count)
{
    int all = count <= pool.workers;
    for (size_t i = 0; i < count && i < pool.workers; i++)
        all &= atomic_load_explicit(&pool.worker[i].state, memory_order_relaxed) == SPINS;
    if (all)
        return 1;
    const int64_t before = pool.last;
    pool.last = now();
    if (pool.last - before < AWAKE && hire(count))
        for (size_t i = 0; i < count; i++)
            if (atomic_load(&pool.worker[i].state) == SLEEPS)
                tell(&pool.worker[i], RISES);
    return 0;
}

/* Other programs keep the processors from our threads, and so many nanoseconds were lost on that: one thread
 * it is for a time, so that little is lost on the whole. */
static void rest(int64_t lost)
{
    const int64_t time = now();
    pool.factor = time - pool.respite > LULL ? RESPITE : pool.factor < MOST_RESPITE ? 2 * pool.factor : MOST_RESPITE;
    pool.respite = time + pool.factor * lost;
}

/* Calls the first `count` workers and waits until they are ready; sends them away again if that takes too
 * long: one that is held up would hold up all. */
static int gather(size_t count, int64_t patience)
{
    if (pool.respite && now() < pool.respite)
        return 0;
    int all_there = 1;
    for (size_t i = 0; i < count; i++)
        all_there &= tell(&pool.worker[i], CALLED) == SPINS;
    const int64_t end = now() + patience;
    size_t ready = 0;
    for (int late = 0; ready < count && !late; late = now() > end)
        for (int n = 0; n < PAUSES && ready < count; n++) {
            if (atomic_load_explicit(&pool.worker[ready].state, memory_order_acquire) == READY)
                ready++;
            else
                FLSTM_PAUSE();
        }
    if (ready == count)
        return 1;
    if (all_there)
        rest(patience);
    for (size_t i = 0; i < count; i++) /* one that is not ready may become so in this moment */
        if (!atomic_compare_exchange_strong(&pool.worker[i].state, &(unsigned){CALLED}, RISES))
            atomic_store(&pool.worker[i].state, SPINS);
    return 0;
}

static void run(size_t threads, int64_t alone, void (*job)(void *, size_t), void *arg)
{
    const size_t generation = flstm_pool_generation();
    const int64_t start = now();
    for (size_t i = 1; i < threads; i++) {
        worker *const w = &pool.worker[i - 1];
        w->job = job, w->arg = arg, w->index = i;
        atomic_store_explicit(&w->state, WORKS, memory_order_release);
    }
    job(arg, 0);
    for (size_t i = 1; i < threads && generation == flstm_pool_generation(); i++)
        for (size_t n = 0; atomic_load_explicit(&pool.worker[i - 1].state, memory_order_acquire) == WORKS; n++)
            flstm_wait_a_little(n);
    if (generation != flstm_pool_generation())
        return; /* forked inside the job: the pool was given back already */
    const int64_t time = now() - start;
    if (time > HELD_UP * alone)
        rest(time - alone);
    atomic_flag_clear(&pool.taken);
}

int flstm_together(size_t threads, int64_t alone, void (*job)(void *, size_t), void *arg)
{
    if (threads < 2 || threads > FLSTM_MOST_THREADS || atomic_flag_test_and_set(&pool.taken))
        return 0;
    const int64_t patience = alone / PATIENCE < MOST_PATIENCE ? alone / PATIENCE : MOST_PATIENCE;
    if (!granted(threads) || !(patience < WAKING ? awake(threads - 1) : hire(threads - 1))
        || !gather(threads - 1, patience)) {
        atomic_flag_clear(&pool.taken);
        return 0;
    }
    run(threads, alone, job, arg);
    return 1;
}

void flstm_threads_end(void)
{
    while (atomic_flag_test_and_set(&pool.taken))
        sched_yield();
    for (; pool.workers > 0; pool.workers--) {
        worker *const w = &pool.worker[pool.workers - 1];
        tell(w, ENDS);
        pthread_join(w->thread, NULL);
        pthread_cond_destroy(&w->wake);
        pthread_mutex_destroy(&w->lock);
    }
    atomic_flag_clear(&pool.taken);
}

#else

void flstm_yield(void)
{
}

size_t flstm_pool_generation(void)
{
    return 0;
}

int flstm_together(size_t threads, int64_t alone, void (*job)(void *, size_t), void *arg)
{
    (void)threads, (void)alone, (void)job, (void)arg;
    return 0;
}

void flstm_threads_end(void)
{
}

#endif
