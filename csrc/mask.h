/* mask.h -- which rows of a chain run under a mask, and what becomes of the others; shared by mask.c and steps.c. */
#ifndef FLSTM_MASK_H
#define FLSTM_MASK_H

#include "work.h"

enum { FLSTM_STRETCH = 63 }; /* the most steps of a stretch */

/* Lists in `active` the rows that run at step t of a stretch of `steps`, to which the chain has come; holds
 * those that stop there. Returns the step of the stretch at which others run. */
size_t flstm_choose_rows(const chain *w, size_t t, size_t steps, size_t *count);

/* The stretch is done: `seen` says again which rows have run. */
void flstm_end_stretch(const chain *w);

/* How many of the next `steps` steps lie between the first and the last one that the mask lets row r run. */
size_t flstm_span(const chain *w, size_t r, size_t steps, size_t *first);

/* Whether the mask lets row r run at all of the next `steps` steps. */
int flstm_runs_on(const chain *w, size_t r, size_t steps);

#endif
