/* plenty.c -- built into the library with --wrap, for tests: a machine of as many processors as a job asks
 * for, where its threads always come in time. Programs and streams run there, and plenty_together. */
#define _GNU_SOURCE
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pool.h"
#include "schedule.h"

enum { FAR_FUTURE = INT32_MAX }; /* seconds */

atomic_size_t plenty_jobs; /* that ran on several threads */
static _Thread_local int patient; /* this thread's time stands still */

int plenty_together(size_t threads, void (*job)(void *, size_t), void *arg);
void plenty_kinds(const flstm_program *program, int kinds[3]);
int __real_flstm_together(size_t threads, int64_t alone, void (*job)(void *, size_t), void *arg);
int __wrap_flstm_together(size_t threads, int64_t alone, void (*job)(void *, size_t), void *arg);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_sched_getaffinity(pid_t pid, size_t size, cpu_set_t *mask);

int plenty_together(size_t threads, void (*job)(void *, size_t), void *arg)
{
    const int before = patient;
    patient = 1;
    const int done = __real_flstm_together(threads, INT32_MAX, job, arg);
    patient = before;
    atomic_fetch_add(&plenty_jobs, (size_t)done);
    return done;
}

int __wrap_flstm_together(size_t threads, int64_t alone, void (*job)(void *, size_t), void *arg)
{
    (void)alone;
    return plenty_together(threads, job, arg);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
    *t = (struct timespec){.tv_sec = FAR_FUTURE};
    return patient ? 0 : (int)syscall(SYS_clock_gettime, clock, t);
}

int __wrap_sched_getaffinity(pid_t pid, size_t size, cpu_set_t *mask)
{
    memset(mask, patient ? 0xff : 0, size);
    return patient || syscall(SYS_sched_getaffinity, pid, size, mask) > 0 ? 0 : -1;
}

/* How the work of a program is shared: by rows, by layers, by units. */
void plenty_kinds(const flstm_program *program, int kinds[3])
{
    const schedule s = flstm_schedule(program, program->threads);
    kinds[0] = s.share > 0, kinds[1] = s.groups > 1, kinds[2] = s.members > 1;
}
