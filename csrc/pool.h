/* pool.h -- the one pool of threads, and how threads of one job wait for each other. */
#ifndef FLSTM_POOL_H
#define FLSTM_POOL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { FLSTM_MOST_THREADS = 64 };

/* Runs job(arg, i) for all i < threads at the same time, i = 0 on the calling thread, and returns 1 when
 * all are done; or does nothing and returns 0: the pool is another caller's, the affinity mask grants
 * fewer processors, threads cannot be had, or it would not pay. `alone` is about how many nanoseconds the
 * job would take one thread: a part of that is waited for all to begin, which may be too little to wake
 * those that sleep; they are awake when jobs follow one another closely. Where other programs are found to
 * hold the threads up, jobs are refused for a time. */
int flstm_together(size_t threads, int64_t alone, void (*job)(void *arg, size_t index), void *arg);

/* Changes when this process turns out to be a fork's child, where the pool's threads do not exist. */
size_t flstm_pool_generation(void);

/* Where the members of a team wait for each other: each publishes how often it has arrived. A member that
 * leaves for good has arrived at every meeting there will be. */
typedef struct flstm_meeting {
    struct {
        _Alignas(64) atomic_size_t count;
    } arrived[FLSTM_MOST_THREADS];
} flstm_meeting;

#if defined(__x86_64__) || defined(__i386__)
#define FLSTM_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define FLSTM_PAUSE() __asm__ volatile("yield")
#else
#define FLSTM_PAUSE() ((void)0)
#endif

/* Gives the processor away. */
void flstm_yield(void);

/* The n-th look in vain: at first there may be nothing but a moment to wait; later, who is waited for may
 * itself wait for this processor. */
static inline void flstm_wait_a_little(size_t n)
{
    enum { PATIENCE = 1 << 16 }; /* half a millisecond or two: then the next move is the system's */
    if (n < PATIENCE)
        FLSTM_PAUSE();
    else
        flstm_yield();
}

/* Says that `member` has come once more, and returns how often that was. */
static inline size_t flstm_arrive(flstm_meeting *m, size_t member)
{
    const size_t count = atomic_load_explicit(&m->arrived[member].count, memory_order_relaxed) + 1;
    atomic_store_explicit(&m->arrived[member].count, count, memory_order_release);
    return count;
}

/* Whether a member has come so often; what it wrote before is then seen. */
static inline int flstm_is_here(flstm_meeting *m, size_t member, size_t count)
{
    return atomic_load_explicit(&m->arrived[member].count, memory_order_acquire) >= count;
}

/* Waits until all of members first .. first + members - 1 have come here as often as `member` has. What
 * each wrote before is seen by all after. */
static inline void flstm_meet(flstm_meeting *m, size_t first, size_t members, size_t member)
{
    const size_t count = flstm_arrive(m, member);
    for (size_t other = first; other < first + members; other++)
        for (size_t n = 0; !flstm_is_here(m, other, count); n++)
            flstm_wait_a_little(n);
}

static inline void flstm_leave(flstm_meeting *m, size_t member)
{
    atomic_store_explicit(&m->arrived[member].count, SIZE_MAX / 2, memory_order_release);
}

#endif
