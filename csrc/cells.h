/* cells.h -- a step of one row from its sums, for what the sweeps of the kernels do not hold. */
#ifndef FLSTM_CELLS_H
#define FLSTM_CELLS_H

#include "plan.h"

/* Between the two sweeps of a GRU that resets h before the product: z and r in place of their sums, r h. */
void flstm_reset_row(const flstm_plan *plan, char *z, const char *h, char *reset);

/* z: the sums of a step, each `padded` long, which it spoils; c is advanced, h_next takes h', or what a projection
 * makes it. trace: of an LSTM, as in flstm_call, or NULL. */
void flstm_update_row(const flstm_plan *plan, char *z, char *c, const char *h, char *h_next, char *trace);

#endif
