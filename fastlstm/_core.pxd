"""C declarations of the binding: csrc/fastlstm.h, and what the build says of itself."""

from libc.stddef cimport ptrdiff_t, size_t
from libc.stdint cimport uint8_t


cdef extern from "fastlstm.h" nogil:
    ctypedef enum flstm_status:
        FLSTM_OK
        FLSTM_ERR_ARGUMENT
        FLSTM_ERR_SIZE
        FLSTM_ERR_MEMORY
        FLSTM_ERR_ISA
        FLSTM_ERR_INTERRUPTED
        FLSTM_ERR_RANGE
    ctypedef enum flstm_dtype:
        FLSTM_F32
        FLSTM_F64
    ctypedef int flstm_activation
    ctypedef enum flstm_precision:
        FLSTM_FULL
        FLSTM_BFLOAT16
        FLSTM_FLOAT16
        FLSTM_INT8
    ctypedef enum flstm_cell:
        FLSTM_CELL_LSTM
        FLSTM_CELL_GRU
        FLSTM_CELL_GRU_BEFORE
        FLSTM_CELL_SIMPLE
    ctypedef struct flstm_plan:
        pass
    ctypedef struct flstm_function:
        flstm_activation activation
        double alpha
        double beta
    ctypedef enum flstm_coupling:
        FLSTM_UNCOUPLED
        FLSTM_INPUT_COUPLED
        FLSTM_FORGET_COUPLED
    ctypedef struct flstm_variant:
        flstm_function gate
        flstm_function candidate
        flstm_function output
        flstm_coupling coupling
        size_t outputs
        const void *projection
        const void *projection_bias
        const void *peepholes
        const void *norm
        const void *state_norm
        double norm_epsilon
        double input_clip
        double cell_clip
        double projection_clip
    ctypedef struct flstm_config:
        flstm_dtype dtype
        size_t features
        size_t units
        flstm_activation activation
        flstm_activation recurrent_activation
        const char *isa
        int reproducible
        flstm_cell cell
        flstm_precision precision
        const flstm_variant *variant
    ctypedef struct flstm_call:
        size_t batch
        size_t steps
        const void *x
        ptrdiff_t x_batch
        ptrdiff_t x_step
        const void *h0
        const void *c0
        void *h
        void *c
        void *y
        ptrdiff_t y_batch
        ptrdiff_t y_step
        void *last
        const uint8_t *mask
        ptrdiff_t mask_batch
        ptrdiff_t mask_step
        int go_backwards
        int zero_output_for_mask
        void *trace
        ptrdiff_t trace_batch
        ptrdiff_t trace_step
        int (*poll)(void *) noexcept
        void *poll_arg
    const char *flstm_kernel_name(size_t)
    int flstm_kernel_runs(size_t)
    int flstm_kernel_fused(size_t)
    flstm_status flstm_plan_create(flstm_plan **, const flstm_config *, const void *, const void *, const void *)
    void flstm_plan_destroy(flstm_plan *)
    flstm_status flstm_plan_widen(flstm_plan *, size_t)
    const char *flstm_plan_isa(const flstm_plan *)
    size_t flstm_plan_bytes(const flstm_plan *)
    ctypedef struct flstm_program:
        size_t layers
        const flstm_plan *const *plans
        const flstm_call *calls
        int stacked
        size_t threads
        int wide
    size_t flstm_program_workspace_size(const flstm_program *)
    flstm_status flstm_program_run(const flstm_program *, void *)
    size_t flstm_stream_size(const flstm_plan *, size_t)
    void flstm_stream_set(const flstm_plan *, void *, size_t, const void *, const void *)
    void flstm_stream_get(const flstm_plan *, const void *, size_t, void *, void *)
    flstm_status flstm_stream_run(
        const flstm_plan *, void *, size_t, size_t, const void *, ptrdiff_t, ptrdiff_t, void *, ptrdiff_t, ptrdiff_t,
        size_t)
    ctypedef struct flstm_dense:
        pass
    flstm_status flstm_dense_create(flstm_dense **, const flstm_config *, const void *, const void *)
    void flstm_dense_destroy(flstm_dense *)
    size_t flstm_dense_workspace_size(const flstm_dense *, size_t)
    flstm_status flstm_dense_run(const flstm_dense *, size_t, const void *, ptrdiff_t, void *, void *)
    const char *flstm_activation_name(flstm_activation)
    const char *flstm_curve(flstm_activation, double *, double *)
    flstm_status flstm_activate(flstm_dtype, flstm_activation, size_t, size_t, size_t, const void *, void *)

cdef extern from "Python.h":
    void *PyErr_Occurred()
    int PyErr_CheckSignals()  # undeclared exception: the run has to end before it is raised

cdef extern from *:
    """
    #ifndef FLSTM_FLAGS
    #define FLSTM_FLAGS ""
    #endif
    #if defined(__clang__) || !defined(__GNUC__)
    #define FLSTM_COMPILER __VERSION__
    #else
    #define FLSTM_COMPILER "gcc " __VERSION__
    #endif
    """
    const char *FLSTM_COMPILER
    const char *FLSTM_FLAGS
