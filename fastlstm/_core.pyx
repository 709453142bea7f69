# cython: language_level=3, binding=False, boundscheck=False, wraparound=False
"""The binding to csrc: pointers and sizes in, status out; no arithmetic, no policy."""

cimport numpy as cnp
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc
from libc.stddef cimport ptrdiff_t, size_t
from libc.stdint cimport uint8_t, uintptr_t
from libc.string cimport memset

from fastlstm.errors import FastLSTMError

cnp.import_array()


# Multiply-adds (a few microseconds of them) from which on the interpreter's lock is given up, and
# (some milliseconds) after which a long run looks for Ctrl-C.
cdef double UNLOCKED_WORK = 2e5
cdef double UNPOLLED_WORK = 2e7


cdef int check(flstm_status status) except -1:
    """The one place where a status becomes an exception."""
    if status == FLSTM_OK:
        return 0
    if status == FLSTM_ERR_INTERRUPTED:
        if PyErr_Occurred() == NULL:
            raise FastLSTMError("fastlstm: this process was forked inside a call, which the child cannot finish")
        return -1  # the signal handler's exception is set already
    if status == FLSTM_ERR_MEMORY:
        raise MemoryError("fastlstm: no memory for the packed weights")
    if status == FLSTM_ERR_SIZE:
        raise FastLSTMError("features, units and projection: a product is beyond the address range, or one beyond int8's 65536")
    if status == FLSTM_ERR_RANGE:
        raise FastLSTMError("precision: a weight is not finite, or beyond float16's 65504; use 'float32'")
    if status == FLSTM_ERR_ISA:
        raise FastLSTMError("isa: no such kernel, or this processor cannot run it")
    raise FastLSTMError("fastlstm: the C library refused its arguments; please report this")


# Threads that a call may use; fastlstm.threads decides.
cdef size_t default_threads = 1


def set_default_threads(size_t threads):
    """Let calls use so many threads from now on."""
    global default_threads
    default_threads = threads


cdef int poll_signals(void *unused) noexcept with gil:
    return PyErr_CheckSignals()


cdef list list_kernels():
    cdef size_t i = 0
    found = []
    while flstm_kernel_name(i) != NULL:
        found.append((flstm_kernel_name(i).decode(), bool(flstm_kernel_runs(i)), bool(flstm_kernel_fused(i))))
        i += 1
    return found


# Asked once: under a hypervisor every CPUID instruction costs some microseconds.
cdef list KERNELS = list_kernels()


def kernels():
    """The compiled-in kernels, best first: ``(name, runs here, multiply-adds round once)``."""
    return list(KERNELS)


def build_info():
    """The compiler and the flags that this module was built with."""
    return FLSTM_COMPILER.decode(), FLSTM_FLAGS.decode()


def activation_names():
    """Names of the activations in the C library; their position is their number there."""
    found = []
    while flstm_activation_name(len(found)) != NULL:
        found.append(flstm_activation_name(len(found)).decode())
    return found


def curves():
    """The functions with parameters: their numbers in the library, and alpha and beta where they are not given."""
    cdef double alpha = 0, beta = 0
    found, number = {}, len(activation_names())
    while flstm_curve(number, &alpha, &beta) != NULL:
        found[flstm_curve(number, &alpha, &beta).decode()] = (number, alpha, beta)
        number += 1
    return found


cdef flstm_dtype dtype_of(cnp.ndarray a) except *:
    cdef int kind = cnp.PyArray_TYPE(a)
    if kind == cnp.NPY_FLOAT32:
        return FLSTM_F32
    if kind == cnp.NPY_FLOAT64:
        return FLSTM_F64
    raise FastLSTMError(f"array has dtype {a.dtype}; expected float32 or float64")


def activate(int activation, size_t kernel, cnp.ndarray x not None, cnp.ndarray out not None):
    """Apply activation number ``activation`` along the last axis of contiguous x into out."""
    cdef size_t n = x.shape[x.ndim - 1] if x.ndim else 1
    cdef size_t rows = <size_t>x.size // n if n else 0
    if not (cnp.PyArray_ISCARRAY_RO(x) and cnp.PyArray_ISCARRAY(out)) or x.size != out.size or x.dtype != out.dtype:
        raise FastLSTMError("activate: x and out must be contiguous, aligned and alike")
    if kernel >= <size_t>len(KERNELS) or not KERNELS[<Py_ssize_t>kernel][1]:
        check(FLSTM_ERR_ISA)
    cdef flstm_dtype dtype = dtype_of(x)
    cdef const void *from_ = cnp.PyArray_DATA(x)
    cdef void *to = cnp.PyArray_DATA(out)
    cdef flstm_status status
    with nogil:
        status = flstm_activate(dtype, activation, kernel, rows, n, from_, to)
    check(status)


cdef void *aligned(void *memory) noexcept nogil:
    return <void *>((<uintptr_t>memory + 63) & ~<uintptr_t>63)


cdef void *data_or_null(cnp.ndarray a) noexcept:
    return NULL if a is None else cnp.PyArray_DATA(a)


# What a step can compute: its number in the library, gates of a unit, rows of the bias, states.
cdef dict CELLS = {
    "lstm": (FLSTM_CELL_LSTM, 4, 1, 2),
    "gru": (FLSTM_CELL_GRU, 3, 2, 1),
    "gru_before": (FLSTM_CELL_GRU_BEFORE, 3, 1, 1),
    "simple": (FLSTM_CELL_SIMPLE, 1, 1, 1),
}


# How weights can be kept.
cdef dict PRECISIONS = {
    "float32": FLSTM_FULL, "bfloat16": FLSTM_BFLOAT16, "float16": FLSTM_FLOAT16, "int8": FLSTM_INT8,
}


# Which gate is what another leaves of 1.
cdef dict COUPLINGS = {None: FLSTM_UNCOUPLED, "input": FLSTM_INPUT_COUPLED, "forget": FLSTM_FORGET_COUPLED}


cdef const void *variant_array(dict variant, str name, size_t size, cnp.ndarray like) except? NULL:
    cdef cnp.ndarray array = variant.get(name)
    if array is None:
        return NULL
    if not cnp.PyArray_ISCARRAY_RO(array) or array.dtype != like.dtype or <size_t>array.size != size:
        raise FastLSTMError(f"Plan: {name} must be contiguous, native, of the kernel's dtype and of {size} elements")
    return cnp.PyArray_DATA(array)


cdef size_t fill_variant(flstm_variant *v, dict variant, cnp.ndarray kernel) except 0:
    """An LSTM's variant as the library's, its arrays those of the dict; returns how many gates it packs."""
    cdef size_t gates, units
    functions = variant["gate"], variant["candidate"], variant["output"]
    (v.gate.activation, v.gate.alpha, v.gate.beta) = functions[0]
    (v.candidate.activation, v.candidate.alpha, v.candidate.beta) = functions[1]
    (v.output.activation, v.output.alpha, v.output.beta) = functions[2]
    v.coupling = COUPLINGS[variant["coupling"]]
    gates = 4 if v.coupling == FLSTM_UNCOUPLED else 3
    units = <size_t>kernel.shape[1] // gates
    v.outputs = variant["outputs"] or units
    v.projection = variant_array(variant, "projection_kernel", units * v.outputs, kernel)
    v.projection_bias = variant_array(variant, "projection_bias", v.outputs, kernel)
    v.peepholes = variant_array(variant, "peephole_kernel", 3 * units, kernel)
    v.norm = variant_array(variant, "norm_scale", gates * units, kernel)
    v.state_norm = variant_array(variant, "state_norm", 2 * units, kernel)
    v.norm_epsilon, v.input_clip = variant["norm_epsilon"], variant["input_clip"]
    v.cell_clip, v.projection_clip = variant["cell_clip"], variant["projection_clip"]
    return gates


cdef class Plan:
    """Packed weights of a cell and the kernel chosen for them; immutable, usable from any thread.

    Arrays given to its methods have the plan's dtype and are checked by the caller: the layers.
    """

    cdef flstm_plan *plan
    cdef void *spare  # the last call's workspace, kept for the next one
    cdef size_t spare_size
    cdef readonly size_t features, units
    cdef readonly size_t outputs  # the width of h: units, or what a projection makes of them
    cdef readonly int states  # of the cell
    cdef readonly object dtype
    cdef int typenum
    cdef size_t element, gates
    cdef size_t threads  # that a call may use; 0: the default

    def __cinit__(self, cnp.ndarray kernel not None, cnp.ndarray recurrent_kernel not None, cnp.ndarray bias,
                  int activation, int recurrent_activation, isa, bint reproducible, size_t threads=0,
                  str cell not None="lstm", str precision not None="float32", dict variant=None):
        cdef flstm_config config
        cdef flstm_variant extra
        cdef bytes name = None if isa is None else isa.encode()
        config.cell, self.gates, bias_rows, self.states = CELLS[cell]
        config.dtype = dtype_of(kernel)
        config.features = kernel.shape[0]
        config.units = config.features and <size_t>kernel.size // config.features // self.gates
        config.variant = NULL
        self.outputs = config.units
        if variant is not None:
            self.gates = fill_variant(&extra, variant, kernel)
            config.units = <size_t>kernel.size // config.features // self.gates
            config.variant, self.outputs = &extra, extra.outputs
        config.activation = activation
        config.recurrent_activation = recurrent_activation
        config.isa = NULL
        if name is not None:
            config.isa = name
        config.reproducible = reproducible
        config.precision = PRECISIONS[precision]
        self.features, self.units, self.dtype = config.features, config.units, kernel.dtype
        self.typenum = cnp.PyArray_TYPE(kernel)
        self.element, self.threads = kernel.itemsize, threads
        for array, rows in ((kernel, self.features), (recurrent_kernel, self.outputs), (bias, bias_rows)):
            if array is not None and (not cnp.PyArray_ISCARRAY_RO(array) or array.dtype != self.dtype
                                      or array.size != rows * self.gates * self.units):
                raise FastLSTMError("Plan: weights must be contiguous, native, of one dtype and of matching sizes")
        cdef const void *k = cnp.PyArray_DATA(kernel)
        cdef const void *r = cnp.PyArray_DATA(recurrent_kernel)
        cdef const void *b = data_or_null(bias)
        cdef flstm_status status
        with nogil:
            status = flstm_plan_create(&self.plan, &config, k, r, b)
        check(status)

    def __dealloc__(self):
        flstm_plan_destroy(self.plan)
        PyMem_RawFree(self.spare)

    @property
    def isa(self):
        """Name of the kernel."""
        return flstm_plan_isa(self.plan).decode()

    @property
    def nbytes(self):
        """Bytes that the packed weights take."""
        return flstm_plan_bytes(self.plan)


cdef Plan fill_call(flstm_call *call, tuple job):
    """A layer's job as the library's call; returns its plan. A layer's x is None where the one below gives it.

    job: plan, x (B,T,I), h0, c0, y (B,T,U), last, h, c, mask (B,T) uint8, go_backwards,
    zero_output_for_mask; what has no shape here is (B,U), and may be None as y and mask may; c0 and c are
    None where the cell has no c. x and y may have any strides on their first two axes. A twelfth item is the
    trace, (B,T,5U), likewise. With a projection all but c0 and c are as wide as that.
    """
    cdef Plan plan
    cdef cnp.ndarray x, h0, c0, y, last, h, c, mask, trace
    call.trace, call.trace_batch, call.trace_step = NULL, 0, 0
    if len(job) == 12:
        plan, trace, job = job[0], job[11], job[:11]
        call.trace = cnp.PyArray_DATA(trace)
        call.trace_batch, call.trace_step = trace.strides[0] // plan.element, trace.strides[1] // plan.element
    plan, x, h0, c0, y, last, h, c, mask, backwards, zero = job
    cdef ptrdiff_t e = plan.element
    call.x, call.x_batch, call.x_step = NULL, 0, 0
    if x is not None:
        call.batch, call.steps = x.shape[0], x.shape[1]
        call.x, call.x_batch, call.x_step = cnp.PyArray_DATA(x), x.strides[0] // e, x.strides[1] // e
    call.h0, call.c0, call.h, call.c = data_or_null(h0), data_or_null(c0), data_or_null(h), data_or_null(c)
    call.last, call.y = data_or_null(last), data_or_null(y)
    call.y_batch = call.y_step = 0
    if y is not None:
        call.y_batch, call.y_step = y.strides[0] // e, y.strides[1] // e
    call.mask = <const uint8_t *>data_or_null(mask)
    call.mask_batch = call.mask_step = 0
    if mask is not None:
        call.mask_batch, call.mask_step = mask.strides[0], mask.strides[1]
    call.go_backwards, call.zero_output_for_mask = backwards, zero
    call.poll, call.poll_arg = NULL, NULL
    return plan


cdef int run_program(Plan owner, flstm_program *program, flstm_call *calls) except -1:
    """Runs it in the owner's spare workspace, the interpreter's lock given up where that is worth it."""
    cdef double work = 0
    cdef size_t layer
    for layer in range(program.layers):
        check(flstm_plan_widen(<flstm_plan *>program.plans[layer], calls[0].batch))
        work += flstm_plan_bytes(program.plans[layer])
    program.wide = 1
    work *= <double>calls[0].batch * calls[0].steps / owner.element
    program.threads = owner.threads or default_threads
    cdef size_t size = flstm_program_workspace_size(program)
    cdef void *workspace = owner.spare
    cdef size_t have = owner.spare_size
    owner.spare, owner.spare_size = NULL, 0  # nobody else takes it while we run
    if have < size + 64:
        PyMem_RawFree(workspace)
        have = size + 64
        workspace = PyMem_RawMalloc(have)
        if workspace == NULL:
            raise MemoryError("fastlstm: no memory for the workspace of a call")
    cdef flstm_status status
    if work < UNLOCKED_WORK:
        status = flstm_program_run(program, aligned(workspace))
    else:
        calls[0].poll = poll_signals
        with nogil:
            status = flstm_program_run(program, aligned(workspace))
    if owner.spare == NULL:
        owner.spare, owner.spare_size = workspace, have
    else:
        PyMem_RawFree(workspace)
    return check(status)


def run_layer(tuple job not None):
    """Run one layer's job."""
    cdef flstm_call call
    cdef Plan plan = fill_call(&call, job)
    cdef const flstm_plan *packed = plan.plan
    cdef flstm_program program
    program.layers, program.plans, program.calls, program.stacked = 1, &packed, &call, False
    run_program(plan, &program, &call)


def run_layers(tuple jobs not None, bint stacked):
    """Run several layers' jobs together.

    Stacked, each layer reads what the one before puts out and has None for x; otherwise they are
    independent. All have one kernel, one batch and one number of steps. The threads are the first's.
    """
    cdef size_t count = len(jobs), n
    cdef flstm_program program
    cdef Plan plan, first
    cdef flstm_call *calls = <flstm_call *>PyMem_RawMalloc(count * (sizeof(flstm_call) + sizeof(flstm_plan *)))
    if calls == NULL:
        raise MemoryError("fastlstm: no memory for a call")
    cdef const flstm_plan **plans = <const flstm_plan **>(calls + count)
    try:
        for n in range(count):
            plan = fill_call(&calls[n], jobs[n])
            if n == 0:
                first = plan
            plans[n] = plan.plan
            calls[n].batch, calls[n].steps = calls[0].batch, calls[0].steps
        program.layers, program.plans, program.calls, program.stacked = count, plans, calls, stacked
        run_program(first, &program, calls)
    finally:
        PyMem_RawFree(calls)


def run_plainly(tuple plans not None, x, bint stacked, bint sequences, bint go_backwards):
    """The commonest calls without a Python object in between: zero states, no mask, the output alone.

    Parameters
    ----------
    plans : tuple of Plan
        One layer; or a stack of them; or, not stacked, two directions, whose outputs are joined.
    x : object
        (B,T,I), contiguous, of the plans' dtype.
    sequences : bool
        Return (B,T,U) rather than the last step's (B,U).
    go_backwards : bool
        Of the first layer; the second direction goes the other way, and its output is turned round.

    Returns
    -------
    ndarray, or None where the call is not one of these and nothing has been done
    """
    cdef Py_ssize_t count = len(plans), n
    cdef Plan plan = plans[0], first = plan
    cdef cnp.ndarray a, y
    cdef char *to
    if count > 8 or not cnp.PyArray_CheckExact(x):
        return None
    a = <cnp.ndarray>x
    if (cnp.PyArray_TYPE(a) != plan.typenum or not cnp.PyArray_ISCARRAY_RO(a) or a.ndim != 3
            or <size_t>a.shape[2] != plan.features or (count > 1 and not (stacked or sequences) and a.shape[0] != 1)):
        return None
    cdef flstm_call calls[8]
    cdef const flstm_plan *packed[8]
    cdef flstm_program program
    cdef ptrdiff_t batch = a.shape[0], steps = a.shape[1], width = 0, before = 0
    memset(calls, 0, count * sizeof(flstm_call))
    for n in range(count):
        plan = plans[n]
        packed[n] = plan.plan
        width = plan.outputs if stacked else width + plan.outputs
        calls[n].batch, calls[n].steps = batch, steps
        if n == 0 or not stacked:
            calls[n].x, calls[n].x_batch, calls[n].x_step = cnp.PyArray_DATA(a), steps * a.shape[2], a.shape[2]
            calls[n].go_backwards = go_backwards ^ (n == 1)
    cdef cnp.npy_intp shape[3]
    shape[0], shape[1], shape[2] = batch, steps, width
    if not sequences:
        shape[1] = width
    y = cnp.PyArray_EMPTY(3 if sequences else 2, shape, first.typenum, 0)
    for n in range(count - 1 if stacked else 0, count):
        plan = plans[n]
        to = <char *>cnp.PyArray_DATA(y) + before * plan.element
        before += plan.outputs
        if not sequences:
            calls[n].last = to
            continue
        calls[n].y, calls[n].y_batch, calls[n].y_step = to, steps * width, width
        if n == 1 and not stacked:
            calls[n].y, calls[n].y_step = to + (steps - 1) * width * <ptrdiff_t>plan.element, -width
    program.layers, program.plans, program.calls, program.stacked = count, packed, calls, stacked
    run_program(first, &program, calls)
    return y


cdef class DensePlan:
    """A dense layer's packed weights; immutable, usable from any thread. Its caller checks the arrays."""

    cdef flstm_dense *dense
    cdef readonly size_t features, units
    cdef readonly object dtype
    cdef int typenum
    cdef size_t element

    def __cinit__(self, cnp.ndarray kernel not None, cnp.ndarray bias, int activation, isa):
        cdef flstm_config config
        cdef bytes name = isa.encode()
        config.dtype = dtype_of(kernel)
        config.features, config.units = kernel.shape[0], kernel.shape[1]
        config.activation = config.recurrent_activation = activation
        config.isa, config.reproducible, config.cell = name, False, FLSTM_CELL_LSTM
        config.precision, config.variant = FLSTM_FULL, NULL
        self.features, self.units, self.dtype = config.features, config.units, kernel.dtype
        self.typenum, self.element = cnp.PyArray_TYPE(kernel), kernel.itemsize
        for array, size in ((kernel, self.features * self.units), (bias, self.units)):
            if array is not None and (not cnp.PyArray_ISCARRAY_RO(array) or array.dtype != self.dtype
                                      or int(array.size) != int(size)):
                raise FastLSTMError("DensePlan: weights must be contiguous, native, of one dtype and of matching sizes")
        cdef const void *k = cnp.PyArray_DATA(kernel)
        cdef const void *b = data_or_null(bias)
        cdef flstm_status status
        with nogil:
            status = flstm_dense_create(&self.dense, &config, k, b)
        check(status)

    def __dealloc__(self):
        flstm_dense_destroy(self.dense)

    def run(self, cnp.ndarray x not None):
        """activation(x W + b) for contiguous x (..., I) of the plan's dtype: a new array (..., N)."""
        cdef cnp.npy_intp shape[32]
        cdef int axis, rank = x.ndim
        cdef size_t rows = 1
        for axis in range(rank - 1):
            shape[axis] = x.shape[axis]
            rows *= <size_t>x.shape[axis]
        shape[rank - 1] = self.units
        cdef cnp.ndarray y = cnp.PyArray_EMPTY(rank, shape, self.typenum, 0)
        cdef const void *from_ = cnp.PyArray_DATA(x)
        cdef void *to = cnp.PyArray_DATA(y)
        cdef void *workspace = PyMem_RawMalloc(flstm_dense_workspace_size(self.dense, rows) + 64)
        cdef flstm_status status = FLSTM_OK
        cdef double row_work = <double>self.features * self.units
        cdef size_t done = 0, n, most = <size_t>(UNPOLLED_WORK / row_work) + 48
        if workspace == NULL:
            raise MemoryError("fastlstm: no memory for the workspace of a dense layer")
        if rows * row_work < UNLOCKED_WORK:
            status = flstm_dense_run(self.dense, rows, from_, self.features, to, aligned(workspace))
            done = rows
        while done < rows and status == FLSTM_OK:
            n = min(rows - done, most)
            with nogil:
                status = flstm_dense_run(
                    self.dense, n, <const char *>from_ + done * self.features * self.element, self.features,
                    <char *>to + done * self.units * self.element, aligned(workspace))
            done += n
            if status == FLSTM_OK and done < rows and PyErr_CheckSignals():
                status = FLSTM_ERR_INTERRUPTED
        PyMem_RawFree(workspace)
        check(status)
        return y


include "_streams.pxi"
