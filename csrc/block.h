/* block.h -- a program's layers over a block of rows; shared by block.c and run.c. */
#ifndef FLSTM_BLOCK_H
#define FLSTM_BLOCK_H

#include "schedule.h"
#include "work.h"

/* A layer at work. */
typedef struct flstm_layer {
    chain chain;
    char *in, *out; /* two chunks of what it reads from the layer below, and writes for the one above; or NULL */
} flstm_layer;

/* One thread's part of the layers and the units. */
typedef struct flstm_part {
    size_t group, member;
    size_t first, end;    /* layers */
    flstm_meeting *steps; /* where the members of a group meet */
} flstm_part;

/* Bytes of workspace of one thread where threads share the rows, else of all together. */
size_t flstm_blocks_size(const flstm_program *program, const schedule *s);

/* Sets up all layers, in the workspace, for the rows from first_row on; fills the states that are this
 * thread's to fill. */
flstm_layer *flstm_open_layers(const flstm_program *program, const schedule *s, const flstm_part *me, size_t first_row,
                               size_t rows, char *memory);

/* Copies a chain's last output and state to where its call wants them. */
void flstm_read_state(const chain *w, size_t first_row);

#endif
