/* schedule.h -- which thread does what in a run. */
#ifndef FLSTM_SCHEDULE_H
#define FLSTM_SCHEDULE_H

#include <stdint.h>

#include "fastlstm.h"

/* Threads share the rows of the batch; or they form `groups` that share the layers, each of `members` that
 * share the units of a layer. */
typedef struct schedule {
    size_t threads;
    size_t share;   /* rows a thread, about, or 0: all threads work on the same rows */
    size_t groups, members;
    size_t rows;    /* that run through all steps together */
    size_t stride;  /* steps that a layer does before another has its turn */
    int64_t alone;  /* nanoseconds on one thread, about; 0: too few to share */
} schedule;

/* The schedule for a program on its threads, or on one. */
schedule flstm_schedule(const flstm_program *program, size_t threads);

/* Where the rows of each of the threads that share them begin, and behind them the batch ends: `share` rows
 * each, or under a mask so many that each has about as many steps to run. */
void flstm_share_rows(const flstm_program *program, const schedule *s, size_t first[]);

/* Whether the units of one step of a layer are worth sharing; stream.c asks, too. */
size_t flstm_unit_members(const flstm_plan *plan, size_t batch, size_t threads);

/* The nanoseconds that so many multiply-adds take one thread, about; 0: too few to share. */
int64_t flstm_time_alone(const flstm_plan *plan, double work);

#endif
